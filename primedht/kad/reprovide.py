"""When to announce each item again: provider records (reprovide) and own values (republish).

Every item has a fixed place in its interval, given by its key: the load is even however many items
were added at once, and neighbours in the keyspace, whose lookups lead to the same peers, come up
together: those whose time is near are handed out with the first, so that one sweep serves them all. The
time between two announcements of an item is never more than its interval and, unless it failed, never
less than half, give or take the `ahead_share` of it by which it may come early.

Where holders depart fast, `shorten` makes all intervals as short as that takes.

Items that are overdue, after a restart or a time offline, are handed out at a bounded rate.

Source: the sweep of go-libp2p-kad-dht, provider/; intervals: amino/defaults.go;
docs/design.md, "Keys, values, lifetimes", for values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf

from primedht.kad.key import KEY_BITS, Key, key_of

_RETRY_DOUBLINGS_MAX = 10
_ROUNDING = 1e-6  # share of an interval by which floating point may misplace a time
_LOOKED_AT_PER_ITEM = 8  # entries examined for each item that a poll may return, however many there are
_REBUILD_SLACK = 64  # outdated heap entries tolerated beyond as many as there are items


@dataclass(slots=True, eq=False)
class _Item:
    item: bytes
    interval_s: float
    place: float  # 0 to 1: its key's place in the keyspace
    own_interval_s: float  # unless it is to be announced more often
    last: float  # when it was announced; -inf if never
    due: float = inf  # inf while it is being announced
    failures: int = 0


class ReprovideSchedule:
    """What to announce when. Times are seconds of one clock that never jumps.

    Args:
        origin_s: what that clock showed (or would have) at Unix time 0, so that items keep their
            places over a restart.
        rate_per_s: items handed out per second at most; more only where the intervals demand it.
        ahead_share: how much before its time an item may be handed out with neighbours that are due, as a
            share of its interval.
        retry_s: seconds before the first retry of a failed announcement; each further one doubles
            them, up to half the interval.
    """

    def __init__(
        self,
        *,
        origin_s: float = 0.0,
        rate_per_s: float = 1.0,
        ahead_share: float = 0.0,
        retry_s: float = 60.0,
        key_of: Callable[[bytes], Key] = key_of,
        bits: int = KEY_BITS,
    ) -> None:
        self._origin_s = origin_s
        self._rate_per_s = rate_per_s
        self._ahead_share = ahead_share
        self._retry_s = retry_s
        self._key_of = key_of
        self._keyspace = float(1 << bits)
        self._items: dict[bytes, _Item] = {}
        self._heap: list[tuple[float, bytes]] = []
        self._order: list[_Item] = []  # by place, as of the last poll
        self._order_outdated = False
        self._load_per_s = 0.0
        self._interval_s_max = inf
        self._slot_at = -inf  # when the next item may be handed out

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: bytes) -> bool:
        return item in self._items

    def items(self) -> list[bytes]:
        """Return every item, in order of adding."""
        return list(self._items)

    def due_at(self, item: bytes) -> float | None:
        """Return when `item` is due (`inf` while it is being announced), or None if it is unknown."""
        entry = self._items.get(item)
        return None if entry is None else entry.due

    def add(self, item: bytes, now: float, *, interval_s: float, age_s: float | None = 0.0) -> None:
        """Announce `item` every `interval_s` from now on; an item added again starts afresh.

        age_s: seconds since it was last announced: 0 if that was just now, what the store says after
            a restart, None if it never was.
        """
        self.remove(item)
        place = self._key_of(item) / self._keyspace
        self._order_outdated = True
        # A wall clock may have been set back in between.
        last = -inf if age_s is None else now - max(0.0, age_s)
        entry = self._items[item] = _Item(
            item, min(interval_s, self._interval_s_max), place, interval_s, last
        )
        self._load_per_s += 1 / entry.interval_s
        self._set_due(entry, now if age_s is None else self._next_time(entry, last))

    def shorten(self, interval_s_max: float, now: float) -> None:
        """Announce every item at least every `interval_s_max`; a larger one than before lengthens again."""
        self._interval_s_max = interval_s_max
        for entry in self._items.values():
            entry.interval_s = min(entry.own_interval_s, interval_s_max)
            if entry.due < inf and not entry.failures and entry.last > -inf:
                self._set_due(entry, max(now, self._next_time(entry, entry.last)))
        self._load_per_s = sum(1 / entry.interval_s for entry in self._items.values())

    def remove(self, item: bytes) -> bool:
        """Stop announcing `item`; return whether it was scheduled."""
        entry = self._items.pop(item, None)
        if entry is None:
            return False
        self._order_outdated = True
        self._load_per_s = max(0.0, self._load_per_s - 1 / entry.interval_s) if self._items else 0.0
        return True

    def poll(self, now: float, *, limit: int) -> list[bytes]:
        """Return up to `limit` items to announce now, and call `done` or `failed` for each later.

        They are neighbours in the keyspace: the one due first, and those after it that are due, or will be
        within `ahead_share` of their interval. The next come when the rate has made up for them.
        """
        first = self._first()
        if first is None or first.due > now or self._slot_at > now:
            return []
        found = [first, *self._due_after(first, now, limit - 1)]
        for entry in found:
            entry.due = inf
        self._slot_at = max(self._slot_at, now) + len(found) / self._rate()
        return [entry.item for entry in found]

    def next_poll_at(self) -> float:
        """Return when `poll` next has something to return; `inf` if nothing waits."""
        entry = self._first()
        return inf if entry is None else max(entry.due, self._slot_at)

    def done(self, item: bytes, now: float) -> None:
        """Note that `item` has been announced. An item removed meanwhile stays removed."""
        entry = self._items.get(item)
        if entry is not None:
            entry.failures, entry.last = 0, now
            self._set_due(entry, self._next_time(entry, now))

    def failed(self, item: bytes, now: float) -> None:
        """Note that the announcement of `item` failed: it is due again soon."""
        entry = self._items.get(item)
        if entry is not None:
            wait_s = self._retry_s * 2 ** min(entry.failures, _RETRY_DOUBLINGS_MAX)
            entry.failures += 1
            self._set_due(entry, now + min(wait_s, entry.interval_s / 2))

    def _next_time(self, entry: _Item, last: float) -> float:
        """Return the item's own time in its interval after `last`, or one halfway to the time after that.

        Its own time lies `gap` ahead, 0 < gap <= interval. Less than half an interval is too soon, and
        the time after that too late: halfway there is between half and three quarters of an interval.
        """
        own = self._origin_s + entry.place * entry.interval_s
        gap = entry.interval_s - (last - own) % entry.interval_s
        if gap < (self._ahead_share + _ROUNDING) * entry.interval_s:
            gap += entry.interval_s  # `last` was its own time, or it came along with its neighbours
        return last + (gap if gap >= entry.interval_s / 2 else (gap + entry.interval_s) / 2)

    def _rate(self) -> float:
        # What the intervals demand, and half as much again to catch up.
        return max(self._rate_per_s, 1.5 * self._load_per_s)

    def _set_due(self, entry: _Item, due: float) -> None:
        entry.due = due
        heappush(self._heap, (due, entry.item))
        if len(self._heap) > 2 * len(self._items) + _REBUILD_SLACK:
            self._heap = [(one.due, one.item) for one in self._items.values() if one.due < inf]
            heapify(self._heap)

    def _due_after(self, first: _Item, now: float, limit: int) -> list[_Item]:
        """Return up to `limit` items that lie after `first` in the keyspace, and may come with it."""
        if self._order_outdated:
            self._order = sorted(self._items.values(), key=_place_of)
            self._order_outdated = False
        start = bisect_right(self._order, _place_of(first), key=_place_of)
        found: list[_Item] = []
        for at in range(min(len(self._order) - 1, _LOOKED_AT_PER_ITEM * limit)):
            if len(found) >= limit:
                break
            entry = self._order[(start + at) % len(self._order)]
            if entry.due <= now + self._ahead_share * entry.interval_s:
                found.append(entry)
        return found

    def _first(self) -> _Item | None:
        """Return the item due first, after dropping outdated entries."""
        while self._heap:
            due, item = self._heap[0]
            entry = self._items.get(item)
            if entry is not None and entry.due == due:
                return entry
            heappop(self._heap)
        return None


def _place_of(entry: _Item) -> tuple[float, bytes]:
    return entry.place, entry.item
