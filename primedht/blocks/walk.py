"""What is in a directory on disk, in the order and with the exceptions of `ipfs add -r`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from primedht.blocks.directories import check_name
from primedht.errors import InvalidArgument
from primedht.limits import DIRECTORY_DEPTH_MAX


@dataclass(frozen=True, slots=True)
class Found:
    """path: relative, with slashes; empty for the file that was named itself. local: where it is."""

    path: str
    kind: Literal["file", "directory", "symlink"]
    local: Path


def walk(start: Path, *, hidden: bool = False, follow_links: bool = False) -> Iterator[Found]:
    """Yield `start` if it is a file, else all that is below it; symbolic links below are links.

    hidden: take names that begin with a dot too. follow_links: those are files that lead to one below
    `start`, or for a snapshot in a Hugging Face cache to one of the same repository; others could make
    whoever publishes a stranger's directory publish files of their own. Raises `InvalidArgument` for what is
    neither file nor directory nor link, and for names that are not UTF-8; `OSError` for what cannot be read.
    """
    if stat.S_ISDIR(start.stat().st_mode):
        for found in _below(start, "", hidden, DIRECTORY_DEPTH_MAX):
            leads_to = _followed(found.local, start) if follow_links and found.kind == "symlink" else None
            yield found if leads_to is None else Found(found.path, "file", leads_to)
    else:
        yield Found("", _kind(start, start.stat().st_mode), start)


def open_regular(path: Path, *, follow: bool = False) -> int:
    """Return a descriptor for reading a regular file. Raises `InvalidArgument` for anything else there.

    follow: accept a symbolic link to one, too. Never waits, as opening a pipe would.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidArgument(f"{path} is no regular file")
    return descriptor


def _followed(link: Path, start: Path) -> Path | None:
    """Return the regular file that a link leads to, if it may be followed."""
    top = start.resolve()
    if top.parent.name == "snapshots":  # huggingface_hub, "Understand caching": snapshots/REVISION, blobs
        top = top.parents[1]
    leads_to = Path(os.path.realpath(link))  # a loop of links leads to itself, which is no file
    return leads_to if top in leads_to.parents and leads_to.is_file() else None


def _below(folder: Path, prefix: str, hidden: bool, depth_left: int) -> Iterator[Found]:
    if depth_left == 0:
        raise InvalidArgument(f"{folder}: over {DIRECTORY_DEPTH_MAX} directories deep")
    with os.scandir(folder) as entries:
        names = sorted((entry.name for entry in entries), key=os.fsencode)
    for name in names:
        if name.startswith(".") and not hidden:
            continue
        check_name(name)
        local = folder / name
        kind = _kind(local, local.lstat().st_mode)
        yield Found(prefix + name, kind, local)
        if kind == "directory":
            yield from _below(local, f"{prefix}{name}/", hidden, depth_left - 1)


def _kind(path: Path, mode: int) -> Literal["file", "directory", "symlink"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    raise InvalidArgument(f"{path} is neither a file nor a directory nor a symbolic link")
