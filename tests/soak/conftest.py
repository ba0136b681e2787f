"""Clusters at full size. What they measured is printed and written to docs/measured.

`SOAK_NODES`, `SOAK_VALUES`, `SOAK_PEERS`, `SOAK_IDLE_S`, `SOAK_BULK_MB`, `SOAK_CALLS`,
`SOAK_MODEL_MB`, `SOAK_FUZZ_S`, `SOAK_SIMULATED`, `SOAK_CHURN_NODES` and `SOAK_CHURN_H` make a run smaller; a
run that they change writes no report unless `SOAK_REPORT` names a folder for it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from report import Report, markdown, write_report

_MEASURED = Path(__file__).parents[2] / "docs" / "measured"


@dataclass(frozen=True)
class Sizes:
    """nodes, values: of the network. peers: those of the idle node. idle_s: how long it is watched.

    bulk_mb, calls: of each pairing of implementations. model_mb: of a model.
    fuzz_s: of atheris on each core. simulated: nodes of the largest simulated network.
    churn_nodes, churn_h: of the simulations of churn and partitions, and their virtual hours.
    """

    nodes: int = 20
    values: int = 500
    peers: int = 50
    idle_s: float = 600.0
    bulk_mb: int = 512
    calls: int = 10_000
    model_mb: int = 1024
    fuzz_s: float = 600.0
    simulated: int = 10_000
    churn_nodes: int = 200
    churn_h: int = 24


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    return _sizes()


def _sizes() -> Sizes:
    full = Sizes()
    return Sizes(
        nodes=int(os.environ.get("SOAK_NODES", full.nodes)),
        values=int(os.environ.get("SOAK_VALUES", full.values)),
        peers=int(os.environ.get("SOAK_PEERS", full.peers)),
        idle_s=float(os.environ.get("SOAK_IDLE_S", full.idle_s)),
        bulk_mb=int(os.environ.get("SOAK_BULK_MB", full.bulk_mb)),
        calls=int(os.environ.get("SOAK_CALLS", full.calls)),
        model_mb=int(os.environ.get("SOAK_MODEL_MB", full.model_mb)),
        fuzz_s=float(os.environ.get("SOAK_FUZZ_S", full.fuzz_s)),
        simulated=int(os.environ.get("SOAK_SIMULATED", full.simulated)),
        churn_nodes=int(os.environ.get("SOAK_CHURN_NODES", full.churn_nodes)),
        churn_h=int(os.environ.get("SOAK_CHURN_H", full.churn_h)),
    )


_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    return pytestconfig.stash.setdefault(_REPORT, Report())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured, and write it down."""
    measured = config.stash.get(_REPORT, None)
    if measured is None or not measured.scenarios:
        return
    terminalreporter.section("measured")
    terminalreporter.write_line(markdown(measured.scenarios))
    folder = os.environ.get("SOAK_REPORT") or (_MEASURED if _sizes() == Sizes() else None)
    if folder is not None:
        written = write_report(measured, Path(folder), command="make soak")
        terminalreporter.write_line(f"written to {written}")
