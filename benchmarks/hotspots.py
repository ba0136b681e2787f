"""Where a node's CPU time goes: microseconds for each request, connection and megabyte, by part.

The running server is sampled (servers.py); the shares are of the CPU time that the kernel counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from harness import DISCARD, SOURCE, machine, need_peers, open_generator
from targets import Bench, Figures, Target, open_target

CROWD = 100
AT_ONCE = 10
BULK_STREAMS = 8


async def by_part(target: Target, work: Callable[[], Awaitable[Figures]]) -> dict[str, float]:
    """Do some work; return the microseconds of each operation by part, the largest first."""
    await target.sample()
    cpu_us = (await work())["server_cpu_us"]
    counts = await target.samples()
    total = sum(counts.values())
    return {part: cpu_us * counts[part] / total for part in sorted(counts, key=counts.__getitem__)[::-1]}


async def measure(seconds: float) -> dict[str, Any]:
    about = machine()
    rows = {}
    async with open_target("primedht") as target, open_generator() as generator:
        bench = Bench(target, generator, seconds)
        await bench.surround(CROWD)
        for kind in ("FIND_NODE", "GET_VALUE"):
            await bench.load(kind, fresh=True, at_once=AT_ONCE)
            for how in ("reused", "new"):
                work = partial(bench.requests, kind, fresh=how == "new", at_once=AT_ONCE)
                rows[f"{kind}, {how}"] = await by_part(target, work)
        rows["connection"] = await by_part(target, bench.dial)
        for direction, protocol in (("in", DISCARD), ("out", SOURCE)):
            of_byte = await by_part(target, partial(bench.bulk, protocol, streams=BULK_STREAMS))
            rows[f"MB {direction}, {BULK_STREAMS} streams"] = {part: 1e6 * us for part, us in of_byte.items()}
    return {"us_by_part": rows, "machine": about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row")
    arguments = parser.parse_args()
    need_peers("go")
    report = trio.run(measure, arguments.seconds)
    if arguments.json:
        print(json.dumps(report))
        return
    for row, parts in report["us_by_part"].items():
        shown = ", ".join(f"{part} {us:.0f}" for part, us in parts.items())
        print(f"{row}: {sum(parts.values()):.0f} us: {shown}")


if __name__ == "__main__":
    main()
