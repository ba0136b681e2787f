"""An estimate of the network's size from the distances of the closest peers that lookups find.

With `n` peers spread evenly over the keyspace, the `i`-th closest to a random key is expected at
`i / (n + 1)` of it. A line through the origin, fitted to the distances, has that slope. Of the sizes that
single lookups tell the median counts: keys ground to crowd about a few targets must not make it larger.
Nor must lookups of those targets: each target has one sample, and one that tells of far more peers than all
else does weighs less.

Source: go-libp2p-kad-dht, netsize/netsize.go, which fits one line to the mean distances of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, inf

from primedht import limits
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key, distance, key_of


@dataclass(frozen=True, slots=True)
class _Sample:
    target: Key
    at: float
    weight: float
    size: float  # that this lookup alone tells
    found: int


class NetworkSize:
    """Samples of one node's lookups: the newest 150, none older than two hours.

    Args:
        bucket_size: k, the peers that a complete lookup finds.
    """

    def __init__(
        self, *, bucket_size: int, key_of: Callable[[bytes], Key] = key_of, bits: int = KEY_BITS
    ) -> None:
        self._bucket_size = bucket_size
        self._key_of = key_of
        self._keyspace = float(1 << bits)
        self._samples: deque[_Sample] = deque(maxlen=limits.NETSIZE_SAMPLES_MAX)

    def track(
        self,
        target: Key,
        closest_peers: Sequence[PeerId],
        now: float,
        *,
        bucket_level: int,
        assumed: float = inf,
    ) -> None:
        """Take in a lookup that ended by itself, at `now` (monotonic seconds), in place of an earlier one.

        A lookup of a peer that exists says nothing of how dense the others are: it is left out.

        closest_peers: what it found, closest first, ourselves not among them.
        bucket_level: the routing table's members at the target's cpl. Lookups towards our own
            neighbourhood all see the same few peers: each member missing from a full bucket halves
            the sample's weight.
        assumed: the size so far. Where many more seem to be, they may have been ground to crowd there: that
            weighs little, but enough for many such samples to overrule a table that is far from full.
        """
        size = self._size_by(target, closest_peers)
        if size is not None:
            weight = 2.0 ** min(0, bucket_level - self._bucket_size)
            if size * limits.REGION_CROWDED_SHARE > assumed:
                weight *= limits.NETSIZE_CROWDED_WEIGHT
            found = min(len(closest_peers), self._bucket_size)
            self._forget(target)
            self._samples.append(_Sample(target, now, weight, size, found))

    def estimate(self, now: float) -> float | None:
        """Return the estimated number of peers besides us, or None with fewer than five samples."""
        self._forget_old(now)
        if len(self._samples) < limits.NETSIZE_SAMPLES_MIN:
            return None
        size = _median([(sample.size, sample.weight) for sample in self._samples])
        return max(size, float(max(sample.found for sample in self._samples)))

    def assume(self, now: float, sizes_by_cpl: Sequence[int]) -> float:
        """Return the best guess of any node, however few its lookups were: its table counts as one.

        sizes_by_cpl: the routing table's members of each common prefix length with us.
        """
        self._forget_old(now)
        sizes = [(sample.size, sample.weight) for sample in self._samples]
        sizes.append((size_by_table(sizes_by_cpl, bucket_size=self._bucket_size), 1.0))
        return _median(sizes)

    def _size_by(self, target: Key, closest_peers: Sequence[PeerId]) -> float | None:
        """Return the slope of one lookup's line, less ourselves; None if it found nobody or its target."""
        away = [distance(self._key_of(peer), target) for peer in closest_peers[: self._bucket_size]]
        if not away or not away[0]:
            return None
        xx = sum(i * i for i in range(1, len(away) + 1))
        xy = sum(i * d for i, d in enumerate(away, start=1)) / self._keyspace
        return xx / xy - 1

    def _forget_old(self, now: float) -> None:
        oldest = now - limits.NETSIZE_SAMPLE_AGE_S_MAX
        while self._samples and self._samples[0].at < oldest:
            self._samples.popleft()

    def _forget(self, target: Key) -> None:
        for sample in self._samples:
            if sample.target == target:
                self._samples.remove(sample)
                return


def likely_share(bucket_size: int, network_size: float, *, certainty: float) -> float:
    """Return the share of the keyspace within which a peer is one of the k closest with this `certainty`.

    It is unless k others are closer still, and how many peers are within a share is Poisson distributed.
    """
    low, high = 0.0, 2.0 * bucket_size
    while high - low > 1e-3 * bucket_size:
        expected = (low + high) / 2
        if _fewer_than(bucket_size, expected) >= certainty:
            low = expected
        else:
            high = expected
    return min(1.0, low / network_size) if network_size > 0 else 1.0


def size_by_table(sizes_by_cpl: Sequence[int], *, bucket_size: int) -> float:
    """Return the number of peers that a routing table's deeper buckets tell, which know everybody.

    Each should have half as many as the one before: what it has more than that one are keys that crowd.
    """
    counts = list(accumulate(sizes_by_cpl, min))
    deeper = 0
    for cpl in range(len(counts) - 1, -1, -1):
        deeper += counts[cpl]
        if deeper >= bucket_size / 2:
            return float(deeper << cpl)
    return float(deeper)


def _median(weighted: Iterable[tuple[float, float]]) -> float:
    """Return the number that half of the weight lies below."""
    ranked = sorted(weighted)
    left = sum(weight for _, weight in ranked) / 2
    for number, weight in ranked:
        left -= weight
        if left <= 0:
            return number
    raise ValueError("nothing has no median")


def _fewer_than(count: int, expected: float) -> float:
    """Return the probability of fewer than `count` events where `expected` are on average."""
    term = total = exp(-expected)
    for number in range(1, count):
        term *= expected / number
        total += term
    return total
