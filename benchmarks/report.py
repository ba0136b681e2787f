"""Write docs/benchmarks.md and its charts from the JSON that the benchmarks print: `report.py FOLDER`.

FOLDER holds NAME.json for each benchmark that ran; sections of the others are left out. A copy of each
goes beside the charts, so that figures of two runs can be compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from charts import LABELS, draw_bulk, draw_clients, draw_hotspots, draw_ratios, draw_requests

DOCS = Path(__file__).resolve().parents[1] / "docs"
WANTED = {
    "bulk_1": 4.0,
    "bulk_8": 4.0,
    "rpc_new_c10": 15.0,
    "rpc_reused_c1": 8.0,
    "rpc_reused_c10": 8.0,
    "setup_cpu": 1 / 3,
    "idle_memory": 0.6,
}
_MEANING = {
    "bulk_1": "bulk on one stream, 64 KiB writes",
    "bulk_8": "bulk on eight streams",
    "rpc_new_c10": "request of 100 bytes, reply of 1500, a new stream each, 10 at once",
    "rpc_reused_c1": "the same on a stream that is reused, one at a time, both ends on one core",
    "rpc_reused_c10": "the same, 10 at once",
    "setup_cpu": "CPU of a connection, identify both ways",
    "idle_memory": "memory of an idle connection",
}
_LINKS = {"loopback": "loopback", "100_mbit": "100 Mbit/s"}
_CHUNKS = {"1_mib": "1 MiB", "256_kib": "256 KiB"}
_INTRO = """\
# Benchmarks

Written by `make bench` (`benchmarks/report.py`), not by hand; the figures as JSON are in
[benchmarks/](benchmarks/). Every comparison is of one run on one machine, each side in processes of its
own, over loopback.

CPU time is the figure to trust: it is what a process itself used, as the kernel counts it, and moves
little with what else the machine does. Rates are of processes that share the cores with their clients.
"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def about(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return table(
        ("machine", f"{machine['processor']}, {machine['cpus']} cores"),
        [
            ("system", f"{machine['system']}, Python {machine['python']}"),
            ("versions", versions),
            ("date", machine["date"]),
            ("load before the first", f"{machine['load_before']:.2f}"),
            ("command", "`make bench`"),
        ],
    )


def transport(report: Mapping[str, Any], folder: Path) -> str:
    ratios = report["ratios_vs_pylibp2p"]
    draw_ratios(ratios, WANTED, folder / "transport.svg")
    rows = []
    for name, wanted in WANTED.items():
        sign = ">=" if wanted >= 1 else "<="
        rows.append((f"{_MEANING[name]} (`{name}`)", f"{ratios[name]:.2f}", f"{sign} {wanted:.2g}"))
    further = ", ".join(
        f"`{name}` {ratio:.1f}" for name, ratio in report["further_ratios_vs_pylibp2p"].items()
    )
    return (
        "## Noise, Yamux and streams, against py-libp2p's\n\n"
        "`benchmarks/transport.py`: our host and py-libp2p's stock one, each as client and server. How many "
        "times less CPU both ends together take; for set-up and memory, what share.\n\n"
        "![ratios to py-libp2p](benchmarks/transport.svg)\n\n"
        + table(("what", "ratio", "wanted"), rows)
        + f"\nFurther: {further}. One request at a time keeps client and server busy in turn, here on one\n"
        "core; on two, each message first wakes the other core, which costs both stacks alike.\n"
    )


def peers(report: Mapping[str, Any], folder: Path) -> str:
    draw_requests(report, folder / "requests.svg")
    draw_bulk(report, folder / "bulk.svg")
    results = report["results"]
    others = [name for name in results if name in report["ratios"]]
    head = ["", *(LABELS[name] for name in results)]
    head += [f"to {LABELS[name]}: rate" for name in others[:1]] + [f"CPU {LABELS[name]}" for name in others]
    rows = []
    for row in next(iter(results.values())):
        line = [row.replace("_", " "), *(cell(row, figures[row]) for figures in results.values())]
        line += [f"{report['ratios'][name][row]['rate']:.2f}" for name in others[:1]]
        line += [f"{report['ratios'][name][row]['cpu']:.2f}" for name in others]
        rows.append(line)
    return (
        "## The same work against go-, js- and py-libp2p\n\n"
        "`benchmarks/peers.py`: one go program asks every server. Around each of them "
        f"{report['crowd']} small DHT servers connect, are identified and ask once, so that each has "
        "filled its routing table by its own rules and answers with 20 peers; the value has 1000 bytes. "
        "Ours is a node with its store on disk. go uses every core, the others one. js and py-libp2p have "
        "their limits on streams raised, py-libp2p its own on connections too. It also sends a signed "
        "record along with each peer: 4.8 KB in all where the others send 1.1. Connections "
        "are set up, identified on both sides and closed, eight at a time.\n\n"
        "![requests](benchmarks/requests.svg)\n\n![bulk](benchmarks/bulk.svg)\n\n"
        "Rate, and CPU of the server for each; ratios above 1 are in our favour.\n\n"
        + table(head, rows)
        + "".join(behind(report["ratios"][name], name) for name in others[:1])
    )


def behind(ratios: Mapping[str, Any], name: str) -> str:
    """Return in which rows our CPU time is above that of `name`, worst first."""
    below = {row: ratio["cpu"] for row, ratio in ratios.items() if ratio["cpu"] < 1}
    if not below:
        return ""
    rows = (f"{row.replace('_', ' ')} ({below[row]:.2f})" for row in sorted(below, key=below.__getitem__))
    return (
        f"\nMore CPU than {LABELS[name]} takes: {', '.join(rows)}. The next section says "
        "where it goes. A rate below 1 where the CPU is not: the other uses every core.\n"
    )


def cell(row: str, figures: Mapping[str, Any]) -> str:
    failed = f", {figures['failures']} failed" if figures.get("failures") else ""
    if row.startswith("bulk"):
        return f"{figures['per_s'] / 1e6:.0f} MB/s, {figures['server_cpu_us'] * 1e3:.2f} s/GB{failed}"
    return f"{figures['per_s']:.0f}/s, {figures['server_cpu_us']:.0f} µs{failed}"


def hotspots(report: Mapping[str, Any], folder: Path) -> str:
    draw_hotspots(report["us_by_part"], folder / "hotspots.svg")
    parts = list(dict.fromkeys(part for row in report["us_by_part"].values() for part in row))
    rows = [
        (name, *(f"{row.get(part, 0):.0f}" for part in parts), f"{sum(row.values()):.0f}")
        for name, row in report["us_by_part"].items()
    ]
    return (
        "## Where our CPU time goes\n\n"
        "`benchmarks/hotspots.py`: the running server is interrupted every few milliseconds of its CPU time, "
        "and the innermost frame of known origin takes the blame, with what it calls in C and in the kernel. "
        "Microseconds for each request, 10 at once, connection and megabyte.\n\n"
        "![hot spots](benchmarks/hotspots.svg)\n\n" + table(("", *parts, "sum"), rows)
    )


def dht(report: Mapping[str, Any], folder: Path) -> str:
    draw_clients(report["answers"], folder / "clients.svg")
    answers = [
        (
            row.replace("_", " "),
            f"{figures['per_s']:.0f}",
            f"{figures['server_cpu_us']:.0f}",
            f"{figures['p50_ms']:.1f}",
            f"{figures['p99_ms']:.1f}",
        )
        for row, figures in report["answers"].items()
    ]
    cluster = [
        (
            row.replace("_c10", ", 10 at once"),
            *(f"{figures[name]:.1f}" for name in ("p50_ms", "p95_ms", "cpu_ms")),
        )
        for row, figures in report["cluster"].items()
    ]
    return (
        "## One node and many clients\n\n`benchmarks/dht.py`: each client has a connection of its own.\n\n"
        "![clients](benchmarks/clients.svg)\n\n"
        + table(("", "answered a second", "CPU of the node, µs", "p50 ms", "p99 ms"), answers)
        + f"\n## Put and get among {report['nodes']} daemons on this machine\n\n"
        "Values of 1 KiB, each put by and got from a random daemon; all share the machine's cores.\n\n"
        + table(("", "p50 ms", "p95 ms", "CPU of all daemons, ms"), cluster)
    )


def engine(report: Mapping[str, Any], folder: Path) -> str:
    return (
        "## The engine alone\n\n`benchmarks/engine.py`: from bytes to bytes through codec and handlers, "
        "25 nodes in the simulator.\n\n"
        + table(("", "CPU"), [(name.replace("_", " "), f"{figure:.0f}") for name, figure in report.items()])
    )


def control(report: Mapping[str, Any], folder: Path) -> str:
    ways = list(report)
    rows = [
        (figure.replace("_", " "), *(f"{report[way][figure]:.4g}" for way in ways))
        for figure in report[ways[0]]
    ]
    return (
        "## The control socket\n\n`benchmarks/control.py`: local clients get a value that the node holds.\n\n"
        + table(("", *(way.replace("_", " ") for way in ways)), rows)
    )


def blocks(report: Mapping[str, Any], folder: Path) -> str:
    rows = []
    for pair, sizes in report["results"].items():
        for name, row in sizes.items():
            ratio = report["ratios_to_boxo"].get(pair, {}).get(name, 1.0)
            figures = (f"{row[key]:.1f}" for key in ("holder_cpu_s_per_gb", "reader_cpu_s_per_gb"))
            rows.append((f"{pair}, {_CHUNKS[name]}", f"{row['mb_per_s']:.0f}", f"{ratio:.2f}", *figures))
    return (
        "## A file over bitswap, against boxo's\n\n"
        f"`benchmarks/blocks.py`: {report['size_bytes'] / 1e6:.0f} MB, chunks of 1 MiB and of 256 KiB. boxo "
        "is what kubo is made of. Ours keep blocks on disk, synced before they count; boxo's in memory. "
        f"Load before this one: {report['machine']['load_before']:.1f}.\n\n"
        + table(("", "MB/s", "to boxo from boxo", "CPU of the holder, s/GB", "of the reader, s/GB"), rows)
    )


def compression(report: Mapping[str, Any], folder: Path) -> str:
    rows = []
    for link, kinds in report["results"].items():
        for kind, ways in kinds.items():
            plain, packed = ways["none"], ways["zstd"]
            cpu = (
                f"{plain[key]:.1f}, {packed[key]:.1f}"
                for key in ("holder_cpu_s_per_gb", "reader_cpu_s_per_gb")
            )
            rates = (f"{way['mb_per_s']:.0f}" for way in (plain, packed))
            rows.append((f"{kind}, {_LINKS[link]}", *rates, f"{packed['wire_share']:.2f}", *cpu))
    return (
        "## Blocks compressed in transit\n\n"
        f"`benchmarks/compression.py`: {report['size_bytes'] / 1e6:.0f} MB between two nodes without and two "
        "with `blocks.compression`, blocks of 1 MiB on disk: noise, normal numbers as weights of two types, "
        f"and a tokenizer's JSON. Medians of {report['rounds']} on loopback. "
        f"Load before this one: {report['machine']['load_before']:.1f}.\n\n"
        + table(
            (
                *("", "MB/s plain", "compressed", "bytes on the wire"),
                *("CPU of the holder, s/GB, plain and compressed", "of the reader"),
            ),
            rows,
        )
    )


def others(name: str, report: Mapping[str, Any]) -> str:
    """Return a section for a benchmark without one of its own: all its figures."""
    figures = [(path, number) for path, number in leaves(report) if not path.startswith("machine")]
    return f"## {name.capitalize()}\n\n`benchmarks/{name}.py`.\n\n" + table(("", "figure"), figures)


def leaves(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in tree.items():
        here = f"{path} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            found += leaves(value, here)
        else:
            found.append((here, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return found


SECTIONS = {
    "transport": transport,
    "peers": peers,
    "hotspots": hotspots,
    "dht": dht,
    "control": control,
    "engine": engine,
    "blocks": blocks,
    "compression": compression,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with NAME.json for each benchmark")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where benchmarks.md and benchmarks/ go")
    arguments = parser.parse_args()
    reports = {path.stem: json.loads(path.read_text("utf-8")) for path in arguments.folder.glob("*.json")}
    folder = arguments.docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    machines = [report["machine"] for report in reports.values() if "machine" in report]
    text = [_INTRO, about(min(machines, key=lambda machine: machine["load_before"]))]
    text += [write(reports[name], folder) for name, write in SECTIONS.items() if name in reports]
    text += [others(name, reports[name]) for name in sorted(set(reports) - set(SECTIONS))]
    (arguments.docs / "benchmarks.md").write_text("\n".join(text), "utf-8")
    if arguments.folder.resolve() == folder.resolve():  # only drawn anew
        return
    for name in reports:
        shutil.copy(arguments.folder / f"{name}.json", folder / f"{name}.json")


if __name__ == "__main__":
    main()
