"""A file over bitswap: between two of our nodes, two of boxo's, which kubo is made of, and across.

Every node is a process of its own on loopback; holder and reader are connected. Ours have their blocks on
disk, every block verified and synced before it counts; boxo's peer keeps them in memory. Rates are until
the reader has the whole DAG; CPU is of each process meanwhile.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import trio
from harness import cpu_s, machine, need_peers, open_peer
from our_process import open_our_process
from peers import Peer, connect

PREFIX = "/ipfs"
Who = Literal["primedht", "boxo"]
PAIRS: tuple[tuple[Who, Who], ...] = (
    ("boxo", "boxo"), ("primedht", "primedht"), ("primedht", "boxo"), ("boxo", "primedht"),
)  # fmt: skip
PROFILES = {"1_mib": "unixfs-v1-2025", "256_kib": "ipfs-v1"}


async def open_node(stack: AsyncExitStack, who: Who, folder: Path) -> Peer:
    if who == "primedht":
        return await stack.enter_async_context(open_our_process(folder, prefix=PREFIX))
    return await stack.enter_async_context(open_peer("go", prefix=PREFIX, options=["--bitswap=1.2.0"]))


async def measure(holder_is: Who, reader_is: Who, size_bytes: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one pair, by size of the chunks."""
    figures: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        holder = await open_node(stack, holder_is, folder / "holder")
        reader = await open_node(stack, reader_is, folder / "reader")
        await connect(reader, holder)
        for number, (name, profile) in enumerate(PROFILES.items()):
            path = folder / "file"
            path.write_bytes(random.Random(f"{holder_is} {reader_is} {number}").randbytes(size_bytes))
            cid = (await holder.call("add_file", path=str(path), profile=profile))["cid"]
            before_s = cpu_s(holder.pid)
            fetched = await reader.call("fetch", cid=cid, timeout_s=120)
            gigabytes = size_bytes / 1e9
            figures[name] = {
                "mb_per_s": size_bytes / fetched["seconds"] / 1e6,
                "holder_cpu_s_per_gb": (cpu_s(holder.pid) - before_s) / gigabytes,
                "reader_cpu_s_per_gb": fetched["cpu_s"] / gigabytes,
            }
    return figures


async def run(size_bytes: int) -> dict[str, Any]:
    about = machine()
    results = {}
    for holder, reader in PAIRS:
        with tempfile.TemporaryDirectory() as folder:
            results[f"{reader} from {holder}"] = await measure(holder, reader, size_bytes, Path(folder))
    reference = results["boxo from boxo"]
    ratios = {
        pair: {name: row["mb_per_s"] / reference[name]["mb_per_s"] for name, row in rows.items()}
        for pair, rows in results.items()
        if rows is not reference
    }
    return {"ratios_to_boxo": ratios, "results": results, "size_bytes": size_bytes, "machine": about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--size-mb", type=int, default=128, help="of each file")
    arguments = parser.parse_args()
    need_peers("go")
    report = trio.run(run, arguments.size_mb * 1_000_000)
    if arguments.json:
        print(json.dumps(report))
        return
    for pair, rows in report["results"].items():
        for name, row in rows.items():
            print(f"{pair:24} {name:8}" + "".join(f" {key} {value:.2f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
