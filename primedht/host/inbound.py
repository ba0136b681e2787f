"""Serving the kad protocol: streams in, requests to the engine, replies out.

Many requests may come over one stream and are answered in order; a peer that half-closes before the
reply is answered too; any error resets the stream (docs/protocol.md, rules 6 and 10).
"""

from __future__ import annotations

import math
from collections import Counter

import trio

from primedht import limits
from primedht.dht.ports import Requester, RequestHandler
from primedht.errors import ProtocolViolation
from primedht.host.identify import Identify
from primedht.host.streams import Stream, StreamReset
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import MessageType
from primedht.wire.frames import FrameReader, encode_frame

_RUST_AGENT_PREFIX = "rust-libp2p"
_ANSWERS_AT_ONCE = 8  # of one stream, some half a millisecond, before other tasks get a turn
_HALF_CLOSE_TURNS = 2  # of the event loop, in which a half-close right behind its request comes in
_DEADLINE_SLACK_S = 1.0
_NAMES = {kind: kind.name.lower() for kind in MessageType}


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


class _Desk:
    """The places in which one peer's requests are answered, for as long as it has streams.

    The queue for all is first come, first served: with as many places in it as streams, a few peers
    that ask without a pause would be most of it.
    """

    __slots__ = ("places", "stream_count")

    def __init__(self) -> None:
        self.places = trio.Semaphore(limits.KAD_REQUESTS_PER_PEER_MAX)
        self.stream_count = 0


class KadServer:
    """Serves inbound kad streams with `handler`."""

    def __init__(self, identify: Identify, handler: RequestHandler) -> None:
        self._identify = identify
        self._handler = handler
        self._places = trio.Semaphore(limits.KAD_REQUESTS_IN_MAX)
        self._memory = _Memory()
        self._desks: dict[PeerId, _Desk] = {}
        self.counts: Counter[str] = Counter()

    async def serve(self, stream: Stream) -> None:
        """Answer the requests of one stream until its peer has finished. Errors reset the stream."""
        peer = stream.peer
        desk = self._desks.get(peer)
        if desk is None:
            desk = self._desks[peer] = _Desk()
        desk.stream_count += 1
        try:
            with trio.CancelScope() as patience:
                await self._answer_all(stream, desk, patience)
        finally:
            desk.stream_count -= 1
            if not desk.stream_count:
                del self._desks[peer]
        if patience.cancelled_caught:
            raise ProtocolViolation("a kad stream that is idle, or whose answer took too long")

    async def _answer_all(self, stream: Stream, desk: _Desk, patience: trio.CancelScope) -> None:
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        answered = 0
        while True:
            frame = reader.next_frame()
            if frame is None:
                _extend(patience, limits.STREAM_IDLE_S)
                frame = await self._receive(stream, reader)
                if frame is None:
                    return
            _extend(patience, limits.KAD_ANSWER_TIMEOUT_S)
            await self._answer(stream, frame, desk)
            answered += 1
            if not answered % _ANSWERS_AT_ONCE:
                await trio.lowlevel.checkpoint()

    async def _receive(self, stream: Stream, reader: FrameReader) -> bytes | None:
        """Return the next request, or None when the peer has finished between two of them."""
        peer, held_bytes = stream.peer, 0
        try:
            while True:
                data = await stream.receive()
                if not data:
                    if reader.buffered_bytes:
                        raise StreamReset("the stream ended inside a message")
                    return None
                reader.feed(data)
                frame = reader.next_frame()
                if frame is not None:
                    return frame
                self._memory.take(peer, len(data))
                held_bytes += len(data)
        finally:
            if held_bytes:
                self._memory.give_back(peer, held_bytes)

    async def _answer(self, stream: Stream, frame: bytes, desk: _Desk) -> None:
        request = codec.decode(frame)
        self.counts[_NAMES[request.type]] += 1
        if request.type is MessageType.GET_PROVIDERS:  # the one whose reply may be large
            for _ in range(_HALF_CLOSE_TURNS):
                await trio.lowlevel.checkpoint()
        await _take_place(desk.places)
        try:
            await _take_place(self._places)
            try:
                reply = await self._handler(self._requester(stream), request)
            finally:
                self._places.release()
        finally:
            desk.places.release()
        if reply is None:
            return
        data = encode_frame(codec.encode(reply))
        self._memory.take(stream.peer, len(data))
        try:
            await stream.send(data)
        finally:
            self._memory.give_back(stream.peer, len(data))

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


def _extend(patience: trio.CancelScope, time_s: float) -> None:
    """See to it that `patience` lasts for `time_s` more; changing a deadline has its price."""
    deadline = trio.current_time() + time_s
    if patience.deadline - deadline < -_DEADLINE_SLACK_S or patience.deadline == math.inf:
        patience.deadline = deadline


async def _take_place(places: trio.Semaphore) -> None:
    """As `acquire`, which gives up its turn of the event loop even where nobody has to wait."""
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await places.acquire()
