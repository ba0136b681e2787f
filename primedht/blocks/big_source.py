"""Giving a value of any size, out of the blocks that its pointer names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import trio

from primedht import limits
from primedht.blocks.blocks import Blocks
from primedht.blocks.compression import ZSTD, Decompressor
from primedht.errors import DecompressionFailed, InvalidDag, UnknownCodec, ValueTooLarge
from primedht.records.pointer import Pointer
from primedht.results import FoundValue


class BigSource:
    """A `ValueSource`: fetches the blocks with the first `read`, then gives what is here now.

    Raises `UnknownCodec` if the value is compressed in another way than those known here.
    """

    def __init__(self, blocks: Blocks, pointer: Pointer, found: FoundValue) -> None:
        if pointer.codec not in ("", ZSTD):
            raise UnknownCodec(
                f"the value is compressed with {pointer.codec}, which this version does not know; "
                f"{ZSTD} is known: update this node, or ask its writer to put it with that"
            )
        self.found = replace(found, value=b"", payload=b"")
        self.size = pointer.value_bytes
        self._blocks = blocks
        self._pointer = pointer
        self._stack = AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None
        self._piece = memoryview(b"")
        self._stored_bytes = 0  # of the file, read so far
        self._decompressor = Decompressor(pointer.content_bytes) if pointer.codec else None

    async def read(self) -> bytes:
        """Raises `BlockNotFound`, and `InvalidDag` or `DecompressionFailed` if the pointer is not true."""
        if self._pieces is None:
            await self._fetch()
            self._pieces = self._blocks.read_file(self._pointer.root)
        if self._decompressor is None:
            return await self._next_stored(self._pieces)
        try:
            while not (data := await trio.to_thread.run_sync(self._decompressor.read)):
                stored = await self._next_stored(self._pieces)
                if not stored:
                    self._decompressor.finish()
                    return b""
                self._decompressor.add(stored)
            return data
        except DecompressionFailed as error:
            raise DecompressionFailed(
                f"{self._pointer.root} is not the compressed value of {self.size} bytes that its pointer "
                f"says: {error}; ask its writer to put it again"
            ) from None

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _next_stored(self, pieces: AsyncIterator[bytes]) -> bytes:
        """Return more of the file; none at its end."""
        while not self._piece:
            try:
                self._piece = memoryview(await anext(pieces))
            except StopAsyncIteration:
                if self._stored_bytes != self._pointer.size_bytes:
                    raise self._lie(self._stored_bytes) from None
                return b""
        data = bytes(self._piece[: limits.CONTROL_CHUNK_BYTES])
        self._piece = self._piece[limits.CONTROL_CHUNK_BYTES :]
        self._stored_bytes += len(data)
        if self._stored_bytes > self._pointer.size_bytes:
            raise self._lie(self._stored_bytes)
        return data

    async def _fetch(self) -> None:
        hold = self._stack.enter_context(self._blocks.store.hold())
        if self._blocks.exchange is not None:
            try:
                await self._blocks.exchange.fetch(
                    self._pointer.root, recursive=True, hold=hold, timeout_s=limits.CONTROL_TIMEOUT_S_MAX,
                    bytes_max=self._pointer.dag_bytes,
                )  # fmt: skip
            except ValueTooLarge:
                raise InvalidDag(
                    f"{self._pointer.root} has over {self._pointer.dag_bytes} bytes of blocks, which is what "
                    "its pointer says; ask its writer to put it again"
                ) from None
        item = await self._blocks.describe(self._pointer.root)
        if item.kind != "file" or item.size_bytes != self._pointer.size_bytes:
            raise self._lie(item.size_bytes)

    def _lie(self, size: int) -> InvalidDag:
        return InvalidDag(
            f"{self._pointer.root} has {size} bytes or more, its pointer says {self._pointer.size_bytes}; "
            "ask its writer to put it again"
        )
