"""Yamux connections that run: with themselves, with py-libp2p's own, with peers that stop reading."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)
from noise_lab import make_pipe, ours, secure
from trio.testing import MockClock, wait_all_tasks_blocked
from yamux_lab import connected, data, go_away, our_muxer, ping, read_exactly, serving, stock_muxer

from primedht import limits
from primedht.host.yamux.frames import INITIAL_WINDOW_BYTES, SYN

PAIRINGS = [
    pytest.param(our_muxer, our_muxer, id="ours-ours"),
    pytest.param(our_muxer, stock_muxer, id="ours-stock"),
    pytest.param(stock_muxer, our_muxer, id="stock-ours"),
]


async def read_all(stream) -> bytes:
    pieces = []
    with trio.fail_after(20):
        while True:
            try:
                pieces.append(await stream.read(65_536))
            except MuxedStreamEOF:
                return b"".join(pieces)


async def echo(stream) -> None:
    """Send everything back, then finish."""
    try:
        while True:
            await stream.write(await stream.read(65_536))
    except MuxedStreamEOF:
        await stream.close()
    except MuxedStreamError:
        pass


async def for_ever(call) -> None:
    """Repeat `call` until it fails."""
    while True:
        await call()
        await trio.lowlevel.checkpoint()


async def send_raw(muxer, *messages: bytes) -> None:
    """Send what no honest session would."""
    muxer.secured_conn.send_nowait(messages)
    await muxer.secured_conn.flush()


# --- every pairing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("make_dialer", "make_listener"), PAIRINGS)
async def test_data_passes_both_ways_whoever_opens(make_dialer, make_listener):
    async with connected(make_dialer, make_listener) as muxers:
        for opener, server in (muxers, muxers[::-1]):
            async with serving(server, echo):
                for size in (1, 1000, 70_000, 600_000):
                    payload = os.urandom(size)
                    stream = await opener.open_stream()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(stream.write, payload)
                        with trio.fail_after(30):
                            received = await read_exactly(stream, size)
                    assert hashlib.sha256(received).digest() == hashlib.sha256(payload).digest()
                    await stream.close()
                    with pytest.raises(MuxedStreamEOF):
                        await stream.read(1)


@pytest.mark.parametrize(("make_dialer", "make_listener"), PAIRINGS)
async def test_many_streams_at_once(make_dialer, make_listener):
    async with connected(make_dialer, make_listener) as (dialer, listener), serving(listener, echo):

        async def call(number: int) -> None:
            payload = b"%06d" % number * 20
            stream = await dialer.open_stream()
            await stream.write(payload)
            await stream.close()
            assert await read_all(stream) == payload

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(200):
                    nursery.start_soon(call, number)


@pytest.mark.parametrize(("make_dialer", "make_listener"), PAIRINGS)
async def test_either_side_may_close_the_connection(make_dialer, make_listener):
    for closer in (0, 1):
        async with connected(make_dialer, make_listener) as muxers:
            stream = await muxers[0].open_stream()
            await stream.write(b"x")
            inbound = await muxers[1].accept_stream()
            with trio.fail_after(10):
                await muxers[closer].close()
                await muxers[1 - closer].event_shutting_down.wait()
                with pytest.raises((MuxedConnUnavailable, MuxedStreamError)):
                    await muxers[1 - closer].accept_stream()
            left = (stream, inbound)[1 - closer]
            with trio.fail_after(10), pytest.raises(MuxedStreamError):
                await for_ever(lambda left=left: left.write(b"y"))


@pytest.mark.parametrize(("make_dialer", "make_listener"), PAIRINGS[:2])
async def test_a_thousand_streams_in_a_row_leave_nothing_behind(make_dialer, make_listener):
    async with connected(make_dialer, make_listener) as (dialer, listener), serving(listener, echo):
        with trio.fail_after(60):
            for _ in range(300 if make_listener is stock_muxer else 1000):
                stream = await dialer.open_stream()
                await stream.write(b"ping")
                await stream.close()
                assert await read_all(stream) == b"ping"
            await wait_all_tasks_blocked(0.01)
        assert dialer.session.stream_count == dialer.session.queued_bytes == 0


# --- ours -------------------------------------------------------------------------------------------


async def test_a_thousand_streams_at_once():
    """More than the backlogs of 256: opening waits, and nothing is refused."""
    async with connected() as (dialer, listener):
        inbound = []

        async def hold(stream) -> None:
            inbound.append(stream)
            await stream.write(await stream.read())

        async with serving(listener, hold):
            streams = []
            with trio.fail_after(30):
                for number in range(1000):
                    stream = await dialer.open_stream()
                    await stream.write(b"%d" % number)
                    streams.append(stream)
                for number, stream in enumerate(streams):
                    assert await stream.read() == b"%d" % number
            assert listener.session.stream_count == 1000


async def test_opening_waits_for_acknowledgements_and_can_be_cancelled():
    async with connected() as (dialer, listener):
        for _ in range(limits.YAMUX_ACK_BACKLOG):
            await (await dialer.open_stream()).write(b"x")
        with trio.move_on_after(0.05) as scope:
            await dialer.open_stream()
        assert scope.cancelled_caught
        inbound = await listener.accept_stream()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dialer.open_stream)
                await wait_all_tasks_blocked()
                await inbound.write(b"y")


async def test_b9_a_reset_wakes_those_who_wait():
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"x")
        inbound = await listener.accept_stream()
        outcomes = []

        async def wait(what) -> None:
            with pytest.raises(MuxedStreamReset):
                await for_ever(what)
            outcomes.append(what)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, stream.read)
            nursery.start_soon(wait, lambda: stream.write(bytes(100_000)))
            await wait_all_tasks_blocked(0.01)
            assert not outcomes
            await inbound.reset()
        assert len(outcomes) == 2


async def test_half_close():
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"question")
        await stream.close_write()
        with pytest.raises(MuxedStreamClosed):
            await stream.write(b"more")
        inbound = await listener.accept_stream()
        assert await read_all(inbound) == b"question"
        assert inbound.recv_closed
        assert not inbound.closed
        await inbound.write(b"answer")
        await inbound.close()
        assert await read_all(stream) == b"answer"
        assert inbound.closed


async def test_a_connection_lost_wakes_everybody_with_an_error():
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"x")
        await listener.accept_stream()
        outcomes = []

        async def expect(error, call) -> None:
            with pytest.raises(error):
                await for_ever(call)
            outcomes.append(call)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, MuxedStreamReset, stream.read)
            nursery.start_soon(expect, MuxedStreamReset, lambda: stream.write(bytes(100_000)))
            nursery.start_soon(expect, MuxedConnUnavailable, dialer.accept_stream)
            await wait_all_tasks_blocked(0.01)
            await listener.secured_conn.close()
        assert len(outcomes) == 3
        with pytest.raises(MuxedConnUnavailable):
            await dialer.open_stream()


async def test_what_arrived_before_a_goodbye_is_read():
    """A peer that answers and closes at once."""
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"question")
        inbound = await listener.accept_stream()
        await inbound.write(b"answer")
        await inbound.close()
        await listener.close()
        await wait_all_tasks_blocked(0.01)
        assert await read_all(stream) == b"answer"


async def test_after_a_goodbye_the_last_streams_end_in_peace():
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"question")
        inbound = await listener.accept_stream()
        await send_raw(listener, go_away().encode())
        with trio.fail_after(5):
            await dialer.event_shutting_down.wait()
        with pytest.raises(MuxedConnUnavailable):
            await dialer.open_stream()
        await inbound.write(b"answer")
        await inbound.close()
        await stream.close()
        assert await read_all(stream) == b"answer"
        assert await read_all(inbound) == b"question"
        with trio.fail_after(5):
            await dialer.event_closed.wait()
        assert dialer.problems == []


async def test_b16_closing_takes_no_time(autojump_clock: MockClock):
    async with connected() as (dialer, listener):
        started = trio.current_time()
        await dialer.close()
        await dialer.close()
        assert trio.current_time() == started
        await listener.event_closed.wait()
        assert trio.current_time() == started
        assert listener.problems == []


async def test_cancelling_start_says_goodbye():
    first, second = await secure(ours(), ours(), make_pipe())
    dialer, listener = our_muxer(first), our_muxer(second)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.start)
        with trio.move_on_after(0.05):
            await dialer.start()
        assert dialer.is_closed
        with trio.fail_after(5):
            await listener.event_closed.wait()
        assert listener.session.goodbye == 0


async def test_an_idle_connection_lives_and_measures_its_round_trip_time(autojump_clock: MockClock):
    async with connected() as (dialer, listener):
        await trio.sleep(1000)
        assert not dialer.is_closed
        assert not listener.is_closed
        assert dialer.session.rtt_s is not None


async def test_a_stock_peer_stays_connected_while_idle(autojump_clock: MockClock):
    async with connected(our_muxer, stock_muxer) as (dialer, listener), serving(listener, echo):
        await trio.sleep(300)
        stream = await dialer.open_stream()
        await stream.write(b"still there")
        assert await stream.read() == b"still there"


async def test_a_flood_of_pings_costs_the_peer_its_connection():
    async with connected() as (dialer, listener):
        await send_raw(dialer, ping(1, SYN).encode() * 4000)
        with trio.fail_after(5):
            await listener.event_closed.wait()
        assert any("flood" in str(problem) for problem in listener.problems)


async def test_streams_opened_in_one_burst_are_all_accepted():
    """An honest peer may open hundreds at once; they come in one read, in many messages."""
    async with connected() as (dialer, listener):
        served = []

        async def serve(stream) -> None:
            served.append(stream.stream_id)

        async with serving(listener, serve):
            await send_raw(dialer, *(data(number, b"x", SYN).encode() for number in range(1, 2000, 2)))
            await wait_all_tasks_blocked(0.01)
        assert sorted(served) == list(range(1, 2000, 2))


async def test_a_cancelled_write_leaves_the_stream_usable_and_whole():
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        sent = 0
        with trio.move_on_after(0.2):
            while True:
                await stream.write(bytes(50_000))
                sent += 50_000
        assert sent >= INITIAL_WINDOW_BYTES
        inbound = await listener.accept_stream()

        async def write_more() -> None:
            await stream.write(b"the end")
            await stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_more)
            received = await read_all(inbound)
        assert received == bytes(sent) + b"the end"


async def test_a_cancelled_read_loses_nothing():
    async with connected() as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"x")
        inbound = await listener.accept_stream()
        assert await inbound.read() == b"x"
        with trio.move_on_after(0.01) as scope:
            await inbound.read()
        assert scope.cancelled_caught
        await stream.write(b"y")
        assert await inbound.read() == b"y"


async def test_two_tasks_may_not_read_one_stream():
    async with connected() as (dialer, _):
        stream = await dialer.open_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.read)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.read()
            nursery.cancel_scope.cancel()


async def test_a_stalled_stream_does_not_hold_up_the_others():
    async with connected() as (dialer, listener):
        stalled = await dialer.open_stream()
        with trio.move_on_after(0.2):
            await for_ever(lambda: stalled.write(bytes(200_000)))
        await listener.accept_stream()
        stream = await dialer.open_stream()
        payload = os.urandom(1_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, payload)
            inbound = await listener.accept_stream()
            with trio.fail_after(20):
                assert await read_exactly(inbound, len(payload)) == payload


async def test_a_small_message_does_not_wait_for_a_bulk_transfer():
    """It is in the next message sent, however much bulk is queued."""
    async with connected() as (dialer, _listener):
        bulk = await dialer.open_stream()
        await bulk.write(bytes(200_000))
        small = await dialer.open_stream()
        await small.write(b"urgent")
        sent = dialer.session.take(1)
        assert b"urgent" in sent[0]


async def test_rtt_and_addresses():
    async with connected() as (dialer, listener):
        assert dialer.is_established
        assert dialer.is_initiator
        assert not listener.is_initiator
        assert dialer.rtt() == 0.0
        assert dialer.get_remote_address() == ("127.0.0.1", 1)
        assert str(dialer.get_transport_addresses()[0]) == "/ip4/127.0.0.1/tcp/1"
        stream = await dialer.open_stream()
        assert stream.is_initiator
        assert stream.get_remote_address() == ("127.0.0.1", 1)
        assert dialer.get_connection_type() is listener.get_connection_type()
        with pytest.raises(NotImplementedError):
            stream.set_deadline(1)
        async with stream:
            await stream.write(b"x")
        assert await read_all(await listener.accept_stream()) == b"x"
