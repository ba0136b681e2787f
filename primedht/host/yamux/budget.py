"""How much memory received data may take, for a node and for each connection. Sans-IO."""

from __future__ import annotations

from primedht import limits


class MemoryBudget:
    """Shared by all connections of a node; they keep its figures.

    unread_bytes: received and not read. growth_bytes: promised to peers beyond the initial windows,
    at most half of `bytes_max`, so that bulk transfers leave room for everything else.
    """

    __slots__ = ("bytes_max", "growth_bytes", "unread_bytes")

    def __init__(self, bytes_max: int = limits.YAMUX_MEMORY_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.unread_bytes = 0
        self.growth_bytes = 0

    @property
    def growth_left(self) -> int:
        return max(0, self.bytes_max // 2 - self.growth_bytes)

    @property
    def is_exceeded(self) -> bool:
        return self.unread_bytes > self.bytes_max
