"""The network falls into halves that both go on writing, and comes together again.

Each half writes, deletes and lets expire; after healing, the highest sequence must be with all that should
hold it, soon after the first contact, and nothing deleted or expired may be read.
"""

from __future__ import annotations

import trio

from primedht.errors import PrimeDhtError
from primedht.sim.audit import check_at_rest, converge, not_converged
from primedht.sim.author import Author
from primedht.sim.clock import true_unix_now
from primedht.sim.node import SimNode
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload

_AT_ONCE = 20
_TTL_S = 7 * 24 * 3600.0
_STEP_S = 0.5


async def run(run: Run) -> None:
    """See the module."""
    async with run.world() as world:
        work = Workload(world, run.measures, run.rng)
        author = Author(run.rng.randbytes(32), world.config.network_id)
        values = max(50, int(run["values"] * run.nodes))
        keys = [author.key(f"value/{number}") for number in range(values)]
        deleted, fleeting = keys[: values // 10], keys[values // 10 : values // 5]
        one = [node for node in world.nodes if node.index % 2]
        other = [node for node in world.nodes if not node.index % 2]

        async def put_at(nodes: list[SimNode], key: bytes, ttl_s: float = _TTL_S) -> None:
            node = nodes[run.rng.randrange(len(nodes))]
            await work.put(node, key, value=author.sign(key, work.value(), ttl_s=ttl_s))

        run.phase = "puts"
        await run.each(values, lambda at: put_at(world.nodes, keys[at], _life(at, run)), at_once=_AT_ONCE)
        run.phase = "partition"
        cuts = world.network.faults.partition([node.peer for node in one], [node.peer for node in other])
        began = trio.current_time()
        await trio.sleep(run["cut"] / 3)
        rest = keys[values // 5 :]
        await run.each(len(rest), lambda at: put_at(one, rest[at]), at_once=_AT_ONCE)
        await run.each(len(rest) // 2, lambda at: put_at(other, rest[2 * at]), at_once=_AT_ONCE)
        for key in deleted:
            await _delete(work, author, one, key)
        await trio.sleep(max(0.0, began + run["cut"] - trio.current_time()))
        run.phase = "healing"
        world.network.faults.heal(cuts)
        healed_at = trio.current_time()
        contact = _FirstContact(one, other)
        met_at = await contact.wait()
        limit_s = run["converge_limit"]
        took_s = await converge(world, work, limit_s=limit_s)
        figures = run.measures.figures
        figures["first_contact_s"] = met_at - healed_at
        if took_s is None:
            run.failures.append(await not_converged(world, work, limit_s=limit_s, since="the first contact"))
        else:
            figures["converged_after_contact_s"] = took_s
            run.expect(
                took_s <= run["converge_max"], f"convergence took {took_s:.0f} s from the first contact"
            )
        run.phase = "reads"
        reads = max(int(run["reads"]), values)

        async def get(number: int) -> None:
            await work.get(work.node(), keys[number % values])

        await run.each(reads, get, at_once=_AT_ONCE)
        gone = [key for key in fleeting if work.ledger.newest(key).expires_unix_s < true_unix_now()]
        figures["expired_meanwhile"] = len(gone)
        await check_at_rest(run, world, work)
    bad = dict(run.measures.bad_reads)
    for what in ("deleted", "expired", "foreign", "stale"):
        run.expect(not bad.get(what), f"{bad.get(what)} reads returned what is {what}")
    run.expect(run.measures.success_rate >= 0.999, f"reads failed: {bad}")


def _life(number: int, run: Run) -> float:
    """Let the second tenth of the values expire while the network is cut."""
    values = max(50, int(run["values"] * run.nodes))
    fleeting = values // 10 <= number < values // 5
    return run["cut"] / 2 + 30.0 if fleeting else _TTL_S


async def _delete(work: Workload, author: Author, nodes: list[SimNode], key: bytes) -> None:
    node = nodes[work.rng.randrange(len(nodes))]
    tombstone = author.sign(key, b"", ttl_s=_TTL_S, tombstone=True)
    try:
        await node.dht.delete_value(key, tombstone)
    except PrimeDhtError:
        return
    work.ledger.on_delete(key)


class _FirstContact:
    """Waits until a node has somebody of the other half in its table."""

    def __init__(self, one: list[SimNode], other: list[SimNode]) -> None:
        self._one, self._others = one, {node.peer for node in other}

    async def wait(self) -> float:
        """Return when that was, in virtual seconds; at once if the halves never forgot each other."""
        while True:
            for node in self._one:
                connected = node.host.connected()
                if any(peer in self._others for peer in connected):
                    return trio.current_time()
            await trio.sleep(_STEP_S)


SCENARIO = Scenario(
    "partition",
    "the network falls into halves and heals",
    300.0,
    run,
    {"cut": 60, "values": 0.5, "converge_max": 30, "converge_limit": 900},
)
