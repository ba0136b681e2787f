"""When published DAGs that too few keep are offered again, in virtual time and without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import trio
import trio.lowlevel

from primedht import limits
from primedht.blocks.replicate.insisting import Insisting
from primedht.blocks.replicate.own_roots import OwnRoots
from primedht.cids import Cid
from primedht.errors import BlockNotFound, PrimeDhtError, StoreUnavailable
from primedht.keys import PrivateKey
from primedht.results import KeptBlocks, Refusal
from primedht.stores.memory import MemoryKeyValue

OWNER = PrivateKey(b"\1" * 32).peer_id
ROOT, OTHER = Cid.of(b"root"), Cid.of(b"other")


class Rounds:
    """Counts rounds; each ends as `ends` says, the last of these again and again."""

    def __init__(self, *ends: KeptBlocks | PrimeDhtError) -> None:
        self.ends = list(ends)
        self.began_s: list[float] = []
        self.roots: list[Cid] = []

    async def begin(self, root: Cid) -> Any:
        self.roots.append(root)
        self.began_s.append(trio.current_time())
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, PrimeDhtError):
            raise end

        async def wait() -> KeptBlocks:
            await trio.lowlevel.checkpoint()
            return end

        return SimpleNamespace(wait=wait)


def kept(receipts: int, *codes: str) -> KeptBlocks:
    refused = tuple(Refusal(OWNER, code) for code in codes)
    return KeptBlocks(bytes(ROOT), 2, (OWNER,) * receipts, refused, 10, 0.0, done=True)


@asynccontextmanager
async def insisting(own_roots: OwnRoots, rounds: Rounds) -> AsyncIterator[Insisting]:
    async with trio.open_nursery() as nursery:
        yield Insisting(own_roots, rounds.begin, nursery)
        nursery.cancel_scope.cancel()


async def test_a_restart_goes_on_with_what_too_few_keep(autojump_clock: trio.testing.MockClock) -> None:
    kv, rounds = MemoryKeyValue(), Rounds(kept(0), kept(1, "store_full"), kept(2))
    own_roots = OwnRoots(kv)
    await own_roots.add(ROOT, OWNER)
    await own_roots.add(OTHER, OWNER)
    await own_roots.note_kept(OTHER)
    began = trio.current_time()
    async with insisting(own_roots, rounds) as one:
        await one.resume()
        await trio.sleep(1.5 * limits.REPLICATE_RETRY_S)
        assert one.status() == [
            {"root": str(ROOT), "state": "1 of 2 other peers keep it (1 refused: store_full)"}
        ]
        await trio.sleep(2 * limits.REPLICATE_INTERVAL_S)
        assert one.status() == []
    retry_s = limits.REPLICATE_RETRY_S
    first_s = began + limits.JOBS_RESUMED_AFTER_S
    assert rounds.began_s == [first_s, first_s + retry_s, first_s + 3 * retry_s]
    assert set(rounds.roots) == {ROOT}
    async with insisting(OwnRoots(kv), rounds) as one:
        await one.resume()
        await trio.sleep(10)
    assert len(rounds.roots) == 3, "it is kept, and known to be"


async def test_rounds_grow_rare_and_leave_it_to_the_hourly_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rounds = Rounds(StoreUnavailable("the disk is busy"), kept(0))
    async with insisting(OwnRoots(MemoryKeyValue()), rounds) as one:
        one.watch(ROOT)
        one.watch(ROOT)
        await trio.sleep(10 * limits.REPLICATE_INTERVAL_S)
        assert one.status() == []
    waits_s = [later - sooner for sooner, later in zip(rounds.began_s, rounds.began_s[1:], strict=False)]
    assert waits_s == [limits.REPLICATE_RETRY_S * 2**number for number in range(9)]


async def test_nothing_is_asked_soon_where_nobody_may_or_it_was_withdrawn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for end in (kept(0, "not_permitted", "not_permitted"), BlockNotFound("it is kept no longer")):
        rounds = Rounds(end)
        async with insisting(OwnRoots(MemoryKeyValue()), rounds) as one:
            one.watch(ROOT)
            await trio.sleep(limits.REPLICATE_INTERVAL_S)
            assert one.status() == []
        assert len(rounds.roots) == 1


async def test_what_is_removed_meanwhile_does_not_come_back() -> None:
    own_roots = OwnRoots(MemoryKeyValue())
    await own_roots.add(ROOT, OWNER)
    await own_roots.remove(ROOT)
    await own_roots.note_kept(ROOT)
    assert await own_roots.all() == []
