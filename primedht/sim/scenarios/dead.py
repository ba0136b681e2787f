"""Some peers are gone and nobody knows yet: how much longer operations take than with none gone.

Peers at the ends of links of 50 to 300 ms work for a while; then a share of them is unplugged at one instant,
and programs look up, read and write before tables have lost them. Each reading is of a fresh world,
next to one of the same nodes in which nobody is gone.
"""

from __future__ import annotations

from math import ceil

from primedht.sim.census import Census
from primedht.sim.faults import Links, PairLatency
from primedht.sim.measures import Series, mean
from primedht.sim.run import Run, Scenario
from primedht.sim.workload import Workload
from primedht.sim.world import SimWorld

_AT_ONCE = 50
_RECALL_MIN = 0.99
_RECALL_OF_DEAD_MIN = 0.97
"""Replies name k peers, the dead among them: of the live ones the farthest may be named by nobody."""
_KINDS = ("lookup", "get", "put")


async def run(run: Run) -> None:
    """See the module."""
    latency = PairLatency(run["rtt_min"] / 2, run["rtt_max"] / 2)
    run.links = Links(latency, loss=run["loss"])
    run.measures.round_trip_s = 2 * latency.mean_one_way_s()
    per_world = max(20, int(run["operations"] * run.nodes))
    rounds = ceil(run["reads"] / (2 * per_world))
    for number in range(rounds):
        for share, suffix in ((0.0, ""), (run["share"], " with dead peers")):
            run.phase = f"round {number + 1} of {rounds}{suffix}"
            async with run.world() as world:
                await _measure(run, world, per_world, share, suffix)
    for kind in _KINDS:
        _compare(run, kind)
    run.measures.series["Latency with dead peers over latency with none"] = Series(
        "",
        "times as long",
        [
            (f"{kind}\n{name}", float(run.measures.figures[f"{kind}_{name}_ratio"]))
            for kind in _KINDS
            for name in ("p50", "p90", "mean")
        ],
        limit=run["ratio_max"],
    )


async def _measure(run: Run, world: SimWorld, per_world: int, share: float, suffix: str) -> None:
    work = Workload(world, run.measures, run.rng)
    warm_up = Census(world.serving())

    async def learn(number: int) -> None:
        node = world.nodes[number % len(world.nodes)]
        await work.look_up(node, b"warm-up %d" % number, warm_up, kind="warm-up")

    async def prepare(number: int) -> None:
        await work.put(work.node(), b"value %d" % number, kind="warm-up")

    await run.each(int(run["warm_up"] * run.nodes), learn, at_once=_AT_ONCE)
    await run.each(per_world, prepare, at_once=_AT_ONCE)
    for node in run.rng.sample(world.nodes, int(share * run.nodes)):
        await node.crash(silent=True)
    census = Census(world.serving())
    running = run.rng.sample(world.running(), len(world.running()))
    recalls: list[float] = []
    dead_before = _dead_share(world)

    async def act(number: int) -> None:
        kind, number = _KINDS[number % 3], number // 3
        node = running[(3 * number + _KINDS.index(kind)) % len(running)]
        if kind == "lookup":
            recalls.append(await work.look_up(node, b"target %d" % number, census, kind=kind + suffix))
        elif kind == "get":
            await work.get(node, b"value %d" % number, kind=kind + suffix)
        else:
            await work.put(node, b"another %d" % number, kind=kind + suffix)

    await run.each(3 * per_world, act, at_once=_AT_ONCE)
    figures, name = run.measures.figures, suffix.replace(" ", "_")
    figures[f"recall{name}"] = mean(recalls)
    allowed = _RECALL_OF_DEAD_MIN if share else _RECALL_MIN
    run.expect(mean(recalls) >= allowed, f"lookups{suffix} found {mean(recalls):.2%} of the closest")
    if share:
        figures["dead_in_tables_before"], figures["dead_in_tables_after"] = dead_before, _dead_share(world)


def _dead_share(world: SimWorld) -> float:
    live = {node.peer for node in world.running()}
    return mean(peer not in live for node in world.running() for peer in node.dht.routing_table.peers())


def _compare(run: Run, kind: str) -> None:
    """Note how much longer operations of this kind took, and cost, where peers were dead."""
    healthy = run.measures.summary(kind)
    ill = run.measures.summary(f"{kind} with dead peers")
    figures, limit = run.measures.figures, run["ratio_max"]
    for at in ("p50", "p90"):
        figures[f"{kind}_{at}_ratio"] = ill.seconds[at] / healthy.seconds[at]
    figures[f"{kind}_mean_ratio"] = _seconds_mean(run, f"{kind} with dead peers") / _seconds_mean(run, kind)
    figures[f"{kind}_messages_ratio"] = ill.messages_mean / healthy.messages_mean
    for name in ("p50", "p90", "mean"):
        ratio = figures[f"{kind}_{name}_ratio"]
        run.expect(float(ratio) <= limit, f"{kind}, {name}: {ratio:.2f} times as long, {limit:g} are allowed")


def _seconds_mean(run: Run, kind: str) -> float:
    return mean(sample.took_s for sample in run.measures.samples[kind] if sample.ok)


SCENARIO = Scenario(
    "dead",
    "some peers are gone and nobody knows yet",
    60.0,
    run,
    {"share": 0.1, "operations": 0.5, "warm_up": 1, "rtt_min": 0.05, "rtt_max": 0.3, "ratio_max": 1.5},
)
