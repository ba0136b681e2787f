"""Asking again for published DAGs that too few other nodes keep, ever more rarely, also after a restart.

Until R others have signed for a DAG it is unfinished work: who would keep it may not have been met yet, as
is usual just after a start. Rounds follow each other until they are as far apart as the hourly ones, which
see to it from then on. Where all who were asked may not, by their own configuration, nothing is gained by
asking soon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from primedht import limits
from primedht.blocks.replicate.own_roots import OwnRoots
from primedht.blocks.replicate.placing import Placing
from primedht.cids import Cid
from primedht.errors import BlockNotFound, NotPermitted, PrimeDhtError
from primedht.results import KeptBlocks

log = structlog.get_logger(__name__)

Begin = Callable[[Cid], Awaitable[Placing]]
"""Returns the round that is under way for a published DAG, or begins one. Raises as `Replication.placing`."""


class Insisting:
    """Of one node. Its tasks run in `nursery`."""

    def __init__(self, own_roots: OwnRoots, begin: Begin, nursery: trio.Nursery) -> None:
        self._own_roots = own_roots
        self._begin = begin
        self._nursery = nursery
        self._at_once = trio.CapacityLimiter(limits.REPLICATE_REPAIRS_AT_ONCE)
        self._watched: set[Cid] = set()
        self._short: dict[Cid, str] = {}  # what too few keep, and how its last round ended

    def status(self) -> list[dict[str, str]]:
        """Return what is asked for again soon, and why, as JSON-able values."""
        return [{"root": str(root), "state": state} for root, state in self._short.items()]

    def watch(self, root: Cid, placing: Placing | None = None) -> None:
        """See to `root` until R others keep it. placing: the round that is under way for it."""
        if root not in self._watched:
            self._watched.add(root)
            self._nursery.start_soon(self._insist, root, placing)

    async def resume(self) -> None:
        """See to what the last run of this node has not finished."""
        await trio.sleep(limits.JOBS_RESUMED_AFTER_S)
        for root in await self._own_roots.unkept():
            self.watch(root)

    async def _insist(self, root: Cid, placing: Placing | None) -> None:
        delay_s = limits.REPLICATE_RETRY_S
        try:
            while not await self._is_settled(root, placing) and delay_s < limits.REPLICATE_INTERVAL_S:
                await trio.sleep(delay_s)
                delay_s *= 2
                placing = None
        finally:
            self._watched.discard(root)
            self._short.pop(root, None)

    async def _is_settled(self, root: Cid, placing: Placing | None) -> bool:
        """Wait for a round, and return whether another one soon is of no use."""
        try:
            kept = await self._round(root) if placing is None else await placing.wait()
            if len(kept.receipts) >= kept.wanted:
                await self._own_roots.note_kept(root)
                return True
        except (BlockNotFound, NotPermitted) as error:  # it was withdrawn, or its key has gone
            log.info("published_not_kept", root=str(root), code=error.code)
            return True
        except PrimeDhtError as error:
            self._short[root] = error.code
            return False
        self._short[root] = _state_of(kept)
        return bool(kept.refused) and all(each.code == NotPermitted.code for each in kept.refused)

    async def _round(self, root: Cid) -> KeptBlocks:
        async with self._at_once:
            return await (await self._begin(root)).wait()


def _state_of(kept: KeptBlocks) -> str:
    refused = ", ".join(sorted({each.code for each in kept.refused}))
    why = f"{len(kept.refused)} refused: {refused}" if refused else "no more peers yet"
    return f"{len(kept.receipts)} of {kept.wanted} other peers keep it ({why})"
