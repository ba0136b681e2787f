"""Reading and writing around an eclipse: peers that crowd about a key as honest ones never do.

Ids can be ground until they are closer to a key than all others, and who names only its like ends every
lookup there. But honest keys are evenly spread: the k closest to a key span about k / n of the keyspace.
Where they span far less, the peers of the whole stretch that should hold k are looked up from its sides,
towards random keys beside the target, and are asked, or sent the record, as well.

Source: Prünster et al., "Total Eclipse of the Heart" (2022), 6; Sridhar et al., "Content Censorship in the
InterPlanetary File System" (2024), 5: density, and region-based queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import trio

from primedht import limits
from primedht.dht.lookup import Lookups, nearest_of
from primedht.dht.ports import Rng
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key, distance, key_of
from primedht.kad.refresh import NONCE_BYTES, TargetSearch


def is_crowded(closest: Sequence[PeerId], target: Key, *, network_size: float, bucket_size: int) -> bool:
    """Whether the k closest peers are far closer than an even spread over the keyspace explains.

    Of n even keys the k-th closest is at k / n of the keyspace, for k = 20 within a quarter either way.
    """
    if len(closest) < bucket_size or network_size < limits.REGION_NETWORK_SIZE_MIN * bucket_size:
        return False
    farthest = max(distance(key_of(peer), target) for peer in closest[:bucket_size])
    expected = bucket_size / (network_size + 1)
    return farthest / (1 << KEY_BITS) < limits.REGION_CROWDED_SHARE * expected


async def peers_around(
    lookups: Lookups,
    rng: Rng,
    target: Key,
    closest: Sequence[PeerId],
    *,
    bucket_size: int,
    timeout_s: float,
) -> list[PeerId]:
    """Return other peers of the region around a crowded `target`, closest first; none if it is not."""
    size = lookups.network_size.estimate(trio.current_time())
    if size is None or not is_crowded(closest, target, network_size=size, bucket_size=bucket_size):
        return []
    region_cpl = max(0, min(int(log2(size / bucket_size)), limits.REFRESH_CPL_MAX - limits.REGION_LOOKUPS))
    found: dict[PeerId, None] = {}

    async def look_up(cpl: int) -> None:
        nonce = rng.getrandbits(8 * NONCE_BYTES).to_bytes(NONCE_BYTES, "big")
        search = TargetSearch(target, cpl, nonce)
        while (beside := search.advance()) is None:
            await trio.lowlevel.checkpoint()
        result = await lookups.closest_peers(bytes(beside), timeout_s=timeout_s)
        found.update(dict.fromkeys(result.closest))

    async with trio.open_nursery() as nursery:
        for cpl in range(region_cpl, region_cpl + limits.REGION_LOOKUPS):
            nursery.start_soon(look_up, cpl)
    known = set(closest)
    others = [peer for peer in found if peer not in known]
    return nearest_of(others, target, limits.REGION_PEERS_FACTOR * bucket_size)
