"""Files between two of our nodes that compress blocks in transit, and between two that do not.

All are processes of their own on loopback with their blocks on disk, once as fast as they can and once with
an uplink of 100 Mbit/s (`limits.upload_rate`). The two pairs take turns. Rates are of the file's bytes, until
the reader has the whole DAG; CPU is of each process meanwhile; wire is what blocks travelled as; all are the
medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import re
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import ml_dtypes
import numpy as np
import trio
from harness import cpu_s, machine
from our_process import open_our_process
from peers import Peer, connect

UPLINK_BYTES_PER_S = 12_500_000
UPLINKS = {"loopback": None, "100_mbit": UPLINK_BYTES_PER_S}
Make = Callable[[int, int], bytes]
"""Returns so many bytes of a kind; the second argument makes them different each time."""


def noise(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def weights(size: int, seed: int) -> bytes:
    """Normal numbers, as float32."""
    return (0.02 * np.random.default_rng(seed).standard_normal(size // 4, np.float32)).tobytes()


def bfloat_weights(size: int, seed: int) -> bytes:
    numbers = np.random.default_rng(seed).standard_normal(size // 2, np.float32)
    return (0.02 * numbers).astype(ml_dtypes.bfloat16).tobytes()


def tokenizer(size: int, seed: int) -> bytes:
    """A `tokenizer.json` whose vocabulary are the words of Python's standard library."""
    entries: list[str] = []
    length = 0
    for number, word in enumerate(cycle(_words()), seed * 10_000_000):
        if length >= size:
            break
        entries.append(f"      {json.dumps(word)}: {number}")
        length += len(entries[-1]) + 2
    return ('{\n  "model": {\n    "vocab": {\n' + ",\n".join(entries) + "\n}}}").encode()


def _words() -> list[str]:
    def sources() -> Iterator[str]:
        for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
            yield path.read_text("utf-8", "replace")

    return sorted({word for source in sources() for word in re.findall(r"\s?\w+", source)})


KINDS: dict[str, Make] = {
    "random": noise, "float32": weights, "bfloat16": bfloat_weights, "tokenizer": tokenizer,
}  # fmt: skip


@asynccontextmanager
async def open_pair(folder: Path, compression: str, uplink: int | None) -> AsyncIterator[tuple[Peer, Peer]]:
    """Yield holder and reader, connected."""
    options = [f"--compression={compression}"] + ([] if uplink is None else [f"--upload-rate={uplink}"])
    holder_at, reader_at = (folder / f"{name}-{compression}" for name in ("holder", "reader"))
    async with (
        open_our_process(holder_at, prefix="/ipfs", options=options) as holder,
        open_our_process(reader_at, prefix="/ipfs", options=options) as reader,
    ):
        await connect(reader, holder)
        yield holder, reader


async def fetch(holder: Peer, reader: Peer, path: Path, size: int) -> dict[str, float]:
    """Return the figures of one file of so many bytes."""
    cid = (await holder.call("add_file", path=str(path), profile="unixfs-v1-2025"))["cid"]
    wire_before = (await reader.call("exchanged"))["wire_bytes_received"]
    before_s = cpu_s(holder.pid)
    fetched = await reader.call("fetch", cid=cid, timeout_s=120)
    holder_cpu_s = cpu_s(holder.pid) - before_s
    return {
        "mb_per_s": size / fetched["seconds"] / 1e6,
        "wire_share": ((await reader.call("exchanged"))["wire_bytes_received"] - wire_before) / size,
        "holder_cpu_s_per_gb": holder_cpu_s / size * 1e9,
        "reader_cpu_s_per_gb": fetched["cpu_s"] / size * 1e9,
    }


async def measure(uplink: int | None, size_bytes: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Return the figures by kind of file, of those who compress and of those who do not."""
    async with (
        open_pair(folder, "none", uplink) as plain,
        open_pair(folder, "zstd", uplink) as compressing,
    ):
        figures: dict[str, Any] = {}
        for kind, make in KINDS.items():
            runs: dict[str, list[dict[str, float]]] = {"none": [], "zstd": []}
            for number in range(rounds):
                path = folder / "file"
                size = path.write_bytes(make(size_bytes, number))
                for way, pair in (("none", plain), ("zstd", compressing)):
                    runs[way].append(await fetch(*pair, path, size))
            figures[kind] = {
                way: {name: median(each[name] for each in many) for name in many[0]}
                for way, many in runs.items()
            }
    return figures


async def run(size_bytes: int, rounds: int) -> dict[str, Any]:
    about = machine()
    results: dict[str, Any] = {}
    for link, uplink in UPLINKS.items():
        with tempfile.TemporaryDirectory() as folder:
            results[link] = await measure(uplink, size_bytes, rounds if uplink is None else 1, Path(folder))
    return {"results": results, "size_bytes": size_bytes, "rounds": rounds, "machine": about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--size-mb", type=int, default=64, help="of each file")
    parser.add_argument("--rounds", type=int, default=5, help="on loopback; one on the slow link")
    arguments = parser.parse_args()
    report = trio.run(run, arguments.size_mb * 1_000_000, arguments.rounds)
    if arguments.json:
        print(json.dumps(report))
        return
    for link, kinds in report["results"].items():
        for kind, ways in kinds.items():
            for compression, row in ways.items():
                print(
                    f"{link:10} {compression:5} {kind:10}"
                    + "".join(f" {key} {value:.2f}" for key, value in row.items())
                )


if __name__ == "__main__":
    main()
