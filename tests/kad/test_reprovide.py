"""The schedule of announcements: never late, evenly spread, no burst after a pause."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_keyspace import tiny_key_of

from primedht.kad.reprovide import ReprovideSchedule

HOUR = 3600.0


def key(n: int) -> bytes:
    return bytes((n,))


def tiny(**options: float) -> ReprovideSchedule:
    return ReprovideSchedule(key_of=tiny_key_of, bits=8, **options)


def run(
    schedule: ReprovideSchedule, start: float, end: float, *, limit: int = 1000
) -> list[tuple[float, bytes]]:
    """Announce whatever is due between `start` and `end`; each takes no time and succeeds."""
    log: list[tuple[float, bytes]] = []
    now = start
    while (now := max(now, schedule.next_poll_at())) <= end:
        for item in schedule.poll(now, limit=limit):
            log.append((now, item))
            schedule.done(item, now)
    return log


@given(
    st.integers(0, 255),
    st.floats(0, 1e6),
    st.floats(10, 1e5),
    st.floats(-1e9, 1e9),
)
def test_an_item_waits_half_an_interval_to_a_whole_one(
    n: int, now: float, interval_s: float, origin_s: float
) -> None:
    schedule = tiny(origin_s=origin_s, rate_per_s=1000)
    schedule.add(key(n), now, interval_s=interval_s)
    times = [now] + [at for at, _ in run(schedule, now, now + 4.5 * interval_s)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    slack = 1e-6 * interval_s + 1e-5
    assert 4 <= len(gaps) <= 9
    assert all(interval_s / 2 - slack <= gap <= interval_s + slack for gap in gaps)
    assert gaps[-1] == pytest.approx(interval_s, abs=slack), "it has found its place"


def test_items_added_at_once_are_spread_over_the_interval() -> None:
    schedule = tiny(rate_per_s=1000)
    for n in range(256):
        schedule.add(key(n), 0.0, interval_s=24 * HOUR)
    log = run(schedule, 0.0, 96 * HOUR)
    per_hour = [sum(at // HOUR == hour for at, _ in log) for hour in range(48, 95)]
    assert max(per_hour) <= 12
    assert min(per_hour) >= 8


def test_keyspace_neighbours_come_up_together() -> None:
    schedule = tiny(rate_per_s=1000)
    for n in (9, 200, 8, 201, 100):
        schedule.add(key(n), 0.0, interval_s=256.0)
    order = [item[0] for at, item in run(schedule, 256.0 * 2, 256.0 * 4) if 3 <= at / 256.0 < 4]
    assert order == [8, 9, 100, 200, 201]


def test_a_restart_keeps_each_items_place() -> None:
    """Behaviour 49 in the small: only ages are stored, and nothing is early or forgotten."""
    before = tiny(origin_s=-500.0, rate_per_s=1000)
    for n in range(0, 256, 16):
        before.add(key(n), 0.0, interval_s=256.0)
    log = run(before, 0.0, 1000.0)
    last = {item: at for at, item in log}
    after = tiny(origin_s=-500.0 - 1000.0, rate_per_s=1000)  # the monotonic clock began anew at 1000
    for item, at in last.items():
        after.add(item, 0.0, interval_s=256.0, age_s=1000.0 - at)
    for item in last:
        due, due_before = after.due_at(item), before.due_at(item)
        assert due is not None
        assert due_before is not None
        assert due == pytest.approx(due_before - 1000.0)


def test_after_a_long_pause_items_come_at_a_bounded_rate() -> None:
    schedule = tiny(rate_per_s=2.0)
    for n in range(200):
        schedule.add(key(n), 1e6, interval_s=22 * HOUR, age_s=30 * HOUR)
    log = run(schedule, 1e6, 1e6 + 300, limit=8)
    assert len({item for _, item in log}) == 200
    for start in range(100):
        in_ten_s = sum(start <= at - 1e6 < start + 10 for at, _ in log)
        assert in_ten_s <= 2 * 10 + 8


def test_the_rate_never_falls_below_what_the_intervals_demand() -> None:
    schedule = tiny(rate_per_s=0.001)
    for n in range(100):
        schedule.add(key(n), 0.0, interval_s=100.0, age_s=None)
    log = run(schedule, 0.0, 400.0)
    for n in range(100):
        times = [at for at, item in log if item == key(n)]
        assert len(times) >= 3


def test_poll_returns_no_more_than_asked_for_and_none_twice() -> None:
    schedule = tiny(rate_per_s=1000)
    for n in range(10):
        schedule.add(key(n), 0.0, interval_s=10.0, age_s=None)
    first = schedule.poll(5.0, limit=4)
    assert schedule.poll(5.0, limit=100) == [], "not before the rate has made up for four"
    rest = schedule.poll(schedule.next_poll_at(), limit=100)
    assert (len(first), len(rest)) == (4, 6)
    assert not set(first) & set(rest)
    assert schedule.next_poll_at() == inf
    assert schedule.due_at(first[0]) == inf


def test_neighbours_whose_time_is_near_come_along_and_keep_their_places() -> None:
    schedule = ReprovideSchedule(key_of=tiny_key_of, bits=8, rate_per_s=1000, ahead_share=1 / 16)
    for n in (10, 11, 20, 40, 200):
        schedule.add(key(n), 0.0, interval_s=256.0)
    run(schedule, 0.0, 3 * 256.0)
    batches, now = [], 3 * 256.0
    while (now := max(now, schedule.next_poll_at())) < 6 * 256.0:
        batch = schedule.poll(now, limit=10)
        batches.append([item[0] for item in batch])
        for item in batch:
            schedule.done(item, now)
    assert batches == 3 * [[10, 11, 20], [40], [200]]


@given(st.sets(st.integers(0, 255), min_size=1), st.floats(0, 1e6), st.integers(1, 64))
def test_with_neighbours_the_gaps_stay_within_bounds(numbers: set[int], start: float, limit: int) -> None:
    """Half an interval to a whole one, give or take the share by which it may come early."""
    interval_s, ahead_share = 1000.0, 1 / 64
    schedule = ReprovideSchedule(key_of=tiny_key_of, bits=8, rate_per_s=1e4, ahead_share=ahead_share)
    times: dict[bytes, list[float]] = {}
    for n in numbers:
        schedule.add(key(n), start, interval_s=interval_s)
        times[key(n)] = [start]
    for at, item in run(schedule, start, start + 5 * interval_s, limit=limit):
        times[item].append(at)
    for one in times.values():
        gaps = [later - earlier for earlier, later in pairwise(one)]
        assert len(gaps) >= 4
        assert min(gaps) >= interval_s * (1 / 2 - ahead_share) - 0.1
        assert max(gaps) <= interval_s * (1 + ahead_share) + 0.1  # the rate may hold a batch up


def test_failures_are_retried_ever_more_slowly() -> None:
    schedule = tiny(retry_s=60.0)
    schedule.add(key(1), 0.0, interval_s=1000.0, age_s=None)
    now, waits = 0.0, []
    for _ in range(5):
        assert schedule.poll(now, limit=1) == [key(1)]
        schedule.failed(key(1), now)
        due = schedule.due_at(key(1))
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [60.0, 120.0, 240.0, 480.0, 500.0]
    schedule.poll(now, limit=1)
    schedule.done(key(1), now)
    due = schedule.due_at(key(1))
    assert due is not None
    assert now + 500 <= due <= now + 1000


def test_a_removed_item_stays_removed() -> None:
    schedule = tiny()
    schedule.add(key(1), 0.0, interval_s=10.0, age_s=None)
    assert schedule.poll(0.0, limit=1) == [key(1)]
    assert schedule.remove(key(1))
    assert not schedule.remove(key(1))
    schedule.done(key(1), 0.0)
    schedule.failed(key(1), 0.0)
    assert (len(schedule), key(1) in schedule, schedule.items()) == (0, False, [])
    assert schedule.next_poll_at() == inf


def test_adding_and_removing_for_ever_takes_no_memory() -> None:
    schedule = tiny()
    schedule.add(key(0), 0.0, interval_s=10.0)
    for n in range(5000):
        schedule.add(key(1 + n % 2), float(n), interval_s=10.0)
        schedule.remove(key(1 + n % 2))
    assert len(schedule._heap) < 200
    assert schedule.items() == [key(0)]


def test_a_clock_set_back_makes_nothing_older_than_now() -> None:
    schedule = tiny()
    schedule.add(key(1), 100.0, interval_s=10.0, age_s=-1e9)
    due = schedule.due_at(key(1))
    assert due is not None
    assert 105 <= due <= 110


def test_intervals_are_shortened_and_lengthened_again() -> None:
    schedule = tiny(rate_per_s=1000)
    for n in range(0, 256, 16):
        schedule.add(key(n), 0.0, interval_s=22 * HOUR)
    schedule.shorten(HOUR, 30 * 60.0)
    schedule.add(key(255), 30 * 60.0, interval_s=22 * HOUR)
    log = run(schedule, 30 * 60.0, 10 * HOUR)
    for n in (*range(0, 256, 16), 255):
        times = [at for at, item in log if item == key(n)]
        assert times[0] <= 1.5 * HOUR + 1
        assert all(HOUR / 2 - 1 <= later - earlier <= HOUR + 1 for earlier, later in pairwise(times))
    schedule.shorten(22 * HOUR, 10 * HOUR)
    assert min(at for at, _ in run(schedule, 10 * HOUR, 60 * HOUR)) > 19 * HOUR
    assert len(run(schedule, 60 * HOUR, 82 * HOUR)) == 17


def test_shortening_hurries_none_that_failed_or_is_under_way() -> None:
    schedule = tiny(rate_per_s=1000)
    schedule.add(key(1), 0.0, interval_s=22 * HOUR, age_s=None)
    schedule.add(key(2), 0.0, interval_s=22 * HOUR, age_s=None)
    assert schedule.poll(0.0, limit=2) == [key(1), key(2)]
    schedule.failed(key(2), 0.0)
    retry_at = schedule.due_at(key(2))
    schedule.shorten(HOUR, 1.0)
    assert schedule.due_at(key(1)) == inf
    assert schedule.due_at(key(2)) == retry_at
