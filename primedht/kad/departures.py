"""How fast peers depart, and how long a holder may therefore be silent before it is asked.

Each copy of a record departs at rate λ and is made again T later. All R are gone at once with the rate
R λ (λT)^(R-1), so R and λ say which T keeps the loss below what is wanted. λ is estimated from the
node's own neighbours, which are as random as the holders of anything else: their departures over the
time for which they were watched, the recent past most.

Source: a Markov chain of independent copies, as in Weatherspoon and Kubiatowicz, "Erasure Coding vs.
Replication" (2002); the estimate is ours. Times are monotonic seconds.
"""

from __future__ import annotations

from math import exp, log

from primedht import limits


class DepartureRate:
    """λ, estimated. Call `watch` now and then, and `note` at each departure.

    window_s: what was longer ago counts less and less. assumed, assumed_s: as if so many departures of one
    neighbour had been seen in so long before.
    """

    def __init__(self, now: float, *, window_s: float, assumed: float, assumed_s: float) -> None:
        self._window_s = window_s
        self._assumed, self._assumed_s = assumed, assumed_s
        self._now = now
        self._departures = 0.0
        self._watched_s = 0.0

    def watch(self, now: float, neighbours: int) -> None:
        """So many neighbours were watched since the last call."""
        passed_s = max(0.0, now - self._now)
        kept = exp(-passed_s / self._window_s)
        self._now = now
        self._departures *= kept
        self._watched_s = self._watched_s * kept + passed_s * neighbours

    def note(self) -> None:
        """One neighbour has gone."""
        self._departures += 1

    @property
    def per_s(self) -> float:
        """Departures per peer and second."""
        return (self._departures + self._assumed) / (self._watched_s + self._assumed_s)

    def until_gone_s(self, share: float) -> float:
        """Return after how long this share of the peers that are there now have gone."""
        return -log(1 - share) / self.per_s

    def patience_s(self, copies: int) -> float:
        """Return how long one of so many holders of a record may be silent before it is asked."""
        if copies < 2:
            return limits.PARTNER_PROBE_S_MAX  # there is nobody to make it again
        rate = self.per_s
        lost_per_s = limits.RECORD_LOSS_PER_DAY / 86_400
        repair_s = float((lost_per_s / (copies * rate)) ** (1 / (copies - 1))) / rate
        return min(max(repair_s, limits.PARTNER_PROBE_S_MIN), limits.PARTNER_PROBE_S_MAX)
