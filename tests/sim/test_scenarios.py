"""Runs replay, in another process too, and whatever goes wrong says how."""

import json
import logging
import os
import subprocess
import sys

import pytest
import structlog

from primedht.errors import InvalidArgument
from primedht.sim.run import Scenario, run_scenario


@pytest.fixture(autouse=True)
def _quiet():
    """Nodes say at length what a scenario does to them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


def test_a_run_replays_in_another_process():
    """With other hashes of byte strings, too."""
    settings = ["--duration", "1m", "--seed", "9"]
    for change in ("median=60", "down=10s", "reads=100"):
        settings += ["--set", change]
    command = [sys.executable, "-m", "primedht.cli", "sim", "--nodes", "16", "--scenario", "churn", "--json"]
    digests = set()
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [*command, *settings],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode in (0, 1), run.stderr[-2000:]
        digests.add(json.loads(run.stdout)["digest"])
    assert len(digests) == 1


async def _nothing(run):
    run.expect(run.nodes > 5, "too few nodes")


NOTHING = Scenario("nothing", "does nothing", 10.0, _nothing, {"share": 0.5})


def test_a_failed_check_names_the_command_that_replays_it():
    result = run_scenario(NOTHING, nodes=3, seed=4, parameters={"share": 0.25, "replication": 6})
    assert result.failures == ("too few nodes",)
    assert result.command == (
        "primedht sim --nodes 3 --scenario nothing --seed 4 --set share=0.25 --set replication=6"
    )
    assert run_scenario(NOTHING, nodes=6, seed=4).failures == ()


def test_what_a_scenario_raises_carries_the_command():
    async def broken(run):
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        run_scenario(Scenario("broken", "", 1.0, broken), nodes=1, seed=8, duration_s=2.0)
    assert "replay: primedht sim --nodes 1 --scenario broken --seed 8 --duration 2s" in caught.value.__notes__


def test_unknown_parameters_are_refused():
    with pytest.raises(InvalidArgument, match="share"):
        run_scenario(NOTHING, nodes=1, seed=1, parameters={"shares": 1.0})
