"""Taking a value of any size: it stays in memory while it is small, and becomes blocks once it is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

import trio

from primedht import limits
from primedht.blocks.balanced import Part
from primedht.blocks.compression import ZSTD, Compressor, is_worthwhile
from primedht.blocks.pushed import PushedFile
from primedht.errors import InvalidArgument
from primedht.records.pointer import MARK, Pointer
from primedht.results import PutResult
from primedht.transfers import Compress

PutInline = Callable[[bytes, float], Awaitable[PutResult]]
"""Puts a value, which may take so many seconds."""

Store = Callable[[Part, Pointer, float], Awaitable[PutResult]]
"""Keeps a file and puts the pointer to it, likewise."""


class BigSink:
    """A `ValueSink`. size: announced, or None."""

    def __init__(
        self, inline_bytes_max: int, size: int | None, compress: Compress, stack: AsyncExitStack,
        open_file: Callable[[], AbstractAsyncContextManager[PushedFile]], put_inline: PutInline, store: Store,
    ) -> None:  # fmt: skip
        self._inline_bytes_max = inline_bytes_max
        self._size = size
        self._compress = compress
        self._stack = stack
        self._open_file = open_file
        self._put_inline = put_inline
        self._store = store
        self._head = bytearray()
        self._head_bytes_max = inline_bytes_max
        if compress == "auto":
            self._head_bytes_max = max(inline_bytes_max, limits.COMPRESSION_PROBE_BYTES)
        self._file: _Writable | None = None
        self._written = 0
        self.is_committed = False

    async def write(self, data: bytes) -> None:
        self._written += len(data)
        if self._size is not None and self._written > self._size:
            raise InvalidArgument(f"{self._written} bytes of a value that was announced with {self._size}")
        if self._file is not None:
            await self._file.write(data)
            return
        self._head += data
        if len(self._head) > self._head_bytes_max:
            await self._begin_file()

    async def commit(self, *, timeout: float) -> PutResult:
        if self._size is not None and self._written < self._size:
            raise InvalidArgument(f"{self._written} bytes of a value that was announced with {self._size}")
        if self._file is None and (len(self._head) > self._inline_bytes_max or self._head.startswith(MARK)):
            await self._begin_file()
        if self._file is None:
            result = await self._put_inline(bytes(self._head), timeout)
        else:
            part = await self._file.finish()
            result = await self._store(part, self._pointer(self._file, part), timeout)
        self.is_committed = True
        return result

    async def _begin_file(self) -> None:
        head, self._head = bytes(self._head), bytearray()
        is_compressed = self._compress == ZSTD or (
            self._compress == "auto" and await trio.to_thread.run_sync(is_worthwhile, head)
        )
        file = await self._stack.enter_async_context(self._open_file())
        self._file = _CompressedFile(file, self._size) if is_compressed else file
        await self._file.write(head)

    def _pointer(self, file: _Writable, part: Part) -> Pointer:
        stored = (part.cid, part.content_bytes, part.dag_bytes, file.block_count)
        if isinstance(file, _CompressedFile):
            return Pointer(*stored, codec=ZSTD, content_bytes=self._written)
        return Pointer(*stored)


class _Writable(Protocol):
    """As `PushedFile`."""

    @property
    def block_count(self) -> int: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> Part: ...


class _CompressedFile:
    """A file of what zstd makes of the bytes written. content_bytes: of all those, if known."""

    def __init__(self, file: PushedFile, content_bytes: int | None) -> None:
        self._file = file
        self._compressor = Compressor(content_bytes)

    @property
    def block_count(self) -> int:
        return self._file.block_count

    async def write(self, data: bytes) -> None:
        await self._file.write(await trio.to_thread.run_sync(self._compressor.add, data))

    async def finish(self) -> Part:
        await self._file.write(await trio.to_thread.run_sync(self._compressor.finish))
        return await self._file.finish()
