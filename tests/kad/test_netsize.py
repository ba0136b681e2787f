"""The network size estimate, against networks of known size."""

from __future__ import annotations

from random import Random

import pytest
from tiny_keyspace import peer, tiny_key_of

from primedht.ids import PeerId
from primedht.kad.key import Key, key_of
from primedht.kad.netsize import NetworkSize

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
        netsize.track(Key(0), [peer(32), peer(64)], float(i), bucket_level=20)
    even = netsize.estimate(5.0)
    for i in range(5):
        netsize.track(Key(0), [peer(1), peer(2)], float(i), bucket_level=-18)
    assert even == pytest.approx(7)
    assert netsize.estimate(5.0) == pytest.approx(7, rel=0.01)
