"""The query: against brute force in an 8-bit keyspace, whatever the order of outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_keyspace import closest_by_force, peer, tiny_key_of, tiny_keys, tiny_peers, tiny_table

from primedht.ids import PeerId
from primedht.kad.key import Key
from primedht.kad.query import Query, QueryLimits

TINY = QueryLimits(result_size=4, concurrency=2, resiliency=2)
TARGET = Key(0)


def a_query(
    seeds: Iterable[PeerId],
    limits: QueryLimits = TINY,
    *,
    target: Key = TARGET,
    exclude: frozenset[PeerId] = frozenset(),
    slow_after_s: float = 1.0,
) -> Query:
    return Query(
        target, seeds, limits, slow_after_s=lambda _: slow_after_s, exclude=exclude, key_of=tiny_key_of
    )


def asked(query: Query, now: float = 0.0) -> list[PeerId]:
    return [ask.peer for ask in query.poll(now)]


class Network:
    """Honest peers, each with a routing table of every other peer that its buckets had room for."""

    def __init__(self, peers: list[PeerId], bucket_size: int) -> None:
        self.peers = peers
        self._bucket_size = bucket_size
        self._tables = {one: tiny_table(one, peers, bucket_size=bucket_size) for one in peers}

    def closer_peers(self, one: PeerId, target: Key) -> list[PeerId]:
        return self._tables[one].find_closest(target, self._bucket_size)


@given(peers=tiny_peers(), target=tiny_keys(), data=st.data())
def test_any_answer_order_finds_the_closest(peers: list[PeerId], target: Key, data: st.DataObject) -> None:
    """Behaviours 43, 45, 53: exactly the k closest, or all when there are fewer."""
    network = Network(peers, bucket_size=TINY.result_size)
    query = a_query([data.draw(st.sampled_from(peers))], target=target)
    in_flight: list[PeerId] = []
    while not query.finished:
        in_flight += asked(query)
        one = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        query.on_answered(one, network.closer_peers(one, target), 0.0)
    wanted = closest_by_force(peers, target, TINY.result_size)
    assert list(query.result().closest_peers) == wanted
    assert query.result().stopped == ("converged" if len(wanted) == TINY.result_size else "exhausted")


@given(peers=tiny_peers(), target=tiny_keys(), data=st.data())
def test_without_a_follow_up_the_beta_closest_are_right(
    peers: list[PeerId], target: Key, data: st.DataObject
) -> None:
    network = Network(peers, bucket_size=TINY.result_size)
    query = a_query(peers[:1], replace(TINY, follow_up=False), target=target)
    in_flight: list[PeerId] = []
    while not query.finished:
        in_flight += asked(query)
        one = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        query.on_answered(one, network.closer_peers(one, target), 0.0)
    sure = TINY.resiliency
    assert list(query.result().closest_peers[:sure]) == closest_by_force(peers, target, sure)


@given(
    peers=tiny_peers(),
    dead=st.sets(st.integers(0, 255)),
    slow=st.sets(st.integers(0, 255)),
    limits=st.builds(
        QueryLimits,
        result_size=st.integers(1, 8),
        concurrency=st.integers(1, 4),
        resiliency=st.integers(1, 4),
        follow_up=st.booleans(),
    ),
    data=st.data(),
)
def test_behaviour_56_whatever_fails_it_ends_in_bounds(
    peers: list[PeerId], dead: set[int], slow: set[int], limits: QueryLimits, data: st.DataObject
) -> None:
    """Behaviours 51, 56: alpha holds, nobody is asked twice, dead peers are in no result."""
    gone = {peer(number) for number in dead}
    late = {peer(number) for number in slow} - gone
    us = peers[0]
    query = a_query(peers, limits, exclude=frozenset((us,)))
    in_flight: list[PeerId] = []
    asked_ever: list[PeerId] = []
    stuck: list[PeerId] = []
    failed: set[PeerId] = set()
    fruitless, now = 0, 0.0
    for step in count():
        assert step <= 4 * len(peers) + 4, "it does not end"
        converged = query.converged
        asks = asked(query, now)
        in_flight += asks
        asked_ever += asks
        waiting = [one for one in in_flight if one not in stuck]
        wide = converged or query.converged or fruitless >= limits.concurrency
        bound = max(limits.concurrency, limits.result_size) if wide else limits.concurrency
        assert not asks or len(waiting) <= bound
        if query.finished:
            break
        assert in_flight, "waiting for nobody"
        prompt = [one for one in waiting if one not in late]
        if not prompt and query.next_deadline() < inf:
            stuck, now = in_flight.copy(), now + 1.0
            fruitless += len(waiting)
            continue
        tardy = [one for one in stuck if one in in_flight]
        one = data.draw(st.sampled_from(prompt + tardy))
        in_flight.remove(one)
        fruitless += 1
        if one in gone:
            query.on_failed(one, now)
            failed.add(one)
        else:
            query.on_answered(one, peers, now)
    assert len(asked_ever) == len(set(asked_ever))
    assert us not in asked_ever
    live = [one for one in peers if one not in gone | {us}]
    result = query.result()
    assert not set(result.closest_peers) & (gone if limits.follow_up else failed)
    assert us not in result.closest_peers
    if limits.follow_up and not late:
        assert list(result.closest_peers) == closest_by_force(live, TARGET, limits.result_size)
    assert bool(live) == bool(result.answered)


def test_a_network_of_one() -> None:
    query = a_query([])
    assert query.finished
    assert query.next_deadline() == -inf
    assert asked(query) == []
    assert query.result().stopped == "no_peers"


def test_a_network_of_two_ends_when_the_other_answered() -> None:
    us, other = peer(1), peer(2)
    query = a_query([other], exclude=frozenset((us,)))
    assert asked(query) == [other]
    query.on_answered(other, [us], 0.1)
    assert query.result().closest_peers == (other,)
    assert query.result().stopped == "exhausted"


def test_each_outcome_refills_its_slot() -> None:
    """Kademlia's alpha is a number of slots, not of rounds."""
    query = a_query([peer(n) for n in (0x10, 0x20, 0x30, 0x40)])
    assert asked(query) == [peer(0x10), peer(0x20)]
    assert asked(query) == []
    query.on_answered(peer(0x20), [peer(0x08)], 0.0)
    assert asked(query) == [peer(0x08)]


def test_the_follow_up_asks_the_rest_of_the_k_closest_at_once() -> None:
    query = a_query([peer(n) for n in (1, 2, 3, 4, 5)])
    assert asked(query) == [peer(1), peer(2)]
    query.on_answered(peer(1), [], 0.0)
    query.on_answered(peer(2), [], 0.0)
    assert query.converged
    assert not query.finished
    assert asked(query) == [peer(3), peer(4)]
    query.on_answered(peer(4), [], 0.0)
    query.on_answered(peer(3), [], 0.0)
    assert query.result().closest_peers == (peer(1), peer(2), peer(3), peer(4))


def test_behaviour_60_a_peer_beyond_the_kth_closest_is_not_asked() -> None:
    query = a_query([peer(n) for n in (1, 2, 3, 4)], replace(TINY, concurrency=4))
    assert len(asked(query)) == 4
    query.on_answered(peer(1), [peer(5), peer(6)], 0.0)
    assert asked(query) == []
    query.on_failed(peer(2), 0.0)
    assert asked(query) == [peer(5)]


def test_a_stalled_query_widens_from_alpha_to_k() -> None:
    query = a_query(
        [peer(n) for n in (1, 2, 3, 4, 5, 6, 7)], QueryLimits(result_size=6, concurrency=2, resiliency=6)
    )
    assert asked(query) == [peer(1), peer(2)]
    query.on_answered(peer(1), [], 0.0)
    assert asked(query) == [peer(3)]
    query.on_answered(peer(2), [peer(3)], 0.0)
    assert asked(query) == [peer(4), peer(5), peer(6)]


def test_a_slow_peer_frees_its_slot_and_its_late_answer_counts() -> None:
    query = a_query([peer(n) for n in (1, 2, 3)])
    assert asked(query, 0.0) == [peer(1), peer(2)]
    assert query.next_deadline() == 1.0
    assert asked(query, 0.9) == []
    assert asked(query, 1.0) == [peer(3)]
    query.on_answered(peer(1), [], 1.5)
    query.on_answered(peer(3), [], 1.5)
    assert query.result().closest_peers == (peer(1), peer(3))
    assert query.finished


def test_a_slow_peer_does_not_hold_up_the_end() -> None:
    query = a_query([peer(1), peer(2)])
    asked(query, 0.0)
    query.on_answered(peer(2), [], 0.1)
    assert not query.finished
    assert asked(query, 1.0) == []
    assert query.result().closest_peers == (peer(2),)
    assert query.next_deadline() == -inf


def test_slow_peers_are_waited_for_when_nobody_else_answered() -> None:
    query = a_query([peer(1)])
    asked(query, 0.0)
    assert asked(query, 5.0) == []
    assert not query.finished
    assert query.next_deadline() == inf
    query.on_answered(peer(1), [], 6.0)
    assert query.result().closest_peers == (peer(1),)


def test_each_peer_has_its_own_patience() -> None:
    patience = {peer(1): 0.5, peer(2): 3.0}
    query = Query(TARGET, patience, TINY, slow_after_s=patience.__getitem__, key_of=tiny_key_of)
    asked(query, 10.0)
    assert query.next_deadline() == 10.5
    asked(query, 10.5)
    assert query.next_deadline() == 13.0


def a_hedging_query(late_after_s: Mapping[PeerId, float], limits: QueryLimits = TINY) -> Query:
    """Nobody is late but those named; all are slow after 10 s."""
    seeds = [peer(n) for n in range(1, 9)]
    return Query(
        TARGET, seeds, limits,
        slow_after_s=lambda _: 10.0,
        late_after_s=lambda one: late_after_s.get(one, inf),
        key_of=tiny_key_of,
    )  # fmt: skip


def test_another_is_asked_in_the_place_of_a_late_peer_whose_answer_counts() -> None:
    query = a_hedging_query({peer(1): 0.5})
    assert asked(query) == [peer(1), peer(2)]
    assert query.next_deadline() == 0.5
    assert asked(query, 0.5) == [peer(3)]
    query.on_answered(peer(2), [], 0.6)
    query.on_answered(peer(3), [], 0.6)
    assert query.converged, "reads do not wait for it"
    assert asked(query, 0.6) == [peer(4), peer(5)], "the closest four, the late one aside"
    for n in (4, 5):
        query.on_answered(peer(n), [], 0.7)
    assert not query.finished, "the end waits for it"
    assert asked(query, 0.7) == []
    assert query.next_deadline() == 10.0
    query.on_answered(peer(1), [], 2.0)
    assert query.finished
    assert query.result().closest_peers == tuple(peer(n) for n in (1, 2, 3, 4))


def test_a_late_peer_that_fails_or_becomes_slow_is_replaced_already() -> None:
    for end in ("fails", "is slow"):
        query = a_hedging_query({peer(2): 0.5})
        asked(query)
        query.on_answered(peer(1), [], 0.1)
        asked(query, 0.5)
        for n in (3, 4, 5):
            asked(query, 0.5)
            query.on_answered(peer(n), [], 0.6)
        assert not query.finished
        if end == "fails":
            query.on_failed(peer(2), 0.7)
        else:
            query.poll(10.0)
        assert query.finished
        assert query.result().closest_peers == tuple(peer(n) for n in (1, 3, 4, 5))


def test_patience_is_read_again_when_its_time_has_come() -> None:
    """By then a peer that is being dialled may have taken the connection."""
    late_after_s = {peer(1): 0.5, peer(2): 0.5}
    query = a_hedging_query(late_after_s)
    asked(query)
    late_after_s[peer(1)] = 1.5
    assert asked(query, 0.5) == [peer(3)], "for one of the two"
    assert query.next_deadline() == 1.5
    assert asked(query, 1.5) == [peer(4), peer(5), peer(6)], "nothing comes closer: all at once"


def test_an_answer_shortens_the_patience_with_the_closest() -> None:
    """A node's first lookup measures as it goes: it must not wait as long as who knows nothing."""
    late_after_s = {peer(1): 5.0}
    query = a_hedging_query(late_after_s)
    assert asked(query) == [peer(1), peer(2)]
    late_after_s[peer(1)] = 0.5
    query.on_answered(peer(2), [], 0.2)
    assert query.next_deadline() == 0.5
    late_after_s[peer(1)] = 8.0
    asked(query, 0.3)
    query.on_answered(peer(3), [], 0.4)
    assert query.next_deadline() == 0.5, "never longer"


@given(peers=tiny_peers(), target=tiny_keys(), data=st.data())
def test_late_peers_change_nothing_in_what_is_found(
    peers: list[PeerId], target: Key, data: st.DataObject
) -> None:
    """Whoever is late, and in whatever order they answer: exactly the k closest."""
    network = Network(peers, bucket_size=TINY.result_size)
    query = Query(
        target, [data.draw(st.sampled_from(peers))], TINY,
        slow_after_s=lambda _: 1e9, late_after_s=lambda _: data.draw(st.sampled_from((0.0, 1.0, inf))),
        key_of=tiny_key_of,
    )  # fmt: skip
    in_flight: list[PeerId] = []
    for now in count():
        in_flight += asked(query, now)
        if query.finished:
            break
        one = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        query.on_answered(one, network.closer_peers(one, target), now)
    assert query.result().closest_peers == tuple(closest_by_force(peers, target, TINY.result_size))


def test_at_most_2k_peers_of_one_reply_are_heard() -> None:
    limits = replace(TINY, concurrency=1)
    query = a_query([peer(255)], limits)
    asked(query)
    query.on_answered(peer(255), [peer(n) for n in range(100, 0, -1)], 0.0)
    assert query.hop(peer(93)) == 2
    assert query.hop(peer(92)) is None


def test_hops_are_counted_from_our_own_table() -> None:
    query = a_query([peer(40)])
    assert [(ask.peer, ask.hop) for ask in query.poll(0.0)] == [(peer(40), 1)]
    query.on_answered(peer(40), [peer(20), peer(40)], 0.0)
    assert [(ask.peer, ask.hop) for ask in query.poll(0.0)] == [(peer(20), 2)]
    query.on_answered(peer(20), [peer(10), peer(40)], 0.0)
    assert [(ask.peer, ask.hop) for ask in query.poll(0.0)] == [(peer(10), 3)]
    assert query.hop(peer(40)) == 1


def test_memory_is_bounded_and_closer_newcomers_win() -> None:
    query = a_query([peer(n) for n in (200, 210, 220)], replace(TINY, concurrency=1, peers_max=4))
    assert asked(query) == [peer(200)]
    query.on_answered(peer(200), [peer(100), peer(90), peer(230), peer(80)], 0.0)
    held = [n for n in range(256) if query.hop(peer(n)) is not None]
    assert held == [80, 90, 100, 200]


@pytest.mark.parametrize("why", ["enough", "timeout"])
def test_stopping_early_keeps_what_is_known(why: str) -> None:
    query = a_query([peer(1), peer(2), peer(3)])
    asked(query)
    query.on_answered(peer(2), [], 0.0)
    query.stop("enough" if why == "enough" else "timeout")
    assert query.finished
    assert asked(query) == []
    result = query.result()
    assert (result.closest_peers, result.answered) == ((peer(1), peer(2), peer(3)), (peer(2),))
    assert result.stopped == why
    query.stop("enough")
    query.on_answered(peer(1), [peer(0)], 0.0)
    assert query.result() == result


def test_outcomes_that_nobody_asked_for_change_nothing() -> None:
    query = a_query([peer(1), peer(2), peer(3)])
    asked(query)
    query.on_answered(peer(3), [peer(0)], 0.0)
    query.on_failed(peer(9), 0.0)
    query.on_failed(peer(1), 0.0)
    query.on_answered(peer(1), [peer(0)], 0.0)
    assert query.hop(peer(0)) is None
    assert query.result().answered == ()


def test_resiliency_beyond_k_means_k() -> None:
    query = a_query([peer(1), peer(2)], QueryLimits(result_size=1, concurrency=1, resiliency=3))
    assert asked(query) == [peer(1)]
    query.on_answered(peer(1), [], 0.0)
    assert query.result().stopped == "converged"
