"""Values that are too large for a record: blocks, and a record that points at them.

    async with big_values.open_sink(put_inline, put_pointer, ...) as sink:
        await sink.write(data)
        result = await sink.commit(timeout=60)

The blocks of a value are pinned for as long as this node keeps the pointer alive, or until a pointer
that was put `once` expires.

Source: docs/design.md, "Big values".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.blocks.balanced import Part
from primedht.blocks.big_sink import BigSink, PutInline
from primedht.blocks.big_source import BigSource
from primedht.blocks.blocks import Blocks
from primedht.blocks.profiles import DEFAULT_NAME, PROFILES
from primedht.blocks.pushed import PushedFile
from primedht.cids import Cid
from primedht.errors import PrimeDhtError, StoreFull, ValueTooLarge
from primedht.records.pointer import Pointer
from primedht.results import FoundValue, PutResult
from primedht.tasks import open_background_nursery, shielded_undo
from primedht.transfers import Compress

log = structlog.get_logger(__name__)

PutPointer = Callable[[Pointer, float], Awaitable[PutResult]]
"""Puts a pointer, which may take so many seconds."""


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
        self, key: bytes, *, size: int | None, compress: Compress, once_s: float | None,
        put_inline: PutInline, put_pointer: PutPointer, is_pointed_at: Callable[[Cid], Awaitable[bool]],
    ) -> AsyncIterator[BigSink]:  # fmt: skip
        """Take a value of any size; what is not committed when the block is left is forgotten.

        once_s: for how long to keep the blocks; None is for as long as the key has its record here.
        is_pointed_at: whether this node keeps a pointer to that root alive, after a put that failed.
        Raises `StoreFull` if a value of `size` bytes that is not compressed can never fit.
        """
        bytes_max = self._blocks.store.bytes_max
        if compress == "none" and size is not None and bytes_max is not None and size > bytes_max:
            raise StoreFull(f"a value of {size} bytes; quotas.blocks_bytes_max is {bytes_max}")

        async def store(part: Part, pointer: Pointer, timeout_s: float) -> PutResult:
            name = pin_name(key)
            self._pins.add(name)
            await self._blocks.keep(part, name=name, ttl_s=once_s, announce=False)
            try:
                began = trio.current_time()
                with trio.move_on_after(timeout_s / 2):  # who finds the pointer is to find a provider
                    await self._blocks.announce_now(part.cid)
                result = await put_pointer(pointer, timeout_s - (trio.current_time() - began))
            except BaseException:
                with shielded_undo():
                    if await is_pointed_at(part.cid):
                        await self.release(key, but=part.cid)
                    else:
                        await self._blocks.unpin(part.cid, name=name)
                raise
            await self.release(key, but=part.cid)
            return replace(
                result,
                root=bytes(part.cid),
                value_bytes=pointer.value_bytes,
                stored_bytes=part.content_bytes,
                codec=pointer.codec,
            )

        try:
            async with AsyncExitStack() as stack:
                sink = BigSink(
                    self._inline_bytes_max, size, compress, stack, self._open_file, put_inline, store
                )
                yield sink
                if not sink.is_committed:
                    raise _NotCommitted
        except _NotCommitted:
            pass

    async def open_source(self, pointer: Pointer, found: FoundValue, *, bytes_max: int) -> BigSource:
        """Return what gives the value behind `pointer`.

        Raises `ValueTooLarge` beyond `bytes_max`, and `UnknownCodec`.
        """
        check_wanted(pointer.value_bytes, bytes_max)
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
            ours = _PIN.fullmatch(pin.name) is not None and pin.expires_unix_s is None
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
        values._pins = {name for name in await blocks.pins.names() if name.startswith(_PIN_PREFIX)}
        nursery.start_soon(values.serve_sweeps, kept_keys)
        yield values


_PIN_PREFIX = "value:"
_PIN = re.compile(rf"{_PIN_PREFIX}[0-9a-f]{{64}}")  # users may call theirs otherwise


def pin_name(key: bytes) -> str:
    """Return the name of the pin of what was put under `key`."""
    return _PIN_PREFIX + sha256(key).hexdigest()


def check_wanted(size: int, bytes_max: int) -> None:
    """Raise `ValueTooLarge` for a value of more bytes than a get wants."""
    if size > bytes_max:
        raise ValueTooLarge(f"a value of {size} bytes; up to {bytes_max} were asked for (max_bytes)")
