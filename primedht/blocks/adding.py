"""One import: files and directories become blocks, are pinned, or leave nothing behind."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar

import trio

from primedht import limits
from primedht.blocks import references
from primedht.blocks.balanced import Blocks as Importing
from primedht.blocks.balanced import Part, Placed
from primedht.blocks.blockstore import Hold
from primedht.blocks.chunker import Limited, Readable
from primedht.blocks.directories import DirectoryTree
from primedht.blocks.importer import import_file, import_symlink
from primedht.blocks.profiles import Profile
from primedht.blocks.pushed import PushedFile
from primedht.blocks.references import ReferencedFile
from primedht.blocks.store import LocalBlockstore
from primedht.cids import Cid
from primedht.errors import FileChanged, InvalidArgument, StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some blocks of an import; part: what it made, with its last batch."""

    placed: Sequence[Placed]
    part: Part | None


class Adding:
    """Takes files and directories, then `finish`es. Made by `Blocks.adding`; one task uses it.

    Paths are relative and have slashes; the empty one is a file that is added by itself.
    """

    def __init__(self, store: LocalBlockstore, hold: Hold, profile: Profile) -> None:
        self._store = store
        self._hold = hold
        self._profile = profile
        self._tree = DirectoryTree(profile)
        self._alone: Part | None = None
        self._is_empty = True
        self.fresh: set[bytes] = set()  # multihashes that were not here before
        self.file_ids: list[bytes] = []  # of files that are referenced in place

    async def file(self, path: str, file: Readable, *, limiter: trio.CapacityLimiter | None = None) -> Part:
        """Add a file's bytes, from where it is to its end.

        limiter: of the thread that reads, where that may wait for as long as others like; by default the one
        that all work in threads has in common.
        Raises `StoreFull`, `DiskFull`, `InvalidArgument`, and `StoreUnavailable` if it cannot be read.
        """
        part = await self._import(import_file(file, self._profile), limiter=limiter)
        self._place(path, part)
        return part

    async def file_in_place(self, path: str, file: FileIO, local: Path) -> Part:
        """Add an open file whose leaves are to be read from `local` from now on, not copied.

        Raises as `file` does, and `FileChanged` if it changes meanwhile.
        """
        if not self._profile.raw_leaves:
            raise InvalidArgument(
                f"profile {self._profile.name} wraps what it cuts; files stay in place with raw leaves only"
            )
        size_bytes, mtime_ns = await _in_thread(partial(references.describe, local, file.fileno()))
        referenced = ReferencedFile(local, size_bytes, mtime_ns, None)
        file_id = self._store.new_file_id()
        self.file_ids.append(file_id)
        importing = import_file(Limited(file, size_bytes), self._profile)
        part = await self._import(importing, in_place=(referenced, file_id))
        if await _in_thread(partial(references.describe, local, file.fileno())) != (size_bytes, mtime_ns):
            raise FileChanged(f"{local} was changed while it was added; add it again")
        self._place(path, part)
        return part

    def pushed_file(self) -> PushedFile:
        """Return what takes one file whose bytes come piece by piece; its `finish` ends the import."""
        return PushedFile(self._store, self._hold, self._profile, self.fresh)

    async def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link; it is not followed."""
        self._place(path, await self._import(import_symlink(target, self._profile)))

    def directory(self, path: str) -> None:
        """Add a directory; the empty path is the topmost one, which there is then even if empty."""
        self._check_not_alone()
        if path:
            self._tree.add_directory(path)
        self._is_empty = False

    async def finish(self) -> Part:
        """Make the directories, if there are any; return what all of it is."""
        if self._is_empty:
            raise InvalidArgument("nothing was added")
        part = self._alone or await self._import(self._tree.finish())
        await self._store.name_files(self.file_ids, part.cid)
        return part

    def _place(self, path: str, part: Part) -> None:
        self._check_not_alone()
        if path:
            self._tree.add(path, part)
        elif self._is_empty:
            self._alone = part
        else:
            raise InvalidArgument("a file without a name beside others")
        self._is_empty = False

    def _check_not_alone(self) -> None:
        if self._alone is not None:
            raise InvalidArgument("a file without a name beside others")

    async def _import(
        self,
        importing: Importing,
        *,
        in_place: tuple[ReferencedFile, bytes] | None = None,
        limiter: trio.CapacityLimiter | None = None,
    ) -> Part:
        while True:
            batch = await _in_thread(partial(_next_batch, importing), limiter)
            leaves = [each for each in batch.placed if in_place is not None and each.offset is not None]
            if in_place is not None and leaves:
                file, file_id = in_place
                pieces = [_piece(each) for each in leaves]
                await self._store.reference(file, pieces, file_id=file_id, hold=self._hold)
            copied = [each.block for each in batch.placed if in_place is None or each.offset is None]
            if copied:
                fresh = await self._store.put(copied, hold=self._hold)
                self.fresh.update(cid.multihash for cid in fresh)
            if batch.part is not None:
                return batch.part


def _piece(placed: Placed) -> tuple[Cid, int, int]:
    assert placed.offset is not None
    return placed.block.cid, placed.offset, len(placed.block.data)


def _next_batch(importing: Importing) -> _Batch:
    """Read, cut and hash until there is enough to be stored at once. Blocks."""
    placed: list[Placed] = []
    size = 0
    try:
        while size < limits.BLOCK_BATCH_BYTES and len(placed) < limits.BLOCK_BATCH_MAX:
            each = next(importing)
            placed.append(each)
            size += len(each.block.data)
    except StopIteration as end:
        return _Batch(placed, end.value)
    except OSError as error:
        reason = "it is a directory" if error.errno == errno.EISDIR else error.strerror or str(error)
        raise StoreUnavailable(f"a file cannot be read: {reason}; check it and add it again") from None
    return _Batch(placed, None)


async def _in_thread(work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    return await trio.to_thread.run_sync(work, limiter=limiter)
