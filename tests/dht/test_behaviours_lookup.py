"""Lookups: who is asked, who is returned, when it ends. Every test runs the engine in the simulator."""

import pytest
import trio
from engine_lab import LINKS, find_node, info_of, multihash, small

from primedht.errors import PeerNotFound
from primedht.kad.key import distance, key_of
from primedht.kad.messages import MessageType, PeerInfo
from primedht.sim.addresses import host_addr, public_ip
from primedht.sim.checkers import check_closest
from primedht.sim.faults import ConstantLatency, Links, UniformLatency
from primedht.sim.peer import answering, silent
from primedht.sim.world import SimWorld
from primedht.wire import addrs as multiaddrs


async def test_a_client_is_found_as_a_target(autojump_clock):
    """Behaviour 30: a client is in nobody's table, and those it is connected to still name it."""
    async with SimWorld(30, 10, links=LINKS) as world:
        await world.settle()
        client = await world.add_node(config=world.config.with_changes(mode="client"))
        await client.dht.refresh_now()
        found = await world.nodes[3].dht.find_peer(client.peer)
        assert found == PeerInfo(client.peer, client.addrs)


async def test_a_big_network_gives_exactly_the_k_closest(autojump_clock):
    """Behaviour 43: (and 45) 200 nodes, many targets, each time exactly the k closest by brute force."""
    async with SimWorld(43, 200, links=LINKS, start="prefilled", config=small(k_bucket_size=8)) as world:
        for number in range(25):
            target = b"target %d" % number
            asker = world.nodes[number * 7]
            result = await asker.dht.closest_peers(target)
            check_closest(world, asker, target, result.closest)
            assert len(result.closest) == 8
            assert result.trace.stopped == "converged"


async def test_peers_are_found_by_id_in_a_big_network(autojump_clock):
    """Behaviour 43: find_peer returns the addresses of any node."""
    async with SimWorld(44, 150, links=LINKS, start="prefilled", config=small()) as world:
        for number in range(0, 150, 15):
            wanted = world.nodes[number]
            asker = world.nodes[(number + 77) % 150]
            assert await asker.dht.find_peer(wanted.peer) == info_of(wanted)


async def test_a_peer_without_usable_addresses_is_not_found(autojump_clock):
    """Behaviour 44: an id that nobody knows, or knows no address of, is not found and holds nothing up."""
    async with SimWorld(45, 12, links=LINKS) as world:
        await world.settle()
        asker = world.nodes[2]
        ghost = world.keypair(999).peer
        with pytest.raises(PeerNotFound):
            await asker.dht.find_peer(ghost)
        gossip = await world.add_peer(answering(closer=[PeerInfo(ghost)]))
        await world.meet(gossip, [asker])
        await world.until(lambda: gossip.peer in asker.dht.routing_table)
        with pytest.raises(PeerNotFound):
            await asker.dht.find_peer(ghost)
        result = await asker.dht.closest_peers(bytes(ghost))
        assert ghost not in result.closest


async def test_dead_peers_are_not_returned(autojump_clock):
    """Behaviour 51: unreachable peers of our own table (direct) and of others' replies (indirect)."""
    async with SimWorld(52, 40, links=LINKS, start="prefilled", config=small(k_bucket_size=8)) as world:
        target = b"somewhere"
        dead = world.closest(target, 3)
        for node in dead:
            await node.crash()
        for asker in (world.closest(target, 1)[0], world.closest(target, 30)[-1]):
            result = await asker.dht.closest_peers(target)
            check_closest(world, asker, target, result.closest)


async def test_blackholed_peers_are_not_returned_and_not_waited_for(autojump_clock):
    """Behaviour 51: silence is as good as a refusal, and costs less than a request's time limit."""
    async with SimWorld(52, 40, links=LINKS, start="prefilled", config=small(k_bucket_size=8)) as world:
        target = b"somewhere"
        for node in world.closest(target, 3):
            await node.crash(silent=True)
        asker = world.closest(target, 30)[-1]
        started = trio.current_time()
        result = await asker.dht.closest_peers(target)
        check_closest(world, asker, target, result.closest)
        assert trio.current_time() - started < 5


async def test_few_peers_are_all_returned(autojump_clock):
    """Behaviour 53: up to k peers, all of them if there are fewer."""
    async with SimWorld(53, 4, links=LINKS) as world:
        await world.settle()
        for asker in world.nodes:
            result = await asker.dht.closest_peers(b"anything")
            check_closest(world, asker, b"anything", result.closest)
            assert len(result.closest) == 3
            assert result.trace.stopped == "exhausted"


@pytest.mark.parametrize("seed", range(6))
async def test_concurrency_is_bounded_and_all_k_have_answered(autojump_clock, seed):
    """Behaviour 56: alpha requests in flight until the closest have answered, k then; each of the k
    returned has answered."""
    links = Links(UniformLatency(0.01, 0.08))
    config = small(k_bucket_size=8, alpha=3)
    async with SimWorld(seed, 80, links=links, start="prefilled", config=config) as world:
        result = await world.nodes[seed].dht.closest_peers(b"target")
        asked = result.trace.asked
        flight = max(
            sum(1 for other in asked if other.started_s <= ask.started_s < other.started_s + other.took_s)
            for ask in asked
        )
        assert flight <= 8
        first = [ask for ask in asked if ask.started_s == 0.0]
        assert len(first) == 3
        answered = {ask.peer for ask in asked if ask.outcome == "answered"}
        assert set(result.closest) <= answered
        check_closest(world, world.nodes[seed], b"target", result.closest)


async def test_replies_leave_out_the_requester_and_name_the_target(autojump_clock):
    """Behaviour 57: peers close to a node, without the one that asks, and itself if asked for itself."""
    async with SimWorld(57, 12, links=LINKS) as world:
        await world.settle()
        a, b = world.nodes[:2]
        reply = await a.host.request(b.peer, find_node(bytes(a.peer)), timeout_s=10)
        others = [info.id for info in reply.closer_peers if info.id != a.peer]
        assert set(others) == {node.peer for node in world.nodes} - {a.peer, b.peer}
        client = await world.add_peer(answering(), serves=False)
        reply = await client.request(b.peer, find_node(bytes(b.peer)))
        assert reply.closer_peers[0] == info_of(b)
        reply = await client.request(b.peer, find_node(b"any bytes at all"))
        named = [info.id for info in reply.closer_peers]
        assert client.peer not in named
        assert named == [node.peer for node in world.closest(b"any bytes at all", 12) if node is not b]


async def test_peers_farther_than_the_kth_closest_are_not_asked(autojump_clock):
    """Behaviour 60: once k closer ones are known, what lies behind them is left alone."""
    async with SimWorld(60, 100, links=LINKS, start="prefilled", config=small()) as world:
        for number in range(10):
            target = b"target %d" % number
            asker = world.nodes[number]
            result = await asker.dht.closest_peers(target)
            point = key_of(target)
            kth = distance(key_of(result.closest[-1]), point)
            done_s = max(
                ask.started_s + ask.took_s for ask in result.trace.asked if ask.peer in result.closest[:3]
            )
            late = [
                ask
                for ask in result.trace.asked
                if ask.started_s > done_s and distance(key_of(ask.peer), point) > kth
            ]
            assert late == []


@pytest.mark.parametrize("paths", [1, 3])
async def test_a_poisoned_reply_cannot_decide_a_lookup(autojump_clock, paths):
    """Behaviour 52: a liar that names only dead and false peers near the target delays, no more."""
    async with SimWorld(54, 40, links=LINKS, config=small(alpha=3, disjoint_paths=paths)) as world:
        await world.settle()
        target = multihash(b"target")
        fakes = [
            PeerInfo(world.keypair(7000 + number).peer, (host_addr(f"10.6.0.{number + 1}"),))
            for number in range(200)
        ]
        near = sorted(fakes, key=lambda info: distance(key_of(info.id), key_of(target)))[:10]
        asker = world.closest(target, 40)[-1]
        for _ in range(3):
            liar = await world.add_peer(answering(closer=near))
            world.prefill(asker, [liar.info])
        result = await asker.dht.closest_peers(target)
        wanted = [node.peer for node in world.closest(target, 5)]
        found = [peer for peer in result.closest if peer in {node.peer for node in world.nodes}]
        assert found == wanted[: len(found)]
        assert len(found) >= 3, "liars that answer may stand among the closest; the dead may not"
        assert not set(result.closest) & {info.id for info in near}


async def test_a_flood_of_peers_is_cut_to_twice_k(autojump_clock):
    """Beside behaviour 42: of one reply, at most 2k peers are taken into a lookup."""
    async with SimWorld(65, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        flood = [
            PeerInfo(world.keypair(8000 + number).peer, (host_addr(f"10.7.0.{number + 1}"),))
            for number in range(200)
        ]
        liar = await world.add_peer(answering(closer=flood))
        world.prefill(node, [liar.info])
        result = await node.dht.closest_peers(b"target")
        assert len(result.trace.asked) <= 1 + 2 * 5


async def test_a_reply_crowded_with_one_ip_group_is_thinned(autojump_clock):
    """Behaviour 42: on a public network few peers of one IP group count, and private addresses none."""
    config = small(network_kind="public", mode="server")
    async with SimWorld(42, 1, links=LINKS, config=config, ip_of=public_ip) as world:
        (node,) = world.nodes
        crowd = [
            PeerInfo(world.keypair(9000 + number).peer, (host_addr(f"8.8.{number}.1"),))
            for number in range(9)
        ]
        private = PeerInfo(world.keypair(9500).peer, (host_addr("10.0.0.9"),))
        lone = await world.add_peer(answering())
        gossip = await world.add_peer(answering(closer=[*crowd, private, lone.info]))
        world.prefill(node, [gossip.info])
        result = await node.dht.closest_peers(b"target")
        asked = {ask.peer for ask in result.trace.asked}
        assert lone.peer in asked
        assert private.id not in asked
        assert len(asked & {info.id for info in crowd}) <= 3


async def test_private_addresses_do_not_leak_on_a_public_network(autojump_clock):
    """Beside behaviour 41: replies on a public network carry public addresses only."""
    config = small(network_kind="public", mode="server")
    async with SimWorld(46, 1, links=LINKS, config=config, ip_of=public_ip) as world:
        (node,) = world.nodes
        both = await world.add_peer(answering(), addrs=(host_addr("9.9.9.9"), host_addr("10.1.2.3")))
        world.prefill(node, [both.info])
        client = await world.add_peer(answering(), serves=False)
        for key in (b"x", bytes(both.peer)):
            reply = await client.request(node.peer, find_node(key))
            addrs = [addr for info in reply.closer_peers for addr in info.addrs]
            assert addrs
            assert all(map(multiaddrs.is_public, addrs))


async def test_a_slow_peer_frees_its_slot(autojump_clock):
    """Beside behaviour 23: a peer that is slow, not dead, delays a lookup little."""
    async with SimWorld(7, 64, links=LINKS, start="prefilled") as world:
        for node in world.closest(b"key", 64)[5:12]:
            world.network.faults.slow(node.peer, 15.0)
        started = trio.current_time()
        asker = world.closest(b"key", 64)[-1]
        await asker.dht.closest_peers(b"key")
        assert trio.current_time() - started < 4


async def test_the_trace_tells_whom_was_asked_and_why_it_stopped(autojump_clock):
    """Beside behaviour 45: the trace adds up."""
    async with SimWorld(47, 60, links=LINKS, start="prefilled") as world:
        mute = await world.add_peer(silent)
        asker = world.nodes[0]
        asker.dht.routing_table.remove(asker.dht.routing_table.peers()[0])
        world.prefill(asker, [mute.info])
        assert mute.peer in asker.dht.routing_table
        target = bytes(mute.peer)
        result = await asker.dht.closest_peers(target)
        trace = result.trace
        assert trace.target == target
        by_peer = {ask.peer: ask for ask in trace.asked}
        assert by_peer[mute.peer].outcome in ("timeout", "abandoned")
        assert all(ask.hop >= 1 and ask.took_s >= 0 for ask in trace.asked)
        assert [ask.started_s for ask in trace.asked] == sorted(ask.started_s for ask in trace.asked)
        assert 1 <= trace.hops <= 6
        sent = asker.host.traffic.sent[MessageType.FIND_NODE]
        assert sent >= sum(ask.outcome != "abandoned" for ask in trace.asked), "some may not be dialled yet"


async def test_far_peers_that_must_be_dialled_first_are_waited_for(autojump_clock):
    """Beside behaviour 56: 300 ms away and not yet connected is not dead."""
    links = Links(ConstantLatency(0.15))
    async with SimWorld(66, 40, links=links, start="prefilled", config=small(k_bucket_size=8)) as world:
        for number in range(5):
            asker = world.nodes[number]
            result = await asker.dht.closest_peers(b"target %d" % number)
            check_closest(world, asker, b"target %d" % number, result.closest)
