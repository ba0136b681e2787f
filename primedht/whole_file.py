"""Files that are there whole or not at all: written beside their place, and renamed when complete.

Until then they have a hidden name, and a lock that the kernel takes from a process that dies: who makes the
next one in that folder removes those that nobody has locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from primedht.errors import DiskFull, InvalidArgument

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PREFIX = ".primedht-new-"


class WholeFile:
    """A file that appears under its path, or takes the place of the one there, by `commit` and no sooner.

    A link there stays one. A pipe or a device is written as it is: it has no parts to hide, and must not
    be replaced. mode: of a new file, less what the umask takes.

    All methods raise `DiskFull`, or `InvalidArgument` for a file that cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, mode: int = 0o666) -> None:
        self._path = Path(path)
        self._temporary: Path | None = None
        self._stream: IO[bytes] | None = None
        with self._failing():
            self._target = Path(os.path.realpath(self._path))
            if self._target.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if self._target.exists() and not self._target.is_file():
                self._stream = self._target.open("wb", buffering=0)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._temporary, descriptor = make_hidden(
                self._target.parent, lambda path: os.open(path, flags, mode)
            )
            self._stream = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        assert self._stream is not None, "written after commit or close"
        rest = memoryview(data)
        with self._failing():
            while rest:
                rest = rest[self._stream.write(rest) :]

    def commit(self) -> None:
        """Put what was written under the path, durably."""
        assert self._stream is not None, "committed twice, or after close"
        with self._failing():
            if self._temporary is not None:
                os.fsync(self._stream.fileno())
                os.rename(self._temporary, self._target)
                self._temporary = None
                _sync_folder(self._target.parent)
            self._stream.close()
        self._stream = None

    def close(self) -> None:
        """Forget what was not committed. Never fails, and may be called again."""
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
            self._stream = None
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            if error.errno in _FULL:
                raise DiskFull(f"{self._path}: {error.strerror}; make room") from None
            raise InvalidArgument(f"{self._path}: {error.strerror}; choose another path") from None


def make_hidden(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a file or directory of a hidden name, locked until the descriptor that `make` returns is closed.

    What processes that died have left there is removed. Raises `OSError`.
    """
    _remove_abandoned(folder)
    while True:
        path = folder / f"{_PREFIX}{os.urandom(8).hex()}"
        descriptor = make(path)
        with suppress(OSError):  # a file system without locks; then nobody removes anything
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return path, descriptor
        os.close(descriptor)  # it was taken for abandoned before it was locked


def make_hidden_folder(parent: Path) -> tuple[Path, int]:
    """As `make_hidden`, a directory."""

    def make(path: Path) -> int:
        path.mkdir()
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    return make_hidden(parent, make)


def _remove_abandoned(folder: Path) -> None:
    for name in os.listdir(folder):
        if not name.startswith(_PREFIX):
            continue
        path = folder / name
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
