"""Who reads a connection: the pump lends its place, and has it back whatever becomes of the leader."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from yamux_lab import connected, data, read_exactly, serving, socket_pair

from primedht.host.yamux.frames import SYN, YamuxViolation

REQUEST, REPLY = b"q" * 100, b"r" * 1500


async def answer(stream) -> None:
    try:
        while True:
            await read_exactly(stream, len(REQUEST))
            await stream.write(REPLY)
    except MuxedStreamError:
        await stream.close()


async def ask(stream, *, times: int = 1) -> None:
    for _ in range(times):
        await stream.write(REQUEST)
        assert await read_exactly(stream, len(REPLY)) == REPLY


async def ask_until_led(stream, dialer, listener) -> None:
    """Ask until the readers of `stream` lead: now and then a pump takes its place back on a slow machine."""
    while dialer.reading.leader is None or listener.reading.leader is None:
        await ask(stream)


async def echo(stream) -> None:
    try:
        while True:
            await stream.write(await stream.read())
    except MuxedStreamError:
        await stream.close()


@asynccontextmanager
async def over_sockets(handle=answer):
    """Yield the dialer and the listener, whose streams `handle` serves."""
    async with (
        socket_pair() as ends,
        connected(ends=ends) as (dialer, listener),
        trio.open_nursery() as handlers,
    ):
        listener.serve_streams(lambda stream: handlers.start_soon(handle, stream))
        with trio.fail_after(20):
            yield dialer, listener
        handlers.cancel_scope.cancel()


async def eventually(condition) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells
        await trio.sleep(0.001)


@asynccontextmanager
async def led(handle=answer):
    """Yield dialer, listener, a stream whose reader leads at both ends, and its scope and outcome.

    That reader waits for one byte that nobody has asked for.
    """
    outcome: list = []
    async with over_sockets(handle) as (dialer, listener), trio.open_nursery() as nursery:
        stream = await dialer.open_stream()
        await ask_until_led(stream, dialer, listener)
        scope = trio.CancelScope()

        async def read() -> None:
            with scope:
                try:
                    outcome.append(await stream.read())
                except Exception as error:  # noqa: BLE001 - for the test to look at
                    outcome.append(error)

        nursery.start_soon(read)
        await eventually(lambda: dialer.reading.is_led and listener.reading.is_led)
        yield dialer, listener, stream, scope, outcome
        scope.cancel()


async def test_one_busy_stream_reads_for_its_connection():
    async with over_sockets() as (dialer, listener):
        stream = await dialer.open_stream()
        await ask(stream, times=7)
        assert dialer.reading.leader is None
        await ask_until_led(stream, dialer, listener)
        assert dialer.reading.leader is stream._state


async def test_streams_that_take_turns_leave_the_reading_to_the_pump():
    async with over_sockets() as (dialer, listener):
        streams = [await dialer.open_stream() for _ in range(2)]
        for _ in range(30):
            for stream in streams:
                await ask(stream)
                assert dialer.reading.leader is listener.reading.leader is None


async def test_a_connection_in_memory_is_read_by_the_pump():
    async with connected() as (dialer, listener), serving(listener, answer):
        await ask(await dialer.open_stream(), times=30)
        assert dialer.reading.leader is None


async def test_a_leader_that_is_cancelled_hands_over_and_loses_nothing():
    async with led() as (dialer, _, stream, scope, outcome):
        scope.cancel()
        await eventually(lambda: dialer.reading.leader is None)
        assert not outcome
        await ask(stream, times=30)
        await ask(await dialer.open_stream())


async def test_a_leader_that_stays_away_does_not_keep_the_others_waiting():
    async with led() as (dialer, _, stream, _, outcome):
        await stream.write(REQUEST)
        await eventually(lambda: outcome)  # and its reader does not come back
        await ask(await dialer.open_stream())
        assert dialer.reading.leader is None


async def test_another_stream_is_served_while_one_leads():
    async with led() as (dialer, listener, _, _, outcome):
        await ask(await dialer.open_stream())
        inbound = await listener.open_stream()
        await inbound.write(b"hello")
        accepted = await dialer.accept_stream()
        assert await accepted.read() == b"hello"
        assert not outcome


async def test_a_long_message_is_left_to_the_pump_as_a_whole():
    payload = bytes(range(256)) * 1200

    async def reply_at_length(stream) -> None:
        while await stream.read() == REQUEST:
            await stream.write(REPLY)
        await stream.write(payload)
        await stream.close()

    async with led(reply_at_length) as (_, _, stream, _, outcome):
        await stream.write(b"now")
        await eventually(lambda: outcome)
        rest = await read_exactly(stream, len(payload) - len(outcome[0]))
        assert outcome[0] + rest == payload
        with pytest.raises(MuxedStreamEOF):
            await stream.read()


async def test_a_leader_gets_no_more_than_it_asks_for():
    async with over_sockets() as (dialer, listener):
        stream = await dialer.open_stream()
        await ask_until_led(stream, dialer, listener)
        for size in range(1, len(REPLY) + 200, 200):
            await stream.write(REQUEST)
            received = [await stream.read(size)]
            while sum(map(len, received)) < len(REPLY):
                received.append(await stream.read(size))
            assert max(map(len, received)) <= size
            assert b"".join(received) == REPLY


async def test_a_reset_by_another_task_wakes_the_leader():
    async with led() as (dialer, listener, stream, _, outcome):
        await stream.reset()
        await eventually(lambda: outcome)
        assert isinstance(outcome[0], MuxedStreamReset)
        await eventually(lambda: listener.reading.leader is None)
        await ask(await dialer.open_stream(), times=30)


@pytest.mark.parametrize("closer", ["dialer", "listener"])
async def test_the_end_of_the_connection_wakes_the_leader(closer: str):
    async with led() as (dialer, listener, _, _, outcome):
        await (dialer if closer == "dialer" else listener).close()
        await eventually(lambda: outcome)
        assert isinstance(outcome[0], MuxedStreamReset)
        await dialer.event_closed.wait()
        await listener.event_closed.wait()
        assert not dialer.problems


async def test_a_connection_that_breaks_wakes_the_leader():
    async with led() as (dialer, listener, _, _, outcome):
        await listener.secured_conn.close()
        await eventually(lambda: outcome)
        assert isinstance(outcome[0], MuxedStreamReset)
        await dialer.event_closed.wait()


async def test_what_a_leader_finds_forbidden_ends_the_connection():
    async with led() as (dialer, listener, _, _, outcome):
        listener.secured_conn.send_nowait([data(3, b"x", flags=SYN).encode()])  # our side of the ids
        await eventually(lambda: outcome)
        assert isinstance(outcome[0], MuxedStreamReset)
        await dialer.event_closed.wait()
        assert [type(problem) for problem in dialer.problems] == [YamuxViolation]


async def test_only_one_task_may_wait_for_a_stream_that_leads():
    async with led() as (_, _, stream, _, outcome):
        with pytest.raises(trio.BusyResourceError):
            await stream.read()
        await stream.write(REQUEST)
        await eventually(lambda: outcome)
        assert outcome == [REPLY]


async def test_interrupting_a_reader_does_not_disturb_who_flushes():
    async with socket_pair() as (first, second), trio.open_nursery() as nursery:
        payload = bytes(8 << 20)
        first.stream.write_nowait(memoryview(payload))
        assert first.stream.backlog_bytes
        nursery.start_soon(first.stream.wait_readable)
        nursery.start_soon(first.stream.flush)
        await trio.testing.wait_all_tasks_blocked()
        first.stream.interrupt()
        with trio.fail_after(10):
            assert await second.stream.read(len(payload)) == payload


@pytest.mark.parametrize("seed", range(25))
async def test_nothing_is_lost_whoever_reads(seed: int):
    """Streams that echo: busy alone, or several; with cancelled reads, pauses and long messages."""
    chance = random.Random(seed)

    async def talk(dialer, rounds: int) -> None:
        stream = await dialer.open_stream()
        for _ in range(rounds):
            payload = chance.randbytes(chance.choice((1, 10, 100, 1000, 1000, 6000, 70_000)))
            await stream.write(payload)
            received = b""
            while len(received) < len(payload):
                patience_s = chance.choice((0, 0.0005, 1, 1, 1, 1))
                with trio.move_on_after(patience_s):
                    received += await stream.read(chance.choice((None, None, 700)))
                for _ in range(chance.choice((0, 0, 0, 1, 3))):
                    await trio.lowlevel.checkpoint()
            assert received == payload
            if not chance.randrange(20):
                await trio.sleep(0.007)
        await stream.close()

    async with over_sockets(echo) as (dialer, _):
        for _ in range(4):
            async with trio.open_nursery() as nursery:
                for _ in range(chance.choice((1, 1, 2, 3))):
                    nursery.start_soon(talk, dialer, 40)
