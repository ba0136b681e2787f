"""The simulator at full size: ten thousand nodes, and lookups as the network grows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Sizes
from report import Report

from benchmarks.scaling import SIZES, draw, run_sizes

pytestmark = [pytest.mark.soak, pytest.mark.timeout(5400)]

_REAL_S_MAX = 1800
_MEMORY_MIB_MAX = 16 * 1024


def test_ten_thousand_nodes(report: Report, sizes: Sizes) -> None:
    """20,000 lookups, 2,000 puts and gets, ten virtual minutes: within half an hour and 16 GB."""
    nodes = sizes.simulated
    command = f"sim --nodes {nodes} --scenario static --seed 1 --set reads={nodes // 5} --json"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "primedht.cli", *command.split()], stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout)
    operations = found["operations"]
    report.add(
        f"simulated, {nodes} nodes",
        command=f"primedht {command}",
        real_s=time.monotonic() - began,
        memory_mib=found["memory_mib"],
        messages=sum(found["messages_by_type"].values()),
        success_rate=found["success_rate"],
        lookups=operations["lookup"]["count"],
        hops_mean=found["hops_mean"],
        messages_per_lookup=found["messages_per_lookup"],
        messages_per_put=operations["put"]["messages_mean"],
        messages_per_get=operations["get"]["messages_mean"],
        exact_lookups=found["figures"]["exact_lookups"],
        idle_messages_per_node_hour=found["figures"].get("idle_messages_per_node_hour", 0.0),
        table_size_mean=found["figures"]["table_size_mean"],
        digest=found["digest"],
    )
    assert not found["failures"]
    assert found["real_s"] < _REAL_S_MAX
    assert found["memory_mib"] < _MEMORY_MIB_MAX


def test_lookups_as_the_network_grows(tmp_path: Path, report: Report, sizes: Sizes) -> None:
    """Hops grow no faster than log2 of the nodes, messages no faster than hops."""
    rows = list(run_sizes(nodes for nodes in SIZES if nodes <= sizes.simulated))
    for row in rows:
        name = f"lookups among {row['nodes']} simulated nodes"
        report.add(name, **{field: value for field, value in row.items() if field != "nodes"})
    draw(rows, tmp_path / "scaling.svg")
    assert (tmp_path / "scaling.svg").stat().st_size > 1000
    for smaller, larger in pairwise(rows):
        assert larger["hops_mean"] - smaller["hops_mean"] < 1.7  # log2 of the root of ten
    assert all(row["success_rate"] == 1.0 for row in rows)
