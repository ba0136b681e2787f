"""Background tasks that live as long as a block, and the undoing of what failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from primedht import limits


@asynccontextmanager
async def open_background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks that serve the block and are cancelled when it ends.

    The block's own error is raised as it is, not in an exception group: who opens a node and meets
    `ValueNotFound` in it wants to catch that.
    """
    error: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the nursery
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


def shielded_undo() -> trio.CancelScope:
    """Return a scope in which what failed is undone, whoever is cancelled, for `limits.UNDO_S` at most."""
    return trio.CancelScope(shield=True, deadline=trio.current_time() + limits.UNDO_S)
