"""A share of the peers wants the network to fail: what honest nodes still read.

Values are signed, half are written again, and all are read by honest nodes. A forged, changed or stale
record must never be returned where its class is signed, whatever the share; one signer contradicts
itself, and all must agree on which of its records counts. With `collude` no adversary wastes itself on what
fails: all name only each other, take records and return none.
"""

from __future__ import annotations

import trio

from primedht.errors import PrimeDhtError
from primedht.sim.adversaries import Plan, add_adversaries
from primedht.sim.audit import check_at_rest
from primedht.sim.author import Author
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload

_AT_ONCE = 20
_TTL_S = 7 * 24 * 3600.0
_PLANS = (Plan.MISLEAD, Plan.POISON, Plan.WITHHOLD, Plan.REPLAY, Plan.FORGE, Plan.FALSE_PROVIDER)


async def run(run: Run) -> None:
    """See the module."""
    bad = round(run["share"] * run.nodes)
    honest = max(2, run.nodes - bad)
    async with run.world(honest) as world:
        plans: tuple[Plan, ...] = (*_PLANS, Plan.FLOOD) if run["floods"] else _PLANS
        if run["collude"]:
            plans = (Plan.COLLUDE,)
        await add_adversaries(world, bad, plans=plans, seed=run.seed)
        world.prefill_all()
        began = trio.current_time()
        work = Workload(world, run.measures, run.rng)
        author = Author(run.rng.randbytes(32), world.config.network_id)
        values = max(50, int(run["values"] * run.nodes))

        async def put(number: int) -> None:
            key = author.key(f"value/{number % values}")
            await work.put(work.node(), key, value=author.sign(key, work.value(), ttl_s=_TTL_S))

        run.phase = "puts"
        await run.each(values, put, at_once=_AT_ONCE)
        await run.each(values // 2, put, at_once=_AT_ONCE)
        keys = work.ledger.keys
        reads = max(int(run["reads"]), values)

        async def get(number: int) -> None:
            await work.get(work.node(), keys[number % len(keys)])

        run.phase = "reads"
        await run.each(reads // 2, get, at_once=_AT_ONCE)
        run.phase = "rest"
        await trio.sleep(max(0.0, began + run.duration_s - trio.current_time()))
        run.phase = "reads"
        await run.each(reads - reads // 2, get, at_once=_AT_ONCE)
        await _contradict(run, work, author)
        figures = run.measures.figures
        figures["puts_acknowledged"] = len(keys) / values
        figures["records_kept_by_the_fullest"] = max(len(node.dht.storage) for node in world.nodes)
        await check_at_rest(run, world, work)
    measures = run.measures
    run.expect(not measures.bad_reads["foreign"], f"{measures.bad_reads['foreign']} reads returned forgeries")
    run.expect(
        measures.success_rate >= run["success_min"],
        f"{measures.success_rate:.4%} of reads succeeded: {dict(measures.bad_reads)}",
    )


async def _contradict(run: Run, work: Workload, author: Author) -> None:
    """Have one signer give two values the same sequence; after a round of reads all must see one."""
    key = author.key("contradiction")
    writers = [work.node(), work.node()]
    for number, node in enumerate(writers):
        signed = author.sign(key, b"answer %d" % number, ttl_s=_TTL_S + number, sequence=1)
        try:
            await node.dht.put_value(key, signed, keep=False)
        except PrimeDhtError:
            continue  # whoever knows the better one refuses the other
    seen: set[bytes] = set()
    for turn in range(20):
        try:
            found = await work.node().dht.get_value(key)
        except PrimeDhtError:
            continue
        if turn >= 5:
            seen.add(found.value)
    run.measures.figures["answers_of_a_contradiction"] = len(seen)


SCENARIO = Scenario(
    "adversaries",
    "a share of the peers wants the network to fail",
    120.0,
    run,
    {"share": 0.2, "values": 0.5, "floods": 1, "collude": 0, "success_min": 0.985},
)
