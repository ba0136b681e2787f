"""What Noise needs of the connection below it, and how to get that from any of py-libp2p's.

Bytes are received into a buffer that all connections share, and sent out of another one. That is
safe because nothing awaits between filling such a buffer and using it up, and it is what keeps an
idle connection small: it owns no buffer at all.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from libp2p.abc import IRawConnection

from primedht.host.noise.session import FRAME_BYTES_MAX

RECEIVE_BYTES = 256 << 10  # what one read takes at most; more costs cache, less costs system calls
SEND_BYTES = 320 << 10


@runtime_checkable
class Wire(Protocol):
    """A connection's bytes. All methods raise `OSError` or py-libp2p's `IOException` when it is lost."""

    def receive_nowait(self, buffer: memoryview) -> int | None:
        """Put what has arrived into `buffer`; return its size, 0 at the end, None if nothing has."""
        ...

    async def wait_readable(self) -> None:
        """Wait until `receive_nowait` may return something other than None."""
        ...

    def write_nowait(self, data: memoryview) -> int:
        """Take all of `data` at once, buffering what cannot be sent yet; return the backlog in bytes."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """Bytes that `write_nowait` has taken and could not send yet."""
        ...

    async def flush(self) -> None:
        """Wait until the backlog is empty. One task at a time."""
        ...


@runtime_checkable
class InterruptibleWire(Wire, Protocol):
    """A wire at which another task may end the wait of the one that receives.

    received_at: `trio.current_time()` when bytes last came in; -inf before the first.
    """

    @property
    def received_at(self) -> float: ...

    def interrupt(self) -> None:
        """Let `wait_readable` return at once, if a task is in it."""
        ...


class Buffers:
    """The buffers that all connections of a node share."""

    def __init__(self) -> None:
        self.receive = memoryview(bytearray(RECEIVE_BYTES + FRAME_BYTES_MAX))
        self.send = memoryview(bytearray(SEND_BYTES))


class RawWire:
    """A `Wire` made of a py-libp2p connection that can only be awaited.

    It never looks beneath `conn`: what wraps a connection (a pre-shared key) is not bypassed.
    """

    def __init__(self, conn: IRawConnection) -> None:
        self._conn = conn
        self._received: memoryview | None = None
        self._unsent = bytearray()

    def receive_nowait(self, buffer: memoryview) -> int | None:
        received = self._received
        if received is None:
            return None
        size = min(len(received), len(buffer))
        buffer[:size] = received[:size]
        # An empty one marks the end, which stays.
        self._received = received[size:] if len(received) > size else None if size else received
        return size

    async def wait_readable(self) -> None:
        if self._received is None:
            self._received = memoryview(await self._conn.read(None))

    def write_nowait(self, data: memoryview) -> int:
        self._unsent += data
        return len(self._unsent)

    @property
    def backlog_bytes(self) -> int:
        return len(self._unsent)

    async def flush(self) -> None:
        while self._unsent:
            data = bytes(self._unsent)
            await self._conn.write(data)
            del self._unsent[: len(data)]


def wire_of(conn: IRawConnection) -> Wire:
    """Return the `Wire` that `conn` is or stands on directly, else one made of it."""
    stream: Any = getattr(conn, "stream", None)
    return stream if isinstance(stream, Wire) else RawWire(conn)
