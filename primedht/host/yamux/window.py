"""The receive window of one stream: what the peer may still send, and when it may send more.

Credit goes out once half the window has been read, so that it arrives before the peer runs out. The
window grows to what the peer can send in `_ROUND_TRIPS` round trips at the rate at which the
application reads: to the bandwidth-delay product with room to spare, and only if reading keeps up.

Source: libp2p specs, yamux/README.md, "Flow Control"; go-yamux, stream.go, sendWindowUpdate, which
doubles the window when half of it is read within four round trips.
"""

from __future__ import annotations

from primedht import limits
from primedht.host.yamux.frames import INITIAL_WINDOW_BYTES

_ROUND_TRIPS = 8
_INSTANT_S = 1e-6


class ReceiveWindow:
    """size: what the peer may have in flight and unread. left: what of it the peer has not used."""

    __slots__ = ("_consumed", "_granted_at", "left", "size")

    def __init__(self, now: float) -> None:
        self.size = INITIAL_WINDOW_BYTES
        self.left = INITIAL_WINDOW_BYTES
        self._consumed = 0
        self._granted_at = now

    @property
    def growth(self) -> int:
        """By how much it exceeds the initial size."""
        return self.size - INITIAL_WINDOW_BYTES

    def consume(self, size: int) -> bool:
        """The application has read `size` bytes; return whether it is time for `grant`."""
        self._consumed += size
        return self._consumed << 1 >= self.size

    def grant(self, now: float, rtt_s: float | None, growth_max: int) -> int:
        """Return the credit to send at `now` (seconds, monotonic).

        rtt_s: measured round-trip time; the window does not grow while that is unknown.
        growth_max: bytes by which it may grow at most.
        """
        credit = self._consumed
        if rtt_s is not None:
            rate = credit / max(now - self._granted_at, _INSTANT_S)
            wanted = min(int(rate * rtt_s * _ROUND_TRIPS), 2 * self.size, limits.YAMUX_WINDOW_BYTES_MAX)
            growth = min(wanted - self.size, growth_max)
            if growth > 0:
                self.size += growth
                credit += growth
        self._consumed = 0
        self._granted_at = now
        self.left += credit
        return credit
