"""What broken links, dead hosts and failing disks look like from the other end."""

import random

import pytest
import trio
from sim_lab import FIND, Lab

from primedht.errors import PeerTimeout, PeerUnreachable, StoreFull, StoreUnavailable
from primedht.sim.faults import ConstantLatency, Links, UniformLatency
from primedht.sim.network import KEEPALIVE_S, open_network
from primedht.sim.peer import answering, silent
from primedht.sim.store import FaultyKeyValue, StoreFaults
from primedht.stores.memory import MemoryKeyValue


async def test_a_crashed_process_resets_at_once(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    a.host.subscribe(listener)
    await a.host.connect(b.peer, timeout_s=5)
    b.host.crash()
    assert listener.events[-1] == ("disconnected", b.peer)
    started = trio.current_time()
    with pytest.raises(PeerUnreachable):
        await a.request(b.peer, FIND)
    assert trio.current_time() - started < 1


async def test_a_request_under_way_fails_when_the_peer_crashes(autojump_clock, lab):
    a, b = await lab.add(), await lab.add(silent)

    async def crash_soon():
        await trio.sleep(2)
        b.host.crash()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_soon)
        with pytest.raises(PeerUnreachable):
            await a.request(b.peer, FIND)
    assert trio.current_time() < 3


async def test_a_dead_host_can_do_nothing(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    a.host.crash()
    with pytest.raises(PeerUnreachable):
        await a.request(b.peer, FIND)


async def test_an_unplugged_host_is_silence_then_a_lost_connection(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    a.host.subscribe(listener)
    await a.host.connect(b.peer, timeout_s=5)
    b.host.crash(silent=True)
    started = trio.current_time()
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=3)
    assert trio.current_time() - started == pytest.approx(3)
    assert ("disconnected", b.peer) not in listener.events
    await trio.sleep(KEEPALIVE_S)
    assert listener.events[-1] == ("disconnected", b.peer)
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=3)


@pytest.mark.parametrize("silently", [False, True])
async def test_a_restarted_host_is_reached_again(autojump_clock, lab, silently):
    a, b = await lab.add(), await lab.add()
    await a.request(b.peer, FIND)
    b.host.crash(silent=silently)
    again = await lab.restart(b)
    await a.request(b.peer, FIND)
    assert len(again.received) == 1
    assert again.host.traffic is b.host.traffic, "counters go on over restarts"


async def test_a_blackholed_peer_times_out_and_comes_back(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    await a.request(b.peer, FIND)
    lab.network.faults.blackhole(b.peer)
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=2)
    with pytest.raises(PeerTimeout):
        await a.host.ping(b.peer, timeout_s=2)
    lab.network.faults.blackhole(b.peer, False)
    await a.request(b.peer, FIND)


async def test_dialling_a_blackholed_peer_times_out(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    lab.network.faults.blackhole(b.peer)
    started = trio.current_time()
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=2)
    assert trio.current_time() - started == pytest.approx(2)


async def test_a_partition_separates_two_groups_and_nobody_else(autojump_clock, lab):
    a, b, c = await lab.add(), await lab.add(), await lab.add()
    cuts = lab.network.faults.partition([a.peer], [b.peer])
    for one, other in ((a, b), (b, a)):
        with pytest.raises(PeerTimeout):
            await one.request(other.peer, FIND, timeout_s=1)
    await a.request(c.peer, FIND)
    lab.network.faults.heal(cuts)
    await a.request(b.peer, FIND)


async def test_a_one_way_partition_delivers_but_loses_the_answer(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    await a.request(b.peer, FIND)
    lab.network.faults.partition_one_way([b.peer], [a.peer])
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=1)
    assert len(b.received) == 2
    with pytest.raises(PeerTimeout):
        await b.request(a.peer, FIND, timeout_s=1)
    assert a.received == []


async def test_connections_across_a_long_partition_are_given_up(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    await a.host.connect(b.peer, timeout_s=5)
    a.host.subscribe(listener)
    listener.events.clear()
    lab.network.faults.partition([a.peer], [b.peer])
    await trio.sleep(KEEPALIVE_S + 1)
    assert listener.events == [("disconnected", b.peer)]
    lab.network.faults.heal()
    await a.request(b.peer, FIND)


async def test_connections_survive_a_short_partition(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    await a.host.connect(b.peer, timeout_s=5)
    a.host.subscribe(listener)
    listener.events.clear()
    lab.network.faults.partition([a.peer], [b.peer])
    await trio.sleep(KEEPALIVE_S / 2)
    lab.network.faults.heal()
    await trio.sleep(KEEPALIVE_S)
    assert listener.events == []


async def test_a_slow_peer_is_late_but_answers(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    await a.request(b.peer, FIND)
    lab.network.faults.slow(b.peer, 2.0)
    started = trio.current_time()
    await a.request(b.peer, FIND)
    assert 4 <= trio.current_time() - started < 4.1
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=3)


async def test_lost_messages_time_out_in_the_given_share(autojump_clock):
    async with open_network(Links(ConstantLatency(0.01), loss=0.2), seed=3) as network:
        lab = Lab(network)
        a, b = await lab.add(), await lab.add()
        outcomes = {True: 0, False: 0}
        for _ in range(500):
            try:
                await a.request(b.peer, FIND, timeout_s=1)
            except PeerTimeout:
                outcomes[False] += 1
            else:
                outcomes[True] += 1
    assert 280 < outcomes[True] < 360, "0.8 squared of 500 is 320"


async def test_bandwidth_delays_by_size(autojump_clock):
    links = Links(ConstantLatency(0.0), bytes_per_s=1000)
    async with open_network(links, seed=3) as network:
        lab = Lab(network)
        a, b = await lab.add(), await lab.add(answering())
        await a.host.connect(b.peer, timeout_s=5)
        started = trio.current_time()
        await a.request(b.peer, FIND)
        took = trio.current_time() - started
        sizes = network.traffic.sent_bytes.total()
        assert took == pytest.approx(sizes / 1000, abs=0.003)


async def test_uniform_delays_stay_between_their_bounds(autojump_clock):
    async with open_network(Links(UniformLatency(0.1, 0.2)), seed=3) as network:
        lab = Lab(network)
        a, b = await lab.add(), await lab.add()
        await a.host.connect(b.peer, timeout_s=5)
        trips = [await a.host.ping(b.peer, timeout_s=5) for _ in range(100)]
    assert 0.2 <= min(trips) < 0.25
    assert 0.35 < max(trips) <= 0.4


async def test_a_handler_error_that_is_not_ours_ends_the_simulation(autojump_clock):
    async def broken(requester, message):
        raise KeyError("a bug")

    async def meet():
        async with open_network(seed=3) as network:
            lab = Lab(network)
            a, b = await lab.add(), await lab.add(broken)
            await a.request(b.peer, FIND)

    with pytest.raises(BaseExceptionGroup) as caught:
        await meet()
    assert caught.value.subgroup(KeyError)


class TestStore:
    @pytest.fixture
    def store(self):
        return FaultyKeyValue(MemoryKeyValue(), StoreFaults(), random.Random(1))

    async def test_it_works_until_told_otherwise(self, autojump_clock, store):
        await store.put({b"a": b"1"})
        store.faults.fail_next = 1
        with pytest.raises(StoreUnavailable):
            await store.put({b"a": b"2"})
        assert await store.get(b"a") == b"1"

    async def test_a_full_disk_still_deletes(self, autojump_clock, store):
        await store.put({b"a": b"1"})
        store.faults.full = True
        with pytest.raises(StoreFull):
            await store.put({b"b": b"1"})
        await store.put({b"a": None})
        assert await store.scan(b"") == []

    async def test_errors_come_in_the_given_share(self, autojump_clock, store):
        store.faults.error_rate = 0.5
        failures = 0
        for _ in range(200):
            try:
                await store.get(b"a")
            except StoreUnavailable:
                failures += 1
        assert 70 < failures < 130

    async def test_the_disk_outlives_the_process(self, autojump_clock, store):
        disk = MemoryKeyValue()
        before = FaultyKeyValue(disk, StoreFaults(), random.Random(1))
        await before.put({b"a": b"1"})
        before.cut()
        with pytest.raises(StoreUnavailable):
            await before.put({b"a": b"2"})
        after = FaultyKeyValue(disk, StoreFaults(), random.Random(1))
        assert await after.get(b"a") == b"1"

    async def test_a_slow_disk_takes_virtual_time(self, autojump_clock, store):
        store.faults.delay_s = 2.0
        started = trio.current_time()
        await store.get(b"a")
        assert trio.current_time() - started == pytest.approx(2)
