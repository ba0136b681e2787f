"""Nobody comes or goes: how far lookups go, what they cost, and that they find the truth.

Tables are pre-filled, so that ten thousand nodes start at once. Lookups of random keys are compared with
brute force, values are written and read, then the network is left alone for the rest of the time, and
read again.
"""

from __future__ import annotations

import trio

from primedht.sim.audit import check_at_rest
from primedht.sim.census import Census
from primedht.sim.measures import mean
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload

_AT_ONCE_MIN, _NODES_FOR_ONE = 50, 20  # operations under way: one for so many nodes
_RECALL_MIN = 0.99
"""Of the k closest peers, over all lookups; of first dials across the world a few are given up."""


async def run(run: Run) -> None:
    """See the module."""
    async with run.world() as world:
        began = trio.current_time()
        work = Workload(world, run.measures, run.rng)
        census = Census(world.serving())
        at_once = max(_AT_ONCE_MIN, run.nodes // _NODES_FOR_ONE)
        lookups = int(run["lookups"] * run.nodes)
        recalls: list[float] = []

        async def look_up(number: int) -> None:
            recalls.append(await work.look_up(work.node(), b"target %d" % number, census))

        run.phase = "lookups"
        await run.each(lookups, look_up, at_once=at_once)
        run.measures.figures["exact_lookups"] = mean(recall == 1.0 for recall in recalls)
        run.measures.figures["recall"] = mean(recalls)
        run.expect(mean(recalls) >= _RECALL_MIN, f"lookups found {mean(recalls):.2%} of the closest peers")

        values = max(50, int(run["values"] * run.nodes))

        async def put(number: int) -> None:
            await work.put(work.node(), b"value %d" % number)

        run.phase = "puts"
        await run.each(values, put, at_once=at_once)
        keys = work.ledger.keys
        run.expect(len(keys) == values, f"{values - len(keys)} of {values} puts failed")
        reads = max(int(run["reads"]), values)

        async def get(number: int) -> None:
            await work.get(work.node(), keys[number % len(keys)])

        run.phase = "reads"
        await run.each(reads // 2, get, at_once=at_once)
        run.phase = "maintenance"
        before = world.network.traffic.sent.total()
        idle_s = max(0.0, began + run.duration_s - trio.current_time())
        await trio.sleep(idle_s)
        if idle_s:
            idle = world.network.traffic.sent.total() - before
            run.measures.figures["idle_messages_per_node_hour"] = idle / run.nodes / idle_s * 3600
        run.phase = "reads"
        await run.each(reads - reads // 2, get, at_once=at_once)
        table_sizes = [len(node.dht.routing_table) for node in world.nodes]
        run.measures.figures["table_size_mean"] = sum(table_sizes) / len(table_sizes)
        await check_at_rest(run, world, work)
    run.expect(run.measures.success_rate == 1.0, f"reads failed: {dict(run.measures.bad_reads)}")


SCENARIO = Scenario(
    "static",
    "nobody comes or goes",
    600.0,
    run,
    {"lookups": 2, "values": 0.2},
)
