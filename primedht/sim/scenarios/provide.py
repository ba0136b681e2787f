"""Content is provided and found: one record at a time, and many at once."""

from __future__ import annotations

import trio

from primedht.sim.audit import check_at_rest
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload

_AT_ONCE = 20


async def run(run: Run) -> None:
    """See the module."""
    async with run.world() as world:
        began = trio.current_time()
        work = Workload(world, run.measures, run.rng)
        singles = max(50, int(run["singles"] * run.nodes))
        contents = [(b"\x12\x20" + run.rng.randbytes(32), work.node()) for _ in range(singles)]

        async def provide(number: int) -> None:
            multihash, node = contents[number]
            await work.provide(node, multihash)

        run.phase = "one by one"
        await run.each(singles, provide, at_once=_AT_ONCE)
        reads = int(run["reads"])

        async def find(number: int) -> None:
            multihash, node = contents[number % len(contents)]
            searcher = work.node()
            found = await work.find_provider(searcher, multihash, node)
            run.measures.read("ok" if found else "missing")

        run.phase = "searches"
        await run.each(reads // 2, find, at_once=_AT_ONCE)
        run.phase = "rest"
        await trio.sleep(max(0.0, began + run.duration_s - trio.current_time()))
        run.phase = "searches"
        await run.each(reads - reads // 2, find, at_once=_AT_ONCE)
        await check_at_rest(run, world, work)
    run.expect(
        run.measures.success_rate >= 0.999,
        f"{run.measures.success_rate:.4%} of searches found the provider",
    )


SCENARIO = Scenario("provide", "content is provided and found", 120.0, run, {"singles": 0.5})
