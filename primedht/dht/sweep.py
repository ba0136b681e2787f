"""Announcing many keys region by region: the closest peers of neighbours are looked up once, not per key.

Source: the sweep of go-libp2p-kad-dht, provider/; how the lookups are chosen is ours (kad/coverage.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from primedht import limits
from primedht.dht.lookup import LookupResult, Lookups
from primedht.dht.ports import Rng
from primedht.dht.region import beside
from primedht.ids import PeerId
from primedht.kad.coverage import Coverage, next_lookups
from primedht.kad.key import Key, key_of
from primedht.results import Trace

Announce = Callable[[bytes, Sequence[PeerId], Trace | None], Awaitable[None]]
"""Tells these peers of a key; with the trace of its lookup, if it had one of its own."""

_GAP_TRIES = 64


async def sweep(
    lookups: Lookups, rng: Rng, keys: Sequence[bytes], announce: Announce, *, bucket_size: int
) -> int:
    """Have each of `keys` announced once to its k closest peers; return how many lookups that took.

    A key that no other is near costs one lookup, as it does alone. Of a key whose lookup finds nobody,
    nobody is told.
    """
    coverage = Coverage(bucket_size=bucket_size)
    left = sorted(dict.fromkeys(keys), key=key_of)
    lookups_count = 0
    places = trio.Semaphore(limits.SWEEP_KEYS_AT_ONCE)

    async def tell(key: bytes, closest: Sequence[PeerId], trace: Trace | None) -> None:
        async with places:
            await announce(key, closest, trace)

    async def look_up(target: bytes, *, tells_size: bool = True) -> LookupResult:
        nonlocal lookups_count
        lookups_count += 1
        found = await lookups.closest_peers(target, timeout_s=limits.WALK_TIMEOUT_S, tells_size=tells_size)
        if found.trace.stopped in ("converged", "exhausted"):
            coverage.add(key_of(target), found.closest)
        return found

    async def look_up_key(key: bytes) -> None:
        found = await look_up(key)
        nursery.start_soon(tell, key, found.closest, found.trace)

    async def look_up_gap(target: Key) -> None:
        preimage = await _inside_the_gap(coverage, target, rng)
        if preimage is not None:
            await look_up(preimage, tells_size=False)

    async with trio.open_nursery() as nursery:
        while left:
            targets = [key_of(key) for key in left]
            chosen = {left[at] for at in next_lookups(coverage, targets, limit=limits.SWEEP_LOOKUPS_AT_ONCE)}
            covered = [key for key in left if key in chosen and coverage.covers(key_of(key))]
            if covered and len(left) > len(covered):
                chosen = {covered[0]}  # what is missing lies beside them: one lookup there serves many
            async with trio.open_nursery() as round_nursery:
                for key in left:
                    if key in chosen:
                        round_nursery.start_soon(look_up_key, key)
                        if covered:
                            round_nursery.start_soon(look_up_gap, key_of(key))
            remaining = []
            for key in left:
                if key in chosen:
                    continue
                closest = coverage.closest(key_of(key))
                if closest is None:
                    remaining.append(key)
                else:
                    nursery.start_soon(tell, key, closest, None)
            left = remaining
    return lookups_count


async def _inside_the_gap(coverage: Coverage, target: Key, rng: Rng) -> bytes | None:
    """Return a preimage in the nearest stretch beside `target` of which nothing is known, if there is one."""
    cpl = coverage.gap(target)
    if cpl is None or cpl > limits.REFRESH_CPL_MAX:
        return None
    for _ in range(_GAP_TRIES):
        preimage = await beside(target, cpl, rng)
        if not coverage.covers(key_of(preimage)):
            return preimage
    return None
