"""Which reads are right while a share of all peers colludes: simulated, a table and a picture of it.

The colluding name only each other, take records and return none (`adversaries` with `collude`). Where all of
a value's R closest peers collude, nobody has it, whatever a reader does: `share ** R` of the values.

    python -m benchmarks.adversary_curve --paths 1 2 3 --json docs/measured/adversaries.json \
        --plot docs/measured/adversaries.svg
    python -m benchmarks.adversary_curve --draw docs/measured/adversaries.json --plot out.svg
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from primedht.sim.plots import require_matplotlib
from primedht.sim.run import run_scenario
from primedht.sim.scenarios import SCENARIOS

SHARES = (0.1, 0.2, 0.35, 0.5)
REPLICATIONS = (3, 6)


class Point(NamedTuple):
    """What was measured at one share; right and forged are of `reads`."""

    share: float
    replication: int
    paths: int
    reads: int
    right: int
    forged: int
    messages_per_read: float
    median_s: float
    digests: tuple[str, ...]

    @property
    def right_share(self) -> float:
        """The share of reads that returned the newest acknowledged value."""
        return self.right / self.reads

    @property
    def bound(self) -> float:
        """The share of values that have an honest peer among their R closest."""
        return 1 - self.share**self.replication


def measure(
    share: float, replication: int, paths: int, *, nodes: int, seeds: int, values_per_node: float = 2.0
) -> Point:
    """Run `adversaries` once for each seed, 1 to `seeds`."""
    reads = right = forged = 0
    messages: list[float] = []
    medians: list[float] = []
    digests: list[str] = []
    for seed in range(1, seeds + 1):
        result = run_scenario(
            SCENARIOS["adversaries"],
            nodes=nodes,
            seed=seed,
            duration_s=20.0,
            parameters={
                "collude": 1,
                "share": share,
                "replication": replication,
                "paths": paths,
                "alpha": max(3, paths),
                "values": values_per_node,
                "reads": 1000,
                "success_min": 0,
            },
        )
        read = result.measures.summary("get")
        reads += result.measures.reads
        right += result.measures.good_reads
        forged += result.measures.bad_reads["foreign"]
        messages.append(read.messages_mean)
        medians.append(read.seconds["p50"])
        digests.append(result.digest)
    return Point(
        share,
        replication,
        paths,
        reads,
        right,
        forged,
        sum(messages) / seeds,
        sum(medians) / seeds,
        tuple(digests),
    )


def rows(points: Sequence[Point]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| share | R | paths | right | bound | forged | messages | median |"
    yield "|---|---|---|---|---|---|---|---|"
    for point in points:
        yield (
            f"| {point.share:.0%} | {point.replication} | {point.paths} | {point.right_share:.2%} |"
            f" {point.bound:.2%} | {point.forged} | {point.messages_per_read:.0f} | {point.median_s:.2f} s |"
        )


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw which reads are right and what R copies can give; beside it what a read costs."""
    require_matplotlib()
    from matplotlib import pyplot as plt

    from benchmarks.charts import COLOURS, save

    figure, (right, cost) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
    colours = {3: COLOURS["primedht"], 6: COLOURS["go"]}
    paths_drawn = sorted({point.paths for point in points})
    for replication, colour in colours.items():
        own = [point for point in points if point.replication == replication]
        for paths, marker, line in zip(paths_drawn, "ox^", ("-", "--", ":"), strict=False):
            drawn = [point for point in own if point.paths == paths]
            shares = [100 * point.share for point in drawn]
            look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 3 + 2 * paths}
            look |= {"markerfacecolor": colour if paths == 1 else "none"}
            right.plot(shares, [100 * point.right_share for point in drawn], **look)
            label = f"R = {replication}" + (f", {paths} disjoint paths" if paths > 1 else "")
            cost.plot(shares, [point.messages_per_read for point in drawn], label=label, **look)
        bounds = [number / 100 for number in range(1 + int(100 * max(point.share for point in own)))]
        right.plot(
            [100 * share for share in bounds],
            [100 * (1 - share**replication) for share in bounds],
            color=colour,
            linestyle=(0, (1, 2)),
            label=f"values with one of the {replication} closest honest",
        )
    right.set(title="Reads that are right", ylabel="% of reads", ylim=(80, 100.8))
    right.legend(loc="lower left", frameon=False, fontsize=8)
    cost.set(title="What a read costs", ylabel="requests and replies")
    cost.set_ylim(bottom=0)
    each = len(paths_drawn)
    lines = [line for pair in zip(cost.lines[:each], cost.lines[each:], strict=True) for line in pair]
    figure.legend(loc="outside lower center", handles=lines, ncols=each, frameon=False, fontsize=8)
    for axes in (right, cost):
        axes.set_xlabel("colluding peers, % of all")
        axes.grid(color="#d9dce3", linewidth=0.6)
    save(figure, path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--paths", type=int, nargs="+", default=[1], help="disjoint paths of a lookup")
    parser.add_argument("--plot", type=Path, help="where the picture goes, as SVG")
    parser.add_argument("--json", type=Path, help="where the points go")
    parser.add_argument("--draw", type=Path, help="draw these points instead of measuring")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    if options.draw is not None:
        points = [Point(**point) for point in json.loads(options.draw.read_text("utf-8"))]
    else:
        points = [
            measure(share, replication, paths, nodes=options.nodes, seeds=options.seeds)
            for replication in REPLICATIONS
            for paths in options.paths
            for share in SHARES
        ]
    if options.json is not None:
        shown = [point._asdict() for point in points]
        options.json.write_text(json.dumps(shown, indent=1) + "\n", "utf-8")
    print("\n".join(rows(points)))
    if options.plot is not None:
        draw(points, options.plot)


if __name__ == "__main__":
    main()
