"""Patience covers the far answers among near ones, and shrinks where all are alike."""

from random import Random

import pytest

from primedht.kad.rtt import Rtt


def test_nothing_is_known_before_the_first_answer():
    rtt = Rtt()
    assert (rtt.count, rtt.patience_s) == (0, 0.0)
    rtt.note(0.2)
    assert rtt.patience_s == pytest.approx(0.6)


def test_equal_answers_leave_little_patience():
    rtt = Rtt()
    for _ in range(50):
        rtt.note(0.2)
    assert 0.2 <= rtt.patience_s < 0.21


def test_the_farthest_of_a_world_is_not_late():
    """Dials over 20 to 330 ms, four round trips each: twice the mean would give up a tenth of them."""
    rng, rtt = Random(1), Rtt()
    late = total = 0
    for _ in range(2000):
        took_s = 4 * rng.uniform(0.02, 0.33)
        if rtt.count:
            total += 1
            late += took_s > rtt.patience_s
        rtt.note(took_s)
    assert late < 0.002 * total


def test_what_is_usual_is_known_of_the_latest_answers():
    rtt = Rtt()
    for number in range(1, 101):
        rtt.note(number / 100)
    assert rtt.usual_s == pytest.approx(0.97)
    for _ in range(100):
        rtt.note(0.1)
    assert rtt.usual_s == pytest.approx(0.1)
