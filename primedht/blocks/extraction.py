"""Writing what is exported to disk: whole or not at all, and nowhere else.

Directories are made beside their place under another name, and renamed when all of it is there.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from primedht.blocks.directories import check_name
from primedht.errors import DiskFull, InvalidArgument, InvalidDag
from primedht.whole_file import WholeFile, make_hidden_folder

_FULL = (errno.ENOSPC, errno.EDQUOT)


class ContentEntry(NamedTuple):
    """A file, directory or symbolic link that is exported. path: relative; empty is all of it."""

    path: str
    kind: str
    size_bytes: int
    target: str


class Extraction:
    """Takes entries and bytes in the order of an export, then `commit`s, and is closed in any case.

    A file takes the place of one that is there; a directory needs a path that is free. All methods raise
    `DiskFull`, `InvalidArgument` for a path that cannot be written, and `InvalidDag` for entries that
    lead elsewhere or whose bytes are not as many as they said.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._target = Path(target)
        self._temporary: Path | None = None
        self._lock: int | None = None
        self._file: WholeFile | IO[bytes] | None = None
        self._left_bytes = 0
        self._folders: set[str] = set()
        self.content_bytes = 0

    def entry(self, entry: ContentEntry) -> None:
        """Begin a file, or make a directory or a symbolic link."""
        with failing(self._target):
            self._end_file()
            if entry.kind == "file":
                self._check_room(entry.size_bytes)
                self._left_bytes = entry.size_bytes
                self._file = WholeFile(self._target) if not entry.path else self._open(entry.path)
            elif entry.kind == "directory":
                self._make_folder(entry.path)
            else:
                self._make_link(entry)

    def write(self, data: bytes) -> None:
        """Take the next bytes of the file that was begun."""
        if self._file is None or len(data) > self._left_bytes:
            raise InvalidDag(f"{self._target}: more bytes than were announced")
        self._left_bytes -= len(data)
        self.content_bytes += len(data)
        with failing(self._target):
            if isinstance(self._file, WholeFile):
                self._file.write(data)
                return
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]

    def commit(self) -> None:
        """Let it appear where it was asked for."""
        with failing(self._target):
            self._end_file(commit=True)
            if self._temporary is not None:
                self._check_free()
                self._temporary.rename(self._target)
                self._temporary = None

    def close(self) -> None:
        """Forget what was not committed. Never fails."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _end_file(self, *, commit: bool = False) -> None:
        if self._file is None:
            return
        if self._left_bytes:
            raise InvalidDag(f"{self._target}: {self._left_bytes} bytes fewer than were announced")
        if isinstance(self._file, WholeFile):
            if not commit:
                raise InvalidDag(f"{self._target}: entries behind a single file")
            self._file.commit()
        else:
            os.fsync(self._file.fileno())
            self._file.close()
        self._file = None

    def _make_folder(self, path: str) -> None:
        if path:
            self._place(path).mkdir()
        else:
            self._check_free()
            self._temporary, self._lock = make_hidden_folder(self._target.absolute().parent)
        self._folders.add(path)

    def _make_link(self, entry: ContentEntry) -> None:
        parts = PurePosixPath(entry.target).parts
        depth = entry.path.count("/")
        climbs = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
        # Only leading ".." are plain: behind another link they could lead out of what is written.
        leads_out = not parts or parts[0] == "/" or climbs > depth or ".." in parts[climbs:]
        if leads_out or "\x00" in entry.target or not entry.path:
            raise InvalidDag(f"{entry.path!r} is a link that leads elsewhere: {entry.target[:100]!r}")
        self._place(entry.path).symlink_to(entry.target)

    def _open(self, path: str) -> IO[bytes]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self._place(path), flags, 0o666), "wb", buffering=0)

    def _place(self, path: str) -> Path:
        """Return where an entry goes: below a directory that was made here, under a name that is one."""
        parent, _, name = path.rpartition("/")
        try:
            check_name(name)
        except InvalidArgument as error:
            raise InvalidDag(str(error)) from None
        if self._temporary is None or parent not in self._folders:
            raise InvalidDag(f"{path[:100]!r} without the directory that it is in")
        return self._temporary / path

    def _check_free(self) -> None:
        if self._target.exists() or self._target.is_symlink():
            raise InvalidArgument(f"{self._target} exists; choose another path for a directory")

    def _check_room(self, size: int) -> None:
        folder = self._target.absolute().parent
        free_bytes = shutil.disk_usage(folder).free
        if size > free_bytes:
            raise DiskFull(f"{self._target}: {size} bytes, and {free_bytes} are free; make room")


@contextmanager
def failing(target: Path) -> Iterator[None]:
    """Raise what the operating system refuses as `DiskFull`, or `InvalidArgument` for another path."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"{target}: {error.strerror}; make room") from None
        raise InvalidArgument(f"{target}: {error.strerror}; choose another path") from None


def check_target(path: Path, size_bytes: int) -> None:
    """Find out before anything is fetched whether a directory of so many bytes can be made at `path`.

    Raises `InvalidArgument` if something is there, or nothing that it could be in; `DiskFull`.
    """
    parent = path.absolute().parent
    if path.exists() or path.is_symlink() or not parent.is_dir():
        raise InvalidArgument(f"{path} exists, or the directory it is to be in does not; choose another path")
    free_bytes = shutil.disk_usage(parent).free
    if size_bytes > free_bytes:
        raise DiskFull(f"{path}: {size_bytes} bytes, and {free_bytes} are free; make room")
