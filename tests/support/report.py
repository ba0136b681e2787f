"""Measured figures of a soak run, as Markdown for people and JSON for comparing."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

Value = float | int | str
_REPOSITORY = Path(__file__).parents[2]


@dataclass
class Report:
    """Figures by scenario, in the order of their coming. Names carry their unit last."""

    scenarios: dict[str, dict[str, Value]] = field(default_factory=dict)
    _began: tuple[float, float, float] = field(default_factory=lambda: _used_s())

    def others_share(self) -> float:
        """Return the share of the machine that processes not ours have used since this was made.

        Our own count once they have ended.
        """
        (began, busy_s, own_s), (now, busy_now_s, own_now_s) = self._began, _used_s()
        others_s = (busy_now_s - busy_s) - (own_now_s - own_s)
        return max(0.0, others_s) / max(1e-9, now - began) / len(os.sched_getaffinity(0))

    def add(self, scenario: str, **figures: Value) -> None:
        """Add figures to a scenario."""
        rounded = {name: _rounded(value) for name, value in figures.items()}
        self.scenarios.setdefault(scenario, {}).update(rounded)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` of them do not exceed; nan of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def write_report(report: Report, folder: Path, *, command: str) -> Path:
    """Write `soak-<date>.md` and `.json` into `folder`; return the Markdown's path.

    Figures that this run left out are kept from the same day's file, if that was of the same commit
    and command line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"soak-{datetime.now(UTC):%Y-%m-%d}"
    head = {
        "command": command,
        "commit": _commit(),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        **_machine(),
        "other processes": f"used {report.others_share():.0%} of the machine meanwhile",
    }
    merged = _earlier(stem.with_suffix(".json"), head)
    for scenario, figures in report.scenarios.items():
        merged[scenario] = {**merged.get(scenario, {}), **figures}
    document = {**head, "scenarios": merged}
    stem.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    lines = ["# Soak test", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in head.items()]
    text = "\n".join(lines) + "\n" + markdown(merged)
    stem.with_suffix(".md").write_text(text, "utf-8")
    return stem.with_suffix(".md")


def markdown(scenarios: Mapping[str, Mapping[str, Value]]) -> str:
    """Return a section with a table for each scenario."""
    lines: list[str] = []
    for scenario, figures in scenarios.items():
        lines += ["", f"## {scenario[:1].upper()}{scenario[1:]}", "", "| figure | value |", "|---|---|"]
        lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in figures.items()]
    return "\n".join(lines) + "\n"


def _earlier(path: Path, head: dict[str, str]) -> dict[str, dict[str, Value]]:
    try:
        earlier = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    same = all(earlier.get(name) == head[name] for name in ("command", "commit"))
    return dict(earlier["scenarios"]) if same else {}


def _rounded(value: Value) -> Value:
    if not isinstance(value, float):
        return value
    if value == 0 or not math.isfinite(value):
        return value if math.isfinite(value) else "none"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return round(value, digits) if digits else round(value)


def _commit() -> str:
    if shutil.which("git") is None:
        return "unknown"

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(_REPOSITORY), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD") or "unknown"
    return f"{commit} with changes" if git("status", "--porcelain", "--", "primedht", "tests") else commit


def _used_s() -> tuple[float, float, float]:
    """Return the time, and the CPU seconds used so far: by all processes, and by ours that have ended."""
    times = os.times()
    own_s = times.user + times.system + times.children_user + times.children_system
    fields = [int(field) for field in (_lines("/proc/stat") or ["cpu 0 0 0 0 0"])[0].split()[1:]]
    idle = sum(fields[3:5])  # idle and iowait
    return time.monotonic(), (sum(fields[:7]) - idle) / os.sysconf("SC_CLK_TCK"), own_s


def _machine() -> dict[str, str]:
    cpu = "unknown CPU"
    memory = "unknown"
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            memory = f"{int(line.split()[1]) / (1 << 20):.1f} GiB"
    return {
        "machine": f"{cpu}, {len(os.sched_getaffinity(0))} cores, {memory}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
