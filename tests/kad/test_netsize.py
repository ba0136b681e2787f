"""The network size estimate, against networks of known size."""

from __future__ import annotations

from random import Random

import pytest
from tiny_keyspace import peer, tiny_key_of

from primedht.ids import PeerId
from primedht.kad.key import Key, common_prefix_length, key_of
from primedht.kad.netsize import NetworkSize, likely_share, size_by_table

K = 20


def closest_of(peers: list[PeerId], target: Key) -> list[PeerId]:
    return sorted(peers, key=lambda one: key_of(one) ^ target)[:K]


@pytest.mark.parametrize("size", [1, 5, 50, 1000])
def test_the_estimate_is_near_the_truth(size: int) -> None:
    rng = Random(size)
    peers = [PeerId(b"\x12\x20" + rng.randbytes(32)) for _ in range(size)]
    netsize = NetworkSize(bucket_size=K)
    for i in range(60):
        target = key_of(rng.randbytes(32))
        netsize.track(target, closest_of(peers, target), float(i), bucket_level=K)
    estimate = netsize.estimate(60.0)
    assert estimate is not None
    assert estimate == pytest.approx(size, rel=0.25, abs=1)


def test_few_or_old_samples_give_none() -> None:
    netsize = NetworkSize(bucket_size=K)
    peers = [PeerId(b"\x12\x20" + bytes([n]) * 32) for n in range(9)]
    for i in range(5):
        assert netsize.estimate(float(i)) is None
        netsize.track(key_of(bytes([i])), peers, float(i), bucket_level=K)
    assert netsize.estimate(5.0) is not None
    assert netsize.estimate(2 * 3600 + 1.0) is None


def test_lookups_without_result_or_of_a_known_peer_are_left_out() -> None:
    netsize = NetworkSize(bucket_size=K, key_of=tiny_key_of, bits=8)
    for i in range(9):
        netsize.track(Key(7), [peer(7)], float(i), bucket_level=1)
        netsize.track(Key(8), [], float(i), bucket_level=1)
    assert netsize.estimate(9.0) is None


def test_a_sample_of_our_sparse_neighbourhood_weighs_little() -> None:
    netsize = NetworkSize(bucket_size=2, key_of=tiny_key_of, bits=8)
    for i in range(5):
        netsize.track(Key(i), [peer(i ^ 32), peer(i ^ 64)], float(i), bucket_level=20)
    even = netsize.estimate(5.0)
    for i in range(5, 10):
        netsize.track(Key(i), [peer(i ^ 1), peer(i ^ 2)], float(i), bucket_level=-18)
    assert even == pytest.approx(7)
    assert netsize.estimate(5.0) == pytest.approx(7, rel=0.01)


def test_keys_that_crowd_about_a_few_targets_do_not_enlarge_the_network() -> None:
    netsize = NetworkSize(bucket_size=2, key_of=tiny_key_of, bits=8)
    for i in range(5):
        netsize.track(Key(i), [peer(i ^ 32), peer(i ^ 64)], float(i), bucket_level=2)
    for i in range(5, 9):
        netsize.track(Key(i), [peer(i ^ 1), peer(i ^ 2)], float(i), bucket_level=2)
    assert netsize.estimate(9.0) == pytest.approx(7)


def test_lookups_of_a_few_keys_that_others_crowd_about_do_not_enlarge_the_network() -> None:
    """A node that looked up little else: one honest lookup and its table against seven of one attack."""
    netsize = NetworkSize(bucket_size=2, key_of=tiny_key_of, bits=8)
    netsize.track(Key(0), [peer(32), peer(64)], 0.0, bucket_level=2)
    assumed = netsize.assume(0.0, [2, 2, 2, 1])
    assert assumed < 10
    for i in range(1, 8):
        netsize.track(Key(i), [peer(i ^ 1), peer(i ^ 2)], float(i), bucket_level=2, assumed=assumed)
    assert netsize.assume(8.0, [2, 2, 2, 1]) < 10


def test_many_lookups_overrule_a_table_that_is_far_from_full() -> None:
    netsize = NetworkSize(bucket_size=2, key_of=tiny_key_of, bits=8)
    for i in range(20):
        netsize.track(Key(i), [peer(i ^ 1), peer(i ^ 2)], float(i), bucket_level=2, assumed=2.0)
    assert netsize.assume(20.0, [2]) > 100


def test_a_target_that_is_looked_up_again_and_again_counts_once() -> None:
    netsize = NetworkSize(bucket_size=2, key_of=tiny_key_of, bits=8)
    for i in range(5):
        netsize.track(Key(i), [peer(i ^ 32), peer(i ^ 64)], float(i), bucket_level=2)
    for i in range(40):
        netsize.track(Key(99), [peer(99 ^ 1), peer(99 ^ 2)], 5.0 + i, bucket_level=2)
    assert netsize.estimate(50.0) == pytest.approx(7)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([], 0),
        ([3, 1], 4),
        ([20, 20, 12, 7, 2, 1], 10 << 3),
        ([20, 20, 12, 7, 20, 1], 15 << 3),  # 20 keys crowd where 3 were to be expected
        ([20, 13, 2, 0, 0, 20], 15 << 1),
        ([19, 20, 18, 20, 11, 4], 15 << 4),  # buckets are hardly ever full everywhere
    ],
)
def test_a_table_tells_the_size_too(sizes: list[int], told: float) -> None:
    assert size_by_table(sizes, bucket_size=K) == told


@pytest.mark.parametrize("size", [30, 200, 3000])
def test_a_node_without_lookups_assumes_what_its_table_tells(size: int) -> None:
    rng = Random(size)
    assumed = []
    for _ in range(40):
        own = key_of(rng.randbytes(32))
        depths = [common_prefix_length(key_of(rng.randbytes(32)), own) for _ in range(size)]
        sizes = [min(K, depths.count(cpl)) for cpl in range(max(depths) + 1)]
        assumed.append(NetworkSize(bucket_size=K).assume(0.0, sizes))
    assert sum(assumed) / len(assumed) == pytest.approx(size, rel=0.2)
    assert all(size / 2.5 < one < size * 2.5 for one in assumed)


@pytest.mark.parametrize("certainty", [0.5, 0.9])
def test_within_the_likely_share_peers_are_among_the_closest(certainty: float) -> None:
    """Of many peers at just that distance, so many are among the k closest."""
    rng, size = Random(7), 2000
    share = likely_share(K, size, certainty=certainty)
    among = sum(sum(rng.random() < share for _ in range(size)) < K for _ in range(400)) / 400
    assert among == pytest.approx(certainty, abs=0.06)


def test_in_small_networks_everybody_is_likely() -> None:
    assert likely_share(K, 10, certainty=0.9) == 1.0
    assert likely_share(K, 0, certainty=0.9) == 1.0
    assert likely_share(K, 100, certainty=0.9) == pytest.approx(0.145, abs=0.005)
