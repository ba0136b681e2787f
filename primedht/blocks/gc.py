"""Garbage collection: removing the blocks that no pin and no work under way needs.

First all that pins keep is marked, then what is not marked is removed, a few blocks at a time and each
only if nobody put or held it since the start. If a pinned DAG cannot be followed to its end, what lies beyond
is not known: a missing node names its children by hashes that nobody here can tell, so that any block which
no other pin needs may be one of them. Then no block goes but those that just came, the others are counted,
and the rest of the work is done. A crash at any moment leaves blocks or files too many, never too few, and
the next collection finds them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace

import trio

from primedht import limits
from primedht.blocks.pins import Pin, Pins, is_expired
from primedht.blocks.store import LocalBlockstore
from primedht.cids import RAW, Cid
from primedht.clock import WallClock
from primedht.errors import BlockNotFound, LocalError, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Broken:
    """A pin whose DAG cannot be followed: at which block, and why (an error code)."""

    pin: Pin
    cid: Cid
    code: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed. broken: pins that kept it from removing blocks.

    failed: files that could not be removed; the next collection tries again. undecided, undecided_bytes:
    blocks that stay because they may be what a broken pin keeps; no other needs them.
    """

    blocks: int = 0
    bytes: int = 0
    failed: int = 0
    kept: int = 0
    broken: tuple[Broken, ...] = ()
    undecided: int = 0
    undecided_bytes: int = 0


class Collector:
    """Collects the garbage of one blockstore, one collection at a time."""

    def __init__(self, store: LocalBlockstore, pins: Pins, clock: WallClock) -> None:
        self._store = store
        self._pins = pins
        self._clock = clock
        self._collecting = trio.Lock()

    async def collect(self, among: Collection[bytes] | None = None) -> Collected:
        """Remove what is not needed. among: of that only these, multihashes of blocks that just came.

        Raises `StoreCorrupt` for a damaged pin: it might keep anything.
        """
        async with self._collecting:
            with self._store.guarding():
                kept: set[bytes] = set()
                broken = await self._mark(kept)
                # What just came was not there for a broken pin to need.
                removable = () if broken and among is None else among
                done = await self._sweep(kept, removable)
                if among is None:
                    done = await self._tidy(done)
                    if broken:
                        done = await self._count_undecided(done, kept)
                return replace(done, broken=tuple(broken))

    async def _mark(self, kept: set[bytes]) -> list[Broken]:
        broken = []
        walked: set[bytes] = set()
        now = self._clock.unix_now()
        async for pin in self._pins.all():
            if is_expired(pin, now):
                continue
            if not pin.recursive:
                kept.add(pin.cid.multihash)
                continue
            waiting = [pin.cid]
            while waiting:
                cid = waiting.pop()
                kept.add(cid.multihash)
                if cid.codec == RAW or cid.multihash in walked:
                    continue
                walked.add(cid.multihash)
                try:
                    links = await self._store.links(cid)
                except LocalError as error:
                    if not (pin.partial and isinstance(error, BlockNotFound)):
                        broken.append(Broken(pin, cid, error.code))
                    continue
                waiting += [link for link in links if link.multihash not in walked]
        return broken

    async def _sweep(self, kept: set[bytes], among: Collection[bytes] | None) -> Collected:
        blocks = removed_bytes = failed = 0
        batch: list[bytes] = []

        async def remove() -> None:
            nonlocal blocks, removed_bytes, failed
            removed = await self._store.remove(batch)
            blocks, removed_bytes = blocks + removed.blocks, removed_bytes + removed.bytes
            failed += removed.failed
            batch.clear()

        async for multihash in self._store.multihashes() if among is None else _each(among):
            if multihash not in kept:
                batch.append(multihash)
                if len(batch) == limits.BLOCK_BATCH_MAX:
                    await remove()
        await remove()
        return Collected(blocks, removed_bytes, failed, len(kept))

    async def _count_undecided(self, done: Collected, kept: set[bytes]) -> Collected:
        count = count_bytes = 0
        async for multihash in self._store.multihashes():
            if multihash not in kept:
                count += 1
                count_bytes += await self._store.size(Cid(1, RAW, multihash)) or 0
        return replace(done, undecided=count, undecided_bytes=count_bytes)

    async def _tidy(self, done: Collected) -> Collected:
        """Forget files that no block is a piece of, and remove those that the index does not know."""
        await self._store.forget_unused_files()
        try:
            failed = max(done.failed, (await self._store.remove_strays()).failed)
        except StoreUnavailable:  # a folder that cannot be read now is read next time
            failed = done.failed + 1
        return replace(done, failed=failed)


async def _each(multihashes: Collection[bytes]) -> AsyncIterator[bytes]:
    for multihash in multihashes:
        yield multihash
