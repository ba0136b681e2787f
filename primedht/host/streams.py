"""Streams: one conversation of one protocol with a peer, and the ports `Streams` and `Stream`.

`Stream` is a py-libp2p `NetStream` whose work is done here: no lock and no state machine per
operation, large reads, negotiation that rides with the first data (the proposal of a single protocol
is sent together with the first request, and the peer's agreement is taken off the first answer; our
own agreement goes out with the first reply).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.exceptions import StreamReset as NetStreamReset
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamEOF, MuxedStreamError

from primedht import limits
from primedht.errors import PeerUnreachable, ProtocolViolation
from primedht.host.multistream import Proposer, Responder
from primedht.host.rates import TokenBucket
from primedht.host.yamux import YamuxStream
from primedht.ids import PeerId
from primedht.wire.frames import FrameReader

if TYPE_CHECKING:
    from primedht.host.connection import Connection

_MUXER_FAULTS = (
    MuxedStreamError,
    MuxedConnError,
    IOException,
    OSError,
    trio.ClosedResourceError,
    trio.BrokenResourceError,
)
_PIECE_BYTES = 32 << 10


class StreamReset(PeerUnreachable):
    """The peer reset the stream, or its connection was lost."""


class Stream(NetStream):
    """One stream. At most one task receives and one sends.

    Its own methods (`receive`, `send`, `finish`, `reset`, `close`) raise `StreamReset` and
    `ProtocolViolation`; py-libp2p's (`read`, `write`, ...) are the same with py-libp2p's errors.
    """

    def __init__(self, muxed_stream: Any, connection: Connection, *, inbound: bool) -> None:
        # Not super().__init__: its lock and logger cost more than all of what is below.
        self.muxed_stream = muxed_stream
        self.muxed_conn = connection.muxed_conn
        self.swarm_conn = connection
        self.protocol_id = None
        self.connection = connection
        self.inbound = inbound
        self._paces_itself = isinstance(muxed_stream, YamuxStream)  # py-libp2p's does not
        self._state = StreamState.OPEN
        self._head = b""  # negotiation bytes that go out with the first data
        self._proposer: Proposer | None = None
        self._unread = b""
        self._ended = False  # the peer's half is closed
        self._finished = False  # ours is
        self._reset = False
        self._upload: TokenBucket | None = None
        self._download: TokenBucket | None = None
        self._reads_at = 0.0  # when what was read is paid for

    @property
    def peer(self) -> PeerId:
        return self.connection.peer

    @property
    def ip(self) -> str:
        return self.connection.ip

    @property
    def protocol(self) -> str:
        """The protocol that was agreed on, or is proposed; empty before."""
        return str(self.protocol_id or "")

    def __str__(self) -> str:
        return f"{self.protocol_id or 'new stream'} with {self.connection}"

    # --- negotiation ----------------------------------------------------------------------------

    def set_protocol(self, protocol_id: TProtocol) -> None:
        super().set_protocol(protocol_id)
        self._upload, self._download = self.connection.swarm.rates.of(protocol_id)

    def propose(self, protocol: str) -> None:
        """Propose `protocol` with the first data; a refusal shows in the first `receive`."""
        self._proposer = Proposer((protocol,))
        self._head = self._proposer.opening()
        self.set_protocol(TProtocol(protocol))

    async def negotiate(self, protocols: Sequence[str]) -> str:
        """Agree on one of `protocols` before anything else. Raises `ProtocolRefused`."""
        proposer = Proposer(protocols)
        await self._send(proposer.opening())
        while proposer.protocol is None:
            out = proposer.feed(await self._receive_for_negotiation())
            if out:
                await self._send(out)
        self._unread = proposer.rest()
        self.set_protocol(TProtocol(proposer.protocol))
        return proposer.protocol

    async def answer(self, supports: Callable[[str], bool]) -> str:
        """Take the peer's first proposal that is supported.

        Raises `ProtocolViolation`, also when the peer takes too long. To one that has sent more behind
        its proposal, and so does not wait for the answer, that goes out with the first data.
        """
        responder = Responder(supports)
        muxed = self.muxed_stream
        out = responder.feed(muxed.read_nowait() if isinstance(muxed, YamuxStream) else b"")
        if responder.protocol is None:
            with trio.move_on_after(limits.NEGOTIATION_TIMEOUT_S):
                while responder.protocol is None:
                    if out:
                        await self._send(out)
                    out = responder.feed(await self._receive_for_negotiation())
        if responder.protocol is None:
            raise ProtocolViolation("no protocol was agreed on in time")
        self._unread = responder.rest()
        if self._unread:
            self._head = out
        else:
            await self._send(out)
        self.set_protocol(TProtocol(responder.protocol))
        return responder.protocol

    async def _receive_for_negotiation(self) -> bytes:
        data = await self._receive()
        if not data:
            raise StreamReset("the stream ended before a protocol was agreed on")
        return data

    # --- data -----------------------------------------------------------------------------------

    def receive(self) -> Coroutine[Any, Any, bytes]:
        """Return what has arrived, at least one byte; b"" once the peer has finished."""
        # Not `async`, as `send`: what the two return is the coroutine below, without one around it.
        if self._unread or self._head or self._proposer is not None:
            return self._receive_first()
        return self._receive()

    async def _receive_first(self) -> bytes:
        """As `receive`, with what is left of the negotiation."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        if self._head:
            head, self._head = self._head, b""
            await self._send(head)
        while self._proposer is not None:
            self._proposer.feed(await self._receive_for_negotiation())
            if self._proposer.protocol is not None:
                data = self._proposer.rest()
                self._proposer = None
                if data:
                    return data
        return await self._receive()

    async def receive_frame(self, reader: FrameReader) -> bytes | None:
        """Return the next frame, or None when the peer has finished between two frames.

        Raises `StreamReset` for an end inside a frame, `ProtocolViolation` for an oversized one.
        """
        while (frame := reader.next_frame()) is None:
            data = await self.receive()
            if not data:
                if reader.buffered_bytes:
                    raise StreamReset("the stream ended inside a message")
                return None
            reader.feed(data)
        return frame

    def send(self, data: bytes) -> Coroutine[Any, Any, None]:
        """Send all of `data`, as fast as the peer reads. A cancelled send leaves a useless stream."""
        if self._head:
            data = self._head + data
            self._head = b""
        return self._write(data) if self._upload is None else self._send(data)

    async def _receive(self) -> bytes:
        if self._reset:
            raise StreamReset("the stream is reset")
        bucket = self._download
        if bucket is not None:
            await trio.sleep_until(self._reads_at)
        try:
            data: bytes = await self.muxed_stream.read(None if bucket is None else bucket.piece_bytes)
        except MuxedStreamEOF:
            if self.connection.socket.is_closed and not self._paces_itself:  # no end, but cut off (B9)
                raise StreamReset("the connection is closed") from None
            self._ended = True
            return b""
        except _MUXER_FAULTS as error:
            raise StreamReset(f"the stream is reset: {error}") from error
        if bucket is not None:  # paid for before the next read: cancelled in between, nothing is lost
            now = trio.current_time()
            self._reads_at = now + bucket.take(len(data), now)
        return data

    async def _send(self, data: bytes) -> None:
        bucket = self._upload
        if bucket is None:
            await self._write(data)
            return
        for start in range(0, len(data), bucket.piece_bytes):
            piece = data[start : start + bucket.piece_bytes]
            await trio.sleep(bucket.take(len(piece), trio.current_time()))
            await self._write(piece)

    async def _write(self, data: bytes) -> None:
        if self._reset or self._finished:
            raise StreamReset("the stream is closed")
        try:
            if self._paces_itself:
                await self.muxed_stream.write(data)
                return
            for start in range(0, len(data), _PIECE_BYTES):
                await self.connection.socket.drain()
                await self.muxed_stream.write(data[start : start + _PIECE_BYTES])
        except _MUXER_FAULTS as error:
            raise StreamReset(f"the stream is reset: {error}") from error

    # --- ends -----------------------------------------------------------------------------------

    @property
    def peer_has_finished(self) -> bool:
        """Whether the peer's end, or a reset, has arrived, even behind bytes that nobody read yet."""
        muxed: Any = self.muxed_stream
        return self._ended or bool(muxed.recv_closed or muxed.closed)

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent: open both ways, and nothing unread lies in it."""
        return not (
            self._finished
            or self._reset
            or self._unread
            or self.connection.is_closed
            or self.peer_has_finished
        )

    async def finish(self) -> None:
        """Half-close: say that nothing more will be sent."""
        if self._finished or self._reset:
            return
        if self._head:
            await self.send(b"")
        self._finished = True
        try:
            if self._paces_itself:
                await self.muxed_stream.close()
            else:
                with trio.CancelScope(shield=True):  # never waits: the socket's writes do not
                    await self.muxed_stream.close()
        except _MUXER_FAULTS as error:
            raise StreamReset(f"the stream is reset: {error}") from error
        self._state = StreamState.CLOSE_WRITE

    async def reset(self) -> None:
        """End the stream at once in both directions. Never fails, may be called at any time."""
        if not self._reset:
            self._reset = True
            self._head = b""
            if self._paces_itself:
                await self.muxed_stream.reset()
            else:  # the connection may be gone, and the stream with it
                with trio.CancelScope(shield=True), suppress(*_MUXER_FAULTS):
                    await self.muxed_stream.reset()
        self._state = StreamState.RESET
        self.connection.forget(self)

    async def close(self) -> None:
        """End our half; the stream is reset if the peer does not end its own soon."""
        if self._reset:
            return
        try:
            await self.finish()
        except StreamReset:
            await self.reset()
            return
        self._state = StreamState.CLOSE_BOTH
        self.connection.linger(self)

    # --- py-libp2p's interface ------------------------------------------------------------------

    async def read(self, n: int | None = None) -> bytes:
        """As `NetStream.read`: up to `n` bytes; raises `StreamEOF` at the end."""
        if n == 0:
            return b""
        try:
            data = await self.receive()
        except StreamReset as error:
            raise NetStreamReset(str(error)) from error
        if not data:
            raise StreamEOF
        if n is not None and 0 <= n < len(data):
            data, self._unread = data[:n], data[n:]
        return data

    async def write(self, data: bytes) -> None:
        try:
            await self.send(data)
        except StreamReset as error:
            raise NetStreamReset(str(error)) from error

    async def close_write(self) -> None:
        await self.finish()

    async def close_read(self) -> None:
        """Nothing to do: muxers have no such message."""

    async def remove(self) -> None:
        self.connection.forget(self)

    @property
    async def state(self) -> StreamState:
        return self._state

    async def set_state(self, state: StreamState) -> None:
        self._state = state


StreamHandler = Callable[[Stream], Awaitable[None]]
"""Serves one inbound stream; the stream is closed when it returns and reset when it raises."""
