"""What a session has to send, and in which order. Sans-IO.

Fair in three classes. Control frames go first: they are tiny, and others wait for them. Then streams
with little to send, whole, in order: requests, replies. Then the rest in turn, one frame each; one of
them always gets its turn, however much of the others there is. So a small message waits for what has
been taken before it, never for what is queued behind a bulk transfer.
"""

from __future__ import annotations

from primedht.host.yamux.frames import (
    DATA,
    FIN,
    HEADER_BYTES,
    MESSAGE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    WINDOW_UPDATE,
    encode_header,
)
from primedht.host.yamux.stream import Stream

_SMALL_BYTES = 4 << 10


class Outbox:
    """queued_bytes: data of all streams that has not been taken. control_bytes: likewise, frames.

    has_output: whether there is something to take now; a plain attribute, because it is asked for
    several times for every request.
    """

    __slots__ = ("_bulk", "_control", "_small", "control_bytes", "has_output", "queued_bytes")

    def __init__(self) -> None:
        self._control: list[bytes | memoryview] = []
        self._small: list[Stream] = []
        self._bulk: list[Stream] = []
        self.control_bytes = 0
        self.queued_bytes = 0
        self.has_output = False

    def put_control(self, frame: bytes) -> None:
        self._control.append(frame)
        self.control_bytes += len(frame)
        self.has_output = True

    def schedule(self, stream: Stream) -> None:
        """`stream` has data, and credit to send it."""
        if not stream.is_scheduled:
            stream.is_scheduled = True
            (self._small if stream.outgoing.size <= _SMALL_BYTES else self._bulk).append(stream)
            self.has_output = True

    def drop(self, stream: Stream) -> None:
        """Forget what `stream` had to send. It is skipped when its turn comes."""
        self.queued_bytes -= stream.outgoing.clear()

    def clear(self) -> None:
        """Drop everything; the streams have failed."""
        self._control.clear()
        self._small.clear()
        self._bulk.clear()
        self.control_bytes = 0
        self.queued_bytes = 0
        self.has_output = False

    def take(self, size_max: int, roomier: list[Stream]) -> tuple[list[bytes], list[Stream]]:
        """Return the next messages to send, together about `size_max` bytes, and who finishes in them.

        Each is at most `MESSAGE_BYTES_MAX` bytes, and a frame straddles two of them only if control
        frames alone exceed one. Streams that want room, and have some more now, go to `roomier`.
        """
        packer = _Packer(self._control, self.control_bytes)
        self._control = []
        self.control_bytes = 0
        small, bulk = self._small, self._bulk
        finished: list[Stream] = []
        while small and packer.total < size_max:
            self._send(small.pop(0), packer, roomier, finished)
        if bulk:
            self._send(bulk.pop(0), packer, roomier, finished)
            while bulk and packer.total < size_max:
                self._send(bulk.pop(0), packer, roomier, finished)
        self.has_output = bool(small or bulk)
        return packer.finish(), finished

    def _send(self, stream: Stream, packer: _Packer, roomier: list[Stream], finished: list[Stream]) -> None:
        queue = stream.outgoing
        size = min(queue.size, stream.credit, PAYLOAD_BYTES_MAX)
        stream.is_scheduled = False
        if size <= 0:  # it was reset meanwhile
            return
        stream.credit -= size
        self.queued_bytes -= size
        parts = packer.reserve(HEADER_BYTES + size)
        parts.append(encode_header(DATA, stream.take_flag(), stream.id, size))
        queue.take_into(parts, size)
        if stream.wants_room:
            roomier.append(stream)
        if queue.size:
            if stream.credit:
                stream.is_scheduled = True
                self._bulk.append(stream)
        elif stream.finished:
            stream.fin_sent = True
            # In a frame of its own: go-yamux's reader takes the FIN of a DATA frame for the end
            # before it has stored the data (stream.go, readData).
            packer.reserve(HEADER_BYTES).append(encode_header(WINDOW_UPDATE, FIN, stream.id, 0))
            finished.append(stream)


class _Packer:
    """Packs frames into messages."""

    __slots__ = ("_messages", "_parts", "_room", "total")

    def __init__(self, parts: list[bytes | memoryview], size: int) -> None:
        self._messages: list[bytes] = []
        self._parts = parts
        self._room = MESSAGE_BYTES_MAX - size
        self.total = size
        if self._room < 0:
            self._split()

    def _split(self) -> None:
        data = b"".join(self._parts)
        starts = range(0, len(data), MESSAGE_BYTES_MAX)
        self._messages = [data[start : start + MESSAGE_BYTES_MAX] for start in starts]
        self._parts = []
        self._room = MESSAGE_BYTES_MAX

    def reserve(self, size: int) -> list[bytes | memoryview]:
        """Return the list to which a frame of `size` bytes is to be added."""
        if size > self._room:
            self._messages.append(b"".join(self._parts))
            self._parts = []
            self._room = MESSAGE_BYTES_MAX
        self._room -= size
        self.total += size
        return self._parts

    def finish(self) -> list[bytes]:
        if self._parts:
            self._messages.append(b"".join(self._parts))
        return self._messages
