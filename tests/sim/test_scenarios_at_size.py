"""Every scenario at 200 nodes, two at 1,000, with fixed seeds; and one run whose seed nobody knew before.

Two processes share the runs. `tests/soak/test_soak_sim.py` has longer ones.
"""

import faulthandler
import json
import secrets
import sys

import pytest
from sim_cases import Case, Runs

from primedht.sim.scenarios import SCENARIOS

pytestmark = pytest.mark.timeout(900)

CASES = [
    Case("churn", 1000, duration_s=15, parameters={"median": 600, "values": 0.05, "reads": 100}),
    Case("static", 1000, duration_s=10, parameters={"lookups": 0.05, "values": 0.05, "reads": 100}),
    Case("partition", 200, duration_s=60, parameters={"values": 0.25, "reads": 200}),
    Case("eclipse", 200, duration_s=30, parameters={"targets": 2, "warm_up": 1, "reads": 100}),
    Case("adversaries", 200, duration_s=15, parameters={"values": 0.25, "reads": 200}),
    Case("churn", 200, duration_s=60, parameters={"median": 300, "down": 60, "values": 0.25, "reads": 200}),
    Case("dead", 200, parameters={"operations": 0.25, "ratio_max": 2, "reads": 100}),
    Case("static", 200, duration_s=15, parameters={"lookups": 0.5, "reads": 200}),
    Case("provide", 200, duration_s=15, parameters={"singles": 0.25, "reads": 200}),
    Case("small", 200, duration_s=15, parameters={"values": 5, "reads": 100}),
]
"""The longest first, so that neither process ends long before the other."""

RANDOM = {
    "static": {"lookups": 2, "values": 0.5},
    "churn": {"median": 300, "down": 60, "values": 0.5},
    "adversaries": {"values": 0.5},
    "provide": {},
}
"""Of these the random seed chooses one: what they promise leaves nothing to luck."""


def random_case() -> Case:
    seed = secrets.randbelow(1 << 31)
    name = list(RANDOM)[seed % len(RANDOM)]
    return Case(name, 50, seed, 60, {**RANDOM[name], "reads": 200})


@pytest.fixture(scope="module")
def runs(request):
    with Runs() as runs:
        for item in request.session.items:
            if item.path == request.path and "case" in getattr(item, "fixturenames", ()):
                runs.start(item.callspec.params["case"])
        yield runs


@pytest.fixture(autouse=True)
def _patience():
    """Who waits for a run of another process hangs no more than that one does."""
    faulthandler.cancel_dump_traceback_later()


def test_every_scenario_is_run_here():
    assert {case.scenario for case in CASES if case.nodes == 200} == SCENARIOS.keys()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_holds_what_it_promises(runs, case):
    result = runs.result(case)
    assert not result.failures, result.command
    assert result.measures.reads >= case.parameters["reads"]
    shown = json.loads(json.dumps(result.to_json()))
    assert {"success_rate", "hops_mean", "messages_per_lookup", "digest"} <= shown.keys()
    assert shown["messages_per_lookup"] > 0
    assert list(result.operation_rows())
    assert dict(result.figure_rows())["digest"] == result.digest


@pytest.mark.parametrize("case", [random_case()], ids=["random-seed"])
def test_a_seed_that_nobody_knew_before(runs, case, capsys):
    with capsys.disabled():
        sys.stdout.write(f"\nrandom seed {case.seed}: {case.scenario} of {case.nodes} nodes\n")
    result = runs.result(case)
    assert not result.failures, result.command
