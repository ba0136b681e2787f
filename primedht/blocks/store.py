"""This node's blocks: small ones inside the store, large ones as files, or as pieces of users' files.

One change at a time: what is decided under the lock (is it here, does it fit, may it go) still holds when
it is written. A block is in the index last when it comes and first when it goes, so a crash leaves at
most a file that the index does not know.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog
import trio

from primedht import limits
from primedht.blocks import index, references
from primedht.blocks.block import Block, check_hash, matches
from primedht.blocks.blockstore import Hold
from primedht.blocks.dagpb import decode_node
from primedht.blocks.files import BlockFiles
from primedht.blocks.index import DATA, ENTRY, FILE, FILE_ID_BYTES, REFERENCE, Counts
from primedht.blocks.links import links_of
from primedht.blocks.references import ReferencedFile
from primedht.cids import DAG_PB, IDENTITY, RAW, Cid
from primedht.dht.sealed import seal
from primedht.errors import BlockNotFound, FileChanged, InvalidDag, StoreFull, StoreUnavailable
from primedht.pb.store_pb2 import StoredBlock
from primedht.stores.kv import KeyValue, scan_all

log = structlog.get_logger(__name__)

T = TypeVar("T")
FileListener = Callable[[ReferencedFile], None]


class _Kept:
    """A `Hold`: multihashes that may not be collected."""

    def __init__(self) -> None:
        self.multihashes: set[bytes] = set()

    def add(self, cids: Iterable[Cid]) -> None:
        self.multihashes.update(cid.multihash for cid in cids)

    def drop(self) -> None:
        self.multihashes.clear()


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did. failed: files that could not be removed; they are found again later."""

    blocks: int = 0
    bytes: int = 0
    failed: int = 0


class LocalBlockstore:
    """The `Blockstore` of a node. Made by `open_blockstore`; used from tasks of one event loop.

    bytes_max: quota for what is in the store and in files of its own; None is no limit. make_room: called
    when that is reached, returns whether it has removed something.
    """

    def __init__(self, kv: KeyValue, files: BlockFiles, counts: Counts, *, bytes_max: int | None) -> None:
        self._kv = kv
        self._files = files
        self._counts = counts
        self._bytes_max = bytes_max
        self._lock = trio.Lock()
        self._threads = trio.CapacityLimiter(limits.BLOCK_THREADS_MAX)
        self._holds: set[_Kept] = set()
        self._guard: _Kept | None = None  # what was touched while a collection is under way
        self.on_file_changed: FileListener = lambda file: None
        self.files_in_use: set[bytes] = set()  # being written now
        self.make_room: Callable[[], Awaitable[bool]] = _make_none
        self.on_stored: Callable[[list[Cid]], None] = lambda cids: None

    @property
    def counts(self) -> Counts:
        """What is held now."""
        return self._counts

    @property
    def is_durable(self) -> bool:
        """Whether blocks are on disk."""
        return self._files.is_durable

    @property
    def bytes_max(self) -> int | None:
        """The quota."""
        return self._bytes_max

    # --- reading -----------------------------------------------------------------------------------

    async def has(self, cid: Cid) -> bool:
        return cid.hash_code == IDENTITY or await index.load_entry(self._kv, cid.multihash) is not None

    async def size(self, cid: Cid) -> int | None:
        if cid.hash_code == IDENTITY:
            return len(cid.digest)
        entry = await index.load_entry(self._kv, cid.multihash)
        return None if entry is None else entry.size_bytes

    async def get(self, cid: Cid) -> bytes:
        check_hash(cid)
        if cid.hash_code == IDENTITY:
            return cid.digest
        entry = await index.load_entry(self._kv, cid.multihash)
        if entry is None:
            raise BlockNotFound(f"block {cid} is not here")
        data = await self._read(cid, entry)
        if data is None:
            await self._forget_damaged(cid)
            raise BlockNotFound(f"block {cid} is damaged or gone on this disk; fetch it again")
        return data

    async def links(self, cid: Cid) -> tuple[Cid, ...]:
        """Return the CIDs that a block links to; leaves are not read for that.

        Raises as `get` and `links_of` do.
        """
        if cid.codec == RAW:
            if not await self.has(cid):
                raise BlockNotFound(f"block {cid} is not here")
            return ()
        entry = await index.load_entry(self._kv, cid.multihash)
        if entry is not None and entry.leaf and cid.codec == DAG_PB:
            return ()
        return links_of(cid, await self.get(cid))

    async def multihashes(self) -> AsyncIterator[bytes]:
        """Yield the multihash of every block, in order."""
        async for key, _ in scan_all(self._kv, ENTRY):
            yield key[len(ENTRY) :]

    async def _read(self, cid: Cid, entry: StoredBlock) -> bytes | None:
        """Return the verified bytes, or None if they are not there. Raises `FileChanged`."""
        if entry.place == StoredBlock.INLINE:
            data = await self._kv.get(DATA + cid.multihash)
            return data if data is not None and matches(cid, data) else None
        if entry.place == StoredBlock.FILE:
            return await self._in_thread(partial(_read_file, self._files, cid))
        return await self._read_reference(cid, entry)

    async def _read_reference(self, cid: Cid, entry: StoredBlock) -> bytes | None:
        changed: FileChanged | None = None
        for reference in entry.references:
            file = await index.load_file(self._kv, reference.file_id)
            if file is None:
                continue
            try:
                return await self._in_thread(
                    partial(_read_piece, file, cid, reference.offset, entry.size_bytes)
                )
            except FileChanged as error:
                changed = error
                await self._drop_file(reference.file_id, file)
        if changed is not None:
            raise FileChanged(str(changed))
        return None

    # --- writing -----------------------------------------------------------------------------------

    async def put(self, blocks: Sequence[Block], *, hold: Hold | None = None) -> list[Cid]:
        self._keep(hold, [block.cid for block in blocks])
        try:
            return await self._put(blocks)
        except StoreFull:
            if not await self.make_room():
                raise
        return await self._put(blocks)

    async def _put(self, blocks: Sequence[Block]) -> list[Cid]:
        async with self._lock:
            fresh: dict[bytes, Block] = {}
            replaced: dict[bytes, StoredBlock] = {}
            for block in blocks:
                multihash = block.cid.multihash
                if multihash in fresh or block.cid.hash_code == IDENTITY:
                    continue
                entry = await index.load_entry(self._kv, multihash)
                if entry is None or entry.place == StoredBlock.REFERENCE:
                    fresh[multihash] = block
                    if entry is not None:  # from now on it outlives the user's file
                        replaced[multihash] = entry
            if not fresh:
                return []
            self._check_quota(sum(len(block.data) for block in fresh.values()))
            large = [block for block in fresh.values() if len(block.data) > limits.BLOCK_INLINE_BYTES_MAX]
            if large:
                await self._in_thread(partial(self._files.write, large))
            changes: dict[bytes, bytes | None] = {}
            entries = {}
            for multihash, block in fresh.items():
                is_file = len(block.data) > limits.BLOCK_INLINE_BYTES_MAX
                if not is_file:
                    changes[DATA + multihash] = block.data
                entries[multihash] = StoredBlock(
                    place=StoredBlock.FILE if is_file else StoredBlock.INLINE,
                    size_bytes=len(block.data),
                    leaf=_is_leaf(block),
                )
            await self._record(entries, replaced, changes)
            stored = [block.cid for multihash, block in fresh.items() if multihash not in replaced]
            self.on_stored(stored)
            return stored

    async def reference(
        self, file: ReferencedFile, leaves: Sequence[tuple[Cid, int, int]], *, file_id: bytes, hold: Hold
    ) -> None:
        """Let blocks be pieces of `file` (CID, offset, size in bytes); those that are here stay as they are.

        file_id: from `new_file_id`, the same for all pieces of one file.
        """
        self._keep(hold, [cid for cid, _, _ in leaves])
        async with self._lock:
            changes: dict[bytes, bytes | None] = {FILE + file_id: index.sealed_file(file)}
            entries: dict[bytes, StoredBlock] = {}
            replaced: dict[bytes, StoredBlock] = {}
            for cid, offset, size in leaves:
                multihash = cid.multihash
                entry = entries.get(multihash) or await index.load_entry(self._kv, multihash)
                if entry is None:
                    entry = StoredBlock(place=StoredBlock.REFERENCE, size_bytes=size)
                elif entry.place != StoredBlock.REFERENCE:
                    continue
                elif multihash not in entries:
                    replaced[multihash] = StoredBlock.FromString(entry.SerializeToString())
                known = {each.file_id for each in entry.references}
                if file_id not in known and len(known) < limits.BLOCK_REFERENCES_MAX:
                    entry.references.add(file_id=file_id, offset=offset)
                    changes[REFERENCE + file_id + multihash] = b""
                entries[multihash] = entry
            await self._record(entries, replaced, changes)
            self.on_stored([cid for cid, _, _ in leaves])

    async def name_files(self, file_ids: Sequence[bytes], root: Cid) -> None:
        """Let `root` stand for those files from now on: it is what stops being provided if one changes."""
        async with self._lock:
            changes: dict[bytes, bytes | None] = {}
            for file_id in file_ids:
                file = await index.load_file(self._kv, file_id)
                if file is not None:
                    changes[FILE + file_id] = index.sealed_file(replace(file, root=root))
            await self._kv.put(changes)

    async def rename_root(self, before: Cid, after: Cid) -> None:
        """Let another root stand for files that `before` stands for: it is what is announced."""
        files = await self.referenced_files()
        await self.update_files(
            {file_id: replace(file, root=after) for file_id, file in files.items() if file.root == before}
        )

    async def update_files(self, files: Mapping[bytes, ReferencedFile]) -> None:
        """Describe referenced files anew, by file id. Nothing needs to refer to them yet."""
        sealed = [(FILE + file_id, index.sealed_file(file)) for file_id, file in files.items()]
        for start in range(0, len(sealed), limits.STORE_CHANGES_MAX):
            async with self._lock:
                await self._kv.put(dict(sealed[start : start + limits.STORE_CHANGES_MAX]))

    async def refers_to(self, cid: Cid, file_id: bytes, offset: int) -> bool:
        """Return whether a block is known to be that piece of a referenced file."""
        entry = await index.load_entry(self._kv, cid.multihash)
        return entry is not None and any(
            (each.file_id, each.offset) == (file_id, offset) for each in entry.references
        )

    async def forget_files(self, file_ids: Sequence[bytes]) -> None:
        """Forget referenced files, and the blocks that are pieces of no other."""
        for file_id in file_ids:
            await self._forget_file(file_id)

    @staticmethod
    def new_file_id() -> bytes:
        """Return a name for a file that is to be referenced."""
        return os.urandom(FILE_ID_BYTES)

    async def check_files(self) -> None:
        """Look at every referenced file; those that changed are forgotten, and the listener is told.

        Those that cannot be reached now are looked at again the next time.
        """
        async for key, raw in scan_all(self._kv, FILE):
            file = index.parse_file(raw)
            if file is None:
                continue
            try:
                await self._in_thread(partial(references.check_unchanged, file))
            except FileChanged:
                await self._drop_file(key[len(FILE) :], file)
            except StoreUnavailable as error:
                log.warning("referenced_file_unreachable", path=str(file.path), reason=str(error))

    async def referenced_files(self) -> dict[bytes, ReferencedFile]:
        """Return the users' files that blocks refer to, by file id."""
        files = {key[len(FILE) :]: index.parse_file(raw) async for key, raw in scan_all(self._kv, FILE)}
        return {file_id: file for file_id, file in files.items() if file is not None}

    async def forget_unused_files(self) -> None:
        """Forget the users' files that no block refers to any more; what was never complete is removed."""
        async for key, raw in scan_all(self._kv, FILE):
            file_id, file = key[len(FILE) :], index.parse_file(raw)
            async with self._lock:
                if file_id in self.files_in_use or await self._kv.scan(REFERENCE + file_id, limit=1):
                    continue
                if file is not None and file.partial:
                    await self._in_thread(partial(references.remove_partial, file))
                await self._kv.put({key: None})

    # --- keeping and removing ------------------------------------------------------------------------

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        kept = _Kept()
        self._holds.add(kept)
        try:
            yield kept
        finally:
            self._holds.discard(kept)
            if self._guard is not None:  # what was made meanwhile may be pinned, unseen by the collector
                self._guard.multihashes |= kept.multihashes

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """While the block runs, `remove` spares everything that is put or held, holds that end included."""
        self._guard = _Kept()
        try:
            yield
        finally:
            self._guard = None

    async def remove(self, multihashes: Iterable[bytes]) -> Removed:
        """Remove those blocks that nobody holds. At most `limits.BLOCK_BATCH_MAX` at a time."""
        async with self._lock:
            changes: dict[bytes, bytes | None] = {}
            gone: dict[bytes, StoredBlock] = {}
            for multihash in multihashes:
                entry = await index.load_entry(self._kv, multihash)
                if entry is None or self._is_kept(multihash):
                    if entry is None:
                        changes[ENTRY + multihash] = None  # one that is damaged goes too
                    continue
                gone[multihash] = entry
                changes[DATA + multihash] = None
                changes |= {REFERENCE + each.file_id + multihash: None for each in entry.references}
            await self._record({}, gone, changes)
            files = [multihash for multihash, entry in gone.items() if entry.place == StoredBlock.FILE]
            failed = await self._in_thread(partial(self._files.delete, files)) if files else 0
        own = [entry for entry in gone.values() if entry.place != StoredBlock.REFERENCE]
        return Removed(len(gone), sum(entry.size_bytes for entry in own), failed)

    async def remove_strays(self) -> Removed:
        """Remove files that the index does not know: what crashes and failed removals left."""
        folders = await self._in_thread(lambda: iter(self._files.folders()))
        removed = failed = 0
        while (folder := await self._in_thread(lambda: next(folders, None))) is not None:
            for start in range(0, len(folder), limits.BLOCK_BATCH_MAX):
                async with self._lock:
                    strays = []
                    for multihash in folder[start : start + limits.BLOCK_BATCH_MAX]:
                        entry = await index.load_entry(self._kv, multihash)
                        if entry is None or entry.place != StoredBlock.FILE:
                            strays.append(multihash)
                    if strays:
                        left = await self._in_thread(partial(self._files.delete, strays))
                        removed, failed = removed + len(strays) - left, failed + left
        return Removed(removed, 0, failed)

    # --- parts of the above ------------------------------------------------------------------------------

    def _keep(self, hold: Hold | None, cids: list[Cid]) -> None:
        if hold is not None:
            hold.add(cids)
        if self._guard is not None:
            self._guard.add(cids)

    def _is_kept(self, multihash: bytes) -> bool:
        holds = [*self._holds, self._guard] if self._guard is not None else self._holds
        return any(multihash in kept.multihashes for kept in holds if kept is not None)

    def _check_quota(self, size: int) -> None:
        if self._bytes_max is not None and self._counts.bytes_used + size > self._bytes_max:
            raise StoreFull(
                f"blocks take {self._counts.bytes_used} of {self._bytes_max} bytes, {size} more do not fit; "
                "unpin something and run `primedht gc`, or raise quotas.blocks_bytes_max"
            )

    async def _record(
        self,
        entries: Mapping[bytes, StoredBlock],
        gone: Mapping[bytes, StoredBlock],
        changes: Mapping[bytes, bytes | None],
    ) -> None:
        """Write entries, and what goes with them, in one transaction; `gone` are those that were before."""
        counts = Counts(self._counts.blocks, self._counts.bytes_used, self._counts.referenced_bytes)
        for entry in gone.values():
            counts.count(entry, -1)
        for entry in entries.values():
            counts.count(entry, 1)
        recorded: dict[bytes, bytes | None] = dict(changes)
        recorded |= {ENTRY + multihash: None for multihash in gone}
        recorded |= {ENTRY + multihash: seal(entry) for multihash, entry in entries.items()}
        if not recorded:
            return
        recorded[index.COUNTS] = counts.sealed()
        with trio.CancelScope(shield=True):  # the counts follow what the store has
            await self._kv.put(recorded)
        self._counts = counts

    async def _forget_damaged(self, cid: Cid) -> None:
        """Forget a block whose bytes are wrong, unless it was stored anew since."""
        async with self._lock:
            entry = await index.load_entry(self._kv, cid.multihash)
            if entry is None or await self._is_sound(cid, entry):
                return
            log.warning("block_damaged", cid=str(cid), place=StoredBlock.Place.Name(entry.place))
            changes: dict[bytes, bytes | None] = {DATA + cid.multihash: None}
            changes |= {REFERENCE + each.file_id + cid.multihash: None for each in entry.references}
            await self._record({}, {cid.multihash: entry}, changes)
            if entry.place == StoredBlock.FILE:
                await self._in_thread(partial(self._files.delete, [cid.multihash]))

    async def _is_sound(self, cid: Cid, entry: StoredBlock) -> bool:
        if entry.place != StoredBlock.REFERENCE:
            return await self._read(cid, entry) is not None
        files = [await index.load_file(self._kv, each.file_id) for each in entry.references]
        return any(file is not None for file in files)

    async def _drop_file(self, file_id: bytes, file: ReferencedFile) -> None:
        """Forget a changed file and all that refers to it."""
        if await self._forget_file(file_id):
            log.warning("referenced_file_changed", path=str(file.path), root=str(file.root or ""))
            self.on_file_changed(file)

    async def _forget_file(self, file_id: bytes) -> bool:
        """Forget a file and the blocks that are pieces of no other; False if that was done already."""
        async with self._lock:
            if await self._kv.get(FILE + file_id) is None:
                return False
            await self._kv.put({FILE + file_id: None})
        prefix = REFERENCE + file_id
        while page := await self._kv.scan(prefix, limit=limits.BLOCK_BATCH_MAX):
            async with self._lock:
                changes: dict[bytes, bytes | None] = {}
                entries: dict[bytes, StoredBlock] = {}
                gone: dict[bytes, StoredBlock] = {}
                for key, _ in page:
                    changes[key] = None
                    multihash = key[len(prefix) :]
                    entry = await index.load_entry(self._kv, multihash)
                    if entry is None or entry.place != StoredBlock.REFERENCE:
                        continue
                    gone[multihash] = entry
                    others = [each for each in entry.references if each.file_id != file_id]
                    if others:
                        entries[multihash] = StoredBlock(
                            place=entry.place, size_bytes=entry.size_bytes, references=others
                        )
                await self._record(entries, gone, changes)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._threads)


async def _make_none() -> bool:
    return False


async def open_blockstore(kv: KeyValue, files: BlockFiles, *, bytes_max: int | None) -> LocalBlockstore:
    """Return the blockstore whose index is in `kv`; both stay the caller's to close."""
    return LocalBlockstore(kv, files, await index.load_counts(kv), bytes_max=bytes_max)


def _is_leaf(block: Block) -> bool:
    if block.cid.codec != DAG_PB:
        return False
    try:
        return not decode_node(block.data).links
    except InvalidDag:
        return False


def _read_file(files: BlockFiles, cid: Cid) -> bytes | None:
    data = files.read(cid.multihash)
    return data if data is not None and matches(cid, data) else None


def _read_piece(file: ReferencedFile, cid: Cid, offset: int, size: int) -> bytes:
    data = references.read_piece(file, offset, size)
    if not matches(cid, data):
        raise FileChanged(f"{file.path} holds other bytes than when it was added; add it again")
    return data
