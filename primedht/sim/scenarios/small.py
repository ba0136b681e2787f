"""One to twenty nodes: a value is on every holder that should have it as soon as there is one.

For each size a network starts with one node, which writes; the others join one after the other. How long
a newcomer takes, from its first contact and from its admission into the holder's table, to hold what it
should, is counted in round trips.
"""

from __future__ import annotations

import trio

from primedht.sim.audit import check_at_rest
from primedht.sim.census import Census
from primedht.sim.faults import ConstantLatency, Links
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload
from primedht.sim.world import SimWorld

_SIZE_MAX = 20
_ONE_WAY_S = 0.05
_FILL_LIMIT_S = 30.0
_STEP_S = 0.01
_AT_ONCE = 4


async def run(run: Run) -> None:
    """See the module."""
    size_max = max(1, min(run.nodes, _SIZE_MAX))
    values, links = int(run["values"]), Links(ConstantLatency(_ONE_WAY_S))
    run.measures.round_trip_s = 2 * _ONE_WAY_S
    reads_per_size = -(-int(run["reads"]) // size_max)
    fills_s: list[float] = []
    after_admission_s: list[float] = []
    for size in range(1, size_max + 1):
        run.phase = f"{size} nodes"
        async with run.world(1, links=links, start="bootstrapped") as world:
            work = Workload(world, run.measures, run.rng)
            for number in range(values):
                await work.put(world.nodes[0], b"value %d" % number)
            for _ in range(size - 1):
                await world.add_node()
                took_s, after_s = await _fill(run, world, work)
                fills_s.append(took_s)
                after_admission_s.append(after_s)
            keys = work.ledger.keys

            async def get(number: int, work: Workload = work, keys: tuple[bytes, ...] = keys) -> None:
                await work.get(work.node(), keys[number % len(keys)])

            await run.each(reads_per_size, get, at_once=_AT_ONCE)
            await check_at_rest(run, world, work)
    figures = run.measures.figures
    if fills_s:
        round_trip_s = run.measures.round_trip_s
        figures["fill_rtts_mean"] = sum(fills_s) / len(fills_s) / round_trip_s
        figures["fill_rtts_max"] = max(fills_s) / round_trip_s
        figures["fill_after_admission_rtts_max"] = max(after_admission_s) / round_trip_s
        run.measures.series["fill"] = [(float(at), took_s) for at, took_s in enumerate(fills_s)]
    run.expect(run.measures.success_rate == 1.0, f"reads failed: {dict(run.measures.bad_reads)}")


async def _fill(run: Run, world: SimWorld, work: Workload) -> tuple[float, float]:
    """Wait until each value is on all that should hold it.

    Returns the seconds from the newcomer's start, and from when the last node admitted it to its table.
    """
    began, admitted_at = trio.current_time(), None
    newcomer = world.nodes[-1]
    while trio.current_time() - began < _FILL_LIMIT_S:
        now = trio.current_time()
        if admitted_at is None and all(
            newcomer.peer in node.dht.routing_table for node in world.running() if node is not newcomer
        ):
            admitted_at = now
        if await _all_held(world, work):
            return now - began, 0.0 if admitted_at is None else now - admitted_at
        await trio.sleep(_STEP_S)
    run.failures.append(f"{len(world.nodes)} nodes: values not on all holders after {_FILL_LIMIT_S:g} s")
    return _FILL_LIMIT_S, _FILL_LIMIT_S


async def _all_held(world: SimWorld, work: Workload) -> bool:
    census = Census(world.serving())
    for key in work.ledger.keys:
        for node in census.closest(key, world.config.replication_factor):
            if await node.dht.storage.get(key) is None:
                return False
    return True


SCENARIO = Scenario("small", "one to twenty nodes that join one after the other", 60.0, run, {"values": 10})
