"""An estimate of the network's size from the distances of the closest peers that lookups find.

With `n` peers spread evenly over the keyspace, the `i`-th closest to a random key is expected at
`i / (n + 1)` of it. A line through the origin, fitted to the mean distances, has that slope.

Source: go-libp2p-kad-dht, netsize/netsize.go; the fit here is plain least squares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from primedht import limits
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key, distance, key_of


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    weight: float
    distances: tuple[float, ...]  # as shares of the keyspace, closest first


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

    def track(self, target: Key, closest_peers: Sequence[PeerId], now: float, *, bucket_level: int) -> None:
        """Take in a lookup that ended by itself, at `now` (monotonic seconds).

        A lookup of a peer that exists says nothing of how dense the others are: it is left out.

        closest_peers: what it found, closest first, ourselves not among them.
        bucket_level: the routing table's members at the target's cpl. Lookups towards our own
            neighbourhood all see the same few peers: each member missing from a full bucket halves
            the sample's weight.
        """
        distances = tuple(
            distance(self._key_of(peer), target) / self._keyspace
            for peer in closest_peers[: self._bucket_size]
        )
        if distances and distances[0]:
            weight = 2.0 ** min(0, bucket_level - self._bucket_size)
            self._samples.append(_Sample(now, weight, distances))

    def estimate(self, now: float) -> float | None:
        """Return the estimated number of peers besides us, or None with fewer than five samples."""
        oldest = now - limits.NETSIZE_SAMPLE_AGE_S_MAX
        while self._samples and self._samples[0].at < oldest:
            self._samples.popleft()
        if len(self._samples) < limits.NETSIZE_SAMPLES_MIN:
            return None
        weights = [sample.weight for sample in self._samples]
        xx = xy = 0.0
        columns = zip_longest(*(sample.distances for sample in self._samples))
        for i, column in enumerate(columns, start=1):
            seen = [(w, d) for w, d in zip(weights, column, strict=True) if d is not None]
            mean = sum(w * d for w, d in seen) / sum(w for w, _ in seen)
            xx += i * i
            xy += i * mean
        return max(xx / xy - 1, float(max(len(sample.distances) for sample in self._samples)))
