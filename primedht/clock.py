"""Wall-clock time as a port. Deadlines never use it: those are `trio.current_time()`.

Stored expiry must survive restarts, so it is wall-clock time; the simulator gives each node its own.
"""

from __future__ import annotations

import time
from typing import Protocol


class WallClock(Protocol):
    """Unix time in seconds; may jump, unlike a monotonic clock."""

    def unix_now(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def unix_now(self) -> float:
        return time.time()


class StepWatch:
    """How far the system's clock was set since this was made. It does not see slewing, nor suspension."""

    def __init__(self) -> None:
        self._offset_s = self._read()

    def stepped_s(self) -> float:
        """Return the sum of the steps in seconds, positive if the clock was set forward."""
        return self._read() - self._offset_s

    @staticmethod
    def _read() -> float:
        # Both are slewed alike, and CLOCK_BOOTTIME goes on in suspension: clock_gettime(2).
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
