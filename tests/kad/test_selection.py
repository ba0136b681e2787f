"""Selecting the best record of a lookup; here a record is its own rank."""

from __future__ import annotations

from itertools import permutations
from operator import gt

from hypothesis import given
from hypothesis import strategies as st
from tiny_keyspace import peer

from primedht.kad.selection import Selection

A, B, C, D, E = (peer(n) for n in range(5))


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 3)), max_size=20))
def test_it_ends_with_the_best_and_knows_who_has_what(answers: list[tuple[int, int | None]]) -> None:
    selection: Selection[int] = Selection(gt)
    first: dict[int, int | None] = {}
    improvements = []
    for number, record in answers:
        first.setdefault(number, record)
        if record is None:
            selection.on_no_record(peer(number))
        elif selection.on_record(peer(number), record):
            improvements.append(record)
    best = max((record for record in first.values() if record is not None), default=None)
    assert selection.best == best
    assert improvements == sorted(set(improvements))
    parties = (selection.holders, selection.stale, selection.lacking)
    assert sorted(one for party in parties for one in party) == sorted(peer(n) for n in first)
    assert set(selection.lacking) == {peer(n) for n, record in first.items() if record is None}
    if best is not None:
        assert set(selection.holders) == {peer(n) for n, record in first.items() if record == best}


def test_behaviour_4_the_stream_only_improves() -> None:
    selection: Selection[int] = Selection(gt)
    answers = zip((A, B, C, D, E), (2, 1, 2, 5, 4), strict=True)
    assert [selection.on_record(one, record) for one, record in answers] == [True, False, False, True, False]
    assert (selection.best, selection.holders, selection.stale) == (5, (D,), (A, B, C, E))


def test_a_quorum_is_of_distinct_peers_with_the_very_best_record() -> None:
    selection: Selection[int] = Selection(gt, enough_holders=2)
    selection.on_record(A, 1)
    selection.on_record(A, 1)
    assert not selection.enough
    selection.on_record(B, 2)
    selection.on_record(C, 1)
    assert not selection.enough
    selection.on_record(D, 2)
    assert selection.enough


def test_without_a_quorum_it_is_never_enough() -> None:
    selection: Selection[int] = Selection(gt)
    selection.on_record(A, 1)
    assert not selection.enough


def test_entry_correction_goes_to_those_that_answered_without_the_best() -> None:
    selection: Selection[int] = Selection(gt)
    assert selection.to_correct([A, B]) == []
    selection.on_record(A, 1)
    selection.on_record(B, 2)
    selection.on_no_record(C)
    assert selection.to_correct([E, C, B, A]) == [C, A]


def test_caching_goes_to_the_closest_that_answered_without_a_record() -> None:
    selection: Selection[int] = Selection(gt)
    selection.on_no_record(C)
    selection.on_no_record(D)
    assert selection.to_cache([D, C]) is None
    selection.on_record(A, 1)
    assert selection.to_cache([A, E, D, C]) == D
    assert selection.to_cache([A, E]) is None


def dated(value: str, time: int, *, dated: bool = True) -> tuple[str, int, bool]:
    return value, time, dated


def test_records_that_say_the_same_count_as_one_and_the_firmest_ranks_for_all() -> None:
    """However they come in: a copy that looks newer than its original is still only a copy."""
    answers = {
        A: dated("old", 9, dated=False),
        B: dated("new", 5),
        C: dated("old", 1),
        D: dated("new", 7, dated=False),
        E: dated("new", 6),
    }
    for order in permutations(answers):
        selection: Selection[tuple[str, int, bool]] = Selection(
            lambda a, b: (a[1], a[0]) > (b[1], b[0]),
            says=lambda record: record[0],
            firmer=lambda a, b: (a[2], a[1]) > (b[2], b[1]),
        )
        for one in order:
            selection.on_record(one, answers[one])
        assert selection.best == dated("new", 6)
        assert set(selection.holders) == {B, D, E}
        assert set(selection.stale) == {A, C}
