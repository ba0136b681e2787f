"""Serving the kad protocol: streams in, requests to the engine, replies out.

Many requests may come over one stream and are answered in order; a peer that half-closes before the
reply is answered too; any error resets the stream (docs/protocol.md, rules 6 and 10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from primedht import limits
from primedht.dht.ports import Requester, RequestHandler
from primedht.errors import ProtocolViolation
from primedht.host.identify import Identify
from primedht.host.streams import Stream, StreamReset
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.wire.frames import FrameReader, encode_frame

_RUST_AGENT_PREFIX = "rust-libp2p"


class _Memory:
    """Bytes of inbound requests and their replies that are held now, per peer and in total.

    A stream alone may hold a message of 4 MiB; without this, the streams of a few peers that send
    slowly or do not read would add up to gigabytes.
    """

    def __init__(self) -> None:
        self._total_bytes = 0
        self._by_peer: Counter[PeerId] = Counter()

    def take(self, peer: PeerId, size_bytes: int) -> None:
        """Raises `ProtocolViolation` when that is too much."""
        if (
            self._by_peer[peer] + size_bytes > limits.KAD_IN_BYTES_PER_PEER_MAX
            or self._total_bytes + size_bytes > limits.KAD_IN_BYTES_MAX
        ):
            raise ProtocolViolation(f"{self._by_peer[peer]} bytes of {peer} are in flight already")
        self._by_peer[peer] += size_bytes
        self._total_bytes += size_bytes

    def give_back(self, peer: PeerId, size_bytes: int) -> None:
        self._by_peer[peer] -= size_bytes
        self._total_bytes -= size_bytes
        if not self._by_peer[peer]:
            del self._by_peer[peer]


class KadServer:
    """Serves inbound kad streams with `handler`."""

    def __init__(self, identify: Identify, handler: RequestHandler) -> None:
        self._identify = identify
        self._handler = handler
        self._requests = trio.CapacityLimiter(limits.KAD_REQUESTS_IN_MAX)
        self._memory = _Memory()
        self._turns: dict[PeerId, trio.Semaphore] = {}
        self._streams_waiting: Counter[PeerId] = Counter()  # for their turn, or having it
        self.counts: Counter[str] = Counter()

    async def serve(self, stream: Stream) -> None:
        """Answer the requests of one stream until its peer has finished. Errors reset the stream."""
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        while (frame := await self._receive(stream, reader)) is not None:
            with trio.fail_after(limits.KAD_ANSWER_TIMEOUT_S):
                await self._answer(stream, frame)

    async def _receive(self, stream: Stream, reader: FrameReader) -> bytes | None:
        """Return the next request, or None when the peer has finished between two of them."""
        peer, held_bytes = stream.peer, 0
        try:
            with trio.move_on_after(limits.STREAM_IDLE_S):
                while (frame := reader.next_frame()) is None:
                    data = await stream.receive()
                    if not data:
                        if reader.buffered_bytes:
                            raise StreamReset("the stream ended inside a message")
                        return None
                    reader.feed(data)
                    self._memory.take(peer, len(data))
                    held_bytes += len(data)
                return frame
            raise ProtocolViolation("an idle kad stream")
        finally:
            self._memory.give_back(peer, held_bytes)

    async def _answer(self, stream: Stream, frame: bytes) -> None:
        request = codec.decode(frame)
        self.counts[request.type.name.lower()] += 1
        async with self._turn(stream.peer), self._requests:
            reply = await self._handler(self._requester(stream), request)
        if reply is None:
            return
        data = encode_frame(codec.encode(reply))
        self._memory.take(stream.peer, len(data))
        try:
            await stream.send(data)
        finally:
            self._memory.give_back(stream.peer, len(data))

    @asynccontextmanager
    async def _turn(self, peer: PeerId) -> AsyncIterator[None]:
        """Wait until few enough of `peer`'s requests are being answered.

        The queue for all is first come, first served: with as many places in it as streams, a few
        peers that ask without a pause would be most of it.
        """
        turns = self._turns.setdefault(peer, trio.Semaphore(limits.KAD_REQUESTS_PER_PEER_MAX))
        self._streams_waiting[peer] += 1
        try:
            async with turns:
                yield
        finally:
            self._streams_waiting[peer] -= 1
            if not self._streams_waiting[peer]:
                del self._streams_waiting[peer], self._turns[peer]

    def _requester(self, stream: Stream) -> Requester:
        facts = self._identify.facts.get(stream.peer)
        is_small = stream.peer_has_finished or (
            facts is not None and facts.agent_version.startswith(_RUST_AGENT_PREFIX)
        )
        return Requester(
            peer=stream.peer,
            ip=stream.connection.ip,
            reply_bytes_max=limits.SMALL_REPLY_BYTES_MAX if is_small else limits.MESSAGE_BYTES_MAX,
        )
