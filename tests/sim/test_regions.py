"""The world map is a map: symmetric, positive, and as long as published."""

from random import Random

import pytest

from primedht.sim.regions import REGIONS, WorldMapLatency, region_of, round_trip_s


def test_every_pair_has_one_round_trip():
    for one in range(len(REGIONS)):
        for other in range(len(REGIONS)):
            assert round_trip_s(one, other) == round_trip_s(other, one) > 0
    ireland, sydney = REGIONS.index("eu-west-1"), REGIONS.index("ap-southeast-2")
    assert round_trip_s(ireland, sydney) == pytest.approx(0.3096)
    assert round_trip_s(REGIONS.index("sa-east-1"), 0) == pytest.approx(0.1195)


def test_hosts_are_spread_over_all_regions():
    counts = [0] * len(REGIONS)
    for host in range(2000):
        counts[region_of(host)] += 1
    assert min(counts) > 150


def test_the_mean_is_that_of_the_messages():
    latency, rng = WorldMapLatency(), Random(1)
    drawn = [latency.one_way_s(rng.randrange(5000), rng.randrange(5000), rng) for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(latency.mean_one_way_s(), rel=0.05)
