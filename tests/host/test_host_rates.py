"""`limits.upload_rate` and `limits.download_rate`: shared by transfers, waited for by nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from host_helpers import connect, running_host
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from primedht.host.rates import Rates, TokenBucket
from primedht.host.streams import Stream
from primedht.kad.messages import Message, MessageType

RATE = 1 << 20
FIND = Message(MessageType.FIND_NODE, key=b"k")


@given(
    rate=st.floats(1, 1e9),
    takes=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1 << 20)), min_size=1, max_size=50),
)
def test_what_has_been_paid_for_never_exceeds_the_rate_and_a_burst(rate, takes):
    bucket = TokenBucket(rate)
    burst = max(rate / 4, 1024)
    now, total, paid_at = 0.0, 0, 0.0
    for pause, size in takes:
        now += pause
        total += size
        at = now + bucket.take(size, now)
        assert at >= paid_at - 1e-6 * max(1.0, paid_at)  # in order
        paid_at = max(paid_at, at)
        assert total <= (burst + paid_at * rate) * (1 + 1e-6) + 1


@given(st.floats(1, 1e12))
def test_pieces_are_small_enough_for_turns_and_large_enough_to_be_worth_it(rate):
    assert 1 << 10 <= TokenBucket(rate).piece_bytes <= 64 << 10


def test_exempt_protocols_and_missing_limits_cost_nothing():
    rates = Rates(1000, None, exempt={"/kad"})
    assert rates.of("/kad") == (None, None)
    upload, download = rates.of("/bulk")
    assert upload is not None
    assert download is None
    assert rates.of("/other") == (upload, None)


class Muxed:
    """A muxed stream that takes, and has, as much as one likes."""

    recv_closed = closed = False

    def __init__(self) -> None:
        self.sent_bytes = 0

    async def write(self, data):
        self.sent_bytes += len(data)

    async def read(self, n=None):
        return bytes(n or 1 << 16)


async def no_wait():
    pass


def streams(rates: Rates, *protocols: str) -> list[Stream]:
    """Streams of one node over connections that are as fast as one likes."""
    found = []
    for protocol in protocols:
        socket = SimpleNamespace(is_closed=False, drain=no_wait)
        connection = SimpleNamespace(swarm=SimpleNamespace(rates=rates), socket=socket, muxed_conn=None)
        stream = Stream(Muxed(), connection, inbound=True)
        stream.set_protocol(protocol)
        found.append(stream)
    return found


async def transfer(stream: Stream, way: str, size: int) -> float:
    """Move `size` bytes; return when they had been moved."""
    if way == "send":
        await stream.send(bytes(size))
    else:
        received = 0
        while received < size:
            received += len(await stream.receive())
        await trio.sleep_until(stream._reads_at)  # as the next read would
    return trio.current_time()


ways = pytest.mark.parametrize("way", ["send", "receive"])


@ways
async def test_one_transfer_takes_as_long_as_the_rate_says(way, autojump_clock: MockClock):
    (stream,) = streams(Rates(RATE, RATE), "/bulk")
    started = trio.current_time()
    took = await transfer(stream, way, 10 * RATE) - started
    assert took == pytest.approx(10, abs=0.5)


@ways
async def test_transfers_share_the_rate_evenly(way, autojump_clock: MockClock):
    both = streams(Rates(RATE, RATE), "/bulk", "/other")
    started = trio.current_time()
    ends = []

    async def run(stream):
        ends.append(await transfer(stream, way, 5 * RATE) - started)

    async with trio.open_nursery() as nursery:
        for stream in both:
            nursery.start_soon(run, stream)
    assert ends == pytest.approx([10, 10], abs=0.5)


@ways
async def test_an_idle_while_is_no_credit_for_later(way, autojump_clock: MockClock):
    (stream,) = streams(Rates(RATE, RATE), "/bulk")
    await trio.sleep(1000)
    started = trio.current_time()
    assert await transfer(stream, way, 4 * RATE) - started == pytest.approx(4, abs=0.5)


@ways
async def test_dht_traffic_waits_for_nothing(way, autojump_clock: MockClock):
    bulk, dht = streams(Rates(RATE, RATE, exempt={"/kad"}), "/bulk", "/kad")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transfer, bulk, way, 100 * RATE)
        await trio.sleep(1)
        started = trio.current_time()
        assert await transfer(dht, way, 10 * RATE) == started
        nursery.cancel_scope.cancel()


async def test_one_direction_may_be_limited_alone(autojump_clock: MockClock):
    (stream,) = streams(Rates(None, RATE), "/bulk")
    started = trio.current_time()
    assert await transfer(stream, "send", 10 * RATE) == started
    assert await transfer(stream, "receive", 2 * RATE) - started == pytest.approx(2, abs=0.5)


async def test_a_read_that_is_cancelled_while_it_waits_takes_nothing(autojump_clock: MockClock):
    (stream,) = streams(Rates(None, 1000), "/bulk")
    reads = []
    stream.muxed_stream.read = lambda n=None: read(n)

    async def read(n):
        reads.append(n)
        return bytes(n)

    for _ in range(2):  # what may go at once, and a piece more, for which the next read has to wait
        await stream.receive()
    with trio.move_on_after(0.1) as scope:
        await stream.receive()
    assert scope.cancelled_caught
    assert len(reads) == 2


async def test_the_rates_of_a_host_bind_its_transfers_and_not_its_lookups():
    """Over real sockets, in as much time as the limit asks for and no less."""
    received = 0

    async def sink(stream):
        nonlocal received
        while data := await stream.receive():
            received += len(data)
        await stream.send(b"done")

    async def echo(requester, message):
        return message

    async with running_host(upload_bytes_per_s=RATE) as a, running_host() as b:
        b.streams.serve("/sink", sink)
        await b.connections.serve_kad(echo)
        await connect(a, b)
        stream = await a.streams.open(b.peer_id, ("/sink",), timeout_s=10)
        started = trio.current_time()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send, bytes(RATE))
                for _ in range(20):
                    assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
                assert received < RATE
            await stream.finish()
            assert await stream.receive() == b"done"
        assert received == RATE
        assert trio.current_time() - started >= 0.7
