"""Same seed, same run: what must be set in trio's private scheduling switches for that.

trio reverses half of its batches at random. With its private flag set, each batch is sorted by
task age and shuffled by a generator that can be seeded, so virtual time (`MockClock`) plus one
seed replays a run exactly, as long as nobody iterates a set of byte strings (their hashes differ
from process to process). That promise is checked, not assumed: every simulated network feeds an
`EventDigest`, and `tests/sim/test_determinism.py` pins both the flag and the promise.

Source: trio 0.35, `_core/_run.py`, `_ALLOW_DETERMINISTIC_SCHEDULING` and `_r`.
"""

from __future__ import annotations

import gc
import hashlib
import math
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NamedTuple, TypeVar, TypeVarTuple

import trio
import trio._core._run as run
from trio.testing import MockClock

from primedht.sim.timeline import TICKS_PER_S

_EVENT = struct.Struct("<qBIIbI")
_NOBODY = 0xFFFFFFFF
_FOREVER_S = 1e9
_GC_ALLOCATIONS = 200_000
"""Ours: Python's 700 cost a quarter of the time of a run; this many objects are some 20 MB at most."""

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


@contextmanager
def deterministic_scheduling(seed: int) -> Iterator[None]:
    """Order trio's batches by `seed` inside the block, in the current run or in one started there."""
    flag, state = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    run._r.seed(seed)
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = flag  # type: ignore[misc]
        run._r.setstate(state)


def _jumping_clock() -> MockClock:
    """Return a `MockClock` that only jumps: telling its time, a tenth of a run, needs no real clock.

    It jumps when trio asks how long to sleep, which is when all tasks wait. By itself it would do so
    only after trio had slept in vain: half of all passes of the event loop.
    """
    clock = MockClock(autojump_threshold=0)

    def jump(deadline: float) -> float:
        if deadline == math.inf or run.GLOBAL_RUN_CONTEXT.runner.waiting_for_idle:
            return _FOREVER_S
        clock._virtual_base = max(clock._virtual_base, deadline)  # type: ignore[attr-defined]
        return 0.0

    clock.current_time = lambda: clock._virtual_base  # type: ignore[method-assign,attr-defined]
    clock.deadline_to_sleep_time = jump  # type: ignore[method-assign]
    return clock


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Look for reference cycles rarely: a world is millions of objects that stay, and leaves few behind."""
    before = gc.get_threshold()
    gc.set_threshold(_GC_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def simulate(scenario: Callable[[*_Args], Awaitable[_Result]], *args: *_Args, seed: int) -> _Result:
    """Run `scenario` in a trio run of its own, with virtual time that jumps whenever all tasks wait."""
    with deterministic_scheduling(seed), _rare_garbage_collection():
        return trio.run(scenario, *args, clock=_jumping_clock())


def require_virtual_time() -> None:
    """Raise `RuntimeError` where a simulation would sleep for real."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, MockClock) or clock.autojump_threshold > 1:
        raise RuntimeError("a simulation needs trio's MockClock with autojump (use simulate())")


class EventKind(IntEnum):
    """What an event of the simulated network was."""

    SENT = 1
    DELIVERED = 2
    ANSWERED = 3
    LOST = 4
    RESET = 5
    TIMED_OUT = 6
    CONNECTED = 7
    DISCONNECTED = 8
    IDENTIFIED = 9
    STARTED = 10
    STOPPED = 11
    CRASHED = 12


class Event(NamedTuple):
    """One event. Hosts are their indexes; `message_type` is -1 and `size_bytes` 0 where none applies."""

    now_s: float
    kind: EventKind
    source: int
    target: int
    message_type: int
    size_bytes: int


class EventDigest:
    """A running hash over all events, and the last few events themselves for a failure's report."""

    def __init__(self, *, keep: int = 200) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[float, EventKind, int, int, int, int]] = deque(maxlen=keep)
        self.events_count = 0

    def add(
        self,
        kind: EventKind,
        source: int,
        target: int = _NOBODY,
        *,
        message_type: int = -1,
        size_bytes: int = 0,
    ) -> None:
        """Note an event that happens now."""
        now_s = trio.current_time()
        self._hash.update(
            _EVENT.pack(round(now_s * TICKS_PER_S), kind, source, target, message_type, size_bytes)
        )
        self._last.append((now_s, kind, source, target, message_type, size_bytes))
        self.events_count += 1

    def hexdigest(self) -> str:
        """Return the digest of everything so far."""
        return self._hash.hexdigest()

    def last(self) -> tuple[Event, ...]:
        """Return the most recent events, oldest first."""
        return tuple(map(Event._make, self._last))
