"""Runs of scenarios in processes of their own, two at a time: CI and the soak run use the same."""

import logging
import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import structlog

from primedht.sim.report import Result
from primedht.sim.run import run_scenario
from primedht.sim.scenarios import SCENARIOS

AT_ONCE = min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Case:
    """One run. duration_s: virtual; None is the scenario's own."""

    scenario: str
    nodes: int
    seed: int = 1
    duration_s: float | None = None
    parameters: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.scenario}-{self.nodes}"


def run_case(case: Case) -> Result:
    """Run it here and now, without what nodes say of what is done to them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return run_scenario(
        SCENARIOS[case.scenario],
        nodes=case.nodes,
        seed=case.seed,
        duration_s=case.duration_s,
        parameters=case.parameters,
    )


class Runs:
    """Runs cases in order, `AT_ONCE` at a time; a context manager."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn"))
        self._results: dict[int, Future[Result]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, case: Case) -> None:
        """Queue `case`."""
        if id(case) not in self._results:
            self._results[id(case)] = self._pool.submit(run_case, case)

    def result(self, case: Case) -> Result:
        """Return the result of `case` when it is there. Raises what the run raised."""
        self.start(case)
        return self._results[id(case)].result()
