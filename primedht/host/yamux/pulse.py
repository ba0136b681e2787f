"""Whether the peer lives, and how far away it is: pings, and what has been heard. Sans-IO.

Times are monotonic seconds. One ping is under way at a time, as keep-alive or to measure.

Source: libp2p specs, yamux/README.md, "Ping"; RFC 6298 for the smoothing.
"""

from __future__ import annotations

from primedht import limits
from primedht.errors import PeerUnreachable

_RTT_GAIN = 1 / 8  # RFC 6298, 2.3


class PeerSilent(PeerUnreachable):
    """The peer has sent nothing for too long, not even the answer to a ping."""


class Pulse:
    """heard_at: when anything came last. rtt_s: smoothed round-trip time, None before it is measured."""

    __slots__ = (
        "_keepalive_s",
        "_measured_at",
        "_ping_timeout_s",
        "_pinged_at",
        "_value",
        "heard_at",
        "rtt_s",
    )

    def __init__(self, now: float, *, keepalive_s: float, ping_timeout_s: float) -> None:
        self.heard_at = now
        self.rtt_s: float | None = None
        self._keepalive_s = keepalive_s
        self._ping_timeout_s = ping_timeout_s
        self._value = 0
        self._pinged_at: float | None = None
        self._measured_at: float | None = None

    def is_measure_due(self, now: float) -> bool:
        """Whether the round-trip time is unknown, or as old as `limits.YAMUX_RTT_AGE_S`."""
        return self._measured_at is None or now - self._measured_at >= limits.YAMUX_RTT_AGE_S

    def ping(self, now: float) -> int | None:
        """Return the value of a ping to send, None while one is under way."""
        if self._pinged_at is not None:
            return None
        self._pinged_at = now
        self._value = (self._value + 1) & 0xFFFFFFFF
        return self._value

    def take_pong(self, value: int, now: float) -> bool:
        """Take in the answer to a ping; return whether there is such a ping under way."""
        if self._pinged_at is None or value != self._value:
            return False
        sample = now - self._pinged_at
        self.rtt_s = sample if self.rtt_s is None else self.rtt_s + _RTT_GAIN * (sample - self.rtt_s)
        self._pinged_at = None
        self._measured_at = now
        return True

    def check(self, now: float) -> float:
        """Return when to check again, or a time that is not after `now`: send a ping. Raises `PeerSilent`."""
        pinged_at = self._pinged_at
        if pinged_at is not None:
            due = pinged_at + self._ping_timeout_s
            if now < due:
                return due
            if self.heard_at <= pinged_at:
                raise PeerSilent(f"no answer to a ping for {now - pinged_at:.0f} s")
            self._pinged_at = None  # the pong is lost or late; the peer lives
        return self.heard_at + self._keepalive_s
