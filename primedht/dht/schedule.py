"""When each of many things is next due. Pure: the owner says what time it is.

A heap whose outdated entries are skipped when they surface: setting a time is O(log n), and asking
for what is due touches only what is due.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

_REBUILD_SLACK = 64  # outdated heap entries tolerated beyond as many as there are live ones


class Schedule(Generic[T]):
    """The next due time of each item, in Unix seconds. Items need a total order among themselves."""

    def __init__(self) -> None:
        self._due_unix_s: dict[T, float] = {}
        self._heap: list[tuple[float, T]] = []

    def __len__(self) -> int:
        return len(self._due_unix_s)

    def __contains__(self, item: T) -> bool:
        return item in self._due_unix_s

    def items(self) -> list[T]:
        """Return every item, in no particular order."""
        return list(self._due_unix_s)

    def set(self, item: T, due_unix_s: float) -> None:
        """Make `item` due at `due_unix_s`, whatever it was before."""
        if self._due_unix_s.get(item) == due_unix_s:
            return
        self._due_unix_s[item] = due_unix_s
        heappush(self._heap, (due_unix_s, item))
        if len(self._heap) > 2 * len(self._due_unix_s) + _REBUILD_SLACK:
            self._heap = [(due, item) for item, due in self._due_unix_s.items()]
            heapify(self._heap)

    def discard(self, item: T) -> None:
        """Forget `item`, if it is there."""
        self._due_unix_s.pop(item, None)

    def due(self, now_unix_s: float, *, limit: int) -> list[T]:
        """Return up to `limit` items due by `now_unix_s`, earliest first. They stay due until set anew."""
        found: list[tuple[float, T]] = []
        while self._heap and len(found) < limit and self._heap[0][0] <= now_unix_s:
            entry = heappop(self._heap)
            if self._due_unix_s.get(entry[1]) == entry[0] and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heappush(self._heap, entry)
        return [item for _, item in found]

    def next_due_unix_s(self) -> float | None:
        """Return the earliest due time, or None if there is nothing to wait for."""
        while self._heap:
            due, item = self._heap[0]
            if self._due_unix_s.get(item) == due:
                return due
            heappop(self._heap)
        return None
