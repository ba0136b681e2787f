"""Scenarios at 200 nodes, with fixed seeds: about a minute of one core in all."""

import logging

import pytest
import structlog

from primedht.sim.run import run_scenario
from primedht.sim.scenarios import SCENARIOS

pytestmark = pytest.mark.timeout(900)

SHORT = {
    "static": (15.0, {"lookups": 0.2, "values": 0.1}),
    "churn": (30.0, {"median": 600, "values": 0.1}),
    "provide": (15.0, {"singles": 0.1}),
    "adversaries": (15.0, {"values": 0.1}),
}


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("name", SHORT)
def test_two_hundred_nodes(name):
    duration_s, changes = SHORT[name]
    result = run_scenario(
        SCENARIOS[name], nodes=200, seed=1, duration_s=duration_s, parameters={"reads": 60, **changes}
    )
    assert not result.failures, result.command
