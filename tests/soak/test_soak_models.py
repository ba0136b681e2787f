"""Models at full size between whole processes: killed, limited, lied to; memory and disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from report import Report
from transfers import pull_across_a_kill, pull_from_unequal_peers, push_and_pull

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

GIB = 1 << 30


def test_a_killed_pull_of_a_gib_fetches_under_2_percent_again(tmp_path: Path, report: Report) -> None:
    shares = pull_across_a_kill(tmp_path, GIB)
    report.add("models", killed_at=shares["kept"], fetched_again=shares["again"])
    assert shares["again"] < 0.02


def test_4_gib_take_little_memory_and_no_second_place_on_disk(tmp_path: Path, report: Report) -> None:
    figures = push_and_pull(tmp_path, 4 * GIB, in_place=True)
    report.add("models", **{f"in_place_{name}": figure for name, figure in figures.items()})
    assert max(figures["push_rss_anon_mib"], figures["pull_rss_anon_mib"]) < 300
    assert max(figures["push_disk"], figures["pull_disk"]) < 1.05


def test_4_gib_that_are_copied_take_little_memory(tmp_path: Path, report: Report) -> None:
    figures = push_and_pull(tmp_path, 4 * GIB, in_place=False)
    report.add("models", **{f"copied_{name}": figure for name, figure in figures.items()})
    assert max(figures["push_rss_anon_mib"], figures["pull_rss_anon_mib"]) < 300


def test_unequal_peers_one_killed_and_one_lying(tmp_path: Path, report: Report) -> None:
    """Links of 20, 20, 20 and 2 MB/s."""
    figures = pull_from_unequal_peers(tmp_path, GIB, 20.0)
    report.add("models", unequal_peers=figures["of_the_honest_links"], unequal_mb_per_s=figures["mb_per_s"])
    assert figures["of_the_honest_links"] >= 0.8
