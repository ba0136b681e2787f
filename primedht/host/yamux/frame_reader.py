"""Cuts what has arrived into frames, wherever it was cut itself. Sans-IO; the hot path.

A payload goes to its stream as it comes in, not once it is complete: a frame may be as long as a window.

Source: libp2p specs, yamux/README.md, "Framing".
"""

from __future__ import annotations

from typing import Protocol

from primedht import limits
from primedht.host.yamux.frames import (
    FIN,
    HEADER_BYTES,
    RST,
    WINDOW_UPDATE,
    YamuxViolation,
    unpack_header_from,
)
from primedht.host.yamux.stream import Stream

ENDS = FIN | RST


class FrameHandler(Protocol):
    """What is done with frames. Every method may raise `YamuxViolation`.

    streams: those that are open, by id. A stream of None takes nothing: the payload is skipped.
    """

    streams: dict[int, Stream]

    def check_stream(self, stream: Stream | None, flags: int, stream_id: int) -> Stream | None:
        """Return the stream of a frame with `flags`, None if the frame is to be ignored."""
        ...

    def on_window_update(self, stream: Stream, flags: int, increment: int) -> None: ...

    def on_data_header(self, stream: Stream, flags: int, length: int) -> None: ...

    def on_payload(self, stream: Stream | None, data: bytes, start: int, end: int) -> None: ...

    def on_ends(self, stream: Stream | None, flags: int) -> None:
        """Act on the FIN or RST of a frame, once its payload is complete."""
        ...

    def on_session_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None: ...


class FrameReader:
    """Feeds `handler`. Between two calls it holds less than a header, and where a payload goes."""

    __slots__ = ("_ends", "_handler", "_left", "_partial_header", "_stream")

    def __init__(self, handler: FrameHandler) -> None:
        self._handler = handler
        self._partial_header = b""
        self._left = 0  # of the payload that is under way
        self._stream: Stream | None = None
        self._ends = 0

    def feed(self, data: bytes) -> None:
        """Take in `data`. Raises `YamuxViolation`; nothing may be fed after that."""
        handler = self._handler
        offset, size = 0, len(data)
        if self._left:
            offset = min(self._left, size)
            self._left -= offset
            handler.on_payload(self._stream, data, 0, offset)
            if not self._left:
                handler.on_ends(self._stream, self._ends)
                self._stream = None
        elif self._partial_header:
            data = self._partial_header + data
            size = len(data)
            self._partial_header = b""
        streams = handler.streams
        while size - offset >= HEADER_BYTES:
            version, kind, flags, stream_id, length = unpack_header_from(data, offset)
            offset += HEADER_BYTES
            if version:
                raise YamuxViolation(f"yamux version {version}")
            if kind > WINDOW_UPDATE:
                handler.on_session_frame(kind, flags, stream_id, length)
                continue
            stream = streams.get(stream_id)
            if flags or stream is None:
                stream = handler.check_stream(stream, flags, stream_id)
            if kind == WINDOW_UPDATE:
                if stream is not None:
                    handler.on_window_update(stream, flags, length)
                continue
            if stream is not None:
                handler.on_data_header(stream, flags, length)
            elif length > limits.YAMUX_WINDOW_BYTES_MAX:
                raise YamuxViolation(f"a frame of {length} bytes")
            end = offset + length
            if end > size:
                handler.on_payload(stream, data, offset, size)
                self._left = end - size
                self._stream = stream
                self._ends = flags & ENDS
                return
            handler.on_payload(stream, data, offset, end)
            offset = end
            if flags & ENDS:
                handler.on_ends(stream, flags)
        if offset < size:
            self._partial_header = data[offset:]
