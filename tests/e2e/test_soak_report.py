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
    for scenario, command in (("a", "make soak"), ("b", "make soak"), ("c", "another")):
        report = Report()
        report.add(scenario, figure=1)
        written = write_report(report, tmp_path, command=command).with_suffix(".json")
        if scenario == "b":
            assert set(json.loads(written.read_text("utf-8"))["scenarios"]) == {"a", "b"}
    assert set(json.loads(written.read_text("utf-8"))["scenarios"]) == {"c"}


def test_a_machine_without_git_gets_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = Report()
    report.add("a", figure=1)
    assert "| commit | unknown |" in write_report(report, tmp_path, command="make soak").read_text("utf-8")


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([3, 1, 2], share) for share in (0.0, 0.5, 0.95)] == [1, 2, 3]
    assert math.isnan(percentile([], 0.5))
