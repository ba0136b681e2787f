"""Simulated wall clocks: virtual time since an epoch, each node's with its own error."""

from __future__ import annotations

import trio

EPOCH_UNIX_S = 1_750_000_000.0
"""The wall-clock time at which every simulation begins (June 2025); any fixed instant would do."""


class SimClock:
    """A `WallClock` that is `skew_s` ahead of true time. `skew_s` may be changed at any moment."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def unix_now(self) -> float:
        return true_unix_now() + self.skew_s


def true_unix_now() -> float:
    """Return the wall-clock time of a clock without error, for oracles."""
    return EPOCH_UNIX_S + trio.current_time()
