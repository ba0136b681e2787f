"""Values that are too large for a record: blocks, and a record that points at them.

    async with big_values.open_sink(put_inline, put_pointer, ...) as sink:
        await sink.write(data)
        result = await sink.commit(timeout=60)

The blocks of a value are pinned for as long as this node keeps the pointer alive, or until a pointer
that was put `once` expires.

Source: docs/design.md, "Big values".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.blocks.balanced import Part
from primedht.blocks.blocks import Blocks
from primedht.blocks.profiles import DEFAULT_NAME, PROFILES
from primedht.blocks.pushed import PushedFile
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidDag, PrimeDhtError, StoreFull, ValueTooLarge
from primedht.records.pointer import MARK, Pointer
from primedht.results import FoundValue, PutResult
from primedht.tasks import open_background_nursery

log = structlog.get_logger(__name__)

PutInline = Callable[[bytes, float], Awaitable[PutResult]]
PutPointer = Callable[[Pointer, float], Awaitable[PutResult]]
"""Puts a value or a pointer, which may take so many seconds."""


class _NotCommitted(Exception):
    """Undoes an import."""


class BigValues:
    """The values of one node that are too large for their records."""

    def __init__(self, blocks: Blocks, *, inline_bytes_max: int) -> None:
        self._blocks = blocks
        self._inline_bytes_max = inline_bytes_max
        self._puts = trio.Semaphore(limits.BIG_PUTS_AT_ONCE)
        self._pins: set[str] = set()  # names of pins that there may be, so that small puts look for none

    @asynccontextmanager
    async def open_sink(
        self, key: bytes, *, size: int | None, once_s: float | None, put_inline: PutInline,
        put_pointer: PutPointer, is_pointed_at: Callable[[Cid], Awaitable[bool]],
    ) -> AsyncIterator[BigSink]:  # fmt: skip
        """Take a value of any size; what is not committed when the block is left is forgotten.

        once_s: for how long to keep the blocks; None is for as long as the key has its record here.
        is_pointed_at: whether this node keeps a pointer to that root alive, after a put that failed.
        Raises `StoreFull` if a value of `size` bytes can never fit.
        """
        bytes_max = self._blocks.store.bytes_max
        if size is not None and bytes_max is not None and size > bytes_max:
            raise StoreFull(f"a value of {size} bytes; quotas.blocks_bytes_max is {bytes_max}")

        async def store(part: Part, blocks: int, timeout_s: float) -> PutResult:
            pointer = Pointer(part.cid, part.content_bytes, part.dag_bytes, blocks)
            name = pin_name(key)
            self._pins.add(name)
            await self._blocks.keep(part, name=name, ttl_s=once_s, announce=False)
            try:
                began = trio.current_time()
                with trio.move_on_after(timeout_s / 2):  # who finds the pointer is to find a provider
                    await self._blocks.announce_now(part.cid)
                result = await put_pointer(pointer, timeout_s - (trio.current_time() - began))
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.IMPORT_UNDO_S):
                    if await is_pointed_at(part.cid):
                        await self.release(key, but=part.cid)
                    else:
                        await self._blocks.unpin(part.cid, name=name)
                raise
            await self.release(key, but=part.cid)
            return replace(result, root=bytes(part.cid))

        try:
            async with AsyncExitStack() as stack:
                sink = BigSink(self._inline_bytes_max, size, stack, self._open_file, put_inline, store)
                yield sink
                if not sink.is_committed:
                    raise _NotCommitted
        except _NotCommitted:
            pass

    async def open_source(self, pointer: Pointer, found: FoundValue, *, bytes_max: int) -> BigSource:
        """Return what gives the value behind `pointer`. Raises `ValueTooLarge` beyond `bytes_max`."""
        check_wanted(pointer.size_bytes, bytes_max)
        return BigSource(self._blocks, pointer, found)

    def may_have(self, key: bytes) -> bool:
        """Return whether blocks may be pinned for `key`."""
        return pin_name(key) in self._pins

    async def release(self, key: bytes, *, but: Cid | None = None) -> None:
        """Unpin the blocks of what was put under `key`, except those of `but`."""
        name = pin_name(key)
        if name not in self._pins:
            return
        if but is None:
            self._pins.discard(name)
        async for pin in self._blocks.pins.all():
            if pin.name == name and (but is None or pin.cid.multihash != but.multihash):
                await self._blocks.unpin(pin.cid, name=name)

    async def serve_sweeps(self, kept_keys: Callable[[], Iterable[bytes]]) -> NoReturn:
        """Every hour, unpin the blocks of keys whose record this node keeps alive no more."""
        while True:
            await trio.sleep(limits.BLOCK_CHECKS_INTERVAL_S)
            try:
                await self.sweep(kept_keys())
            except PrimeDhtError as error:
                log.warning("value_pins_not_swept", code=error.code)

    async def sweep(self, kept_keys: Iterable[bytes]) -> None:
        """Unpin the blocks of all keys but these; a pin of the last hour may be of a put under way."""
        kept = {pin_name(key) for key in kept_keys}
        young_unix_s = self._blocks.pins.unix_now() - limits.BLOCK_CHECKS_INTERVAL_S
        async for pin in self._blocks.pins.all():
            ours = pin.name.startswith(_PIN_PREFIX) and pin.expires_unix_s is None
            if ours and pin.name not in kept and pin.created_unix_s < young_unix_s:
                await self._blocks.unpin(pin.cid, name=pin.name)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[PushedFile]:
        async with self._puts, self._blocks.adding(PROFILES[DEFAULT_NAME]) as adding:
            yield adding.pushed_file()


@asynccontextmanager
async def open_big_values(
    blocks: Blocks, *, inline_bytes_max: int, kept_keys: Callable[[], Iterable[bytes]]
) -> AsyncIterator[BigValues]:
    """kept_keys: the keys whose records this node keeps alive."""
    async with open_background_nursery() as nursery:
        values = BigValues(blocks, inline_bytes_max=inline_bytes_max)
        values._pins = {pin.name async for pin in blocks.pins.all() if pin.name.startswith(_PIN_PREFIX)}
        nursery.start_soon(values.serve_sweeps, kept_keys)
        yield values


class BigSink:
    """A `ValueSink`: a value stays in memory while it is small, and becomes blocks once it is not."""

    def __init__(
        self, inline_bytes_max: int, size: int | None, stack: AsyncExitStack,
        open_file: Callable[[], AbstractAsyncContextManager[PushedFile]], put_inline: PutInline,
        store: Callable[[Part, int, float], Awaitable[PutResult]],
    ) -> None:  # fmt: skip
        self._inline_bytes_max = inline_bytes_max
        self._size = size
        self._stack = stack
        self._open_file = open_file
        self._put_inline = put_inline
        self._store = store
        self._head = bytearray()
        self._file: PushedFile | None = None
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
        if len(self._head) > self._inline_bytes_max:
            await self._begin_file()

    async def commit(self, *, timeout: float) -> PutResult:
        if self._size is not None and self._written < self._size:
            raise InvalidArgument(f"{self._written} bytes of a value that was announced with {self._size}")
        if self._file is None and self._head.startswith(MARK):
            await self._begin_file()
        if self._file is None:
            result = await self._put_inline(bytes(self._head), timeout)
        else:
            part = await self._file.finish()
            result = await self._store(part, self._file.block_count, timeout)
        self.is_committed = True
        return result

    async def _begin_file(self) -> None:
        self._file = await self._stack.enter_async_context(self._open_file())
        head, self._head = bytes(self._head), bytearray()
        await self._file.write(head)


class BigSource:
    """A `ValueSource`: fetches the blocks with the first `read`, then gives what is here now."""

    def __init__(self, blocks: Blocks, pointer: Pointer, found: FoundValue) -> None:
        self.found = replace(found, value=b"", payload=b"")
        self.size = pointer.size_bytes
        self._blocks = blocks
        self._pointer = pointer
        self._stack = AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None
        self._piece = memoryview(b"")
        self._given = 0

    async def read(self) -> bytes:
        """Raises `BlockNotFound`, and `InvalidDag` if the pointer does not say the truth."""
        if self._pieces is None:
            await self._fetch()
            self._pieces = self._blocks.read_file(self._pointer.root)
        while not self._piece:
            try:
                self._piece = memoryview(await anext(self._pieces))
            except StopAsyncIteration:
                if self._given != self.size:
                    raise self._lie(self._given) from None
                return b""
        data = bytes(self._piece[: limits.CONTROL_CHUNK_BYTES])
        self._piece = self._piece[limits.CONTROL_CHUNK_BYTES :]
        self._given += len(data)
        if self._given > self.size:
            raise self._lie(self._given)
        return data

    async def aclose(self) -> None:
        await self._stack.aclose()

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
        if item.kind != "file" or item.size_bytes != self.size:
            raise self._lie(item.size_bytes)

    def _lie(self, size: int) -> InvalidDag:
        return InvalidDag(
            f"{self._pointer.root} has {size} bytes or more, its pointer says {self.size}; "
            "ask its writer to put it again"
        )


_PIN_PREFIX = "value:"


def pin_name(key: bytes) -> str:
    """Return the name of the pin of what was put under `key`."""
    return _PIN_PREFIX + sha256(key).hexdigest()


def check_wanted(size: int, bytes_max: int) -> None:
    """Raise `ValueTooLarge` for a value of more bytes than a get wants."""
    if size > bytes_max:
        raise ValueTooLarge(f"a value of {size} bytes; up to {bytes_max} were asked for (max_bytes)")
