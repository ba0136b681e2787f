"""How fast peers depart, as estimated, and how often holders are asked therefore."""

import math

import pytest

from primedht import limits
from primedht.kad.departures import DepartureRate

HOUR_S = 3600.0


def lately():
    return DepartureRate(
        0.0, window_s=limits.DEPARTURES_LATELY_S, assumed=1, assumed_s=limits.DEPARTURES_LATELY_ASSUMED_S
    )


def watched(*, mean_life_s, hours, neighbours=20):
    """Return an estimate after watching `neighbours` whose lives have this mean for so long."""
    rate, due = lately(), 0.0
    for step in range(1, int(hours * HOUR_S / 30) + 1):
        rate.watch(30.0 * step, neighbours)
        due += 30.0 * neighbours / mean_life_s
        while due >= 1:
            rate.note()
            due -= 1
    return rate


def test_before_anything_is_seen_peers_are_taken_to_depart_fast():
    assert lately().per_s == pytest.approx(1 / limits.DEPARTURES_LATELY_ASSUMED_S)


@pytest.mark.parametrize("mean_life_s", [600.0, 3600.0])
def test_the_estimate_approaches_the_truth(mean_life_s):
    rate = watched(mean_life_s=mean_life_s, hours=6)
    assert rate.per_s == pytest.approx(1 / mean_life_s, rel=0.25)
    assert rate.until_gone_s(0.5) == pytest.approx(math.log(2) * mean_life_s, rel=0.25)


def test_a_calm_network_is_asked_seldom_and_one_in_churn_often():
    calm, hourly = watched(mean_life_s=1e9, hours=3), watched(mean_life_s=5200.0, hours=3)
    fast = watched(mean_life_s=866.0, hours=3)
    assert calm.patience_s(3) == limits.PARTNER_PROBE_S_MAX
    assert limits.PARTNER_PROBE_S_MIN <= hourly.patience_s(3) < 15
    assert hourly.patience_s(6) == limits.PARTNER_PROBE_S_MAX, "six copies can wait"
    assert 30 < fast.patience_s(6) < 60
    assert fast.patience_s(3) == limits.PARTNER_PROBE_S_MIN


def test_the_past_is_forgotten():
    rate = watched(mean_life_s=600.0, hours=2)
    for step in range(1, 241):
        rate.watch(2 * HOUR_S + 60.0 * step, 20)
    assert rate.patience_s(3) == limits.PARTNER_PROBE_S_MAX


def test_with_one_copy_nobody_can_repair():
    assert lately().patience_s(1) == limits.PARTNER_PROBE_S_MAX
