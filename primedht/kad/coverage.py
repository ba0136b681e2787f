"""The stretches of the keyspace whose peers are all known, from the lookups of one sweep.

A lookup finds the k peers closest to its target, so every peer closer than the farthest of them: it knows all
of a stretch, and the next keys there need no lookup of their own.

    coverage = Coverage(bucket_size=20)
    coverage.add(target, closest_peers)
    coverage.closest(neighbour)  # its k closest, or None: look it up

Pure. Source of the idea: the region exploration of go-libp2p-kad-dht's sweeping provider; here the keys
that are to be announced are the ones looked up, so that few keys cost what they cost alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Sequence

from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key, distance, key_of


class Coverage:
    """Grows with each complete lookup; good for as long as the network stays about the same.

    Args:
        bucket_size: k. key_of, bits: as everywhere, so that tests can use tiny keyspaces.
    """

    def __init__(
        self, *, bucket_size: int, key_of: Callable[[bytes], Key] = key_of, bits: int = KEY_BITS
    ) -> None:
        self._bucket_size = bucket_size
        self._key_of = key_of
        self._bits = bits
        self._peers: list[tuple[Key, PeerId]] = []  # sorted
        self._stretches: list[tuple[int, int]] = []  # first, one past the last; sorted and apart

    def add(self, target: Key, closest_peers: Sequence[PeerId]) -> None:
        """Take in a lookup that ended by itself: `closest_peers` are the k closest to `target`, or all."""
        for peer in closest_peers:
            known = (self._key_of(peer), peer)
            at = bisect_left(self._peers, known)
            if self._peers[at : at + 1] != [known]:
                insort(self._peers, known)
        if len(closest_peers) < self._bucket_size:
            self._stretches = [(0, 1 << self._bits)]
            return
        farthest = max(distance(self._key_of(peer), target) for peer in closest_peers)
        # Peers that share more of the target's prefix than the farthest does are closer than that one.
        shift = farthest.bit_length() - 1
        if shift >= 0:
            first = target >> shift << shift
            self._cover(first, first + (1 << shift))

    def covers(self, target: Key) -> bool:
        """Whether all peers right around `target` are known: looking it up would show no new stretch."""
        return self._is_covered(target, target + 1)

    def closest(self, target: Key) -> list[PeerId] | None:
        """Return the k peers closest to `target`, closest first, or None if others may be closer.

        They are in the smallest subtree around it that has k known peers, and all of that must be covered.
        """
        low, high = 0, len(self._peers)
        first, size = 0, 1 << self._bits
        for shift in range(self._bits - 1, -1, -1):
            inner = target >> shift << shift
            inner_low = bisect_left(self._peers, (inner,), low, high)
            inner_high = bisect_left(self._peers, (inner + (1 << shift),), low, high)
            if inner_high - inner_low < self._bucket_size:
                break
            low, high, first, size = inner_low, inner_high, inner, 1 << shift
        if not self._is_covered(first, first + size):
            return None
        ranked = sorted(self._peers[low:high], key=lambda known: distance(known[0], target))
        return [peer for _, peer in ranked[: self._bucket_size]]

    def gap(self, target: Key) -> int | None:
        """Return how many leading bits the nearest uncovered stretch shares with covered `target`.

        None if the target itself is not covered, or everything is.
        """
        if not self.covers(target):
            return None
        for shift in range(self._bits):
            beside = (target >> shift ^ 1) << shift
            if not self._is_covered(beside, beside + (1 << shift)):
                return self._bits - 1 - shift
        return None

    def _is_covered(self, first: int, end: int) -> bool:
        at = bisect_right(self._stretches, (first, 1 << self._bits)) - 1
        return at >= 0 and end <= self._stretches[at][1]

    def _cover(self, first: int, end: int) -> None:
        apart = [one for one in self._stretches if one[1] < first or end < one[0]]
        touching = [one for one in self._stretches if not (one[1] < first or end < one[0])]
        low = min([first, *(one[0] for one in touching)])
        high = max([end, *(one[1] for one in touching)])
        insort(apart, (low, high))
        self._stretches = apart


def next_lookups(coverage: Coverage, targets: Sequence[Key], *, limit: int) -> list[int]:
    """Return which of sorted `targets` to look up at once: at most `limit`, where nothing is known.

    Where all of them lie in stretches that are covered, but lack neighbours, any will do.
    """
    unknown = [at for at, target in enumerate(targets) if not coverage.covers(target)]
    candidates: Collection[int] = unknown or range(len(targets))
    step = -(-len(candidates) // limit) if candidates else 1
    return list(candidates)[::step]
