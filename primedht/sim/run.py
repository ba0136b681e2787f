"""One run of one scenario: its worlds, its measures, what its checkers found, and its digest.

    result = run_scenario(SCENARIOS["static"], nodes=200, seed=7)
    result.success_rate, result.digest, result.failures

A run that raises or fails a check says how to replay it (`RunOptions.command`).
"""

from __future__ import annotations

import gc
import hashlib
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from primedht.dht.config import DhtConfig
from primedht.errors import InvalidArgument
from primedht.sim.checkers import CheckFailed
from primedht.sim.determinism import simulate
from primedht.sim.faults import Links
from primedht.sim.measures import Measures
from primedht.sim.network import Traffic
from primedht.sim.regions import WorldMapLatency
from primedht.sim.report import Result
from primedht.sim.world import SimWorld

CONNECTIONS_MAX = 256
"""Per simulated host, members of the table aside; go-libp2p's connection manager trims to 160 or so."""

_TTL_S_MIN = 24 * 3600.0
_PROGRESS_S = 1.0
_TIMELINE_STEPS = 600

OnProgress = Callable[[str, float, float], None]
"""Told the phase, the virtual seconds that have passed, and about how many there will be."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What `primedht sim --scenario` runs.

    duration_s: virtual, by default. parameters: what `--set` may change, all numbers, with the
    defaults; those that every scenario has are in `COMMON`.
    """

    name: str
    summary: str
    duration_s: float
    run: Callable[[Run], Awaitable[None]]
    parameters: Mapping[str, float] = field(default_factory=dict)


COMMON: Mapping[str, float] = {"replication": 3, "k": 20, "alpha": 3, "paths": 1, "loss": 0, "reads": 1000}
"""Parameters of every scenario: R, k, alpha, disjoint paths, share of lost messages, least reads."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What decides a run. `overrides` are parameters that differ from the scenario's defaults."""

    scenario: Scenario
    nodes: int
    seed: int
    duration_s: float
    overrides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known_names = {**COMMON, **self.scenario.parameters}
        unknown = [name for name in self.overrides if name not in known_names]
        if unknown:
            known = ", ".join(known_names)
            raise InvalidArgument(f"{self.scenario.name} has no parameter {unknown[0]!r}; it has {known}")

    @property
    def parameters(self) -> dict[str, float]:
        """Every parameter with the value that this run uses."""
        return {**COMMON, **self.scenario.parameters, **self.overrides}

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        words = ["primedht sim", f"--nodes {self.nodes}", f"--scenario {self.scenario.name}"]
        words.append(f"--seed {self.seed}")
        if self.duration_s != self.scenario.duration_s:
            words.append(f"--duration {self.duration_s:g}s")
        words += [f"--set {name}={value:g}" for name, value in self.overrides.items()]
        return " ".join(words)


class Run:
    """What a scenario gets: builds worlds, takes measures and failures."""

    def __init__(self, options: RunOptions, on_progress: OnProgress) -> None:
        self.options = options
        self.nodes, self.seed, self.duration_s = options.nodes, options.seed, options.duration_s
        self.rng = Random(f"scenario {options.seed}")
        self.links = Links(WorldMapLatency(), loss=options.parameters["loss"])
        self.measures = Measures(round_trip_s=2 * self.links.latency.mean_one_way_s())
        self.failures: list[str] = []
        self.phase = "building"
        self.traffic = Traffic()
        self.events_count = 0
        self._loads: list[float] = []
        self._node_hours = 0.0
        self._on_progress = on_progress
        self._digest = hashlib.blake2b(digest_size=16)
        self._began_s = trio.current_time()

    def __getitem__(self, parameter: str) -> float:
        return self.options.parameters[parameter]

    @property
    def digest(self) -> str:
        """The digest of all events so far, over all worlds."""
        return self._digest.hexdigest()

    def config(self, **changes: Any) -> DhtConfig:
        """Return the nodes' configuration: what the parameters say, and lives longer than the run."""
        k = int(self["k"])
        settings: dict[str, Any] = {
            "k_bucket_size": k,
            "alpha": min(int(self["alpha"]), k),
            "replication_factor": min(int(self["replication"]), k),
            "disjoint_paths": int(self["paths"]),
            "ttl": max(_TTL_S_MIN, 4 * self.duration_s),
        }
        return DhtConfig(**(settings | changes))

    @asynccontextmanager
    async def world(self, nodes: int | None = None, **settings: Any) -> AsyncIterator[SimWorld]:
        """Open a world of this run's seed, links and configuration; its digest and traffic count."""
        settings = {
            "links": self.links,
            "config": self.config(),
            "start": "prefilled",
            "connections_max": CONNECTIONS_MAX,
            **settings,
        }
        began = trio.current_time()
        async with SimWorld(self.seed, self.nodes if nodes is None else nodes, **settings) as world:
            gc.freeze()  # none of what is there by now is garbage soon; `simulate` undoes it
            world.nursery.start_soon(self._report_progress, world)
            yield world
            digest, traffic = world.network.digest, world.network.traffic
            self._digest.update(bytes.fromhex(digest.hexdigest()))
            self.events_count += digest.events_count
            self.traffic.sent.update(traffic.sent)
            self.traffic.sent_bytes.update(traffic.sent_bytes)
            self._node_hours += len(world.nodes) * (trio.current_time() - began) / 3600
            known = [world.network.traffic_of[node.peer] for node in world.nodes]
            self._loads += [float(sum(traffic.received.values())) for traffic in known]

    async def each(self, count: int, act: Callable[[int], Awaitable[None]], *, at_once: int) -> None:
        """Run `act(0)` to `act(count - 1)`, `at_once` of them at a time."""
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await act(number)

        async with trio.open_nursery() as nursery:
            for _ in range(min(at_once, count)):
                nursery.start_soon(work)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a failure unless `holds`."""
        if not holds:
            self.failures.append(otherwise)

    def check(self, checker: Callable[..., None], *args: object, **options: object) -> bool:
        """Call a checker; what it finds is a failure of this run. Returns whether it found nothing."""
        try:
            checker(*args, **options)
        except CheckFailed as failure:
            self.failures.append(str(failure))
            return False
        return True

    def result(self, real_s: float) -> Result:
        """Return everything measured."""
        hours = self._node_hours or 1.0
        messages, sent_bytes = self.traffic.sent.total(), self.traffic.sent_bytes.total()
        return Result(
            scenario=self.options.scenario.name,
            nodes=self.nodes,
            seed=self.seed,
            virtual_s=trio.current_time() - self._began_s,
            real_s=real_s,
            memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            parameters=self.options.parameters,
            measures=self.measures,
            loads=tuple(self._loads),
            messages_by_type={kind.name: count for kind, count in sorted(self.traffic.sent.items())},
            messages_per_node_hour=messages / hours,
            bytes_per_node_hour=sent_bytes / hours,
            events_count=self.events_count,
            digest=self.digest,
            failures=tuple(self.failures),
            command=self.options.command,
        )

    async def _report_progress(self, world: SimWorld) -> None:
        timeline, step_s = self.measures.timeline, self.duration_s / _TIMELINE_STEPS
        while True:
            passed_s = trio.current_time() - self._began_s
            self._on_progress(self.phase, passed_s, self.duration_s)
            if not timeline or passed_s - timeline[-1][0] >= step_s or self.phase != timeline[-1][1]:
                sent = self.traffic.sent.total() + world.network.traffic.sent.total()
                timeline.append((passed_s, self.phase, sent))
            await trio.sleep(_PROGRESS_S)


def run_scenario(
    scenario: Scenario,
    *,
    nodes: int,
    seed: int,
    duration_s: float | None = None,
    parameters: Mapping[str, float] | None = None,
    on_progress: OnProgress = lambda phase, passed_s, total_s: None,
) -> Result:
    """Run `scenario` in virtual time. Whatever it raises carries the command that replays it."""
    options = RunOptions(
        scenario, nodes, seed, scenario.duration_s if duration_s is None else duration_s, parameters or {}
    )

    async def whole() -> Result:
        began = time.monotonic()
        run = Run(options, on_progress)
        await scenario.run(run)
        return run.result(time.monotonic() - began)

    try:
        return simulate(whole, seed=seed)
    finally:
        error = sys.exc_info()[1]
        if error is not None:
            error.add_note(f"replay: {options.command}")


def sample_of(rng: Random, nodes: Sequence[Any]) -> Any:
    """Return one of `nodes` at random. Raises `IndexError` if there is none."""
    return nodes[rng.randrange(len(nodes))]
