"""The part of a host that the control socket uses, without a network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import trio

from primedht.errors import PeerUnreachable, ProtocolViolation
from primedht.host.tags import PeerTags
from primedht.ids import PeerId
from primedht.kad.messages import Message, PeerInfo


class FakeStream:
    """One end of a stream to a peer; `other` is the peer's."""

    def __init__(self, peer: PeerId, addr: bytes, protocol: str) -> None:
        self.peer = peer
        self.connection = SimpleNamespace(addr=addr)
        self.protocol_id = protocol
        self.was_reset = False
        self.was_closed = False
        self.other: FakeStream = self
        self._send, self._receive = trio.open_memory_channel[bytes](4)

    async def receive(self) -> bytes:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self.other.was_reset:
                raise PeerUnreachable("reset") from None
            return b""

    async def send(self, data: bytes) -> None:
        if self.other.was_reset:
            raise PeerUnreachable("reset")
        await self.other._send.send(data)

    async def finish(self) -> None:
        self.other._send.close()

    async def reset(self) -> None:
        self.was_reset = True
        self.other._send.close()
        self._send.close()

    async def close(self) -> None:
        self.was_closed = True
        self.other._send.close()

    async def rest(self) -> bytes:
        """Return everything up to the other side's end."""
        out = b""
        while data := await self.receive():
            out += data
        return out


def stream_pair(peer: PeerId, addr: bytes, protocol: str) -> tuple[FakeStream, FakeStream]:
    ours, theirs = FakeStream(peer, addr, protocol), FakeStream(peer, addr, protocol)
    ours.other, theirs.other = theirs, ours
    return ours, theirs


class FakeHost:
    """`streams`, `connections`, `swarm` and `rpc` in one. remotes: the peers' ends of opened streams."""

    def __init__(self, addr: bytes, connected: Callable[[], tuple[PeerId, ...]]) -> None:
        self.streams = self.connections = self.swarm = self.rpc = self
        self.connected = connected
        self.handlers: dict[str, Callable[[Any], Awaitable[None]]] = {"/ipfs/id/1.0.0": _nothing}
        self.remotes: list[FakeStream] = []
        self.listeners: list[Any] = []
        self.trimmed_to: list[int] = []
        self.tags = PeerTags()
        self._addr = addr

    def protocols(self) -> tuple[str, ...]:
        return tuple(self.handlers)

    def serve(self, protocol: str, handler: Callable[[Any], Awaitable[None]] | None) -> None:
        if handler is None:
            del self.handlers[protocol]
        else:
            self.handlers[protocol] = handler

    async def open(self, peer: PeerId, protocols: Sequence[str], *, timeout_s: float) -> FakeStream:
        if protocols[-1] == "/refused":
            raise ProtocolViolation("the peer takes none of these protocols")
        ours, theirs = stream_pair(peer, self._addr, protocols[-1])
        self.remotes.append(theirs)
        return ours

    async def inbound(self, peer: PeerId, protocol: str) -> tuple[FakeStream, Awaitable[None]]:
        """Return the peer's end of a stream that reaches us, and what serves it."""
        ours, theirs = stream_pair(peer, self._addr, protocol)
        return theirs, self.handlers[protocol](ours)

    async def reach(self, peer: PeerId, *, timeout_s: float) -> None:
        if peer not in self.connected():
            raise PeerUnreachable("nobody answers")

    async def request(self, peer: PeerId, message: Message, *, timeout_s: float) -> Message:
        """Only connected peers answer, and know everybody."""
        if peer not in self.connected():
            raise PeerUnreachable("nobody answers")
        return Message(message.type, closer_peers=(PeerInfo(PeerId(message.key), ()),))

    def subscribe(self, listener: Any) -> None:
        self.listeners.append(listener)

    def trim(self, target: int) -> bool:
        self.trimmed_to.append(target)
        return True


async def _nothing(stream: object) -> None:
    """Serve a stream by doing nothing."""
