"""The faults of py-libp2p's Yamux, B9 to B13, B17 and B20 of docs/py-libp2p.md, on both stacks.

Each test passes on ours and must fail on py-libp2p's: one that passes there has lost its fault, and its
line of the document is to be changed.
"""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
import trio
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from noise_lab import make_pipe, ours, secure
from trio.testing import MockClock, wait_all_tasks_blocked
from yamux_lab import Frame, connected, our_muxer, read_exactly, serving, stock_muxer, window

from primedht import limits
from primedht.host.yamux.frames import INITIAL_WINDOW_BYTES, SYN, encode_header

stacks = pytest.mark.parametrize(
    "make_muxer",
    [
        pytest.param(our_muxer, id="ours"),
        pytest.param(
            stock_muxer, id="stock", marks=pytest.mark.xfail(strict=True, reason="py-libp2p's fault")
        ),
    ],
)
PATIENCE_S = 1000.0  # on a clock that jumps


@stacks
async def test_b9_a_reset_reads_as_a_reset(make_muxer, autojump_clock: MockClock):
    async with connected(our_muxer, make_muxer) as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(b"part of it")
        inbound = await listener.accept_stream()
        assert await inbound.read(100) == b"part of it"
        outcomes = []

        async def read() -> None:
            try:
                await inbound.read(100)
            except MuxedStreamError as error:
                outcomes.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked(0.01)
            await stream.reset()
        assert outcomes == [MuxedStreamReset]


@stacks
async def test_b10_a_peer_that_ignores_the_window_loses_its_connection(make_muxer, autojump_clock: MockClock):
    async with connected(our_muxer, make_muxer) as (dialer, listener):
        stream = await dialer.open_stream()
        stream._state.credit = 10 << 20
        with suppress(MuxedStreamReset):
            await stream.write(bytes(2 << 20))
        await wait_all_tasks_blocked(0.01)
        assert stream._state.failure is not None
        assert listener.event_closed.is_set()


@stacks
async def test_b11_reading_in_tiny_pieces_does_not_widen_the_window(make_muxer, autojump_clock: MockClock):
    async with connected(our_muxer, make_muxer) as (dialer, listener):
        stream = await dialer.open_stream()
        await stream.write(bytes(2000))
        inbound = await listener.accept_stream()
        for _ in range(2000):
            await inbound.read(1)
        await wait_all_tasks_blocked(0.01)
        assert stream._state.credit <= INITIAL_WINDOW_BYTES


@stacks
async def test_b12_a_slow_reader_is_waited_for(make_muxer, autojump_clock: MockClock):
    async with connected(make_muxer, our_muxer) as (dialer, listener):
        payload = os.urandom(3 * INITIAL_WINDOW_BYTES)
        stream = await dialer.open_stream()

        async def write() -> None:
            await stream.write(payload)
            await stream.write(b"end")
            await stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            inbound = await listener.accept_stream()
            await trio.sleep(100)
            assert listener.session.unread_bytes == INITIAL_WINDOW_BYTES
            with trio.fail_after(PATIENCE_S):
                assert await read_exactly(inbound, len(payload) + 3) == payload + b"end"


@stacks
async def test_b13_more_than_256_streams_stay_open(make_muxer, autojump_clock: MockClock):
    async def echo(stream) -> None:
        with suppress(MuxedStreamError, MuxedStreamEOF):
            while True:
                await stream.write(await stream.read(100))

    async with connected(make_muxer, our_muxer) as (dialer, listener), serving(listener, echo):
        with trio.fail_after(PATIENCE_S):
            for _ in range(300):
                stream = await dialer.open_stream()
                await stream.write(b"x")
                assert await stream.read(1) == b"x"
        assert listener.session.stream_count == 300


@stacks
async def test_b17_a_dead_peer_is_noticed(make_muxer, autojump_clock: MockClock):
    """It has vanished and left the connection half open."""
    first, _ = await secure(ours(), ours(), make_pipe())
    muxer = make_muxer(first)
    started = trio.current_time()

    async def run() -> None:
        with suppress(Exception):  # why it ended is not the same for both
            await muxer.start()

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await muxer.event_closed.wait()
    waited_s = trio.current_time() - started
    assert waited_s == pytest.approx(limits.YAMUX_KEEPALIVE_S + limits.YAMUX_PING_TIMEOUT_S)


@stacks
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x09" + encode_header(0, SYN, 1, 0)[1:], id="version 9"),
        pytest.param(encode_header(77, 0, 1, 0), id="type 77"),
        pytest.param(window(2, flags=SYN), id="wrong parity"),
        pytest.param(window(0, flags=SYN), id="stream id 0"),
        pytest.param(window(99, 1), id="never opened"),
    ],
)
async def test_b20_what_the_specification_forbids_ends_the_connection(
    frame, make_muxer, autojump_clock: MockClock
):
    async with connected(our_muxer, make_muxer) as (dialer, listener):
        dialer.secured_conn.send_nowait([frame.encode() if isinstance(frame, Frame) else frame])
        await dialer.secured_conn.flush()
        with trio.move_on_after(PATIENCE_S):
            await dialer.event_closed.wait()
        assert dialer.session.goodbye == 1  # a protocol error
        assert listener.event_closed.is_set()
