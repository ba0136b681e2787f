"""Directories that the daemon writes for a client: only such as the client could write itself."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import trio

from primedht.control.session import Session
from primedht.errors import NotPermitted
from primedht.pb import p2pd_pb2 as pb


async def writable_target(session: Session, wanted: pb.PullModelRequest | pb.PullCheckpointRequest) -> Path:
    """Return where the files are to go. Raises `NotPermitted`: then the client can export them."""
    target = Path(os.fsdecode(wanted.target))
    parent = (wanted.parent_device, wanted.parent_inode)
    await trio.to_thread.run_sync(partial(_check_may_write, session, target, parent))
    return target


def _check_may_write(session: Session, target: Path, parent: tuple[int, int]) -> None:
    """Raise `NotPermitted` unless the client could write there itself, and means the same place."""
    if not session.is_same_user:
        raise NotPermitted("the daemon writes files only for its own user; fetch and export them")
    try:
        found = target.parent.stat()
    except OSError:
        found = None
    if found is None or not target.is_absolute() or (found.st_dev, found.st_ino) != parent:
        raise NotPermitted(f"the daemon does not see {target.parent}; fetch the files and export them")
    if not os.access(target.parent, os.W_OK | os.X_OK):  # in a sandbox, say
        raise NotPermitted(f"the daemon cannot write to {target.parent}; fetch the files and export them")
