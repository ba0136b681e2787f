"""How often an idle node asks: walks grow rare while nothing changes, and of two neighbours one asks."""

import pytest
import trio
from engine_lab import LINKS, small

from primedht import limits
from primedht.dht.bootstrap import Bootstrap
from primedht.dht.lookup import Lookups
from primedht.errors import PeerUnreachable
from primedht.kad.key import common_prefix_length, key_of
from primedht.sim.world import SimWorld


@pytest.fixture
def walks(monkeypatch):
    """Return the times at which each node walked to its own key."""
    times = {}
    walk = Bootstrap.walk_to_self

    async def noted(self):
        times.setdefault(self._peers.peer_id, []).append(trio.current_time())
        await walk(self)

    monkeypatch.setattr(Bootstrap, "walk_to_self", noted)
    return times


async def test_walks_grow_rare_while_nothing_changes(autojump_clock, walks):
    interval_s = 900.0
    async with SimWorld(
        51, 12, links=LINKS, config=small(k_bucket_size=20, refresh_interval=interval_s)
    ) as world:
        await world.settle()
        await trio.sleep(3 * interval_s)
        node = world.nodes[3]
        since = trio.current_time()
        await trio.sleep(4 * interval_s)
        assert 3 <= sum(at >= since for at in walks[node.peer]) <= 5
        await world.nodes[5].stop()
        left = trio.current_time()
        await trio.sleep(2 * limits.LOW_PEERS_INTERVAL_S)
        assert any(at >= left for at in walks[node.peer]), "a neighbour went"


async def test_a_small_table_is_walked_as_before(autojump_clock, walks):
    async with SimWorld(52, 4, links=LINKS) as world:
        await world.settle()
        await trio.sleep(1200)
        since = trio.current_time()
        await trio.sleep(10 * limits.LOW_PEERS_INTERVAL_S)
        assert 9 <= sum(at >= since for at in walks[world.nodes[1].peer]) <= 11


async def test_of_two_neighbours_one_asks(autojump_clock):
    async with SimWorld(53, 2, links=LINKS, config=small(refresh_interval=36000)) as world:
        await world.settle()
        one, other = world.nodes
        waits = [node.dht.peers._waits_s(peer.peer, 6) for node, peer in ((one, other), (other, one))]
        assert sorted(waits) == [0.0, 6 * limits.LIVENESS_TICK_S]


async def test_only_those_with_whom_records_are_shared_are_asked_often(autojump_clock):
    async with SimWorld(54, 12, links=LINKS, config=small(replication_factor=3)) as world:
        await world.settle()
        assert not any(node.dht.peers.partners for node in world.nodes)
        await world.nodes[0].dht.put_value(b"key", b"value")
        await trio.sleep(5)
        closest = world.closest(b"key", 3)
        first, second, third = (node.dht.peers.partners for node in closest)
        assert set(first) == {closest[1].peer, closest[2].peer}
        assert set(second) == {closest[0].peer}
        assert not third


@pytest.mark.parametrize("start", ["prefilled", "bootstrapped"])
async def test_buckets_that_a_walk_fills_are_not_refreshed_besides(autojump_clock, monkeypatch, start):
    """The walk and the refresh were due at the same moment, an interval after the last walk."""
    asked = []
    look_up = Lookups.closest_peers

    async def noted(self, target, **options):
        asked.append((trio.current_time(), self._peers.peer_id, target))
        return await look_up(self, target, **options)

    monkeypatch.setattr(Lookups, "closest_peers", noted)
    interval_s = 900.0
    config = small(k_bucket_size=4, refresh_interval=interval_s)
    async with SimWorld(55, 40, links=LINKS, config=config, start=start) as world:
        await trio.sleep(0 if start == "prefilled" else 3 * interval_s)
        since = trio.current_time()
        await trio.sleep(3 * interval_s)
        refreshes = [(peer, target) for at, peer, target in asked if at >= since and peer != target]
        assert refreshes
        for peer, target in refreshes:
            nearest = world.node_of(peer).dht.routing_table.nearest(4)
            own = key_of(peer)
            assert common_prefix_length(key_of(target), own) <= min(
                common_prefix_length(key_of(other), own) for other in nearest
            )


async def test_a_node_that_looks_for_nobody_begins_to_as_soon_as_it_must(autojump_clock):
    """It looks only now and then; a peer that failed, and one that it shares records with, are due sooner."""
    async with SimWorld(56, 12, links=LINKS, config=small(replication_factor=3)) as world:
        await world.settle()
        await trio.sleep(10 * limits.LIVENESS_TICK_S)
        peers, lost = world.nodes[0].dht.peers, world.nodes[1].peer
        peers.failed(lost, PeerUnreachable("a test says so"))
        assert lost not in peers.table
        await world.until(lambda: lost in peers.table, limit_s=3 * limits.LIVENESS_TICK_S)
