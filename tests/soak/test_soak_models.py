"""Models at full size between whole processes: killed, limited, lied to; memory and disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from report import Report
from transfers import pull_across_a_kill, pull_from_three_links, push_and_pull

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


@pytest.mark.parametrize(
    ("liar", "killed"), [(0, 1), (0, 2), (2, 0)], ids=["both_fast", "liar_fast", "liar_slow"]
)
def test_unequal_links_one_killed_and_one_lying(
    liar: int, killed: int, tmp_path: Path, report: Report
) -> None:
    """Of links of 20, 20 and 2 MB/s the honest ones are used to four fifths, whoever lies and is killed."""
    figures = pull_from_three_links(tmp_path, GIB, liar=liar, killed=killed)
    report.add(
        f"a GiB from links of 20, 20 and 2 MB/s, number {liar + 1} lying and {killed + 1} killed at 40 %",
        **figures,
    )
    assert figures["of_the_honest_links"] >= 0.8
