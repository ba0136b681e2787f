"""Nodes come and go all the time: what is still found, how fast repair is, and what it costs.

Half of the ends are crashes that reset nothing, and by default a node comes back with an empty store.
Values are written at the start, some again later by whoever is up; nobody but repair keeps them alive.
A few nodes stay throughout and provide content, to see how long provider records are found.
"""

from __future__ import annotations

import trio

from primedht.sim.audit import RepairAudit, check_at_rest, converge, not_converged
from primedht.sim.measures import Series, mean
from primedht.sim.run import Run, Scenario
from primedht.sim.sessions import Churn, Sessions
from primedht.sim.workload import Workload

_READS_AT_ONCE = 8
_WRITES_AT_ONCE = 20
_STAYING_SHARE = 0.05
_BOOTSTRAP_PEERS = 3
_UPDATED_SHARE = 0.1  # of reads that are preceded by a write


async def run(run: Run) -> None:
    """See the module."""
    stay = max(1, int(_STAYING_SHARE * run.nodes))
    async with run.world(config=run.config(repair_bytes_per_s=int(run["repair_bytes_per_s"]))) as world:
        work = Workload(world, run.measures, run.rng)
        values = max(50, int(run["values"] * run.nodes))
        multihashes = [b"\x12\x20" + run.rng.randbytes(32) for _ in range(stay)]

        async def put(number: int) -> None:
            await work.put(work.node(), b"value %d" % number)

        async def provide(number: int) -> None:
            await work.provide(world.nodes[number], multihashes[number])

        run.phase = "puts"
        await run.each(values, put, at_once=_WRITES_AT_ONCE)
        await run.each(stay, provide, at_once=_WRITES_AT_ONCE)
        keys = work.ledger.keys
        # Whoever comes back with an empty store has forgotten its peers too.
        addrs = [node.addr for node in world.nodes[: min(stay, _BOOTSTRAP_PEERS)]]
        for node in world.nodes:
            node.bootstrap = tuple(addr for addr in addrs if addr != node.addr)
        churn = Churn(
            Sessions(run["median"], run["shape"]), Sessions(run["down"], 1.0), keep_share=run["keep"]
        )
        audit = RepairAudit(world, work, every_s=min(60.0, run.duration_s / 4))
        began = trio.current_time()
        reads = int(run["reads"])
        found = searches = 0

        async def read(number: int) -> None:
            nonlocal found, searches
            await trio.sleep_until(began + run.duration_s * (number + 0.5) / reads)
            key = keys[run.rng.randrange(len(keys))]
            if run.rng.random() < _UPDATED_SHARE:
                await work.put(work.node(), key, kind="update")
            while await work.get(work.node(), key) is None:
                pass  # the reader went: another one reads
            if not number % 2:
                at, searcher = run.rng.randrange(stay), work.node()
                life = searcher.starts_count
                known = await work.find_provider(searcher, multihashes[at], world.nodes[at])
                if searcher.goes_on(life):
                    found, searches = found + known, searches + 1

        run.phase = "churn"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(audit.serve)
            churn.start(nursery, world.nodes[stay:], run.seed)
            await run.each(reads, read, at_once=_READS_AT_ONCE)
            nursery.cancel_scope.cancel()
        churn_ended = trio.current_time()
        await audit.look()
        figures, copies = run.measures.figures, values * run["replication"]
        limit_s = run["converge_max"]
        took_s = await converge(world, work, limit_s=limit_s)
        if took_s is None:
            run.failures.append(await not_converged(world, work, limit_s=limit_s, since="the last fault"))
        else:
            figures["converged_after_churn_s"] = took_s
        hours = run.duration_s / 3600
        lost_copies = churn.ends_count * run["replication"] * values / run.nodes
        figures["provider_searches"] = searches
        figures["providers_found"] = found / searches if searches else 1.0
        figures["ends_per_node_hour"] = churn.ends_count / run.nodes / hours
        figures["values_lost"] = audit.losses
        figures["values_lost_per_day_share"] = audit.losses / values / (hours / 24)
        figures["missing_copies_share"] = mean(audit.missing) / copies
        run.measures.series["Copies that are missing"] = Series(
            "virtual seconds of churn",
            "of R copies of each value",
            [((at + 1) * audit.every_s, 100 * missing / copies) for at, missing in enumerate(audit.missing)],
            y_percent=True,
        )
        # Little's law: what is missing on average is the rate of losing times the time to repair.
        figures["repair_s"] = mean(audit.missing) * run.duration_s / lost_copies if lost_copies else 0.0
        figures["busiest_messages_per_s"] = audit.busiest / audit.every_s
        run.expect(not audit.overspent, f"repair went over its budget {audit.overspent} times")
        # Until then those that came last are being filled, and the silent deaths among the last noticed.
        await trio.sleep_until(churn_ended + limit_s)
        await check_at_rest(run, world, work)
    run.expect(
        run.measures.success_rate >= run["success_min"],
        f"{run.measures.success_rate:.4%} of reads succeeded: {dict(run.measures.bad_reads)}",
    )


SCENARIO = Scenario(
    "churn",
    "nodes come and go all the time",
    1800.0,
    run,
    {
        "median": 3600,
        "shape": 1,
        "down": 600,
        "keep": 0,
        "values": 0.5,
        "success_min": 0.95,
        "repair_bytes_per_s": 256 << 10,
        "converge_max": 120,
    },
)
