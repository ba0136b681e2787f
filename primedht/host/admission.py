"""Who may begin a handshake, and when: so many from one address block, and so much CPU for all.

A handshake costs this node some milliseconds, and its peer nothing if it stops half-way. Addresses
that anybody may have are therefore counted by block. And all handshakes together get a share of one
core while established peers are active, so that a flood of dials slows newcomers down and nobody else.
Private and loopback addresses are not counted: machines of one network share blocks, and a test or a
restarted cluster dials from one address.

No I/O: times are seconds of a monotonic clock, given by the caller.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from primedht import limits
from primedht.host.yamux.flood import Allowance

_IPV4_BITS, _IPV6_BITS = 24, 48
_GAIN = 0.1  # of one handshake in the smoothed cost
T = TypeVar("T")


def block_of(ip: str) -> str | None:
    """Return the /24 or /48 that a public address is in; None for one that is not counted."""
    address = ipaddress.ip_address(ip)
    if not address.is_global:
        return None
    bits = _IPV4_BITS if address.version == 4 else _IPV6_BITS
    return str(ipaddress.ip_network((address, bits), strict=False))


class BlockRates:
    """How often each address block may begin a handshake. The blocks longest not seen are forgotten."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[str, Allowance] = OrderedDict()

    def admits(self, ip: str, now: float) -> bool:
        """Count one handshake from `ip`; return whether it may begin."""
        block = block_of(ip)
        if block is None:
            return True
        allowance = self._blocks.pop(block, None) or Allowance(
            limits.HANDSHAKES_PER_BLOCK_BURST, limits.HANDSHAKES_PER_BLOCK_PER_S
        )
        self._blocks[block] = allowance
        if len(self._blocks) > limits.HANDSHAKE_BLOCKS_MAX:
            self._blocks.popitem(last=False)
        return allowance.spend(now)


class CpuBudget:
    """The CPU that handshakes may use: a token bucket of seconds.

    cost_s: what one costs, smoothed over those that ended; it is reserved when one begins.
    """

    def __init__(self) -> None:
        self.cost_s = limits.HANDSHAKE_CPU_S
        self._left_s = limits.HANDSHAKE_CPU_BURST_S
        self._updated_at = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long the next handshake must wait; 0 if it may begin."""
        self._refill(now)
        return max(0.0, -self._left_s / limits.HANDSHAKE_CPU_SHARE)

    def begin(self, now: float) -> float:
        """Reserve the cost of a handshake, and return it for `end`."""
        self._refill(now)
        # Whoever begins while there is nobody to protect runs up no debt for later.
        self._left_s = max(self._left_s - self.cost_s, -limits.HANDSHAKE_CPU_BURST_S)
        return self.cost_s

    def end(self, reserved_s: float, spent_s: float) -> None:
        """Correct what `begin` reserved by what was spent."""
        self._left_s = max(self._left_s + reserved_s - spent_s, -limits.HANDSHAKE_CPU_BURST_S)
        self.cost_s += _GAIN * (spent_s - self.cost_s)

    def _refill(self, now: float) -> None:
        earned_s = (now - self._updated_at) * limits.HANDSHAKE_CPU_SHARE
        self._left_s = min(self._left_s + earned_s, limits.HANDSHAKE_CPU_BURST_S)
        self._updated_at = now


class Metered(Generic[T]):
    """An awaitable that runs a coroutine and counts the CPU of its steps, not of the waits between.

    spent_s: seconds of this thread's CPU so far.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.spent_s = 0.0

    def __await__(self) -> Generator[Any, Any, T]:
        step, argument = self._coroutine.send, None
        while True:
            started = time.thread_time()
            try:
                trapped = step(argument)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self.spent_s += time.thread_time() - started
            try:
                argument = yield trapped
                step = self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - it goes on into the coroutine
                argument = error
                step = self._coroutine.throw
