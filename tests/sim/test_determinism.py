"""One seed, one run: the promise that makes failures replay."""

import random
from contextlib import suppress

import pytest
import trio
from sim_lab import FIND, Lab

from primedht.errors import PeerTimeout, PeerUnreachable
from primedht.kad.messages import MessageType
from primedht.sim.determinism import EventDigest, EventKind, deterministic_scheduling, simulate
from primedht.sim.faults import Links, UniformLatency
from primedht.sim.network import open_network


async def _order_of_wakeups():
    order = []

    async def tracer(name):
        for step in range(20):
            order.append((name, step))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in range(5):
            nursery.start_soon(tracer, name)
    return tuple(order)


def test_trio_still_has_the_switches_that_we_set():
    """Pins trio's private names: an upgrade that drops them fails here and nowhere else."""
    assert isinstance(trio._core._run._r, random.Random)
    before = trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING, trio._core._run._r.getstate()
    with deterministic_scheduling(1):
        assert trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING is True
    assert (trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING, trio._core._run._r.getstate()) == before


def test_one_seed_orders_tasks_in_one_way():
    orders = {simulate(_order_of_wakeups, seed=7) for _ in range(5)}
    assert len(orders) == 1
    assert len({simulate(_order_of_wakeups, seed=seed) for seed in range(5)}) > 1


def test_unseeded_runs_vary():
    """Else the switch would prove nothing."""
    assert len({trio.run(_order_of_wakeups) for _ in range(20)}) > 1


async def _chatter(seed):
    links = Links(UniformLatency(0.01, 0.2), loss=0.05)
    async with open_network(links, seed=seed) as network:
        lab = Lab(network)
        peers = [await lab.add() for _ in range(12)]
        rng = random.Random(seed)

        async def talk(peer):
            for _ in range(10):
                other = rng.choice(peers)
                with trio.move_on_after(rng.uniform(0.1, 5)):
                    if other is not peer:
                        with suppress(PeerTimeout, PeerUnreachable):
                            await peer.request(other.peer, FIND, timeout_s=2)

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(talk, peer)
            await trio.sleep(1)
            peers[3].host.crash()
        return network.digest.hexdigest(), network.digest.events_count


def test_one_seed_gives_one_digest():
    first, second = simulate(_chatter, 5, seed=5), simulate(_chatter, 5, seed=5)
    assert first == second
    assert first[1] > 200
    assert simulate(_chatter, 6, seed=6) != first


async def test_the_digest_tells_events_apart_and_keeps_the_last(autojump_clock):
    one, other = EventDigest(keep=2), EventDigest()
    for digest in (one, other):
        digest.add(EventKind.SENT, 1, 2, message_type=MessageType.PING, size_bytes=9)
    assert one.hexdigest() == other.hexdigest()
    other.add(EventKind.SENT, 2, 1)
    assert one.hexdigest() != other.hexdigest()
    one.add(EventKind.LOST, 3)
    one.add(EventKind.RESET, 4)
    assert [event.kind for event in one.last()] == [EventKind.LOST, EventKind.RESET]


async def test_a_simulation_in_real_time_is_refused():
    with pytest.raises(RuntimeError, match="MockClock"):
        await open_network(seed=1).__aenter__()
