"""Lookups as the network grows: hops, messages and table size against log2 of the nodes, simulated.

    python -m benchmarks.scaling --json docs/measured/scaling.json --plot docs/measured/scaling.svg
    python -m benchmarks.scaling --draw docs/measured/scaling.json --plot docs/measured/scaling.svg

Each size is a process of its own, a run of `static` with pre-filled tables; `--nodes 10,32,100` takes fewer
of them. The JSON names the command of each run; `tests/soak/test_soak_simulation.py` repeats them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

SIZES = (10, 32, 100, 316, 1000, 3162, 10_000)
_LOOKUPS = 500
_READS = 200
_RUN_S = 3600


def run_sizes(sizes: Iterable[int], *, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Simulate each size; yield a row of figures for each. Raises `RuntimeError` where a check fails."""
    for nodes in sizes:
        yield _run_size(nodes, seed)


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    lines = [
        "| nodes | log2 | hops of a lookup: mean, p90 | messages: lookup, get, put | round trips of a lookup:"
        " p50, p90 | exact lookups | table | CPU seconds, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['nodes']:,} | {math.log2(row['nodes']):.1f} |"
        f" {row['hops_mean']:.2f}, {row['hops_p90']:.0f} |"
        f" {row['messages_lookup']:.0f}, {row['messages_get']:.0f}, {row['messages_put']:.0f} |"
        f" {row['rtts_p50']:.1f}, {row['rtts_p90']:.1f} | {row['exact_lookups']:.1%} |"
        f" {row['table_size_mean']:.0f} | {row['cpu_s']:.0f}, {row['memory_mib']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw hops, messages and tables against the network's size."""
    from matplotlib import pyplot as plt

    from benchmarks.charts import COLOURS, save

    nodes = [row["nodes"] for row in rows]
    figure, (hops, messages, tables) = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    hops.plot(nodes, [math.log2(n) for n in nodes], color="#8d99ae", ls="--", label="log2(nodes)")
    hops.plot(nodes, [row["hops_p90"] for row in rows], "^", color="#edae49", label="90th percentile")
    hops.plot(nodes, [row["hops_mean"] for row in rows], "o-", color=COLOURS["primedht"], label="mean")
    hops.set(title="Hops of a lookup", ylabel="longest path to a peer that answered")
    for kind, colour in (("put", "#2e86ab"), ("get", "#edae49"), ("lookup", COLOURS["primedht"])):
        messages.plot(nodes, [row[f"messages_{kind}"] for row in rows], "o-", color=colour, label=kind)
    messages.set(title="Messages", ylabel="requests and replies of one operation")
    tables.plot(
        nodes, [min(n - 1, _expected_table(n)) for n in nodes], color="#8d99ae", ls="--", label="k per bit"
    )
    tables.plot(
        nodes, [row["table_size_mean"] for row in rows], "o-", color=COLOURS["primedht"], label="mean"
    )
    tables.set(title="Routing table", ylabel="members")
    for axes in (hops, messages, tables):
        axes.set_xscale("log")
        axes.set_xlabel("nodes")
        axes.set_ylim(bottom=0)
        axes.grid(color="#d9dce3", linewidth=0.6)
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def _expected_table(nodes: int, k: int = 20) -> float:
    """Return the members of a full table: of each common prefix length k, or as many as there are."""
    return sum(min(float(k), nodes / 2 ** (cpl + 1)) for cpl in range(64))


def _run_size(nodes: int, seed: int) -> dict[str, Any]:
    words = [
        *("sim", "--nodes", str(nodes), "--scenario", "static", "--seed", str(seed), "--duration", "1s"),
        *(
            "--set",
            f"lookups={_LOOKUPS / nodes:g}",
            "--set",
            "values=0",
            "--set",
            f"reads={_READS}",
            "--json",
        ),
    ]
    command = [sys.executable, "-c", _MEASURED, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_RUN_S)
    if done.returncode:
        raise RuntimeError(f"primedht {' '.join(words)} failed: {done.stdout[-2000:]}")
    text, _, cpu_s = done.stdout.rpartition("CPU ")
    found = json.loads(text)
    lookup, get, put = (found["operations"][kind] for kind in ("lookup", "get", "put"))
    return {
        "nodes": nodes,
        "hops_mean": lookup["hops_mean"],
        "hops_p90": lookup["hops"]["p90"],
        "messages_lookup": lookup["messages_mean"],
        "messages_get": get["messages_mean"],
        "messages_put": put["messages_mean"],
        "rtts_p50": lookup["rtts"]["p50"],
        "rtts_p90": lookup["rtts"]["p90"],
        "exact_lookups": found["figures"]["exact_lookups"],
        "recall": found["figures"]["recall"],
        "success_rate": found["success_rate"],
        "table_size_mean": found["figures"]["table_size_mean"],
        "cpu_s": float(cpu_s),
        "memory_mib": found["memory_mib"],
        "digest": found["digest"],
        "command": f"primedht {' '.join(words[:-1])}",
    }


_MEASURED = """
import atexit, time
atexit.register(lambda: print("CPU", time.process_time()))
from primedht.cli import main
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", default=",".join(map(str, SIZES)), help="sizes of the network")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--plot", type=Path, help="where the picture goes, as SVG")
    parser.add_argument("--draw", type=Path, help="draw these figures instead of measuring")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.draw is not None:
        rows = json.loads(options.draw.read_text("utf-8"))
    else:
        for row in run_sizes(map(int, options.nodes.split(",")), seed=options.seed):
            rows.append(row)
            print(f"{row['nodes']} nodes: {row['cpu_s']:.0f} s of CPU", file=sys.stderr, flush=True)
            if options.json is not None:  # after each, since the last take longest
                options.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    if options.plot is not None:
        draw(rows, options.plot)
    print(to_markdown(rows), end="")


if __name__ == "__main__":
    main()
