"""Reading and writing around an eclipse: peers that crowd about a key as honest ones never do.

Ids can be ground until they are closer to a key than all others, and who names only its like ends every
lookup there. But honest keys are evenly spread: the k closest to a key span about k / n of the keyspace.
Where they span far less, the peers of the whole stretch that should hold k are looked up from its sides,
towards random keys beside the target, and are asked, or sent the record, as well. Each side is looked up
without those who are closer to the target: where they outnumber the side's own, it would end at them.

Source: Prünster et al., "Total Eclipse of the Heart" (2022), 6; Sridhar et al., "Content Censorship in the
InterPlanetary File System" (2024), 5: density, and region-based queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import trio

from primedht import limits
from primedht.dht.lookup import Lookups, nearest_of
from primedht.dht.ports import Rng
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key, common_prefix_length, distance, key_of
from primedht.kad.refresh import NONCE_BYTES, TargetSearch


@dataclass(frozen=True, slots=True)
class Crowd:
    """Peers far closer to a key than an even spread over the keyspace explains.

    cpl: the bits that all of them share with the key. region_cpl: those that k of the network should share.
    """

    cpl: int
    region_cpl: int

    @property
    def sides(self) -> range:
        """The lengths of the prefixes beside which the key must be looked up.

        Closer peers than the farthest of the crowd have been found already, and hardly an honest key shares
        more than `REGION_LOOKUPS` bits beyond the region's.
        """
        last = min(self.cpl, self.region_cpl + limits.REGION_LOOKUPS - 1, limits.REFRESH_CPL_MAX)
        return range(min(self.region_cpl, last), last + 1)


def crowd_of(
    closest: Sequence[PeerId], target: Key, *, network_size: float, bucket_size: int
) -> Crowd | None:
    """Return what surrounds `target`, or None if the k `closest` are as far from it as they should be.

    Of n even keys the k-th closest is at k / n of the keyspace, for k = 20 within a quarter either way.
    """
    if len(closest) < bucket_size or network_size < limits.REGION_NETWORK_SIZE_MIN * bucket_size:
        return None
    farthest = max(distance(key_of(peer), target) for peer in closest[:bucket_size])
    expected = bucket_size / (network_size + 1)
    if farthest / (1 << KEY_BITS) >= limits.REGION_CROWDED_SHARE * expected:
        return None
    return Crowd(KEY_BITS - farthest.bit_length(), int(log2(network_size / bucket_size)))


async def beside(target: Key, cpl: int, rng: Rng) -> bytes:
    """Return a random preimage whose key shares exactly `cpl` leading bits with `target`."""
    search = TargetSearch(target, cpl, rng.getrandbits(8 * NONCE_BYTES).to_bytes(NONCE_BYTES, "big"))
    while (found := search.advance()) is None:
        await trio.lowlevel.checkpoint()
    return bytes(found)


async def peers_around(
    lookups: Lookups,
    rng: Rng,
    target: Key,
    closest: Sequence[PeerId],
    *,
    bucket_size: int,
    timeout_s: float,
) -> list[PeerId]:
    """Return other peers of the region around a crowded `target`, closest first; none if it is not.

    At most `REGION_PEERS_PER_SIDE` of each side, and no more of the crowd, of which k are in `closest`: those
    that were ground for this key, or for another one nearby, may be hundreds.
    """
    size = lookups.assumed_network_size()
    crowd = crowd_of(closest, target, network_size=size, bucket_size=bucket_size)
    if crowd is None:
        return []
    region = _Region(lookups, rng, size, bucket_size, timeout_s)
    async with trio.open_nursery() as nursery:
        for cpl in crowd.sides:
            nursery.start_soon(region.look_up, target, cpl)
    return nearest_of(region.found.difference(closest), target, len(region.found))


class _Region:
    """Lookups of the sides of one crowd. found: the peers of those sides."""

    def __init__(
        self, lookups: Lookups, rng: Rng, network_size: float, bucket_size: int, timeout_s: float
    ) -> None:
        self._lookups = lookups
        self._rng = rng
        self._network_size = network_size
        self._count = min(bucket_size, limits.REGION_PEERS_PER_SIDE)
        self._timeout_s = timeout_s
        self._crowded_left = limits.REGION_CROWDED_SIDES_MAX
        self.found: set[PeerId] = set()

    async def look_up(self, target: Key, cpl: int) -> None:
        """Find peers that share exactly `cpl` bits with `target`.

        A side in which peers crowd about another key is looked up from that crowd's own sides, too.
        """
        preimage = await beside(target, cpl, self._rng)

        def is_further_in(peer: PeerId) -> bool:
            return common_prefix_length(key_of(peer), target) > cpl

        result = await self._lookups.closest_peers(
            preimage, timeout_s=self._timeout_s, tells_size=False, avoids=is_further_in, count=self._count
        )
        there = [peer for peer in result.closest if common_prefix_length(key_of(peer), target) == cpl]
        self.found.update(there)
        point = key_of(preimage)
        crowd = crowd_of(result.closest, point, network_size=self._network_size, bucket_size=self._count)
        if crowd is None or not self._crowded_left:
            return
        self._crowded_left -= 1
        async with trio.open_nursery() as nursery:
            for inner in crowd.sides:
                if inner > cpl:
                    nursery.start_soon(self.look_up, point, inner)
