"""What happens when, without a task and a cancel scope for each of it.

A message is a plan to arrive, an answer another one, a time limit a third: calls at moments of virtual
time, in order of time, and at one moment in the order in which they were planned. A task that only
sleeps costs a fifth of what `trio.sleep` does, since nothing is cancelled to wake it.

The timeline is an entry in trio's own heap of deadlines, where it stands before all cancel scopes of the
same moment, so that one seed still means one order. That heap is private to trio, as the switches of
determinism.py are; `tests/sim/test_timeline.py` pins what is used of it.

Source: trio 0.35, `_core/_run.py`, `Deadlines`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

import trio
import trio._core._run as run

TICKS_PER_S = 1000
"""Delays are whole ticks, so that wake-ups of one instant share one jump of the clock."""

_ALARMS = count(1)


class Plan:
    """One call to come; `cancel` makes it none."""

    __slots__ = ("_args", "_call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._call: Callable[..., object] | None = call
        self._args = args

    @property
    def cancelled(self) -> bool:
        return self._call is None

    def cancel(self) -> None:
        """Forget the call and all that it would have been given."""
        self._call, self._args = None, ()

    def carry_out(self) -> None:
        """Make the call, once."""
        call, args = self._call, self._args
        self.cancel()
        if call is not None:
            call(*args)


class Timeline:
    """The plans of one trio run. Calls are made from the event loop: they may wake tasks, never wait.

    Plans of one moment stand in one list, and the heap is one of moments: of ten thousand hosts, some tens of
    thousands of plans wait at any time, most of them time limits that will not be reached.
    What a call raises ends the run, as an error in trio itself would.
    """

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._plans: dict[float, list[Plan]] = {}  # of each moment
        self._is_ringing = False
        self._deadlines: Any = run.GLOBAL_RUN_CONTEXT.runner.deadlines
        self._registered_deadline = math.inf  # by this name trio tells an entry that holds from an old one

    def plan(self, when_s: float, call: Callable[..., object], *args: Any) -> Plan:
        """Have `call(*args)` made at `when_s`, or as soon as can be if that is past."""
        plan = Plan(call, args)
        planned = self._plans.get(when_s)
        if planned is not None:
            planned.append(plan)
            return plan
        self._plans[when_s] = [plan]
        heappush(self._moments, when_s)
        if when_s < self._registered_deadline and not self._is_ringing:
            self._set_alarm(when_s)
        return plan

    async def sleep_until(self, when_s: float) -> None:
        """Sleep until `when_s`. Always a checkpoint."""
        plan = self.plan(when_s, trio.lowlevel.reschedule, trio.lowlevel.current_task())

        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            plan.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def sleep_ticks(self, delay_s: float) -> None:
        """Sleep until the tick nearest to `delay_s` from now. Always a checkpoint."""
        await self.sleep_until(tick_after(delay_s))

    def close(self) -> None:
        """Drop every plan."""
        self._moments.clear()
        self._plans.clear()
        self._set_alarm(math.inf)

    def _set_alarm(self, when_s: float) -> None:
        if self._registered_deadline != math.inf:
            self._deadlines.remove(self._registered_deadline, self)
        self._registered_deadline = when_s
        if when_s != math.inf:
            # As `Deadlines.add`, but with a number that depends on nothing else than what came before.
            heappush(self._deadlines._heap, (when_s, -next(_ALARMS), self))
            self._deadlines._active += 1

    def _cancel(self, reason: object) -> None:
        """What trio calls when the moment has come."""
        self._set_alarm(math.inf)
        now, moments, plans = trio.current_time(), self._moments, self._plans
        self._is_ringing = True
        while moments and moments[0] <= now:
            when_s = heappop(moments)
            for plan in plans[when_s]:  # and those that they add
                plan.carry_out()
            plans.pop(when_s, None)  # it is gone if one of them closed the timeline
        self._is_ringing = False
        while moments and all(plan.cancelled for plan in plans[moments[0]]):
            del plans[heappop(moments)]
        if moments:
            self._set_alarm(moments[0])


def tick_after(delay_s: float) -> float:
    """Return the tick nearest to `delay_s` from now, in seconds of virtual time."""
    return round((trio.current_time() + delay_s) * TICKS_PER_S) / TICKS_PER_S
