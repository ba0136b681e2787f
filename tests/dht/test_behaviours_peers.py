"""Who is in the routing table, and how a node joins and stays joined. Every test runs the engine."""

from itertools import count

import pytest
import trio
from engine_lab import LINKS, info_of, small

from primedht import limits
from primedht.dht.config import DhtConfig
from primedht.kad.key import common_prefix_length, key_of
from primedht.kad.messages import MessageType, PeerInfo
from primedht.sim.addresses import host_addr, public_ip
from primedht.sim.checkers import check_tables
from primedht.sim.peer import answering, silent
from primedht.sim.world import SimWorld


async def test_a_client_asks_but_is_in_no_table(autojump_clock):
    """Behaviour 29: a client can use the network and serves nobody."""
    async with SimWorld(29, 8, links=LINKS) as world:
        await world.settle()
        client = await world.add_node(config=world.config.with_changes(mode="client"))
        await world.settle()
        await world.nodes[2].dht.put_value(b"key", b"value")
        assert (await client.dht.get_value(b"key")).value == b"value"
        result = await client.dht.put_value(b"mine", b"value")
        assert client.peer not in result.holders
        assert not result.degraded
        assert (await world.nodes[3].dht.get_value(b"mine")).value == b"value"
        check_tables(world)
        assert all(client.peer not in node.dht.routing_table for node in world.nodes)


async def test_the_mode_follows_reachability(autojump_clock):
    """Behaviour 31: on a public network, auto serves while an address of ours is public."""
    config = small(network_kind="public")
    async with SimWorld(31, 0, links=LINKS, config=config, ip_of=public_ip) as world:
        server = await world.add_node()
        other = await world.add_node()
        await world.until(lambda: other.peer in server.dht.routing_table)
        other.host.set_addrs((host_addr("192.168.1.5"),))
        await world.until(lambda: not other.serving)
        await world.until(lambda: other.peer not in server.dht.routing_table)
        other.host.set_addrs((host_addr("77.1.2.3"),))
        await world.until(lambda: other.serving)
        await world.until(lambda: other.peer in server.dht.routing_table)


async def test_the_table_follows_identify_push(autojump_clock):
    """Behaviour 32: a peer that stops serving leaves the table, and comes back when it serves again."""
    async with SimWorld(32, 1, links=LINKS) as world:
        (node,) = world.nodes
        peer = await world.add_peer(answering())
        await world.meet(peer, [node])
        await world.until(lambda: peer.peer in node.dht.routing_table)
        await peer.start(serves=False)
        await world.until(lambda: peer.peer not in node.dht.routing_table, limit_s=5)
        await peer.start()
        await world.until(lambda: peer.peer in node.dht.routing_table, limit_s=5)


async def test_networks_with_other_protocol_ids_do_not_mix(autojump_clock):
    """Behaviour 33: a network under another id works, and never admits a stranger."""
    async with SimWorld(33, 3, links=LINKS, config=small(network_id="/ours/kad/1.0.0")) as world:
        await world.settle()
        stranger = await world.add_node(config=small(network_id="/theirs/kad/1.0.0"))
        await trio.sleep(30)
        assert len(stranger.dht.routing_table) == 0
        assert all(stranger.peer not in node.dht.routing_table for node in world.nodes)
        await world.nodes[0].dht.put_value(b"key", b"value")
        assert (await world.nodes[2].dht.get_value(b"key")).value == b"value"


async def test_a_table_that_has_become_low_is_refilled(autojump_clock):
    """Behaviour 34: from bootstrap peers and peers met since, without a restart."""
    async with SimWorld(34, 15, links=LINKS) as world:
        await world.settle()
        node = world.nodes[6]
        for peer in node.dht.routing_table.peers():
            node.dht.routing_table.remove(peer)
        assert len(node.dht.routing_table) == 0
        await world.until(lambda: len(node.dht.routing_table) == 14, limit_s=2 * limits.LOW_PEERS_INTERVAL_S)


async def test_bootstrap_peers_are_dialled_until_one_answers(autojump_clock):
    """Behaviour 35: a node that starts alone joins as soon as its bootstrap peer is there."""
    async with SimWorld(35, 0, links=LINKS) as world:
        first = await world.add_node(start=False)
        second = await world.add_node()
        await trio.sleep(300)
        assert len(second.dht.routing_table) == 0
        assert "no bootstrap peer answered" in second.dht.bootstrap.why_empty()
        await first.start()
        await world.until(
            lambda: first.peer in second.dht.routing_table, limit_s=2 * limits.BOOTSTRAP_PAUSE_S_MAX
        )
        assert second.dht.bootstrap.why_empty() is None


async def test_an_empty_table_says_why(autojump_clock):
    """Beside behaviour 35: no bootstrap peer, or one of another network."""
    async with SimWorld(36, 0, links=LINKS) as world:
        alone = await world.add_node()
        assert "no bootstrap peer is configured" in alone.dht.bootstrap.why_empty()
        other = await world.add_node(config=small(network_id="/other/kad/1.0.0"))
        await world.until(other.dht.bootstrap.tried.is_set)
        assert "protocol" in other.dht.bootstrap.why_empty()


async def test_buckets_are_refreshed_periodically(autojump_clock):
    """Behaviour 36: a refresh finds far peers that nobody told us of."""
    config = small(refresh_interval=600)
    async with SimWorld(37, 40, links=LINKS, config=config) as world:
        await world.settle()
        node = world.nodes[0]
        asked = node.host.traffic.sent
        await trio.sleep(30)
        for peer in node.dht.routing_table.find_closest(node.key, 40)[5:]:
            node.dht.routing_table.remove(peer)
        few = len(node.dht.routing_table)
        before = asked[MessageType.FIND_NODE]
        await trio.sleep(2 * 600)
        assert asked[MessageType.FIND_NODE] > before
        assert len(node.dht.routing_table) > few + 3


async def test_a_change_of_address_is_walked_to_the_neighbours(autojump_clock):
    """Behaviour 37: our neighbours learn a new address without waiting for a refresh."""
    async with SimWorld(38, 12, links=LINKS) as world:
        await world.settle()
        node = world.nodes[4]
        new = (host_addr("10.77.7.7"),)
        before = node.host.traffic.sent[MessageType.FIND_NODE]
        node.addrs = new
        node.host.set_addrs(new)
        await trio.sleep(10)
        assert node.host.traffic.sent[MessageType.FIND_NODE] > before
        asker = world.nodes[9]
        assert (await asker.dht.find_peer(node.peer)).addrs[0] == new[0]


async def test_refresh_leaves_empty_far_buckets_alone(autojump_clock):
    """Behaviour 38: a small network is not asked for buckets that cannot have members."""
    async with SimWorld(39, 3, links=LINKS) as world:
        await world.settle()
        assert await world.nodes[0].dht.refresh_now() <= 5, "of 16 that a refresh covers at most"


async def test_a_failed_request_evicts(autojump_clock):
    """Behaviour 39: a member that fails a lookup's request leaves the table."""
    async with SimWorld(40, 10, links=LINKS) as world:
        await world.settle()
        node, dead = world.nodes[1], world.nodes[7]
        world.network.faults.blackhole(dead.peer)
        assert dead.peer in node.dht.routing_table
        await node.dht.closest_peers(bytes(dead.peer))
        await world.until(lambda: dead.peer not in node.dht.routing_table, limit_s=15)


async def test_a_dead_member_is_noticed_without_a_reset(autojump_clock):
    """Beside behaviour 39: repair must not wait for a lookup or a TCP reset."""
    async with SimWorld(41, 10, links=LINKS) as world:
        await world.settle()
        dead = world.nodes[7]
        await dead.crash(silent=True)
        await world.until(
            lambda: all(dead.peer not in node.dht.routing_table for node in world.running()),
            limit_s=limits.NEIGHBOUR_PROBE_S + limits.LIVENESS_TICK_S + 2 * limits.REQUEST_TIMEOUT_S,
        )


async def test_a_successful_request_admits(autojump_clock):
    """Behaviour 40: whoever answers a lookup and serves our protocol enters the table."""
    async with SimWorld(42, 1, links=LINKS) as world:
        (node,) = world.nodes
        hidden = await world.add_peer(answering())
        gossip = await world.add_peer(answering(closer=[hidden.info]))
        await world.meet(gossip, [node])
        await world.until(lambda: hidden.peer in node.dht.routing_table, limit_s=10)
        assert gossip.peer in node.dht.routing_table


async def test_who_connects_is_not_asked_where_nobody_more_is_wanted(autojump_clock):
    """A full bucket with replacements that answered lately asks no stranger, later again a few."""
    async with SimWorld(42, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        keys = (world.keypair(number) for number in count(1000))
        other_half = (pair for pair in keys if common_prefix_length(key_of(pair.peer), node.key) == 0)
        someone = PeerInfo(node.peer, node.addrs), PeerInfo(next(other_half).peer, ())

        async def strangers_asked(how_many):
            strangers = [
                await world.add_peer(answering(closer=someone), keys=next(other_half))
                for _ in range(how_many)
            ]
            for stranger in strangers:
                await world.meet(stranger, [node])
                await trio.sleep(1)
            return sum(bool(stranger.received) for stranger in strangers)

        members = node.config.k_bucket_size
        assert await strangers_asked(20) == members + limits.REPLACEMENTS_WANTED
        await trio.sleep(limits.REPLACEMENT_FRESH_S)
        assert await strangers_asked(10) == limits.REPLACEMENTS_WANTED
        assert len(node.dht.routing_table) == members


async def test_a_peer_that_never_answers_is_not_admitted(autojump_clock):
    """Beside behaviour 40: identify alone makes no member."""
    async with SimWorld(43, 1, links=LINKS) as world:
        (node,) = world.nodes
        mute = await world.add_peer(silent)
        await world.meet(mute, [node])
        await trio.sleep(60)
        assert mute.peer not in node.dht.routing_table


async def test_one_ip_group_cannot_fill_a_public_table(autojump_clock):
    """Behaviour 41: at most three peers of one /16 in a table."""
    config = small(network_kind="public", mode="server")
    async with SimWorld(44, 1, links=LINKS, config=config, ip_of=public_ip) as world:
        (node,) = world.nodes
        for number in range(12):
            peer = await world.add_peer(answering(), addrs=(host_addr(f"8.8.{number}.1"),))
            await world.meet(peer, [node])
        lone = await world.add_peer(answering())
        await world.meet(lone, [node])
        await world.until(lambda: lone.peer in node.dht.routing_table)
        await trio.sleep(30)
        crowd = [peer for peer in world.peers if peer.peer in node.dht.routing_table and peer is not lone]
        assert 1 <= len(crowd) <= 3


async def test_a_client_that_becomes_a_server_is_learnt(autojump_clock):
    """Behaviour 54: after the switch the tables of others have it, and it serves."""
    async with SimWorld(45, 6, links=LINKS) as world:
        await world.settle()
        switcher = await world.add_peer(answering(), serves=False)
        await world.meet(switcher, world.nodes)
        await trio.sleep(5)
        assert all(switcher.peer not in node.dht.routing_table for node in world.nodes)
        await switcher.start()
        await world.until(lambda: all(switcher.peer in node.dht.routing_table for node in world.nodes))
        reply = await world.nodes[0].dht.closest_peers(bytes(switcher.peer))
        assert reply.closest[0] == switcher.peer


@pytest.mark.parametrize("nodes", [1, 2, 5])
async def test_small_networks_work_at_once(autojump_clock, nodes):
    """Networks of 1, 2 and 5 nodes put and get without a refresh, an error or a wasted wait."""
    async with SimWorld(46, nodes, links=LINKS) as world:
        started = trio.current_time()
        result = await world.nodes[-1].dht.put_value(b"key", b"value")
        assert len(result.holders) == min(3, nodes)
        assert result.degraded == (nodes < 3)
        assert (await world.nodes[0].dht.get_value(b"key")).value == b"value"
        assert trio.current_time() - started < 3


async def test_a_restarted_node_remembers_its_peers(autojump_clock):
    """Extra: restart keeps values, providers and peers, without any bootstrap address."""
    async with SimWorld(47, 8, links=LINKS) as world:
        await world.settle()
        node = world.nodes[5]
        await node.dht.put_value(b"key", b"value")
        held = len(node.dht.storage)
        await trio.sleep(limits.SNAPSHOT_INTERVAL_S + 1)
        node.bootstrap = ()
        await node.restart()
        assert len(node.dht.storage) == held
        await world.until(lambda: len(node.dht.routing_table) == 7, limit_s=30)


async def test_twenty_nodes_meet_within_seconds(autojump_clock):
    """Nobody waits for a refresh: a network of 20 that starts at once is complete at once."""
    async with SimWorld(48, 20, links=LINKS) as world:
        assert await world.settle() < 10
        for node in world.nodes:
            assert set(node.dht.routing_table.peers()) == {other.peer for other in world.nodes} - {node.peer}
        assert info_of(world.nodes[0]).addrs


async def test_a_far_member_that_closes_its_connection_is_dialled_once_in_a_while(
    autojump_clock, monkeypatch
):
    """It may have too many: who dials each that closes keeps a network of thousands dialling for ever."""
    monkeypatch.setattr(limits, "MEMBER_CLOSED_S", 60.0)
    config = DhtConfig(k_bucket_size=4, alpha=3, replication_factor=3)
    async with SimWorld(seed=5, nodes=40, config=config, start="prefilled") as world:
        node = world.nodes[0]
        far = next(
            world.node_of(peer)
            for peer in node.dht.routing_table
            if not node.dht.peers.is_near(peer) and not world.node_of(peer).dht.peers.is_near(node.peer)
        )
        await node.host.connect(far.peer, timeout_s=5)
        reconnected = []
        for _ in range(3):
            node.host.disconnect(far.peer)
            await trio.sleep(3)
            reconnected.append(far.peer in node.host.connected())
        assert reconnected == [True, False, False]
        await trio.sleep(limits.MEMBER_CLOSED_S)
        await node.host.connect(far.peer, timeout_s=5)
        node.host.disconnect(far.peer)
        await trio.sleep(3)
        assert far.peer in node.host.connected()


async def test_a_near_member_that_closes_its_connection_is_asked_at_once_each_time(autojump_clock):
    """Repair must know."""
    async with SimWorld(seed=5, nodes=12, start="prefilled") as world:
        node, near = world.nodes[:2]
        await node.host.connect(near.peer, timeout_s=5)
        for _ in range(3):
            node.host.disconnect(near.peer)
            await trio.sleep(3)
            assert near.peer in node.host.connected()
