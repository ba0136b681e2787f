"""Serving the kad protocol: streams in, requests to the engine, replies out.

Many requests may come over one stream and are answered in order; a peer that half-closes before the
reply is answered too; any error resets the stream (kad.md §2, wire rules 6 and 10).
"""

from __future__ import annotations

from collections import Counter

import trio

from primedht import limits
from primedht.dht.ports import Requester, RequestHandler
from primedht.errors import ProtocolViolation
from primedht.host.identify import Identify
from primedht.host.streams import Stream
from primedht.kad import codec
from primedht.wire.frames import FrameReader, encode_frame

_RUST_AGENT_PREFIX = "rust-libp2p"


class KadServer:
    """Serves inbound kad streams with `handler`."""

    def __init__(self, identify: Identify, handler: RequestHandler) -> None:
        self._identify = identify
        self._handler = handler
        self._requests = trio.CapacityLimiter(limits.KAD_REQUESTS_IN_MAX)
        self.counts: Counter[str] = Counter()

    async def serve(self, stream: Stream) -> None:
        """Answer the requests of one stream until its peer has finished. Errors reset the stream."""
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        while True:
            frame = None
            with trio.move_on_after(limits.STREAM_IDLE_S) as patience:
                frame = await stream.receive_frame(reader)
            if patience.cancelled_caught:
                raise ProtocolViolation("an idle kad stream")
            if frame is None:
                return
            with trio.fail_after(limits.KAD_ANSWER_TIMEOUT_S):
                await self._answer(stream, frame)

    async def _answer(self, stream: Stream, frame: bytes) -> None:
        request = codec.decode(frame)
        self.counts[request.type.name.lower()] += 1
        async with self._requests:
            reply = await self._handler(self._requester(stream), request)
        if reply is not None:
            await stream.send(encode_frame(codec.encode(reply)))

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
