"""The routing table: against brute force, and its invariants under any history."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tiny_keyspace import BITS, closest_by_force, peer, tiny_key_of, tiny_keys, tiny_peers, tiny_table

from primedht.ids import PeerId
from primedht.kad.diversity import IpDiversity
from primedht.kad.key import Key, common_prefix_length, key_of
from primedht.kad.table import (
    Added,
    Full,
    Refreshed,
    Refusal,
    Refused,
    RoutingTable,
    usefulness_grace_s,
)

US = peer(0b00000000)


def far(number: int) -> PeerId:
    """One of the peers of cpl 0 with `US`."""
    return peer(0b10000000 | number)


@given(peers=tiny_peers(max_size=128), target=tiny_keys(), n=st.integers(1, 40), k=st.integers(1, 20))
def test_find_closest_is_what_brute_force_finds(peers: list[PeerId], target: Key, n: int, k: int) -> None:
    table = tiny_table(peers[0], peers, bucket_size=k)
    assert table.find_closest(target, n) == closest_by_force(table.peers(), target, n)
    assert list(table.nearest(n)) == closest_by_force(table.peers(), tiny_key_of(peers[0]), n)


@given(
    peers=tiny_peers(max_size=64), changes=st.lists(st.tuples(st.booleans(), st.integers(0, 63)), max_size=40)
)
def test_the_nearest_follow_every_change(peers: list[PeerId], changes: list[tuple[bool, int]]) -> None:
    table = tiny_table(peers[0], [], bucket_size=4)
    for comes, number in changes:
        other = peers[number % len(peers)]
        if comes:
            table.update(other, 0.0)
        else:
            table.remove(other)
        for n in (1, 5):
            assert list(table.nearest(n)) == closest_by_force(table.peers(), tiny_key_of(peers[0]), n)


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_find_closest_in_the_real_keyspace(seed: int) -> None:
    rng = Random(seed)

    def a_peer() -> PeerId:
        return PeerId(b"\x12\x20" + rng.randbytes(32))

    table = RoutingTable(a_peer(), bucket_size=20)
    for _ in range(300):
        table.update(a_peer(), 0.0)
    for target in (rng.randbytes(10), a_peer()):
        by_force = sorted(table.peers(), key=lambda one: key_of(one) ^ key_of(target))
        assert table.find_closest(target, 20) == by_force[:20]
        assert table.find_closest(key_of(target), 20) == by_force[:20]


def test_excluded_peers_make_room_for_the_next_closest() -> None:
    table = tiny_table(US, [peer(1), peer(2), peer(4), peer(8)])
    assert table.find_closest(Key(0), 2, exclude=(peer(1),)) == [peer(2), peer(4)]


class TableHistory(RuleBasedStateMachine):
    """Any sequence of contacts and losses keeps the table well formed."""

    @initialize(us=tiny_keys(), k=st.integers(1, 4), limited=st.booleans())
    def open(self, us: Key, k: int, limited: bool) -> None:
        self.us, self.k, self.now = peer(us), k, 0.0
        self.diversity = IpDiversity() if limited else None
        self.table = RoutingTable(
            self.us, bucket_size=k, key_of=tiny_key_of, bits=BITS, diversity=self.diversity
        )

    @rule(number=tiny_keys(), network=st.integers(1, 4), answered=st.booleans())
    def contact(self, number: Key, network: int, answered: bool) -> None:
        self.now += 1
        one = peer(number)
        was_in, size = one in self.table, len(self.table)
        outcome = self.table.update(one, self.now, ips=(f"9.{network}.0.1",), answered=answered)
        assert (one in self.table) == isinstance(outcome, Added | Refreshed)
        assert was_in == isinstance(outcome, Refreshed)
        assert len(self.table) == size + isinstance(outcome, Added)
        if isinstance(outcome, Full):
            oldest = self.table.member(outcome.oldest)
            assert oldest is not None
            assert oldest.last_seen == outcome.oldest_seen

    @rule(number=tiny_keys())
    def lose(self, number: Key) -> None:
        one = peer(number)
        was_in, size = one in self.table, len(self.table)
        promoted = self.table.remove(one)
        assert one not in self.table
        assert promoted is None or (was_in and promoted in self.table)
        assert len(self.table) == size - was_in + (promoted is not None)

    @invariant()
    def well_formed(self) -> None:
        members = self.table.members()
        sizes = self.table.bucket_sizes()
        assert sum(sizes) == len(members) == len(self.table) == len({one.peer for one in members})
        assert self.us not in self.table
        last = len(sizes) - 1
        assert last < BITS
        in_bucket = [0] * len(sizes)
        by_cpl = [0] * (BITS + 1)
        for member in members:
            cpl = common_prefix_length(member.key, tiny_key_of(self.us), bits=BITS)
            assert cpl == member.cpl
            in_bucket[min(cpl, last)] += 1
            by_cpl[cpl] += 1
        assert in_bucket == sizes
        assert max(sizes) <= self.k
        assert max(self.table.replacement_sizes()) <= self.k
        sizes_by_cpl = self.table.sizes_by_cpl()
        assert sizes_by_cpl == by_cpl[: len(sizes_by_cpl)]
        assert not any(by_cpl[len(sizes_by_cpl) :])

    @invariant()
    def diverse(self) -> None:
        if self.diversity is None:
            return
        members = self.table.members()
        for network in range(1, 5):
            there = [one.cpl for one in members if one.ips == (f"9.{network}.0.1",)]
            assert len(there) <= 3
            assert all(there.count(cpl) <= 2 for cpl in there)


TestTableHistory = TableHistory.TestCase
TestTableHistory.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_only_the_last_bucket_splits() -> None:
    table = tiny_table(US, [far(n) for n in range(9)])
    assert table.bucket_sizes() == [3, 0]  # one split showed that it makes no room
    for n in (1, 2, 3, 4):
        table.update(peer(n), 0.0)
    assert [table.bucket_sizes()[0], len(table)] == [3, 7]


def test_we_are_not_a_member() -> None:
    table = tiny_table(US)
    assert table.update(US, 0.0) == Refused(Refusal.SELF)
    assert len(table) == 0


def test_a_full_bucket_names_the_member_least_recently_seen() -> None:
    table = tiny_table(US)
    for at, n in enumerate((1, 2, 3)):
        assert table.update(far(n), float(at)) == Added()
    assert table.update(far(1), 5.0) == Refreshed()
    assert table.update(far(4), 6.0) == Full(oldest=far(2), oldest_seen=1.0)
    assert far(4) not in table


def test_the_newest_replacement_is_promoted() -> None:
    table = tiny_table(US, [far(n) for n in (1, 2, 3, 4, 5)])
    table.update(far(4), 1.0)
    assert table.remove(far(2)) == far(4)
    assert table.remove(far(3)) == far(5)
    assert table.remove(far(1)) is None
    assert set(table.peers()) == {far(4), far(5)}


def test_a_flood_of_newcomers_changes_no_member_and_stays_bounded() -> None:
    table = tiny_table(US, [far(n) for n in range(127)])
    assert table.peers() == [far(0), far(1), far(2)]
    assert table.replacement_sizes()[0] == 3
    assert table.remove(far(0)) == far(126)


def test_a_lost_replacement_is_not_promoted() -> None:
    table = tiny_table(US, [far(n) for n in (1, 2, 3, 4)])
    assert table.remove(far(4)) is None
    assert table.remove(far(1)) is None


def test_replacements_move_along_when_their_bucket_splits() -> None:
    near = [peer(n) for n in (1, 2, 3)]
    table = tiny_table(US, [*near, far(1), far(2), far(3), far(4)])
    assert table.remove(far(1)) == far(4)
    assert set(near) <= set(table.peers())


def test_behaviour_41_a_crowded_ip_group_stays_out() -> None:
    """Behaviour 41: at most 2 of a /16 in a bucket and 3 in the table; a leaver makes room."""
    table = RoutingTable(US, bucket_size=4, key_of=tiny_key_of, bits=BITS, diversity=IpDiversity())

    def enter(one: PeerId, ip: str) -> object:
        return table.update(one, 0.0, ips=[ip])

    assert enter(far(1), "9.9.0.1") == Added()
    assert enter(far(2), "9.9.8.2") == Added()
    assert enter(far(3), "9.9.0.3") == Refused(Refusal.IP_DIVERSITY)
    assert enter(peer(1), "9.9.0.3") == Added()
    assert enter(peer(0b01000000), "9.9.0.4") == Refused(Refusal.IP_DIVERSITY)
    assert enter(peer(0b01000000), "9.8.0.4") == Added()
    table.remove(far(1))
    assert enter(far(3), "9.9.0.3") == Added()


def test_a_replacement_whose_group_has_filled_up_is_passed_over() -> None:
    table = RoutingTable(US, bucket_size=2, key_of=tiny_key_of, bits=BITS, diversity=IpDiversity())
    table.update(far(1), 0.0, ips=["9.1.0.1"])
    table.update(far(2), 0.0, ips=["9.2.0.1"])
    table.update(far(3), 0.0, ips=["9.3.0.1"])
    table.update(far(4), 0.0, ips=["9.4.0.1"])
    for n in (0b01000001, 0b00100000, 0b01000010):
        table.update(peer(n), 0.0, ips=["9.4.0.9"])
    assert table.remove(far(1)) == far(3)


def test_a_bucket_says_who_waits_and_who_was_silent_longest() -> None:
    table = tiny_table(US)
    assert table.least_recently_seen(far(1)) is None
    size = table.bucket_size
    for n in range(1, size + 3):
        table.update(far(n), float(n))
    assert [table.waiting_since(far(1), since) for since in (0.0, size + 1.0, size + 2.0)] == [2, 1, 0]
    assert table.waiting_since(peer(1), 0.0) == 0
    table.update(far(1), 100.0)
    oldest = table.least_recently_seen(far(size + 5))
    assert oldest is not None
    assert oldest.peer == far(2)


def test_useless_members_are_named_after_their_grace() -> None:
    table = tiny_table(US)
    table.update(far(1), 0.0)
    table.update(far(2), 0.0)
    table.update(far(2), 50.0, answered=True)
    table.update(far(1), 90.0)
    assert table.stale(100.0, grace_s=100.0) == []
    assert table.stale(101.0, grace_s=100.0) == [far(1)]
    assert table.stale(151.0, grace_s=100.0) == [far(2), far(1)]


def test_the_grace_is_gos() -> None:
    grace_s = usefulness_grace_s(bucket_size=20, concurrency=10, refresh_interval_s=600)
    assert grace_s / 60 == pytest.approx(43.2, abs=0.1)
    assert usefulness_grace_s(bucket_size=2, concurrency=3, refresh_interval_s=60) == 60


def test_the_round_trip_time_is_smoothed() -> None:
    table = tiny_table(US)
    table.update(far(1), 0.0, answered=True, rtt_s=0.1)
    table.update(far(1), 1.0, answered=True, rtt_s=0.9)
    member = table.member(far(1))
    assert member is not None
    assert member.rtt_s == pytest.approx(0.2)
    assert (member.added_at, member.last_seen, member.last_useful) == (0.0, 1.0, 1.0)


def test_a_table_may_be_iterated_while_it_changes() -> None:
    table = tiny_table(US, [far(1), far(2), peer(1)])
    drop: Callable[[PeerId], object] = table.remove
    for one in table:
        drop(one)
    assert len(table) == 0
