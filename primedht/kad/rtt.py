"""How long an answer may take, from how long answers took.

The mean alone will not do: peers are near and far, and twice the mean of all would give up the far ones.

Source: RFC 6298, "Computing TCP's Retransmission Timer", 2.2 and 2.3; hedging at a high quantile: Dean and
Barroso, "The Tail at Scale" (2013).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
_DEVIATIONS = 4.0
_RECENT = 64
_USUAL = 0.95


@dataclass(slots=True)
class Rtt:
    """Smoothed time and mean deviation of `count` answers, in seconds.

    usual_s: 19 of the last 20 answers took no longer; 0 while nothing is known.
    """

    mean_s: float = 0.0
    deviation_s: float = 0.0
    count: int = 0
    usual_s: float = 0.0
    _recent: deque[float] = field(default_factory=deque)
    _ranked: list[float] = field(default_factory=list)

    @property
    def patience_s(self) -> float:
        """The time after which an answer is late; 0 while nothing is known."""
        return self.mean_s + _DEVIATIONS * self.deviation_s

    def note(self, took_s: float) -> None:
        """Take in one answer."""
        self.count += 1
        ranked = self._ranked
        if len(ranked) == _RECENT:
            del ranked[bisect_left(ranked, self._recent.popleft())]
        self._recent.append(took_s)
        insort(ranked, took_s)
        self.usual_s = ranked[int(_USUAL * (len(ranked) - 1) + 0.5)]
        if self.count == 1:
            self.mean_s, self.deviation_s = took_s, took_s / 2
            return
        self.deviation_s += _DEVIATION_GAIN * (abs(took_s - self.mean_s) - self.deviation_s)
        self.mean_s += _GAIN * (took_s - self.mean_s)
