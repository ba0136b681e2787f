"""Disjoint paths: what one path hears, no other follows."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from tiny_keyspace import closest_by_force, peer, tiny_key_of, tiny_peers

from primedht.ids import PeerId
from primedht.kad.disjoint import DisjointQueries
from primedht.kad.key import Key
from primedht.kad.query import QueryLimits

TINY = QueryLimits(result_size=3, concurrency=2, resiliency=2)
TARGET = Key(0)


def a_query(seeds: Iterable[PeerId], paths: int = 2) -> DisjointQueries:
    return DisjointQueries(TARGET, seeds, TINY, paths=paths, slow_after_s=lambda _: 1.0, key_of=tiny_key_of)


def asked(query: DisjointQueries, now: float = 0.0) -> list[PeerId]:
    return [ask.peer for ask in query.poll(now)]


def test_behaviour_52_it_does_not_end_before_all_paths_did() -> None:
    """Behaviour 52: a poisoned path cannot decide alone."""
    liar, honest, true_closest = peer(100), peer(200), peer(4)
    fakes = [peer(1), peer(2), peer(3)]
    query = a_query([liar, honest])
    assert asked(query) == [liar, honest]
    query.on_answered(liar, fakes, 0.0)
    while not all(query.hop(fake) is None for fake in fakes) and (turn := asked(query)):
        for fake in turn:
            assert fake in fakes
            query.on_answered(fake, fakes, 0.0)
    assert not query.finished
    query.on_answered(honest, [true_closest], 0.0)
    assert asked(query) == [true_closest], "the honest path has heard of no fake"
    query.on_answered(true_closest, [], 0.0)
    assert query.finished
    assert true_closest in query.result().answered


@given(
    peers=tiny_peers(max_size=24),
    dead=st.sets(st.integers(0, 255)),
    paths=st.integers(1, 4),
    data=st.data(),
)
def test_it_finds_the_closest_and_asks_nobody_twice(
    peers: list[PeerId], dead: set[int], paths: int, data: st.DataObject
) -> None:
    gone = {peer(number) for number in dead}
    query = a_query(peers, paths)
    in_flight: list[PeerId] = []
    asked_ever: list[PeerId] = []
    for step in count():
        assert step <= 2 * len(peers) + 2, "it does not end"
        asks = asked(query)
        in_flight += asks
        asked_ever += asks
        if query.finished:
            break
        assert in_flight, "waiting for nobody"
        one = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        if one in gone:
            query.on_failed(one, 0.0)
        else:
            query.on_answered(one, peers, 0.0)
    assert len(asked_ever) == len(set(asked_ever))
    live = [one for one in peers if one not in gone]
    assert list(query.result().closest_peers) == closest_by_force(live, TARGET, TINY.result_size)
    assert query.next_deadline() == -inf


def test_a_peer_of_two_paths_is_asked_once_and_both_learn_how_it_went() -> None:
    query = a_query([peer(100), peer(200)])
    asked(query)
    query.on_answered(peer(100), [peer(1)], 0.0)
    query.on_answered(peer(200), [peer(1)], 0.0)
    assert asked(query) == [peer(1)]
    query.on_answered(peer(1), [peer(2)], 0.0)
    assert asked(query) == [peer(2)]
    assert query.hop(peer(2)) == 3
    query.on_failed(peer(2), 0.0)
    assert query.finished
    assert query.converged
    result = query.result()
    assert result.closest_peers == (peer(1), peer(100), peer(200))
    assert result.stopped == "exhausted"


def test_a_peer_known_to_have_failed_is_passed_over() -> None:
    query = a_query([peer(100), peer(200)])
    asked(query)
    query.on_answered(peer(100), [peer(1)], 0.0)
    assert asked(query) == [peer(1)]
    query.on_failed(peer(1), 0.0)
    query.on_answered(peer(200), [peer(1), peer(3)], 0.0)
    assert asked(query) == [peer(3)]
    query.on_answered(peer(3), [], 0.0)
    assert query.result().closest_peers == (peer(3), peer(100), peer(200))


def test_slow_peers_free_their_slots() -> None:
    query = a_query([peer(1), peer(2), peer(3), peer(4)])
    assert asked(query) == [peer(1), peer(2)]
    assert query.next_deadline() == 1.0
    assert asked(query, 1.0) == [peer(3), peer(4)]


def test_stopping_and_having_no_peers() -> None:
    assert a_query([]).result().stopped == "no_peers"
    query = a_query([peer(1), peer(2)])
    asked(query)
    assert query.hop(peer(9)) is None
    query.stop("enough")
    assert query.finished
    assert query.result().stopped == "enough"
