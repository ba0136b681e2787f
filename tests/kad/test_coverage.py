"""Coverage: what it says of a key's closest peers is the truth, and few lookups cover a whole network."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tiny_keyspace import BITS, closest_by_force, peer, tiny_key_of, tiny_peers

from primedht.ids import PeerId
from primedht.kad.coverage import Coverage, next_lookups
from primedht.kad.key import Key, key_of

K = 4


def tiny() -> Coverage:
    return Coverage(bucket_size=K, key_of=tiny_key_of, bits=BITS)


@given(tiny_peers(), st.lists(st.integers(0, 255), max_size=12))
def test_what_it_knows_is_true(peers: list[PeerId], looked_up: list[int]) -> None:
    """For each key of the space: the k closest by brute force, or None."""
    coverage = tiny()
    known: set[int] = set()
    for target in looked_up:
        coverage.add(Key(target), closest_by_force(peers, Key(target), K))
        now_known = set()
        for number in range(256):
            closest = coverage.closest(Key(number))
            if closest is not None:
                assert closest == closest_by_force(peers, Key(number), K)
                now_known.add(number)
        assert known <= now_known, "nothing is forgotten"
        known = now_known


@given(tiny_peers(min_size=K), st.integers(0, 255))
def test_the_gap_lies_beside_what_is_covered(peers: list[PeerId], target: int) -> None:
    """Looking up what is missing again and again covers everything, each time something new."""
    coverage = tiny()
    coverage.add(Key(target), closest_by_force(peers, Key(target), K))
    if not coverage.covers(Key(target)):
        assert coverage.gap(Key(target)) is None
        return
    for _ in range(256):
        cpl = coverage.gap(Key(target))
        if cpl is None:
            break
        shift = BITS - 1 - cpl
        beside = range((target >> shift ^ 1) << shift, ((target >> shift ^ 1) + 1) << shift)
        uncovered = [number for number in beside if not coverage.covers(Key(number))]
        assert uncovered
        coverage.add(Key(uncovered[0]), closest_by_force(peers, Key(uncovered[0]), K))
        if not coverage.covers(Key(uncovered[0])):
            return  # its k closest are one peer's width: as good as it gets in so small a space
    assert coverage.closest(Key(target)) == closest_by_force(peers, Key(target), K)


def test_fewer_than_k_peers_are_the_whole_network() -> None:
    coverage = tiny()
    coverage.add(Key(7), [peer(1), peer(200)])
    assert coverage.closest(Key(201)) == [peer(200), peer(1)]
    assert coverage.gap(Key(201)) is None


def test_a_dense_sweep_takes_a_lookup_for_every_dozen_peers() -> None:
    rng = Random(3)
    peers = [PeerId(b"\x12\x20" + rng.randbytes(32)) for _ in range(500)]
    targets = sorted(Key(rng.getrandbits(256)) for _ in range(5000))
    coverage, lookups, left = Coverage(bucket_size=20), 0, targets
    while left:
        for at in next_lookups(coverage, left, limit=4):
            target = left[at]
            coverage.add(target, sorted(peers, key=lambda one: key_of(one) ^ target)[:20])
            lookups += 1
        left = [target for target in left if coverage.closest(target) is None]
    assert lookups < 500 / 8
    for target in targets[::500]:
        assert coverage.closest(target) == sorted(peers, key=lambda one: key_of(one) ^ target)[:20]


def test_lookups_begin_far_apart_where_nothing_is_known() -> None:
    coverage = tiny()
    targets = [Key(n) for n in range(0, 256, 16)]
    assert next_lookups(coverage, targets, limit=4) == [0, 4, 8, 12]
    assert next_lookups(coverage, targets, limit=3) == [0, 6, 12]
    coverage.add(Key(0), [peer(n) for n in (1, 40, 60, 127)])  # 0 to 63 is covered
    assert next_lookups(coverage, targets, limit=4) == [4, 7, 10, 13]
    assert next_lookups(coverage, targets[:4], limit=4) == [0, 1, 2, 3]
    assert next_lookups(coverage, [], limit=4) == []
