"""Work that waits for one of a few tasks, which exist only while there is any.

A node that is idle has nothing to wait with: forty tasks that wait for work were most of what a node
at rest kept in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Generic, NoReturn, TypeVar

import trio

T = TypeVar("T")


class WorkQueue(Generic[T]):
    """Runs `work` on each item that is `put`, in that order, `at_once` of them at a time, while `serve` runs.

    waiting_max: items that wait for their turn. What `work` raises ends `serve`.
    """

    def __init__(self, work: Callable[[T], Awaitable[None]], *, at_once: int, waiting_max: int) -> None:
        self._work = work
        self._at_once, self._waiting_max = at_once, waiting_max
        self._waiting: deque[T] = deque()
        self._workers = 0
        self._nursery: trio.Nursery | None = None
        self._context = Context()

    def put(self, item: T) -> bool:
        """Have `item` worked on soon; return False if too many wait."""
        if len(self._waiting) >= self._waiting_max:
            return False
        self._waiting.append(item)
        self._start_worker()
        return True

    async def serve(self) -> NoReturn:
        """Only cancellation ends it."""
        self._context = copy_context()  # of nobody who puts
        try:
            async with trio.open_nursery() as self._nursery:
                for _ in tuple(self._waiting):
                    self._start_worker()
                await trio.sleep_forever()
        finally:
            self._nursery = None
        raise AssertionError("unreachable: it sleeps for ever")

    def _start_worker(self) -> None:
        if self._nursery is not None and self._workers < self._at_once:
            self._workers += 1
            self._context.run(self._nursery.start_soon, self._serve_waiting)

    async def _serve_waiting(self) -> None:
        try:
            while self._waiting:
                await self._work(self._waiting.popleft())
        finally:
            self._workers -= 1
