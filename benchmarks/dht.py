"""The DHT under load: how much one node answers to many clients, and what put and get take in a cluster.

The node runs as under `primedht run`, its store on disk. Its clients are hosts of one go process
(harness.py), each with a connection of its own and one request under way. The cluster is of daemons on
this machine, which share its cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
from pathlib import Path
from typing import Any

import structlog
import trio
from harness import machine, need_peers, open_generator
from targets import Bench, Figures, open_target

from cluster import open_cluster  # isort: skip
from report import percentile  # isort: skip
from scenarios import Outcome, get_values, put_values  # isort: skip

CROWD = 100
CLIENTS = (10, 50, 100)
VALUE_BYTES = 1024


async def measure_answers(seconds: float) -> dict[str, Figures]:
    """Return the figures of one node, by row: kind of request, streams, clients."""
    rows: dict[str, Figures] = {}
    async with open_target("primedht") as target, open_generator() as generator:
        bench = Bench(target, generator, seconds)
        await bench.surround(CROWD)
        for kind in ("FIND_NODE", "GET_VALUE"):
            await bench.load(kind, fresh=False, at_once=CROWD, clients=CROWD)
            for how in ("reused", "new"):
                for clients in CLIENTS:
                    rows[f"{kind.lower()}_{how}_{clients}_clients"] = await bench.requests(
                        kind, fresh=how == "new", at_once=clients, clients=clients
                    )
    return rows


def summary(outcome: Outcome) -> Figures:
    if outcome.failures:
        raise SystemExit("failed: " + "\n".join(outcome.failures[:5]))
    return {
        "count": outcome.count,
        "p50_ms": 1e3 * percentile(outcome.took_s, 0.5),
        "p95_ms": 1e3 * percentile(outcome.took_s, 0.95),
        "cpu_ms": 1e3 * outcome.cpu_s / outcome.count,  # of all nodes together
    }


async def measure_cluster(nodes: int, values: int) -> dict[str, Figures]:
    """Return what put and get take, each from a random node, one after the other and ten at once."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        async with open_cluster(Path(folder), nodes, node__transport="primedht") as cluster:
            written, put = await put_values(cluster, rng, count=values, size_bytes=VALUE_BYTES)
            return {
                "put": summary(put),
                "get": summary(await get_values(cluster, rng, written)),
                "get_c10": summary(await get_values(cluster, rng, written, clients=10)),
            }


def print_report(report: dict[str, Any]) -> None:
    for row, figures in report["answers"].items():
        print(
            f"{row:32}{figures['per_s']:>8.0f}/s{figures['server_cpu_us']:>8.0f} us CPU"
            f"   p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms"
        )
    print(f"cluster of {report['nodes']}, values of {VALUE_BYTES} bytes")
    for row, figures in report["cluster"].items():
        print(
            f"{row:10} p50 {figures['p50_ms']:6.1f} ms, p95 {figures['p95_ms']:6.1f} ms,"
            f" {figures['cpu_ms']:6.1f} ms CPU of all nodes"
        )


async def run(nodes: int, values: int, seconds: float) -> dict[str, Any]:
    about = machine()
    return {
        "answers": await measure_answers(seconds),
        "cluster": await measure_cluster(nodes, values),
        "nodes": nodes,
        "machine": about,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each figure of the node")
    parser.add_argument("--nodes", type=int, default=20, help="of the cluster")
    parser.add_argument("--values", type=int, default=100, help="put and got in the cluster")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    need_peers("go")
    report = trio.run(run, arguments.nodes, arguments.values, arguments.seconds)
    if arguments.json:
        print(json.dumps(report))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
