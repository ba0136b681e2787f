"""Which reads are right while a share of all peers colludes: simulated, a table and a picture of it.

The colluding name only each other, take records and return none (`adversaries` with `collude`). Where all of
a value's R closest peers collude, nobody has it, whatever a reader does: `share ** R` of the values.

    python benchmarks/adversary_curve.py --nodes 100 --plot docs/measured/adversaries.svg
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
    """Draw the curves, and as dotted lines what R copies can give."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
    settings = list(dict.fromkeys((point.replication, point.paths) for point in points))
    bounded: set[int] = set()
    for replication, paths in settings:
        own = [point for point in points if (point.replication, point.paths) == (replication, paths)]
        label = f"R = {replication}" + (f", {paths} disjoint paths" if paths > 1 else "")
        axis.plot(
            [100 * point.share for point in own],
            [100 * point.right_share for point in own],
            marker="o" if paths == 1 else "x",
            label=label,
        )
        if replication not in bounded:
            bounded.add(replication)
            shares = [number / 100 for number in range(1 + int(100 * max(point.share for point in own)))]
            axis.plot(
                [100 * share for share in shares],
                [100 * (1 - share**replication) for share in shares],
                linestyle=":",
                color="grey",
                label="some of the R closest honest" if len(bounded) == 1 else None,
            )
    axis.set_xlabel("colluding peers, % of all")
    axis.set_ylabel("right reads, %")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--paths", type=int, nargs="+", default=[1], help="disjoint paths of a lookup")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    points = [
        measure(share, replication, paths, nodes=options.nodes, seeds=options.seeds)
        for replication in REPLICATIONS
        for paths in options.paths
        for share in SHARES
    ]
    if options.json:
        print(json.dumps([point._asdict() for point in points], indent=1))
    else:
        print("\n".join(rows(points)))
    if options.plot is not None:
        draw(points, options.plot)


if __name__ == "__main__":
    main()
