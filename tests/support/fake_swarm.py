"""Members of one network, each with the ports `Connections` and `Streams`, on links of given rates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import trio

from primedht.dht.ports import PeerListener
from primedht.errors import PeerUnreachable, PrimeDhtError
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo

_QUEUE_CHUNKS = 4


class FakeSwarm:
    """All members by peer id. providers: what `find_providers` finds, whatever is asked for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.members: dict[PeerId, Member] = {}
        self.providers: list[PeerId] = []

    def add(self, *, bytes_per_s: float = 1e9, latency_s: float = 0.01) -> Member:
        """Return a new member that sends at that rate."""
        member = Member(
            self, PeerId(b"\x00\x24" + bytes([len(self.members) + 1]) * 36), bytes_per_s, latency_s
        )
        self.members[member.peer_id] = member
        return member

    async def find_providers(
        self, multihash: bytes, *, limit: int, timeout_s: float
    ) -> AsyncIterator[PeerInfo]:
        for peer in self.providers:
            await trio.lowlevel.checkpoint()
            yield PeerInfo(peer, ())


class Member:
    """One node. `kill` cuts it off: its streams are reset and its peers are told."""

    def __init__(self, swarm: FakeSwarm, peer_id: PeerId, bytes_per_s: float, latency_s: float) -> None:
        self.swarm = swarm
        self.peer_id = peer_id
        self.bytes_per_s = bytes_per_s
        self.latency_s = latency_s
        self.is_dead = False
        self.sent_bytes = 0
        self.handlers: dict[str, Callable[[Any], Awaitable[None]]] = {}
        self.listeners: list[PeerListener] = []
        self.neighbours: set[PeerId] = set()
        self.streams: list[MemoryStream] = []
        self.uplink = trio.Lock()

    def subscribe(self, listener: PeerListener) -> None:
        self.listeners.append(listener)
        for peer in list(self.neighbours):
            listener.on_identified(peer, frozenset(self.swarm.members[peer].handlers))

    async def connect(self, peer: PeerId, addrs: Sequence[bytes] = (), *, timeout_s: float) -> None:
        other = self.swarm.members.get(peer)
        await trio.sleep(self.latency_s)
        if other is None or other.is_dead or self.is_dead:
            raise PeerUnreachable(f"{peer} is not there")
        for one, another in ((self, other), (other, self)):
            if another.peer_id not in one.neighbours:
                one.neighbours.add(another.peer_id)
                for listener in one.listeners:
                    listener.on_identified(another.peer_id, frozenset(another.handlers))

    async def open(self, peer: PeerId, protocols: Sequence[str], *, timeout_s: float) -> MemoryStream:
        await self.connect(peer, timeout_s=timeout_s)
        other = self.swarm.members[peer]
        protocol = next((each for each in protocols if each in other.handlers), None)
        if protocol is None:
            raise PeerUnreachable("it serves none of these protocols")
        ours, theirs = MemoryStream(self, peer, protocol), MemoryStream(other, self.peer_id, protocol)
        ours.other, theirs.other = theirs, ours
        self.streams.append(ours)
        other.streams.append(theirs)
        self.swarm.nursery.start_soon(other.handle, other.handlers[protocol], theirs)
        return ours

    def serve(
        self,
        protocol: str,
        handler: Callable[[Any], Awaitable[None]] | None,
        *,
        streams_per_peer_max: int = 64,
    ) -> None:
        if handler is None:
            self.handlers.pop(protocol, None)
        else:
            self.handlers[protocol] = handler

    async def handle(self, handler: Callable[[Any], Awaitable[None]], stream: MemoryStream) -> None:
        try:
            await handler(stream)
        except PrimeDhtError:
            await stream.reset()

    async def kill(self) -> None:
        self.is_dead = True
        for stream in self.streams:
            await stream.reset()
        for peer in self.neighbours:
            other = self.swarm.members[peer]
            other.neighbours.discard(self.peer_id)
            for listener in other.listeners:
                listener.on_disconnected(self.peer_id)


class MemoryStream:
    """One end of a stream; what is sent takes its time on the sender's link."""

    def __init__(self, member: Member, peer: PeerId, protocol: str) -> None:
        self.member = member
        self.peer = peer
        self.protocol = protocol
        self.ip = ""
        self.other: MemoryStream = self
        self.was_reset = False
        self._in, self._arrivals = trio.open_memory_channel[tuple[float, bytes]](_QUEUE_CHUNKS)

    async def receive(self) -> bytes:
        try:
            arrives_at, data = await self._arrivals.receive()
            await trio.sleep_until(arrives_at)
            return data
        except trio.EndOfChannel:
            if self.was_reset or self.other.was_reset:
                raise PeerUnreachable("the stream is reset") from None
            return b""
        except trio.ClosedResourceError:
            raise PeerUnreachable("the stream is reset") from None

    async def send(self, data: bytes) -> None:
        async with self.member.uplink:
            await trio.sleep(len(data) / self.member.bytes_per_s)
        if self.was_reset or self.other.was_reset or self.member.is_dead:
            raise PeerUnreachable("the stream is reset")
        self.member.sent_bytes += len(data)
        try:
            await self.other._in.send((trio.current_time() + self.member.latency_s, data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerUnreachable("the stream is reset") from None

    async def finish(self) -> None:
        self.other._in.close()

    async def close(self) -> None:
        await self.finish()

    async def reset(self) -> None:
        self.was_reset = True
        self._in.close()
        self.other._in.close()
        self._arrivals.close()
