"""The same work against our node, go-libp2p-kad-dht, js-libp2p and py-libp2p's stock stack, in one run.

Every server is a process of its own on loopback, surrounded by a crowd of the same size, which fills its
routing table; one go peer asks all of them (harness.py). A row says how many requests, bytes or
connections a second a server served, and how much CPU time of its own each took.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import trio
from harness import DISCARD, SOURCE, available, machine, need_peers, open_generator
from targets import TARGETS, Bench, Figures, open_target

AT_ONCE = (1, 10, 30)
CROWD = 100
BULK_STREAMS = (1, 8)


async def measure(name: str, crowd: int, seconds: float) -> dict[str, Figures]:
    """Return the figures of one target, by row."""
    rows: dict[str, Figures] = {}
    async with open_target(name) as target, open_generator() as generator:
        bench = Bench(target, generator, seconds)
        answer = await bench.surround(crowd)
        print(f"{name}: answers with {answer}", file=sys.stderr)
        for kind in ("FIND_NODE", "GET_VALUE"):
            await bench.load(kind, fresh=True, at_once=10)  # warm, and compiled in js
            for how in ("reused", "new"):
                for at_once in AT_ONCE:
                    rows[f"{kind.lower()}_{how}_c{at_once}"] = await bench.requests(
                        kind, fresh=how == "new", at_once=at_once
                    )
        for direction, protocol in (("in", DISCARD), ("out", SOURCE)):
            for streams in BULK_STREAMS:
                rows[f"bulk_{direction}_{streams}"] = await bench.bulk(protocol, streams=streams)
        rows["connections"] = await bench.dial()
    return rows


def ratios(ours: dict[str, Figures], theirs: dict[str, Figures]) -> dict[str, dict[str, float]]:
    """How many times as much we serve, and how many times as much CPU they need: above 1 is ours."""
    return {
        row: {
            "rate": ours[row]["per_s"] / theirs[row]["per_s"],
            "cpu": theirs[row]["server_cpu_us"] / ours[row]["server_cpu_us"],
        }
        for row in ours
        if row in theirs
    }


def print_table(report: dict[str, Any]) -> None:
    results = report["results"]
    others = [name for name in results if name != "primedht"]
    print(f"{'rate; server CPU':24}" + "".join(f"{name:>24}" for name in results), end="")
    print("".join(f"{'x ' + name + ': rate cpu':>22}" for name in others))
    for row in next(iter(results.values())):
        print(f"{row:24}" + "".join(f"{cell(row, results[name][row]):>24}" for name in results), end="")
        for name in others:
            ratio = report["ratios"].get(name, {}).get(row)
            print(f"{ratio['rate']:>15.2f}{ratio['cpu']:>7.2f}" if ratio else f"{'':22}", end="")
        print()


def cell(row: str, result: dict[str, Any]) -> str:
    failed = f" ({result['failures']} failed)" if result.get("failures") else ""
    if row.startswith("bulk"):
        return f"{result['per_s'] / 1e6:.0f} MB/s {1e3 * result['server_cpu_us']:.2f} s/GB" + failed
    return f"{result['per_s']:.0f}/s {result['server_cpu_us']:.0f} us" + failed


async def run(names: list[str], crowd: int, seconds: float) -> dict[str, Any]:
    about = machine()
    results = {name: await measure(name, crowd, seconds) for name in names}
    ours = results.get("primedht")
    against = {name: ratios(ours, rows) for name, rows in results.items() if ours and name != "primedht"}
    return {"ratios": against, "results": results, "crowd": crowd, "seconds": seconds, "machine": about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each figure")
    parser.add_argument("--crowd", type=int, default=CROWD, help="peers around each server")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, help="all that can be built here")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    need_peers("go", *({"js"} & set(arguments.targets or ())))
    if not available("js") and not arguments.targets:
        print("js is left out: there is no Node.js here", file=sys.stderr)
        targets.remove("js")
    report = trio.run(run, targets, arguments.crowd, arguments.seconds)
    if arguments.json:
        print(json.dumps(report))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
