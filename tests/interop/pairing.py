"""Any two implementations with each other: ours, py-libp2p's stock stack, go and js.

`open_end(kind)` opens one; each answers to `call` as the go and js peers do (peers/README.md, "Pairs"), and
serves echo, sink and reset. `run_pairing` is what every pairing has to stand.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pytest
import trio
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamError
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr
from peers import available, open_peer

from primedht.host import HostConfig, generate_private_key, open_host
from primedht.host.keys import load_key_pair
from primedht.host.noise import NoiseTransport
from primedht.host.streams import StreamReset
from primedht.host.upgrade import NOISE
from primedht.ids import PeerId

Kind = Literal["ours", "ours without extensions", "stock", "go", "js"]
KINDS: tuple[Kind, ...] = ("ours", "stock", "go", "js")
ECHO, SINK, RESET = "/test/echo/1.0.0", "/test/sink/1.0.0", "/test/reset/1.0.0"
LISTEN = "/ip4/127.0.0.1/tcp/0"
CHUNK_BYTES = 64 << 10
ABANDONED = bytes(100_000)
MANY = 4096


class ByteStream(Protocol):
    """receive: some bytes, none at the end; it and the others raise `StreamReset`."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    async def finish(self) -> None: ...

    async def reset(self) -> None: ...

    async def close(self) -> None: ...


class StockStream:
    """A `ByteStream` made of py-libp2p's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except StreamError as error:
            raise StreamReset(str(error)) from error

    async def receive(self) -> bytes:
        try:
            data: bytes = await self._stream.read(1 << 20)
        except StreamEOF:
            return b""
        except StreamError as error:
            raise StreamReset(str(error)) from error
        return data

    async def finish(self) -> None:
        await self._stream.close_write()

    async def reset(self) -> None:
        await self._stream.reset()

    async def close(self) -> None:
        with suppress(StreamError, StreamClosed):
            await self._stream.close()


Handler = Callable[[ByteStream], Awaitable[None]]
Opener = Callable[[str, str], Awaitable[ByteStream]]


# --- what both python ends serve and do -------------------------------------------------------------


async def _echo(stream: ByteStream) -> None:
    while data := await stream.receive():
        await stream.send(data)
    await stream.finish()


async def _sink(stream: ByteStream) -> None:
    digest, size = hashlib.sha256(), 0
    while data := await stream.receive():
        digest.update(data)
        size += len(data)
    await stream.send(size.to_bytes(8, "big") + digest.digest())
    await stream.finish()


async def _reset(stream: ByteStream) -> None:
    await stream.receive()
    await stream.reset()


HANDLERS: dict[str, Handler] = {ECHO: _echo, SINK: _sink, RESET: _reset}


class PythonEnd:
    """Ours or the stock stack, in this process. Make one with `open_end`."""

    def __init__(
        self, kind: Kind, addr: str, connect: Callable[[str], Awaitable[object]], open_stream: Opener
    ) -> None:
        self.kind = kind
        self.addr = addr
        self.peer_id = addr.rpartition("/p2p/")[2]
        self._connect = connect
        self._open = open_stream

    async def call(self, op: str, *, timeout_s: float = 30, **fields: Any) -> dict[str, Any]:
        with trio.fail_after(timeout_s):
            if op == "connect":
                await self._connect(fields["addr"])
                return {}
            return await getattr(self, f"_{op}")(**fields)

    async def _exchange(
        self, peer: str, protocol: str, bytes_n: int, chunk: int
    ) -> tuple[bytes, int, Any, bytes]:
        """Send random bytes and half-close, while reading to the end.

        Returns the digest of what was sent, and size, digest and first bytes of what came back.
        """
        stream = await self._open(peer, protocol)
        sent, received, count, head = hashlib.sha256(), hashlib.sha256(), 0, b""

        async def send() -> None:
            left = bytes_n
            while left:
                piece = os.urandom(min(left, chunk))
                sent.update(piece)
                await stream.send(piece)
                left -= len(piece)
            await stream.finish()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while data := await stream.receive():
                received.update(data)
                count += len(data)
                head = (head + data)[:64]
        await stream.close()
        return sent.digest(), count, received.digest(), head

    async def _echo(self, peer: str, protocol: str, bytes_n: int, chunk: int) -> dict[str, Any]:
        sent, count, received, _ = await self._exchange(peer, protocol, bytes_n, chunk)
        assert (count, received) == (bytes_n, sent), f"{count} of {bytes_n} bytes came back"
        return {"bytes_n": count}

    async def _sink(self, peer: str, protocol: str, bytes_n: int, chunk: int) -> dict[str, Any]:
        sent, _, _, answer = await self._exchange(peer, protocol, bytes_n, chunk)
        assert answer == bytes_n.to_bytes(8, "big") + sent
        return {"bytes_n": bytes_n}

    async def _calls(
        self, peer: str, protocol: str, count: int, streams: int, fresh: bool = False
    ) -> dict[str, Any]:
        each = count // streams

        async def work(worker: int) -> None:
            stream: ByteStream | None = None
            for number in range(each):
                if stream is None:
                    stream = await self._open(peer, protocol)
                await echoed(stream, worker * each + number)
                if fresh:
                    await stream.close()
                    stream = None
            if stream is not None:
                await stream.close()

        async with trio.open_nursery() as nursery:
            for worker in range(streams):
                nursery.start_soon(work, worker)
        return {"count": each * streams}

    async def _together(self, peer: str, protocol: str, count: int) -> dict[str, Any]:
        waiting, all_open = count, trio.Event()

        async def work(number: int) -> None:
            nonlocal waiting
            stream = await self._open(peer, protocol)
            await echoed(stream, number)
            waiting -= 1
            if not waiting:
                all_open.set()
            await all_open.wait()
            await echoed(stream, number + count)
            await stream.finish()
            assert await stream.receive() == b""
            await stream.close()

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(work, number)
        return {"count": count}

    async def _abandon(self, peer: str, protocol: str, count: int) -> dict[str, Any]:
        for _ in range(count):
            stream = await self._open(peer, protocol)
            await stream.send(ABANDONED)
            await stream.reset()
        return await self._calls(peer, protocol, 1, 1)

    async def _raw_request(
        self, peer: str, protocol: str, frames_b64: list[bytes], read_frames: int
    ) -> dict[str, Any]:
        assert (len(frames_b64), read_frames) == (1, 1), "only what the reset protocol needs"
        stream = await self._open(peer, protocol)
        try:
            await stream.send(bytes([len(frames_b64[0])]) + frames_b64[0])
            end = "open" if await stream.receive() else "eof"
        except StreamReset:
            end = "reset"
        await stream.reset()
        return {"end": end}


async def echoed(stream: ByteStream, number: int) -> None:
    """Send a message of 100 bytes and read it back."""
    wanted, got = b"%09d " % number * 10, b""
    await stream.send(wanted)
    while len(got) < len(wanted):
        data = await stream.receive()
        assert data, "the stream ended"
        got += data
    assert got == wanted


# --- opening ------------------------------------------------------------------------------------------


@asynccontextmanager
async def _open_ours(kind: Kind) -> AsyncIterator[PythonEnd]:
    key = generate_private_key()
    config = HostConfig(listen=(LISTEN,), kad_protocol="/test/kad/1.0.0", transport="primedht")
    async with open_host(key, config) as host:
        if kind == "ours without extensions":
            plain = NoiseTransport(load_key_pair(key))
            host.swarm.upgrader.security_multistream.transports[NOISE] = plain
        for protocol, handler in HANDLERS.items():
            host.streams.serve(protocol, handler, streams_per_peer_max=MANY)

        async def open_stream(peer: str, protocol: str) -> ByteStream:
            return await host.streams.open(PeerId.from_text(peer), (protocol,), timeout_s=120)

        yield PythonEnd(kind, f"{host.listen_addrs[0]}/p2p/{host.peer_id}", host.connect_addr, open_stream)


@asynccontextmanager
async def _open_stock() -> AsyncIterator[PythonEnd]:
    listen = [Multiaddr(LISTEN)]
    host = new_host(listen_addrs=listen)
    infos: dict[str, Any] = {}
    async with host.run(listen_addrs=listen):
        for protocol, handler in HANDLERS.items():
            host.set_stream_handler(TProtocol(protocol), _stock_handler(handler))

        async def connect(addr: str) -> None:
            info = info_from_p2p_addr(Multiaddr(addr))
            infos[str(info.peer_id)] = info
            await host.connect(info)

        async def open_stream(peer: str, protocol: str) -> ByteStream:
            try:
                return StockStream(await host.new_stream(infos[peer].peer_id, [TProtocol(protocol)]))
            except SwarmException as error:
                raise StreamReset(str(error)) from error

        yield PythonEnd("stock", str(host.get_addrs()[0]), connect, open_stream)


def _stock_handler(handler: Handler) -> Callable[[Any], Awaitable[None]]:
    async def handle(stream: Any) -> None:
        wrapped = StockStream(stream)
        with suppress(StreamReset):  # one that leaves a handler ends a stock node (docs/py-libp2p.md, B2)
            await handler(wrapped)
        await wrapped.close()

    return handle


def open_end(kind: Kind) -> AbstractAsyncContextManager[Any]:
    """Open one end of a pairing."""
    if kind == "stock":
        return _open_stock()
    if kind in ("ours", "ours without extensions"):
        return _open_ours(kind)
    assert kind in ("go", "js")
    if not available(kind):
        pytest.skip(f"no toolchain for the {kind} peer")
    return open_peer(kind, prefix="/test", lifetime_s=1800)


# --- the pairing --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairingSizes:
    """bulk_bytes: on one stream, both ways. calls: half on reused streams, half on new ones.

    streams: open at once; with the stock stack at either end `stock_streams`.
    """

    bulk_bytes: int
    calls: int
    streams: int
    stock_streams: int = 200


async def run_pairing(
    dialer_kind: Kind, listener_kind: Kind, sizes: PairingSizes, *, timeout_s: float = 600
) -> dict[str, float]:
    """Connect two ends and let the dialer do everything; return the seconds that each part took.

    A stock end takes a reset for an end, and reports its own so (docs/py-libp2p.md, B9): with one at either
    side it is only asserted that the connection goes on.
    """
    took_s: dict[str, float] = {}
    has_stock = "stock" in (dialer_kind, listener_kind)
    streams = sizes.stock_streams if has_stock else sizes.streams
    async with open_end(listener_kind) as listener, open_end(dialer_kind) as dialer:
        await dialer.call("connect", addr=listener.addr)

        async def step(name: str, op: str, **fields: Any) -> dict[str, Any]:
            began = time.perf_counter()
            fields.setdefault("protocol", ECHO)
            reply: dict[str, Any] = await dialer.call(
                op, peer=listener.peer_id, timeout_s=timeout_s, **fields
            )
            took_s[name] = time.perf_counter() - began
            return reply

        reply = await step("bulk_s", "echo", bytes_n=sizes.bulk_bytes, chunk=CHUNK_BYTES)
        assert reply["bytes_n"] == sizes.bulk_bytes
        await step("half_close_s", "sink", protocol=SINK, bytes_n=1_000_000, chunk=CHUNK_BYTES)
        await step("calls_reused_s", "calls", count=sizes.calls // 2, streams=10)
        await step("calls_new_s", "calls", count=sizes.calls // 2, streams=10, fresh=True)
        await step("streams_at_once_s", "together", count=streams)
        await step("resets_s", "abandon", count=20)
        for _ in range(20):
            reply = await step("resets_s", "raw_request", protocol=RESET, frames_b64=[b"x"], read_frames=1)
            assert has_stock or reply["end"] == "reset"
        await step("after_all_s", "calls", count=10, streams=1)
    return took_s
