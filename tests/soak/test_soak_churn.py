"""Churn for a day, and partitions that heal, in the simulator at full size."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from conftest import Sizes
from report import Report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(6 * 3600)]


def simulate(command: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "primedht.cli", *command.split()], stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("median_s", [3600, 600])
@pytest.mark.parametrize("replication", [6, 3, 10, 20])
def test_what_churn_loses(median_s: int, replication: int, report: Report, sizes: Sizes) -> None:
    """A median session of an hour at R = 6: at least 99.9 % of the values and provider records are found."""
    command = (
        f"sim --nodes {sizes.churn_nodes} --scenario churn --seed 1 --duration {sizes.churn_h}h"
        f" --set median={median_s} --set replication={replication} --set values=2 --set reads=2000"
        " --set success_min=0 --json"
    )
    found = simulate(command)
    figures = found["figures"]
    report.add(
        f"churn, median session {median_s // 60} min, R = {replication}",
        command=f"primedht {command}",
        success_rate=found["success_rate"],
        providers_found_share=figures["providers_found"],
        values_lost=figures["values_lost"],
        values_lost_per_day_share=figures["values_lost_per_day_share"],
        repair_s=figures["repair_s"],
        messages_per_node_hour=found["messages_per_node_hour"],
        bytes_per_node_hour=found["bytes_per_node_hour"],
        real_s=found["real_s"],
        digest=found["digest"],
    )
    assert not found["failures"]
    if (median_s, replication) == (3600, 6):
        assert found["success_rate"] >= 0.999
        assert figures["providers_found"] >= 0.999


@pytest.mark.parametrize("cut_s", [60, 7200])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_healing(cut_s: int, seed: int, report: Report, sizes: Sizes) -> None:
    """30 s after the first contact the highest sequence is everywhere."""
    command = (
        f"sim --nodes {sizes.churn_nodes} --scenario partition --seed {seed} --set cut={cut_s}"
        " --set reads=200 --json"
    )
    found = simulate(command)
    report.add(
        f"cut of {cut_s} s, seed {seed}",
        command=f"primedht {command}",
        first_contact_s=found["figures"]["first_contact_s"],
        converged_after_contact_s=found["figures"].get("converged_after_contact_s", -1.0),
        success_rate=found["success_rate"],
    )
    assert not found["failures"]
