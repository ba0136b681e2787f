"""Content is provided and found: one record at a time, and many at once.

With `sweep` records, one node that last announced them 23 hours ago is started again and reprovides them
all. Brute force says who should hold what.
"""

from __future__ import annotations

import trio

from primedht.sim.audit import check_at_rest
from primedht.sim.census import Census
from primedht.sim.checkers import closest_by_force
from primedht.sim.measures import TALLY, Series, Tally, mean
from primedht.sim.node import SimNode
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload
from primedht.sim.world import SimWorld

_AT_ONCE = 20
_LAST_PROVIDED_S = 23 * 3600.0
_SWEEP_S_MAX = 4 * 3600.0
_ON_THE_WAY_S = 2.0
_HELD_MIN = 0.995
"""Of all pairs of a record and one of its k closest peers; a lookup in 400 misses a peer."""


async def run(run: Run) -> None:
    """See the module."""
    async with run.world(config=run.config(optimistic_provide=bool(run["optimistic"]))) as world:
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
        if run["sweep"]:
            run.phase = "sweep"
            await _sweep(run, world, work.node(), int(run["sweep"]))
        await check_at_rest(run, world, work)
    run.expect(
        run.measures.success_rate >= 0.999,
        f"{run.measures.success_rate:.4%} of searches found the provider",
    )


async def _sweep(run: Run, world: SimWorld, node: SimNode, records: int) -> None:
    """Have `node` reprovide `records`, and note what that costs and who holds them."""
    multihashes = [b"\x12\x20" + run.rng.randbytes(32) for _ in range(records)]
    for multihash in multihashes:
        await node.dht.providers.store.provide(multihash)
        await node.dht.providers.store.mark_provided(multihash, node.clock.unix_now() - _LAST_PROVIDED_S)
    await node.stop()
    tally = Tally()
    token = TALLY.set(tally)
    try:
        await node.start()  # all that it does from now on counts, its maintenance included
    finally:
        TALLY.reset(token)
    began, began_unix_s = trio.current_time(), node.clock.unix_now()
    wanted = set(multihashes)

    def done() -> bool:
        own = node.dht.providers.store.own_provides()
        return all((each.provided_unix_s or 0) >= began_unix_s for each in own if each.multihash in wanted)

    await world.until(done, limit_s=_SWEEP_S_MAX, what="everything is announced")
    figures = run.measures.figures
    figures["sweep_s"] = trio.current_time() - began
    figures["sweep_messages_per_record"] = tally.messages / records
    figures["sweep_bytes_per_record"] = tally.bytes / records
    figures["one_by_one_messages_per_record"] = one_by_one = run.measures.summary("provide").messages_mean
    figures["one_by_one_bytes_per_record"] = run.measures.summary("provide").bytes_mean
    run.measures.series["Messages for each record that is provided"] = Series(
        "",
        "requests and replies",
        [("one by one", one_by_one), (f"a sweep of {records:,}", tally.messages / records)],
    )
    await trio.sleep(_ON_THE_WAY_S)
    census = Census(world.serving())
    held = mean(
        node.peer in {info.id for info in world.node_of(peer).dht.providers.held(multihash)}
        for multihash in multihashes
        for peer in closest_by_force(census, node, multihash)
    )
    figures["sweep_held"] = held
    run.expect(held >= _HELD_MIN, f"{held:.2%} of the closest peers hold what a sweep announced")


SCENARIO = Scenario(
    "provide", "content is provided and found", 120.0, run, {"singles": 0.5, "sweep": 0, "optimistic": 0}
)
