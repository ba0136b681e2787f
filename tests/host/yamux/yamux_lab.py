"""Sessions wired back to back, frames by hand, and both stacks' connections over memory."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from libp2p.abc import IRawConnection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.stream_muxer.yamux.yamux import Yamux
from noise_lab import make_pipe, ours, secure

from primedht.host.sockets import TcpStream, connect_tcp, listen_tcp, prepare
from primedht.host.yamux import MemoryBudget, Session, SessionLimits, YamuxConnection
from primedht.host.yamux.frames import (
    DATA,
    GO_AWAY,
    HEADER_BYTES,
    PING,
    WINDOW_UPDATE,
    encode_header,
    unpack_header_from,
)

ALL = 1 << 30


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    length: int
    payload: bytes = b""

    def encode(self) -> bytes:
        return encode_header(self.kind, self.flags, self.stream, self.length) + self.payload


def data(stream: int, payload: bytes = b"", flags: int = 0) -> Frame:
    return Frame(DATA, flags, stream, len(payload), payload)


def window(stream: int, increment: int = 0, flags: int = 0) -> Frame:
    return Frame(WINDOW_UPDATE, flags, stream, increment)


def ping(value: int, flags: int) -> Frame:
    return Frame(PING, flags, 0, value)


def go_away(code: int = 0) -> Frame:
    return Frame(GO_AWAY, 0, 0, code)


def decode(raw: bytes) -> list[Frame]:
    """Cut complete frames apart."""
    frames, offset = [], 0
    while offset < len(raw):
        version, kind, flags, stream, length = unpack_header_from(raw, offset)
        assert version == 0
        offset += HEADER_BYTES
        size = length if kind == DATA else 0
        frames.append(Frame(kind, flags, stream, length, raw[offset : offset + size]))
        offset += size
    assert offset == len(raw)
    return frames


class End:
    """A session that a test drives: `feed` frames in, read what comes `out`."""

    def __init__(self, *, is_client: bool = False, budget: MemoryBudget | None = None, **limits) -> None:
        self.now = 100.0
        self.session = Session(
            is_client=is_client, now=self.now, budget=budget, session_limits=SessionLimits(**limits)
        )

    def feed(self, *frames: Frame | bytes) -> None:
        raw = b"".join(frame.encode() if isinstance(frame, Frame) else frame for frame in frames)
        self.session.receive(raw, self.now)

    def out(self) -> list[Frame]:
        return decode(b"".join(self.session.take(ALL)))

    def accept(self):
        stream = self.session.accept()
        assert stream is not None
        return stream


def wire(a: End, b: End, *, rounds: int = 1000) -> None:
    """Carry everything between both until neither has anything to say."""
    for _ in range(rounds):
        moved = False
        for source, target in ((a, b), (b, a)):
            for message in source.session.take(ALL):
                target.session.receive(message, target.now)
                moved = True
        if not moved:
            return
    raise AssertionError("the sessions never fall silent")


def make_ends(**limits) -> tuple[End, End]:
    """Return a client and a server."""
    return End(is_client=True, **limits), End(is_client=False, **limits)


# --- connections ------------------------------------------------------------------------------------


def our_muxer(conn, **options) -> YamuxConnection:
    return YamuxConnection(conn, conn.get_remote_peer(), **options)


def stock_muxer(conn) -> Yamux:
    return Yamux(conn, conn.get_remote_peer(), is_initiator=conn.is_initiator)


@asynccontextmanager
async def socket_pair() -> AsyncIterator[tuple[RawConnection, RawConnection]]:
    """Yield both ends of a connection over loopback, the dialer's first."""
    listening = listen_tcp(ipaddress.ip_address("127.0.0.1"), 0)
    async with trio.open_nursery() as nursery:
        dialled = await connect_tcp(ipaddress.ip_address("127.0.0.1"), listening.getsockname()[1], nursery)
        await trio.lowlevel.wait_readable(listening)
        accepted, _ = listening.accept()
        listening.close()
        prepare(accepted)
        streams = dialled, TcpStream(accepted, nursery)
        yield RawConnection(streams[0], True), RawConnection(streams[1], False)
        for stream in streams:
            stream.abort()


@asynccontextmanager
async def connected(
    make_dialer=our_muxer, make_listener=our_muxer, ends: tuple[IRawConnection, IRawConnection] | None = None
) -> AsyncIterator[tuple]:
    """Yield two running connections over Noise over `ends`, or over memory; the dialer's first."""
    first, second = await secure(ours(), ours(), ends or make_pipe())
    dialer, listener = make_dialer(first), make_listener(second)
    problems: list[Exception] = []

    async def run(muxer) -> None:
        try:
            await muxer.start()
        except Exception as error:  # noqa: BLE001 - for the test to look at
            problems.append(error)

    async with trio.open_nursery() as nursery:
        for muxer in (dialer, listener):
            muxer.problems = problems
            nursery.start_soon(run, muxer)
        with trio.fail_after(10):
            await dialer.event_started.wait()
            await listener.event_started.wait()
        yield dialer, listener
        for muxer in (dialer, listener):
            with trio.move_on_after(5):
                await muxer.close()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(muxer, handle: Callable[..., Awaitable[None]]) -> AsyncIterator[None]:
    """Serve every stream that `muxer` accepts with `handle`."""

    async def accept(nursery: trio.Nursery) -> None:
        while True:
            nursery.start_soon(handle, await muxer.accept_stream())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, nursery)
        yield
        nursery.cancel_scope.cancel()


async def read_exactly(stream, size: int) -> bytes:
    pieces, missing = [], size
    while missing:
        piece = await stream.read(missing)
        assert piece
        assert len(piece) <= missing
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
