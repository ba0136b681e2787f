"""The blocks of one node: adding, reading, pinning, collecting, and telling the DHT what is here.

    async with blocks.adding(profile) as adding:
        await adding.file("", file)
        added = await adding.finish()
        await blocks.keep(added)
    async for piece in blocks.read_file(added.cid): ...

Only roots are announced to the DHT: a peer that has found who has the root asks for the rest there.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import structlog
import trio

from primedht import limits
from primedht.blocks import exporter
from primedht.blocks.adding import Adding
from primedht.blocks.balanced import Part
from primedht.blocks.block import Block
from primedht.blocks.blockstore import Exchange, Fetched
from primedht.blocks.exporter import Entry, Item
from primedht.blocks.files import DiskBlockFiles, MemoryBlockFiles
from primedht.blocks.gc import Broken, Collected, Collector
from primedht.blocks.pins import Pin, Pins, walk
from primedht.blocks.profiles import Profile
from primedht.blocks.references import ReferencedFile
from primedht.blocks.store import LocalBlockstore, open_blockstore
from primedht.cids import Cid
from primedht.clock import WallClock
from primedht.errors import BlockNotFound, PrimeDhtError
from primedht.stores.kv import KeyValue
from primedht.tasks import open_background_nursery, shielded_undo

log = structlog.get_logger(__name__)


class Providing(Protocol):
    """Provider records of the DHT."""

    async def provide(self, multihash: bytes, *, timeout_s: float) -> Any: ...

    async def stop_providing(self, multihash: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class DagStat:
    """What is here of a DAG: distinct blocks and their bytes."""

    cid: Cid
    blocks: int
    bytes: int
    missing: int
    pins: tuple[Pin, ...]


class Blocks:
    """The block half of a node. Made by `open_blocks`; used from tasks of one event loop.

    exchange: where missing blocks come from, if there is one. on_unpinned: told of each root that lost a pin.
    """

    def __init__(
        self, store: LocalBlockstore, pins: Pins, collector: Collector, providing: Providing | None,
        background: trio.Nursery,
    ) -> None:  # fmt: skip
        self.store = store
        self.pins = pins
        self.exchange: Exchange | None = None
        self.on_unpinned: Callable[[Cid], None] | None = None
        self._collector = collector
        self._providing = providing
        self._background = background
        self._full_until = -math.inf
        store.on_file_changed = self._on_file_changed
        store.make_room = self._make_room

    # --- adding --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def adding(self, profile: Profile) -> AsyncIterator[Adding]:
        """Import files; what was stored is garbage, and goes at once, unless the block ends well.

        Call `keep` within the block with what `Adding.finish` returned.
        """
        with self.store.hold() as hold:
            adding = Adding(self.store, hold, profile)
            try:
                yield adding
            except BaseException:
                hold.drop()
                with shielded_undo():
                    await self._undo(adding)
                raise

    async def keep(
        self, added: Part, *, name: str = "", ttl_s: float | None = None, announce: bool = True
    ) -> Pin:
        """Pin what was added, for `ttl_s` or for good, and announce it now and every 22 hours."""
        expires_unix_s = None if ttl_s is None else self.pins.unix_now() + ttl_s
        pin = await self.pins.add(added.cid, name=name, expires_unix_s=expires_unix_s)
        if announce:
            self.announce(added.cid)
        return pin

    def announce(self, cid: Cid) -> None:
        """Tell the DHT that `cid` is here, in the background; it is repeated until `stop_announcing`."""
        if self._providing is not None:
            self._background.start_soon(self._provide, self._providing, cid)

    async def announce_now(self, cid: Cid) -> None:
        """As `announce`; returns once the closest peers were told, or could not be."""
        if self._providing is not None:
            await self._provide(self._providing, cid)

    async def stop_announcing(self, cid: Cid) -> None:
        """Tell the DHT no more that `cid` is here."""
        if self._providing is not None:
            await self._providing.stop_providing(cid.multihash)

    # --- reading ---------------------------------------------------------------------------------------

    async def get(self, cid: Cid) -> bytes:
        """Return a block, fetched if it is not here. Raises as `Blockstore.get` and `Exchange.fetch`."""
        try:
            return await self.store.get(cid)
        except BlockNotFound:
            if self.exchange is None:
                raise
            with self.store.hold() as hold:
                await self.exchange.fetch(
                    cid, recursive=False, hold=hold, timeout_s=limits.BLOCK_FETCH_TIMEOUT_S
                )
                return await self.store.get(cid)

    async def put_block(self, block: Block) -> None:
        """Store a block. Without a pin it stays until the next collection."""
        await self.store.put([block])

    async def fetch(self, root: Cid, *, timeout_s: float = math.inf, bytes_max: int | None = None) -> Fetched:
        """Return once all of a DAG is here. Raises `BlockNotFound` if it is not, and cannot be fetched.

        bytes_max: of what is fetched; beyond it raises `ValueTooLarge`.
        """
        fetched = Fetched(0, 0, ())
        with self.store.hold() as hold:
            if self.exchange is not None:
                fetched = await self.exchange.fetch(
                    root, recursive=True, hold=hold, timeout_s=timeout_s, bytes_max=bytes_max
                )
            async for cid in walk(self.store, root):
                hold.add([cid])
        return fetched

    async def describe(self, cid: Cid) -> Item:
        """Return what `cid` stands for. Raises `InvalidDag`, and as `get`; so do the next ones."""
        return await exporter.describe(self.get, cid)

    def read_file(self, cid: Cid, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a file's bytes in pieces."""
        return exporter.read_file(self.get, cid, start=start, end=end)

    async def list_directory(self, cid: Cid) -> list[Entry]:
        """Return a directory's entries by name."""
        return await exporter.list_directory(self.get, cid)

    async def resolve(self, root: Cid, path: str) -> Cid:
        """Return the CID of a path below a directory."""
        return await exporter.resolve(self.get, root, path)

    def walk_tree(self, root: Cid) -> AsyncIterator[tuple[str, Item]]:
        """Yield all that is in a directory, itself included."""
        return exporter.walk_tree(self.get, root)

    # --- keeping ---------------------------------------------------------------------------------------

    async def pin(
        self, cid: Cid, *, name: str = "", recursive: bool = True, ttl_s: float | None = None,
        announce: bool = True, timeout_s: float = math.inf, bytes_max: int | None = None,
    ) -> Pin:  # fmt: skip
        """Keep a block, or a DAG; what is missing is fetched first, and kept even if that is interrupted.

        Raises `BlockNotFound` if it is not here and cannot be fetched, and as `fetch` and `Pins.add`.
        """
        expires_unix_s = None if ttl_s is None else self.pins.unix_now() + ttl_s
        if recursive and self.exchange is not None:
            await self.pins.add(cid, name=name, partial=True, expires_unix_s=expires_unix_s)
            await self.fetch(cid, timeout_s=timeout_s, bytes_max=bytes_max)
        elif not recursive:
            await self.get(cid)
        pin = await self.pins.add(cid, name=name, recursive=recursive, expires_unix_s=expires_unix_s)
        if announce:
            self.announce(cid)
        return pin

    async def unpin(self, cid: Cid, *, name: str | None = None) -> int:
        """Remove pins; without any left, `cid` is announced no more. Returns how many there were."""
        removed = await self.pins.remove(cid, name=name)
        if removed and not await self.pins.of(cid):
            await self.stop_announcing(cid)
        if removed and self.on_unpinned is not None:
            self.on_unpinned(cid)
        return removed

    async def collect(self) -> Collected:
        """Remove what no pin needs. What keeps a pin from being followed is fetched first, if it can be."""
        await self._drop_expired()
        with trio.move_on_after(limits.GC_REPAIR_S) as patience:
            while (collected := await self._collector.collect()).broken:
                if not await self._fetch_broken(collected.broken):
                    break
        return await self._collector.collect() if patience.cancelled_caught else collected

    async def stat(self, root: Cid) -> DagStat:
        """Return how much of a DAG is here, and what pins its root. Nothing is fetched."""
        seen = {root.multihash}
        waiting = [root]
        blocks = bytes_here = missing = 0
        while waiting:
            cid = waiting.pop()
            size = await self.store.size(cid)
            if size is None:
                missing += 1
                continue
            blocks, bytes_here = blocks + 1, bytes_here + size
            for link in await self.store.links(cid):
                if link.multihash not in seen:
                    seen.add(link.multihash)
                    waiting.append(link)
        return DagStat(root, blocks, bytes_here, missing, tuple(await self.pins.of(root)))

    def status(self) -> dict[str, object]:
        """Return the state as JSON-able values."""
        counts = self.store.counts
        return {
            "blocks": counts.blocks,
            "bytes": counts.bytes_used,
            "bytes_max": self.store.bytes_max,
            "referenced_bytes": counts.referenced_bytes,
            "exchange": None if self.exchange is None else self.exchange.status(),
        }

    # --- parts of the above ------------------------------------------------------------------------------

    async def _make_room(self) -> bool:
        """Collect what is not pinned, unless that was of no use just now."""
        if trio.current_time() < self._full_until:
            return False
        collected = await self._collector.collect()
        log.info("blocks_collected", reason="the quota is reached", bytes=collected.bytes)
        if not collected.blocks:
            self._full_until = trio.current_time() + limits.BLOCK_ROOM_RETRY_S
        return collected.blocks > 0

    async def _fetch_broken(self, broken: Sequence[Broken]) -> bool:
        """Fetch blocks that pins need; return whether any came."""
        came = False
        for each in broken if self.exchange is not None else ():
            if each.code != BlockNotFound.code:
                continue
            try:
                await self.get(each.cid)
                came = True
            except PrimeDhtError as error:
                log.info("pinned_block_not_fetched", cid=str(each.cid), code=error.code)
        return came

    async def _drop_expired(self) -> None:
        for pin in await self.pins.remove_expired():
            if not await self.pins.of(pin.cid):
                await self.stop_announcing(pin.cid)

    async def _undo(self, adding: Adding) -> None:
        """Remove what an import that failed has stored, as far as nobody else needs it."""
        try:
            await self.store.forget_files(adding.file_ids)
            await self._collector.collect(among=adding.fresh)
        except PrimeDhtError as error:  # the next collection finds the rest
            log.warning("import_not_undone", code=error.code)

    async def _provide(self, providing: Providing, cid: Cid) -> None:
        try:
            await providing.provide(cid.multihash, timeout_s=limits.WALK_TIMEOUT_S)
        except PrimeDhtError as error:  # it is on the schedule, and tried again
            log.info("provide_failed", cid=str(cid), code=error.code)

    def _on_file_changed(self, file: ReferencedFile) -> None:
        if file.root is not None:
            self._background.start_soon(self._stop_announcing_changed, file.root)

    async def _stop_announcing_changed(self, root: Cid) -> None:
        try:
            await self.stop_announcing(root)
        except PrimeDhtError as error:
            log.warning("changed_file_still_announced", root=str(root), code=error.code)

    async def _serve_checks(self) -> NoReturn:
        """Notice files that changed and pins that expired, now and every hour."""
        while True:
            try:
                await self.store.check_files()
                await self._drop_expired()
            except PrimeDhtError as error:
                log.warning("block_checks_failed", code=error.code)
            await trio.sleep(limits.BLOCK_CHECKS_INTERVAL_S)


@asynccontextmanager
async def open_blocks(
    kv: KeyValue,
    clock: WallClock,
    *,
    path: Path | None = None,
    bytes_max: int | None = None,
    providing: Providing | None = None,
) -> AsyncIterator[Blocks]:
    """Open the blocks whose index is in `kv` and whose files are below `path` (None: in memory).

    Raises `StoreUnavailable` or `DiskFull` if the directory cannot be used.
    """
    files = MemoryBlockFiles() if path is None else await trio.to_thread.run_sync(DiskBlockFiles, path)
    store = await open_blockstore(kv, files, bytes_max=bytes_max)
    pins = Pins(kv, store, clock)
    async with open_background_nursery() as background:
        blocks = Blocks(store, pins, Collector(store, pins, clock), providing, background)
        background.start_soon(blocks._serve_checks)
        yield blocks
