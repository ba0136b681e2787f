"""Directories that are written where they are wanted, as their blocks come, and referenced there.

The files are made in a hidden directory beside the target, which gets the target's name when all of it is
there. The index knows each file before it is made, and each piece of it when that is on disk: after a crash
the next call goes on with what is there, and where there is none, the collector removes it.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from primedht import limits
from primedht.blocks.block import Block
from primedht.blocks.blocks import Blocks
from primedht.blocks.blockstore import Fetched, Hold
from primedht.blocks.exporter import Item, check_part, file_parts
from primedht.blocks.extraction import check_target, failing
from primedht.blocks.references import HIDDEN_PREFIX, ReferencedFile
from primedht.cids import RAW, Cid
from primedht.errors import (
    BlockNotFound,
    InvalidArgument,
    InvalidDag,
    OperationTimeout,
    PrimeDhtError,
    RemoteError,
)
from primedht.results import PeerShare
from primedht.tasks import shielded_undo

T = TypeVar("T")
Tree = Sequence[tuple[str, Item]]
"""A directory, "", and all that is below it, each by its path."""
_LATER = (BlockNotFound, OperationTimeout, RemoteError)  # what may go better next time


async def fetch_in_place(
    blocks: Blocks, root: Cid, tree: Cid | Tree, target: Path, *, bytes_max: int | None = None
) -> Fetched:
    """Get all of a DAG and write the directory `tree` in it to `target`, whole or not at all.

    tree: its CID, or what is in it. Its files are not copied into the blockstore but referenced, as files of
    `root`. What an interrupted call wrote is not fetched again. Raises as `Blocks.fetch`, `InvalidDag`,
    `DiskFull`, and `InvalidArgument` if `target` cannot be written.
    """
    await blocks.store.check_files()
    nodes = leaves = Fetched(0, 0, ())
    with blocks.store.hold() as hold:
        fetching = {"recursive": True, "hold": hold, "timeout_s": math.inf, "bytes_max": bytes_max}
        if blocks.exchange is not None:
            nodes = await blocks.exchange.fetch(root, leaves=False, **fetching)  # type: ignore[arg-type]
        async with _open_placing(blocks, hold, root, target) as placing:
            if isinstance(tree, Cid):
                tree = [found async for found in blocks.walk_tree(tree)]
            await placing.begin(tree)
            if blocks.exchange is not None:
                leaves = await blocks.exchange.fetch(root, put=placing.put, **fetching)  # type: ignore[arg-type]
            await placing.finish()
    return Fetched(
        nodes.blocks + leaves.blocks, nodes.bytes + leaves.bytes, _merge([*nodes.peers, *leaves.peers])
    )


@dataclass(slots=True, eq=False)
class _File:
    id: bytes
    cid: Cid
    described: ReferencedFile


class _Placing:
    """One directory being written. Takes its entries, then blocks, then `finish`es."""

    def __init__(self, blocks: Blocks, hold: Hold, root: Cid, target: Path) -> None:
        self._blocks = blocks
        self._store = blocks.store
        self._hold = hold
        self._root = root
        self._target = Path(os.path.abspath(target))
        self._folder = self._target.parent / f"{HIDDEN_PREFIX}{os.urandom(8).hex()}"
        self._known: list[bytes] = []  # file ids of an interrupted call
        self._files: list[_File] = []
        self._places: defaultdict[bytes, list[tuple[_File, int, int]]] = defaultdict(list)
        self._piece_count = 0

    # --- beginning ------------------------------------------------------------------------------------

    async def begin(self, entries: Tree) -> None:
        """Make directories and empty files, or find those that an interrupted call made."""
        size = sum(item.size_bytes for _, item in entries)
        known = await self._known_files()
        written = sum(
            [await _in_thread(partial(_allocated_bytes, file.described)) for file in known.values()]
        )
        await _in_thread(partial(check_target, self._target, size - written))
        for path, item in entries:
            if item.kind == "directory":
                await _in_thread(partial(self._make_folder, path))
            elif item.kind != "file" or not path:
                raise InvalidDag(f"{self._target}: {path[:100]!r} is no file and no directory")
            else:
                await self._begin_file(path, item, known.get(self._target / path))
        await _in_thread(partial(_sync, self._target, self._target.parent))

    async def _known_files(self) -> dict[Path, _File]:
        """Return the files that an interrupted call for the same has begun."""
        known = {
            file.path: _File(id, self._root, file)
            for id, file in (await self._store.referenced_files()).items()
            if file.root == self._root and file.interim is not None and self._target in file.path.parents
        }
        if any(file.id in self._store.files_in_use for file in known.values()):
            raise InvalidArgument(f"{self._target} is being written by another call; wait for that")
        self._known = [file.id for file in known.values()]
        for path, file in known.items():
            assert file.described.interim is not None
            self._folder = file.described.interim.parents[len(path.relative_to(self._target).parts) - 1]
        return known

    async def _begin_file(self, path: str, item: Item, known: _File | None) -> None:
        described = ReferencedFile(
            self._target / path, item.size_bytes, 0, self._root, self._folder / path, partial=True
        )
        file = _File(self._store.new_file_id(), item.cid, described)
        if known is not None:
            is_whole = await _in_thread(partial(_is_whole, described))
            if is_whole and known.described.interim == described.interim:
                file.id = known.id
            else:
                await self._store.forget_files([known.id])
        self._store.files_in_use.add(file.id)
        self._files.append(file)
        await self._store.update_files({file.id: described})
        if known is None or file.id != known.id:
            await _in_thread(partial(_make_file, described))
        async for part in file_parts(self._blocks.get, item.cid):
            if part.content is None:
                self._piece_count += 1
                if self._piece_count > limits.PLACED_PIECES_MAX:
                    raise InvalidDag(f"{self._target}: its files are over {limits.PLACED_PIECES_MAX} pieces")
                self._places[part.cid.multihash].append((file, part.offset, part.size_bytes))

    def _make_folder(self, path: str) -> None:
        with failing(self._target):
            (self._folder / path).mkdir(exist_ok=True)

    # --- writing --------------------------------------------------------------------------------------

    async def put(self, blocks: Sequence[Block], *, hold: Hold) -> None:
        """As `Blockstore.put`; leaves go to their places in the files."""
        rest: list[Block] = []
        pieces: defaultdict[_File, list[tuple[Cid, int, bytes]]] = defaultdict(list)
        for block in blocks:
            places = self._places.pop(block.cid.multihash, []) if block.cid.codec == RAW else []
            if not places:
                rest.append(block)
            for file, offset, size in places:
                if len(block.data) != size:
                    raise InvalidDag(f"{block.cid} is a part of {len(block.data)} bytes, not of {size}")
                pieces[file].append((block.cid, offset, block.data))
        for file, written in pieces.items():
            await self._write(file, written)
        if rest:
            await self._store.put(rest, hold=hold)

    async def _write(self, file: _File, pieces: Sequence[tuple[Cid, int, bytes]]) -> None:
        await _in_thread(partial(_write_pieces, file.described, [(at, data) for _, at, data in pieces]))
        leaves = [(cid, offset, len(data)) for cid, offset, data in pieces if cid.codec == RAW]
        await self._store.reference(file.described, leaves, file_id=file.id, hold=self._hold)

    # --- ending ---------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Write what was here before, and let the directory appear."""
        for file in self._files:
            await self._complete(file)
        self._files = [
            replace(file, described=await _in_thread(partial(_seal, file.described))) for file in self._files
        ]
        with trio.CancelScope(shield=True):
            await self._store.update_files({file.id: file.described for file in self._files})
            await _in_thread(self._appear)
            await self._store.update_files(
                {file.id: replace(file.described, interim=None) for file in self._files}
            )

    async def _complete(self, file: _File) -> None:
        """Write the blocks of a file that did not come now."""
        pieces: list[tuple[Cid, int, bytes]] = []
        waiting_bytes = 0
        async for part in file_parts(self._blocks.get, file.cid):
            content = part.content
            if content is None:
                has_come = part.cid.multihash not in self._places
                if has_come or await self._store.refers_to(part.cid, file.id, part.offset):
                    continue
                content = await self._blocks.get(part.cid)
                check_part(part, content)
            pieces.append((part.cid, part.offset, content))
            waiting_bytes += len(content)
            if waiting_bytes >= limits.BLOCK_BATCH_BYTES or len(pieces) == limits.BLOCK_BATCH_MAX:
                await self._write(file, pieces)
                pieces, waiting_bytes = [], 0
        if pieces:
            await self._write(file, pieces)

    def _appear(self) -> None:
        with failing(self._target):
            for folder, _, _ in os.walk(self._folder):
                _sync(self._target, Path(folder))
            check_target(self._target, 0)
            self._folder.rename(self._target)
            _sync(self._target, self._target.parent)

    async def abandon(self) -> None:
        """Remove all that was written."""
        await self._store.forget_files([*self._known, *(file.id for file in self._files)])
        await _in_thread(partial(shutil.rmtree, self._folder, ignore_errors=True))

    def release(self) -> None:
        """Nothing is written any more."""
        self._store.files_in_use.difference_update(file.id for file in self._files)


@asynccontextmanager
async def _open_placing(blocks: Blocks, hold: Hold, root: Cid, target: Path) -> AsyncIterator[_Placing]:
    placing = _Placing(blocks, hold, root, target)
    try:
        yield placing
    except BaseException as error:
        is_final = isinstance(error, PrimeDhtError) and not isinstance(error, _LATER)
        if is_final or not blocks.store.is_durable:
            with shielded_undo():
                await placing.abandon()
        raise
    finally:
        placing.release()


def _make_file(file: ReferencedFile) -> None:
    assert file.interim is not None
    with failing(file.path):
        file.interim.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(file.interim, flags, 0o666)
        try:
            os.ftruncate(descriptor, file.size_bytes)
        finally:
            os.close(descriptor)


def _is_whole(file: ReferencedFile) -> bool:
    """Return whether a file that was begun is there as it was made."""
    assert file.interim is not None
    return file.interim.is_file() and file.interim.lstat().st_size == file.size_bytes


def _allocated_bytes(file: ReferencedFile) -> int:
    try:
        return 0 if file.interim is None else 512 * file.interim.lstat().st_blocks
    except OSError:
        return 0


def _write_pieces(file: ReferencedFile, pieces: Sequence[tuple[int, bytes]]) -> None:
    with failing(file.path):
        descriptor = _open(file, os.O_WRONLY)
        try:
            for offset, data in pieces:
                left = memoryview(data)
                while left:
                    written = os.pwrite(descriptor, left, offset)
                    left, offset = left[written:], offset + written
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _seal(file: ReferencedFile) -> ReferencedFile:
    """Return the file as it is now that it is complete, on disk."""
    with failing(file.path):
        descriptor = _open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            return replace(file, mtime_ns=os.fstat(descriptor).st_mtime_ns, partial=False)
        finally:
            os.close(descriptor)


def _open(file: ReferencedFile, flags: int) -> int:
    assert file.interim is not None
    return os.open(file.interim, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _sync(target: Path, folder: Path) -> None:
    with failing(target):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _merge(shares: Sequence[PeerShare]) -> tuple[PeerShare, ...]:
    """Return one share for each peer; what was measured and said last holds."""
    merged: dict[bytes, PeerShare] = {}
    for share in shares:
        known = merged.setdefault(bytes(share.peer), PeerShare(share.peer))
        known.blocks += share.blocks
        known.bytes += share.bytes
        known.wire_bytes += share.wire_bytes
        known.duplicates += share.duplicates
        known.rate = known.rate if share.rate is None else share.rate
        known.gone = share.gone or known.gone
    return tuple(merged.values())


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work)
