"""Models of some size between whole processes, killed and limited as in the full-size runs of tests/soak."""

from __future__ import annotations

from pathlib import Path

import pytest
from transfers import pull_across_a_kill, pull_from_three_links, push_and_pull

pytestmark = pytest.mark.timeout(300)

MIB = 1 << 20


def test_a_killed_pull_fetches_under_2_percent_again(tmp_path: Path) -> None:
    shares = pull_across_a_kill(tmp_path, 256 * MIB)
    assert shares["kept"] >= 0.6
    assert shares["again"] < 0.02


def test_a_model_in_place_takes_little_memory_and_no_second_place_on_disk(tmp_path: Path) -> None:
    figures = push_and_pull(tmp_path, 128 * MIB, in_place=True)
    assert max(figures["push_rss_anon_mib"], figures["pull_rss_anon_mib"]) < 300
    assert max(figures["push_disk"], figures["pull_disk"]) < 1.05


def test_unequal_links_one_killed_and_one_lying(tmp_path: Path) -> None:
    """Links of 20, 20 and 2 MB/s: the bytes are right, and the liar is named. make soak has the rates."""
    pull_from_three_links(tmp_path, 64 * MIB, liar=2, killed=0)
