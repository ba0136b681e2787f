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

    streams: those that are open, by id.
    """

    streams: dict[int, Stream]

    def check_stream(self, stream: Stream | None, flags: int, stream_id: int) -> Stream | None:
        """Return the stream of a frame with `flags`, None if the frame is to be ignored."""
        ...

    def on_window_update(self, stream: Stream, flags: int, increment: int) -> None: ...

    def on_data(self, stream: Stream, flags: int, length: int, data: bytes, start: int, end: int) -> None:
        """Take in a DATA frame whose payload, of `length` bytes, begins with `data[start:end]`."""
        ...

    def on_payload(self, stream: Stream, data: bytes, start: int, end: int) -> None:
        """Take in some more of it."""
        ...

    def on_ends(self, stream: Stream, flags: int) -> None:
        """Act on the FIN or RST of a frame, once its payload is complete."""
        ...

    def on_session_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None: ...


class FrameReader:
    """Feeds `handler`. Between two calls it holds less than a header, and where a payload goes.

    is_inside_frame: what comes next continues a frame.
    """

    __slots__ = ("_ends", "_handler", "_left", "_partial_header", "_stream", "is_inside_frame")

    def __init__(self, handler: FrameHandler) -> None:
        self._handler = handler
        self._partial_header = b""
        self._left = 0  # of the payload that is under way
        self._stream: Stream | None = None  # None: the payload is skipped
        self._ends = 0
        self.is_inside_frame = False

    def feed(self, data: bytes) -> None:
        """Take in `data`. Raises `YamuxViolation`; nothing may be fed after that."""
        handler = self._handler
        offset, size = 0, len(data)
        if self.is_inside_frame:
            if self._left:
                offset = self._continue(data)
            else:
                data = self._partial_header + data
                size = len(data)
                self._partial_header = b""
            if self._left:
                return
            self.is_inside_frame = False
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
            end = offset + length
            if stream is not None:
                handler.on_data(stream, flags, length, data, offset, end if end < size else size)
            elif length > limits.YAMUX_WINDOW_BYTES_MAX:
                raise YamuxViolation(f"a frame of {length} bytes")
            if end > size:
                self._left = end - size
                self._stream = stream
                self._ends = flags & ENDS
                self.is_inside_frame = True
                return
            offset = end
            if flags & ENDS and stream is not None:
                handler.on_ends(stream, flags)
        if offset < size:
            self._partial_header = data[offset:]
            self.is_inside_frame = True

    def _continue(self, data: bytes) -> int:
        """Take in the next part of a payload; return its size."""
        size = min(self._left, len(data))
        self._left -= size
        stream = self._stream
        if stream is not None:
            self._handler.on_payload(stream, data, 0, size)
            if not self._left:
                self._handler.on_ends(stream, self._ends)
                self._stream = None
        return size
