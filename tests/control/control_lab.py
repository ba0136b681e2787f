"""Raw control connections: frames in, frames out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from fake_node import FakeNode

from primedht.control.listeners import Access, open_listeners
from primedht.control.server import ControlServer, open_control
from primedht.control_addr import ControlAddr, TcpAddr, UnixAddr
from primedht.pb import p2pd_pb2 as pb
from primedht.wire.frames import FrameReader, encode_frame


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another task or the kernel does, which announces it by no event."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.001)


class RawClient:
    """One connection that sends and takes frames as they are."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._reader = FrameReader(1 << 30)

    async def send(self, *requests: pb.Request) -> None:
        await self.stream.send_all(b"".join(encode_frame(each.SerializeToString()) for each in requests))

    async def frame(self) -> bytes | None:
        """Return the next frame, or None at the end."""
        while (frame := self._reader.next_frame()) is None:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._reader.feed(data)
        return frame

    async def response(self) -> pb.Response:
        frame = await self.frame()
        assert frame is not None, "the connection was closed without an answer"
        return pb.Response.FromString(frame)

    async def ask(self, request: pb.Request) -> pb.Response:
        await self.send(request)
        return await self.response()

    async def ask_prime(self, **operation: object) -> pb.Response:
        return await self.ask(pb.Request(type=pb.Request.PRIME, prime=pb.PrimeRequest(**operation)))

    async def dht_stream(self) -> list[pb.DHTResponse]:
        """Take bare DHT responses up to END, which is left out."""
        responses = []
        while True:
            frame = await self.frame()
            assert frame is not None
            response = pb.DHTResponse.FromString(frame)
            if response.type == pb.DHTResponse.END:
                return responses
            responses.append(response)


@dataclass
class ControlLab:
    node: FakeNode
    server: ControlServer
    addr: ControlAddr

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RawClient]:
        async with await self._connect() as stream:
            yield RawClient(stream)

    async def _connect(self) -> trio.SocketStream:
        if isinstance(self.addr, UnixAddr):
            return await trio.open_unix_socket(self.addr.path)
        return await trio.open_tcp_stream(self.addr.host, self.addr.port)


@asynccontextmanager
async def open_lab(
    node: FakeNode, folder: Path, *, addr: ControlAddr | None = None, tcp_trusted: bool = False
) -> AsyncIterator[ControlLab]:
    with open_listeners([addr or UnixAddr(str(folder / "c.sock"))], Access()) as listeners:
        async with open_control(node, listeners, tcp_trusted=tcp_trusted) as server:
            yield ControlLab(node, server, listeners[0].addr)


LOOPBACK = TcpAddr("127.0.0.1", 0)
