"""Every scenario of the simulator at full size and length, and the adversaries at their worst."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sizes
from report import Report

sys.path.append(str(Path(__file__).parents[1] / "sim"))  # behind our own conftest

from sim_cases import Case, Runs

from primedht.sim.scenarios import SCENARIOS

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]

NODES = 1000

COLLUDING = [(0.1, 3), (0.2, 3), (0.3, 3), (0.4, 3), (0.5, 3), (0.2, 6), (0.5, 6)]
"""Share of the peers, and R."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with Runs() as runs:
        yield runs


def full_size(sizes: Sizes) -> int:
    return min(NODES, sizes.simulated)


def add(report: Report, title: str, runs: Runs, case: Case) -> None:
    result = runs.result(case)
    found = result.to_json()
    report.add(
        f"{title} (simulated)",
        command=result.command,
        success_rate=f"{result.success_rate:.4%} of {result.measures.reads} reads",
        messages_per_lookup=found["messages_per_lookup"],
        messages_per_node_hour=found["messages_per_node_hour"],
        **{name: value for name, value in found["figures"].items() if name != "command"},
        virtual_s=found["virtual_s"],
        real_s=found["real_s"],
        memory_mib=found["memory_mib"],
        digest=found["digest"],
    )
    assert not result.failures, result.command


def test_every_scenario_at_full_size(report: Report, sizes: Sizes, runs: Runs) -> None:
    cases = [Case(name, full_size(sizes)) for name in SCENARIOS]
    for case in cases:
        runs.start(case)
    for case in cases:
        add(report, f"{case.scenario}, {case.nodes} nodes", runs, case)


@pytest.mark.parametrize("nodes", [200, None], ids=["200", "full"])
def test_keys_surrounded_by_more_sybils_than_nodes_are_read(
    report: Report, sizes: Sizes, runs: Runs, nodes: int | None
) -> None:
    """Also by nodes that have looked nothing up before."""
    cases = [
        Case("eclipse", nodes or full_size(sizes), seed, parameters={"warm_up": warm_up, "success_min": 0.99})
        for seed, warm_up in ((1, 8), (2, 8), (3, 0))
    ]
    for case in cases:
        runs.start(case)
    for case in cases:
        warm_up = case.parameters["warm_up"]
        add(report, f"eclipse, {case.nodes} nodes, seed {case.seed}, {warm_up:g} lookups before", runs, case)


def test_reads_fail_only_where_all_closest_peers_collude(report: Report, sizes: Sizes, runs: Runs) -> None:
    """What is promised of a fifth, and of more what R copies can give, less three times the spread."""
    promised = {(0.2, 3): 0.985, (0.2, 6): 0.995}
    nodes = min(200, sizes.simulated)
    values = 2 * nodes
    cases = []
    for share, replication in COLLUDING:
        lost = share**replication
        least = promised.get((share, replication), 1 - lost - 3 * (lost * (1 - lost) / values) ** 0.5)
        parameters = {"collude": 1, "share": share, "replication": replication, "values": 2}
        cases.append(Case("adversaries", nodes, parameters={**parameters, "success_min": least}))
    for case in cases:
        runs.start(case)
    for case in cases:
        share, replication = case.parameters["share"], case.parameters["replication"]
        add(report, f"adversaries, {share:.0%} collude, R = {replication}", runs, case)
