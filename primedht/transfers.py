"""Values in pieces: what the control socket moves them through, so that none need fit into memory.

Inline values are small, and these simply gather and cut them. The ports are what a store of larger
values implements.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal, Protocol, cast, get_args

from primedht.errors import InvalidArgument, ValueTooLarge
from primedht.limits import CONTROL_CHUNK_BYTES
from primedht.results import FoundValue, PutResult

Compress = Literal["none", "auto", "zstd"]
"""Whether a value is compressed before it becomes blocks; "auto": if its beginning shows that it saves."""


def compress_named(name: str) -> Compress:
    """Return what `name` says. Raises `InvalidArgument`."""
    if name not in get_args(Compress):
        raise InvalidArgument(f"compress is {name!r}; it is one of {', '.join(get_args(Compress))}")
    return cast("Compress", name)


class ValueSink(Protocol):
    """Takes one value. Nothing of it is visible to anybody before `commit`."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises `ValueTooLarge`, and `InvalidArgument` beyond the size announced."""
        ...

    async def commit(self, *, timeout: float) -> PutResult:
        """Store what was written. Raises as `Node.put`, and `InvalidArgument` if bytes are missing."""
        ...


class ValueSource(Protocol):
    """Gives one value. found: what is known of it, without its bytes. size: in bytes."""

    @property
    def found(self) -> FoundValue: ...

    @property
    def size(self) -> int: ...

    async def read(self) -> bytes:
        """Return the next bytes, at most `CONTROL_CHUNK_BYTES_MAX`; none at the end."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds, whether all was read or not."""
        ...


class InlineSink:
    """Gathers a value of at most `bytes_max` bytes for one put. size: announced, or None."""

    def __init__(
        self, store: Callable[[bytes, float], Awaitable[PutResult]], *, size: int | None, bytes_max: int
    ) -> None:
        if size is not None:
            check_inline(size, bytes_max)
        self._store = store
        self._size = size
        self._bytes_max = bytes_max
        self._value = bytearray()

    async def write(self, data: bytes) -> None:
        written = len(self._value) + len(data)
        if self._size is not None and written > self._size:
            raise InvalidArgument(f"{written} bytes of a value that was announced with {self._size}")
        check_inline(written, self._bytes_max)
        self._value += data

    async def commit(self, *, timeout: float) -> PutResult:
        if self._size is not None and len(self._value) < self._size:
            raise InvalidArgument(f"{len(self._value)} bytes of a value that was announced with {self._size}")
        return await self._store(bytes(self._value), timeout)


class InlineSource:
    """Cuts a value that was found into pieces."""

    def __init__(self, found: FoundValue) -> None:
        self.found = replace(found, value=b"", payload=b"")
        self.size = len(found.payload)
        self._rest = memoryview(found.payload)

    async def read(self) -> bytes:
        piece, self._rest = self._rest[:CONTROL_CHUNK_BYTES], self._rest[CONTROL_CHUNK_BYTES:]
        return bytes(piece)

    async def aclose(self) -> None:
        self._rest.release()


def check_inline(size: int, bytes_max: int) -> None:
    """Raise `ValueTooLarge` for a value that is not stored inline."""
    if size > bytes_max:
        raise ValueTooLarge(
            f"a value of {size} bytes; up to {bytes_max} are stored inline (records.inline_bytes_max)"
        )
