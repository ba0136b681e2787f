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
