"""Large blocks as files: one directory of 256, one file a block, written whole or not at all.

A block is written under a temporary name, synced and renamed, and its folder is synced: once `write`
returns a crash loses nothing, and one at any moment before leaves no file with half of its bytes under
a block's name. The index decides what is here, so a file that it does not know is rubbish.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from primedht import limits
from primedht.blocks.block import Block
from primedht.errors import DiskFull, LocalError, StoreUnavailable

T = TypeVar("T")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = "new"


class BlockFiles(Protocol):
    """Bytes by multihash. All methods block; call them in a worker thread."""

    is_durable: bool

    def write(self, blocks: Sequence[Block]) -> None:
        """Store blocks durably, all or none. Raises `DiskFull` or `StoreUnavailable`."""
        ...

    def read(self, multihash: bytes) -> bytes | None:
        """Return the bytes stored, or None. Raises `StoreUnavailable`."""
        ...

    def delete(self, multihashes: Iterable[bytes]) -> int:
        """Remove what can be removed; return how many could not."""
        ...

    def folders(self) -> Iterator[list[bytes]]:
        """Yield the multihashes of all files, a folder at a time."""
        ...


class DiskBlockFiles:
    """`BlockFiles` in a directory of ours."""

    is_durable = True

    def __init__(self, root: Path, *, disk_free_bytes_min: int = limits.BLOCKS_DISK_FREE_BYTES_MIN) -> None:
        """Make the directory and throw away what an earlier process had not finished."""
        self._root = root
        self._new = root / _TEMPORARY
        self._disk_free_bytes_min = disk_free_bytes_min
        try:
            shutil.rmtree(self._new, ignore_errors=True)
            self._new.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(256):
                (root / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
            _sync(root)
        except OSError as error:
            raise _as_local(error, root) from None

    def write(self, blocks: Sequence[Block]) -> None:
        paths = [self._path(block.cid.multihash) for block in blocks]
        try:
            self._check_room(sum(len(block.data) for block in blocks))
            # The file system puts syncs that wait at the same time into one: eight times as fast.
            with ThreadPoolExecutor(limits.BLOCK_SYNCS_AT_ONCE) as pool:
                _run_all(pool, self._write_one, zip(blocks, paths, strict=True))
                _run_all(pool, _sync, {path.parent for path in paths})
        except OSError as error:
            for path in paths:
                with suppress(OSError):  # what stays is rubbish that the collector finds
                    path.unlink()
            raise _as_local(error, self._root) from None

    def read(self, multihash: bytes) -> bytes | None:
        try:
            return self._path(multihash).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _as_local(error, self._path(multihash)) from None

    def delete(self, multihashes: Iterable[bytes]) -> int:
        failed = 0
        for multihash in multihashes:
            try:
                self._path(multihash).unlink(missing_ok=True)
            except OSError:
                failed += 1
        return failed

    def folders(self) -> Iterator[list[bytes]]:
        for number in range(256):
            try:
                names = os.listdir(self._root / f"{number:02x}")
            except OSError as error:
                raise _as_local(error, self._root) from None
            yield [multihash for name in names if (multihash := _multihash(name)) is not None]

    def _write_one(self, block_and_path: tuple[Block, Path]) -> None:
        block, path = block_and_path
        temporary = self._new / secrets.token_hex(8)
        try:
            with open(temporary, "xb", buffering=0) as file:
                left = memoryview(block.data)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _path(self, multihash: bytes) -> Path:
        name = base64.b32encode(multihash).decode("ascii").rstrip("=").lower()
        return self._root / f"{multihash[-1]:02x}" / name

    def _check_room(self, size: int) -> None:
        free_bytes = shutil.disk_usage(self._root).free
        if free_bytes - size < self._disk_free_bytes_min:
            raise DiskFull(
                f"{self._root}: {free_bytes} bytes are free, of which {self._disk_free_bytes_min} are left "
                "alone; free some space, nothing was stored"
            )


class MemoryBlockFiles:
    """`BlockFiles` that forget everything, for nodes without a data directory."""

    is_durable = False

    def __init__(self) -> None:
        self._files: dict[bytes, bytes] = {}

    def write(self, blocks: Sequence[Block]) -> None:
        self._files |= {block.cid.multihash: block.data for block in blocks}

    def read(self, multihash: bytes) -> bytes | None:
        return self._files.get(multihash)

    def delete(self, multihashes: Iterable[bytes]) -> int:
        for multihash in multihashes:
            self._files.pop(multihash, None)
        return 0

    def folders(self) -> Iterator[list[bytes]]:
        yield list(self._files)


def _run_all(pool: ThreadPoolExecutor, work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do `work` for each item, side by side; raises the first error once all have ended."""
    running = [pool.submit(work, item) for item in items]
    wait(running)
    for each in running:
        each.result()


def _multihash(name: str) -> bytes | None:
    """Return the multihash that a file is called after; None for a stranger's file."""
    try:
        return base64.b32decode(name.upper() + "=" * (-len(name) % 8))
    except binascii.Error:
        return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_local(error: OSError, path: Path) -> LocalError:
    if error.errno in _FULL:
        return DiskFull(f"{path}: {error.strerror}; free some space, nothing was stored")
    return StoreUnavailable(f"{path}: {error.strerror or error}; check the data directory")
