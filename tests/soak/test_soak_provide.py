"""Dead peers, and ten thousand provider records by sweep, in the simulator."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from report import Report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2 * 3600)]


@pytest.mark.parametrize(
    "run",
    [
        "--nodes 200 --scenario dead",
        "--nodes 200 --scenario provide --duration 10s --set singles=0.25 --set sweep=10000",
        "--nodes 1000 --scenario provide --duration 10s --set singles=0.05 --set sweep=10000",
    ],
)
def test_latency_and_providing(run: str, report: Report) -> None:
    """The scenarios' own checks: 1.5 times as long with 10 % dead; all closest peers hold what was swept."""
    command = f"sim {run} --seed 1 --json"
    done = subprocess.run(
        [sys.executable, "-m", "primedht.cli", *command.split()], stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout)
    name = f"{found['scenario']}, {found['nodes']} nodes"
    report.add(name, command=f"primedht {command}", real_s=found["real_s"], **found["figures"])
    assert not found["failures"]
