"""The report of `make soak`: what it says, and what it keeps of earlier runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from report import Report, percentile, write_report


def test_a_report_has_its_figures_and_where_they_come_from(tmp_path: Path) -> None:
    report = Report()
    report.add("put and read", put_success="5 of 5", put_p95_ms=12.3456, nodes=3)
    text = write_report(report, tmp_path / "measured", command="make soak").read_text("utf-8")
    for part in ("| command | make soak |", "| commit | ", " cores, ", "Python 3", "| put p95 ms | 12.3 |"):
        assert part in text, text


def test_a_run_of_one_scenario_keeps_the_others_of_the_same_commit(tmp_path: Path) -> None:
    def written(scenario: str, command: str, **figures: int) -> object:
        report = Report()
        report.add(scenario, **figures)
        path = write_report(report, tmp_path, command=command).with_suffix(".json")
        return json.loads(path.read_text("utf-8"))["scenarios"]

    written("a", "make soak", first=1, second=2)
    written("b", "make soak", first=1)
    both = {"a": {"first": 1, "second": 3}, "b": {"first": 1}}
    assert written("a", "make soak", second=3) == both, "a test alone replaces its own figures only"
    assert written("c", "another", first=1) == {"c": {"first": 1}}


def test_a_machine_without_git_gets_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = Report()
    report.add("a", figure=1)
    assert "| commit | unknown |" in write_report(report, tmp_path, command="make soak").read_text("utf-8")


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([3, 1, 2], share) for share in (0.0, 0.5, 0.95)] == [1, 2, 3]
    assert math.isnan(percentile([], 0.5))
