"""Sybils from two address blocks surround some keys: reads of what was there before, and of new values.

Readers and writers have looked up some keys before, as any node that has been up for a while: it tells the
network's size by them. For each target, ids are ground until they are closer to it than any honest node.
The Sybils name only each other, take records and return none.
"""

from __future__ import annotations

import trio

from primedht.sim.adversaries import Plan, add_sybils
from primedht.sim.audit import check_at_rest
from primedht.sim.author import Author
from primedht.sim.measures import mean
from primedht.sim.node import SimNode
from primedht.sim.peer import SimPeer
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload

_AT_ONCE = 10
_MET_BY_EACH = 5  # of the closest honest nodes, which then tell of it
_TTL_S = 7 * 24 * 3600.0


async def run(run: Run) -> None:
    """See the module."""
    targets = int(run["targets"])
    async with run.world() as world:
        work = Workload(world, run.measures, run.rng)
        author = Author(run.rng.randbytes(32), world.config.network_id)

        async def warm_up(number: int) -> None:
            node = chosen[number % readers]
            await node.dht.closest_peers(b"warm up %d" % number)

        run.phase = "warm-up"
        readers = min(run.nodes, int(run["readers"]))
        chosen = world.nodes[:readers]
        await run.each(int(run["warm_up"]) * readers, warm_up, at_once=_AT_ONCE)
        before = [author.key(f"before/{number}") for number in range(targets)]
        after = [author.key(f"after/{number}") for number in range(targets)]

        async def put(number: int) -> None:
            key = (*before, *after)[number]
            await work.put(
                chosen[run.rng.randrange(readers)], key, value=author.sign(key, work.value(), ttl_s=_TTL_S)
            )

        run.phase = "puts"
        await run.each(targets, put, at_once=_AT_ONCE)
        run.phase = "sybils"
        began = trio.current_time()
        for number, key in enumerate((*before, *after)):
            sybils = await add_sybils(
                world, key, int(run["sybils"]), plan=Plan.WITHHOLD, seed=run.seed * 1000 + number
            )
            near = world.closest(key, _MET_BY_EACH)

            async def meet(at: int, sybils: list[SimPeer] = sybils, near: list[SimNode] = near) -> None:
                await world.meet(sybils[at], near)

            await run.each(len(sybils), meet, at_once=_AT_ONCE)
        await trio.sleep(max(0.0, began + run.duration_s - trio.current_time()))
        run.phase = "puts"
        for number in range(targets, 2 * targets):
            await put(number)
        run.phase = "reads"
        keys = work.ledger.keys
        outcomes: dict[bool, list[bool]] = {True: [], False: []}

        async def get(number: int) -> None:
            key = keys[number % len(keys)]
            outcomes[key in before].append(await work.get(chosen[number % readers], key) == "ok")

        await run.each(int(run["reads"]), get, at_once=_AT_ONCE)
        run.measures.figures["found_from_before"] = mean(outcomes[True])
        run.measures.figures["found_from_after"] = mean(outcomes[False])
        await check_at_rest(run, world, work)
    measures = run.measures
    run.expect(not measures.bad_reads["foreign"], "a forgery was returned")
    run.expect(
        measures.success_rate >= run["success_min"],
        f"{measures.success_rate:.4%} of reads succeeded: {dict(measures.bad_reads)}",
    )


SCENARIO = Scenario(
    "eclipse",
    "Sybils surround some keys",
    120.0,
    run,
    {"targets": 5, "sybils": 24, "readers": 50, "warm_up": 8, "success_min": 0.95},
)
