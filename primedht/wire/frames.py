"""Length-prefixed messages in a byte stream: uvarint length, then that many bytes. Sans-IO."""

from __future__ import annotations

from primedht.errors import ProtocolViolation
from primedht.wire import varint


def encode_frame(payload: bytes) -> bytes:
    """Return `payload` behind its length, ready for a single write."""
    return varint.encode(len(payload)) + payload


class FrameReader:
    """Cuts received bytes into frames of at most `frame_bytes_max` bytes.

    Feed what arrives, then take frames until there is none. What is buffered never exceeds one
    frame plus the last feed, because an oversized length is refused before its bytes are awaited.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer: bytes | bytearray = b""  # bytes while they are one piece, as fed: not copied

    def feed(self, data: bytes | bytearray) -> None:
        if not self._buffer:
            self._buffer = bytes(data)
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer)
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """Return the next complete frame, or None. Raises `ProtocolViolation` for an oversized one."""
        buffer = self._buffer
        if not buffer:
            return None
        head = varint.decode(buffer)
        if head is None:
            return None
        size, start = head
        if size > self._frame_bytes_max:
            raise ProtocolViolation(f"frame of {size} bytes; the limit is {self._frame_bytes_max}")
        end = start + size
        if len(buffer) < end:
            return None
        if isinstance(buffer, bytes):
            frame = buffer[start:end]
        else:
            with memoryview(buffer) as view:  # a slice of a bytearray would be a copy of its own
                frame = bytes(view[start:end])
        if end == len(buffer):
            self._buffer = b""
            return frame
        if isinstance(buffer, bytes):
            buffer = self._buffer = bytearray(buffer)
        del buffer[:end]
        return frame

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a frame that has begun and is not complete: an EOF now would be a truncation."""
        return len(self._buffer)
