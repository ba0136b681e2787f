"""One to twenty nodes: a value is on every holder that should have it as soon as there is one.

For each size a network starts with one node, which writes; the others join one after the other. How long
a newcomer takes to hold what it should is counted in round trips: from its start, and for each value from
when the closest holder of before had its first contact with the newcomer, and admitted it to its table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from primedht.sim.audit import check_at_rest
from primedht.sim.census import Census
from primedht.sim.faults import ConstantLatency, Links
from primedht.sim.measures import Series, quantiles
from primedht.sim.node import SimNode
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload
from primedht.sim.world import SimWorld

_SIZE_MAX = 20
_ONE_WAY_S = 0.05
_FILL_LIMIT_S = 30.0
_STEP_S = 0.01
_AT_ONCE = 4
_AFTER_CONTACT_RTTS = 4
_AFTER_ADMISSION_RTTS = 1


async def run(run: Run) -> None:
    """See the module."""
    size_max = max(1, min(run.nodes, _SIZE_MAX))
    values, links = int(run["values"]), Links(ConstantLatency(_ONE_WAY_S))
    run.measures.round_trip_s = 2 * _ONE_WAY_S
    reads_per_size = -(-int(run["reads"]) // size_max)
    fills: list[_Fill] = []
    for size in range(1, size_max + 1):
        run.phase = f"{size} node{'s' * (size > 1)}"
        async with run.world(1, links=links, start="bootstrapped") as world:
            work = Workload(world, run.measures, run.rng)
            for number in range(values):
                await work.put(world.nodes[0], b"value %d" % number)
            for _ in range(size - 1):
                await world.add_node()
                fills.append(await _fill(run, world, work))
            keys = work.ledger.keys

            async def get(number: int, work: Workload = work, keys: tuple[bytes, ...] = keys) -> None:
                await work.get(work.node(), keys[number % len(keys)])

            await run.each(reads_per_size, get, at_once=_AT_ONCE)
            await check_at_rest(run, world, work)
    figures = run.measures.figures
    if fills:
        rtt_s = run.measures.round_trip_s
        figures["fill_rtts_mean"] = sum(fill.took_s for fill in fills) / len(fills) / rtt_s
        figures["fill_rtts_max"] = max(fill.took_s for fill in fills) / rtt_s
        for name, waits_s, rtts_max in (
            ("contact", [wait_s for fill in fills for wait_s in fill.after_contact_s], _AFTER_CONTACT_RTTS),
            (
                "admission",
                [wait_s for fill in fills for wait_s in fill.after_admission_s],
                _AFTER_ADMISSION_RTTS,
            ),
        ):
            rtts = quantiles([wait_s / rtt_s for wait_s in waits_s])
            figures |= {f"fill_after_{name}_rtts_{at}": rtts[at] for at in ("p50", "max") if rtts}
            late = sum(wait_s > rtts_max * rtt_s + 2 * _STEP_S for wait_s in waits_s)
            run.expect(not late, f"{late} values came over {rtts_max} round trips after the first {name}")
        _picture(run, fills)
    run.expect(run.measures.success_rate == 1.0, f"reads failed: {dict(run.measures.bad_reads)}")


def _picture(run: Run, fills: list[_Fill]) -> None:
    """Have drawn, against the network's size with the newcomer, how many round trips each wait was."""
    series, rtt_s = run.measures.series, run.measures.round_trip_s
    size = "nodes, the newcomer with them"
    series["Newcomer: from its start to all it should hold"] = Series(
        size, "round trips", [(float(fill.size), fill.took_s / rtt_s) for fill in fills if fill.took_s]
    )
    series["Each value: from the holder's first contact"] = Series(
        size,
        "round trips",
        [(float(fill.size), wait_s / rtt_s) for fill in fills for wait_s in fill.after_contact_s],
        limit=_AFTER_CONTACT_RTTS,
    )


@dataclass(slots=True)
class _Fill:
    """size: nodes, the newcomer among them. took_s: from its start until it held all that it should.

    The others are of each value.
    """

    size: int
    took_s: float = _FILL_LIMIT_S
    after_contact_s: list[float] = field(default_factory=list)
    after_admission_s: list[float] = field(default_factory=list)


async def _fill(run: Run, world: SimWorld, work: Workload) -> _Fill:
    """Watch the newcomer until each value is on all that should hold it."""
    fill, began, newcomer = _Fill(len(world.nodes)), trio.current_time(), world.nodes[-1]
    before = Census(node for node in world.serving() if node is not newcomer)
    met_at: dict[SimNode, float] = {}
    admitted_at: dict[SimNode, float] = {}
    held_at: dict[bytes, float] = {}
    while (now := trio.current_time()) - began < _FILL_LIMIT_S:
        for node in world.running():
            if newcomer.peer in node.host.connected():
                met_at.setdefault(node, now)
            if newcomer.peer in node.dht.routing_table:
                admitted_at.setdefault(node, now)
        for key in work.ledger.keys:
            if key not in held_at and await newcomer.dht.storage.get(key) is not None:
                held_at[key] = now
        if await _all_held(world, work):
            fill.took_s = now - began
            for key, at in held_at.items():
                (holder,) = before.closest(key, 1)
                fill.after_contact_s.append(at - met_at.get(holder, at))
                fill.after_admission_s.append(at - admitted_at.get(holder, at))
            return fill
        await trio.sleep(_STEP_S)
    run.failures.append(f"{len(world.nodes)} nodes: values not on all holders after {_FILL_LIMIT_S:g} s")
    return fill


async def _all_held(world: SimWorld, work: Workload) -> bool:
    census = Census(world.serving())
    for key in work.ledger.keys:
        for node in census.closest(key, world.config.replication_factor):
            if await node.dht.storage.get(key) is None:
                return False
    return True


SCENARIO = Scenario("small", "one to twenty nodes that join one after the other", 60.0, run, {"values": 10})
