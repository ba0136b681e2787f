"""How often a peer may do what costs us and brings nothing. Sans-IO."""

from __future__ import annotations


class Allowance:
    """A leaky bucket: `burst` at once, `per_s` on average."""

    __slots__ = ("_burst", "_level", "_per_s", "_updated_at")

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._level = 0.0
        self._updated_at = 0.0

    def spend(self, now: float) -> bool:
        """Use it once at `now` (seconds, monotonic); return whether that was allowed."""
        leaked = (now - self._updated_at) * self._per_s
        self._level = max(0.0, self._level - leaked) + 1
        self._updated_at = now
        return self._level <= self._burst
