"""Which buckets are due, and keys that lead there."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primedht.kad.key import Key, common_prefix_length, key_of
from primedht.kad.refresh import NONCE_BYTES, RefreshSchedule, TargetSearch


def refreshed(schedule: RefreshSchedule, sizes: list[int], now: float) -> list[int]:
    """Refresh whatever is due, as the owner would."""
    done: list[int] = []
    while (cpl := schedule.next_due(sizes, now)) is not None:
        done.append(cpl)
        schedule.mark(cpl, now)
    return done


def test_an_empty_table_has_nothing_to_refresh() -> None:
    schedule = RefreshSchedule(interval_s=10)
    assert schedule.next_due([], 0.0) is None
    assert schedule.next_due_at([]) == inf


def test_each_bucket_is_refreshed_once_an_interval() -> None:
    schedule = RefreshSchedule(interval_s=10)
    assert schedule.next_due_at([4, 2]) == -inf
    assert refreshed(schedule, [4, 2], 0.0) == [0, 1]
    assert schedule.next_due_at([4, 2]) == 10.0
    schedule.mark(1, 5.0)  # a lookup for something else went there
    assert refreshed(schedule, [4, 2], 10.0) == [0]
    assert refreshed(schedule, [4, 2], 15.0) == [1]


@pytest.mark.parametrize(
    ("sizes", "cpls"),
    [
        ([5, 5, 5], [0, 1, 2]),
        ([5, 0, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4]),
        ([0, 1, 1, 1], [0, 1, 2]),
        ([5, 0, 0, 5], [0, 1, 2, 3]),
        ([1] * 30, list(range(16))),
    ],
)
def test_behaviour_38_buckets_far_beyond_a_gap_are_skipped(sizes: list[int], cpls: list[int]) -> None:
    """Behaviour 38: after the first gap at c only those up to 2 * (c + 1), and never beyond 15."""
    assert refreshed(RefreshSchedule(interval_s=10), sizes, 0.0) == cpls


def test_filling_a_gap_opens_what_is_behind_it() -> None:
    schedule = RefreshSchedule(interval_s=10)
    assert refreshed(schedule, [0, 1, 1, 1, 1], 0.0) == [0, 1, 2]
    assert refreshed(schedule, [1, 1, 1, 1, 1], 0.0) == [3, 4]


def test_marks_beyond_the_deepest_bucket_take_no_memory() -> None:
    schedule = RefreshSchedule(interval_s=10)
    schedule.mark(200, 0.0)
    assert schedule._refreshed_at == {}


@given(
    own=st.integers(0, 2**256 - 1).map(Key),
    cpl=st.integers(0, 15),
    nonce=st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES),
)
@settings(max_examples=10, deadline=None)
def test_a_target_has_exactly_the_wanted_prefix(own: Key, cpl: int, nonce: bytes) -> None:
    search = TargetSearch(own, cpl, nonce)
    target = next(found for _ in range(1000) if (found := search.advance()) is not None)
    assert common_prefix_length(key_of(target), own) == cpl
    assert nonce in target


def test_a_search_goes_on_where_it_left_off() -> None:
    own = key_of(b"us")
    at_once = TargetSearch(own, 6, bytes(NONCE_BYTES)).advance(100_000)
    search = TargetSearch(own, 6, bytes(NONCE_BYTES))
    in_steps = next(found for _ in range(100_000) if (found := search.advance(1)) is not None)
    assert at_once == in_steps
    assert search.advance(100_000) not in (None, in_steps)
