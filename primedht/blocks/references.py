"""Files of users that blocks refer to instead of copying them, and noticing when they change."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from primedht.cids import Cid
from primedht.errors import FileChanged, InvalidArgument, LocalError, StoreUnavailable

HIDDEN_PREFIX = ".primedht-pull-"
"""Of directories that are being written, and not complete."""

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EISDIR, errno.ENXIO}


@dataclass(frozen=True, slots=True)
class ReferencedFile:
    """A file as it was when it was added.

    root: the CID of what it was added as, itself or a directory; None until that is known. interim: where it
    is until it is renamed to `path`. partial: it is being written here, so its time says nothing yet.
    """

    path: Path
    size_bytes: int
    mtime_ns: int
    root: Cid | None
    interim: Path | None = None
    partial: bool = False


def describe(path: Path, descriptor: int) -> tuple[int, int]:
    """Return size in bytes and time of change (ns) of the open file that `path` must name too.

    Raises `InvalidArgument` where it does not, or is not absolute, or is no regular file.
    """
    opened = os.fstat(descriptor)
    if not path.is_absolute() or not stat.S_ISREG(opened.st_mode):
        raise InvalidArgument(f"{path}: only regular files can be referenced, by their full path")
    try:
        named = path.stat()
    except OSError as error:
        raise InvalidArgument(f"{path}: the daemon cannot reach it: {error.strerror}") from None
    if (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino):
        raise InvalidArgument(f"{path} is not the file that was opened; was it replaced?")
    if not os.access(path, os.R_OK):
        raise InvalidArgument(f"{path}: the daemon may not read it; add it without --in-place")
    return opened.st_size, opened.st_mtime_ns


def read_piece(file: ReferencedFile, offset: int, size: int) -> bytes:
    """Return a piece of the file.

    Raises `FileChanged` if the file is not what it was when it was added, and `StoreUnavailable` if that
    cannot be told now.
    """
    try:
        descriptor = _open(file)
    except OSError as error:
        raise _as_local(error, file) from None
    try:
        _check_unchanged(file, os.fstat(descriptor))
        return os.pread(descriptor, size, offset)
    except OSError as error:
        raise _as_local(error, file) from None
    finally:
        os.close(descriptor)


def check_unchanged(file: ReferencedFile) -> None:
    """Raise as `read_piece` does, without reading."""
    try:
        descriptor = _open(file)
    except OSError as error:
        raise _as_local(error, file) from None
    try:
        _check_unchanged(file, os.fstat(descriptor))
    except OSError as error:
        raise _as_local(error, file) from None
    finally:
        os.close(descriptor)


def _open(file: ReferencedFile) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    if file.interim is not None:
        with suppress(FileNotFoundError):  # it was renamed meanwhile
            return os.open(file.interim, flags)
    return os.open(file.path, flags)


def remove_partial(file: ReferencedFile) -> None:
    """Remove a file that was being written, and with the last one of them the hidden directory."""
    assert file.interim is not None
    with suppress(OSError):
        file.interim.unlink()
    parent = Path(os.path.commonpath((file.interim, file.path)))
    hidden = Path(*file.interim.parts[: len(parent.parts) + 1])  # names below it are a stranger's
    if hidden.name.startswith(HIDDEN_PREFIX) and not any(files for _, _, files in os.walk(hidden)):
        shutil.rmtree(hidden, ignore_errors=True)


def _check_unchanged(file: ReferencedFile, found: os.stat_result) -> None:
    mtime_ns = file.mtime_ns if file.partial else found.st_mtime_ns
    if not stat.S_ISREG(found.st_mode) or (found.st_size, mtime_ns) != (file.size_bytes, file.mtime_ns):
        raise FileChanged(f"{file.path} was changed after it was added; add it again")


def _as_local(error: OSError, file: ReferencedFile) -> LocalError:
    if error.errno in _GONE:
        return FileChanged(f"{file.path}: {error.strerror}; add it again")
    return StoreUnavailable(f"{file.path}: {error.strerror or error}; check the disk")
