"""Charts of the benchmarks' JSON, as SVG. Each function draws one file; needs the extra `charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from primedht.sim.plots import GRID, INK, STYLE

COLOURS = {"primedht": "#d1495b", "go": "#2e86ab", "js": "#edae49", "pylibp2p": "#8d99ae"}
LABELS = {"primedht": "PrimeDHT", "go": "go-libp2p", "js": "js-libp2p", "pylibp2p": "py-libp2p"}

mpl.rcParams.update(STYLE)


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as SVG and forget it."""
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _bars(
    axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[float]], *, label: str, log: bool = True
) -> None:
    """Draw a group of bars for each of `groups`, one bar for each of `series`, with its number above."""
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        places = [group + (index - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = axes.bar(places, values, width * 0.92, color=COLOURS[name], label=LABELS[name])
        axes.bar_label(drawn, [_short(value) for value in values], fontsize=6, padding=1.5)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(label)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    if log:
        axes.set_yscale("log")
        axes.margins(y=0.12)


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value >= 1000:
        return f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def draw_requests(peers: Mapping[str, Any], path: Path) -> None:
    """Requests a second above, server CPU for each below, for every kind and number at once."""
    results, at_once = peers["results"], (1, 10, 30)
    kinds = [(kind, how) for kind in ("find_node", "get_value") for how in ("reused", "new")]
    figure, grid = plt.subplots(2, len(kinds), figsize=(13, 6), sharey="row", layout="constrained")
    for column, (kind, how) in enumerate(kinds):
        rows = [f"{kind}_{how}_c{number}" for number in at_once]
        for line, (name, label) in enumerate(
            (("per_s", "answered a second"), ("server_cpu_us", "server CPU, µs each"))
        ):
            series = {target: [figures[row][name] for row in rows] for target, figures in results.items()}
            groups = [f"{number} at once" for number in at_once]
            _bars(grid[line][column], groups, series, label="" if column else label)
        stream = "one stream reused" if how == "reused" else "a new stream each"
        grid[0][column].set_title(f"{kind.upper()}, {stream}")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(figure, path)


def draw_bulk(peers: Mapping[str, Any], path: Path) -> None:
    """Megabytes a second into and out of each server, and its CPU for a gigabyte."""
    results = peers["results"]
    rows = [f"bulk_{direction}_{streams}" for direction in ("in", "out") for streams in (1, 8)]
    groups = ["in, 1 stream", "in, 8", "out, 1 stream", "out, 8"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    rates = {name: [figures[row]["per_s"] / 1e6 for row in rows] for name, figures in results.items()}
    cpu = {name: [figures[row]["server_cpu_us"] * 1e3 for row in rows] for name, figures in results.items()}
    _bars(left, groups, rates, label="MB/s", log=False)
    _bars(right, groups, cpu, label="server CPU, s/GB", log=False)
    left.set_title("Bulk, 64 KiB writes: more is better")
    right.set_title("What it costs: less is better")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(figure, path)


def draw_ratios(ratios: Mapping[str, float], wanted: Mapping[str, float], path: Path) -> None:
    """How many times better than py-libp2p's stock transport, beside what was wanted."""
    shares = [name for name in wanted if wanted[name] < 1]
    times = [name for name in wanted if wanted[name] >= 1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained", width_ratios=(3, 2))
    for axes, names, title in (
        (left, times, "times less CPU than py-libp2p (more is better)"),
        (right, shares, "share of py-libp2p's (less is better)"),
    ):
        shown = names[::-1]
        drawn = axes.barh(shown, [ratios[name] for name in shown], 0.6, color=COLOURS["primedht"])
        digits = 1 if names is times else 2
        axes.bar_label(drawn, [f"{ratios[name]:.{digits}f}" for name in shown], padding=4)
        for place, name in enumerate(shown):
            axes.plot([wanted[name]] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=2)
        axes.set_title(title)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.margins(x=0.12)
    figure.supxlabel("the dark line is what was wanted", fontsize=8)
    save(figure, path)


def draw_clients(answers: Mapping[str, Any], path: Path) -> None:
    """What one node answers a second, and how long its clients wait, by the number of clients."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
    styles = {"find_node": COLOURS["primedht"], "get_value": COLOURS["go"]}
    for kind, colour in styles.items():
        for how, line in (("reused", "-"), ("new", "--")):
            prefix = f"{kind}_{how}_"
            rows = {
                int(row.removeprefix(prefix).partition("_")[0]): figures
                for row, figures in answers.items()
                if row.startswith(prefix)
            }
            label = f"{kind.upper()}, {'reused' if how == 'reused' else 'new'} streams"
            style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 4, "label": label}
            left.plot(list(rows), [figures["per_s"] for figures in rows.values()], **style)
            right.plot(list(rows), [figures["p99_ms"] for figures in rows.values()], **style)
    left.set_title("Answered a second")
    right.set_title("99 of 100 answers within, ms")
    for axes in (left, right):
        axes.set_xlabel("clients, each with one request under way")
        axes.set_ylim(bottom=0)
        axes.grid(color=GRID, linewidth=0.6)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(figure, path)


def draw_hotspots(hotspots: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Where a request's CPU time goes, in shares: one bar for each kind, the largest part of all first."""
    sums = {row: sum(parts.values()) for row, parts in hotspots.items()}
    shares = {row: {part: 100 * us / sums[row] for part, us in hotspots[row].items()} for row in hotspots}
    parts = {part for row in shares.values() for part in row}
    ranked = sorted(parts, key=lambda part: -sum(row.get(part, 0.0) for row in shares.values()))
    figure, axes = plt.subplots(figsize=(11, 0.55 * len(hotspots) + 1.6), layout="constrained")
    rows = list(hotspots)[::-1]
    labels = [f"{row}: {sums[row]:.0f} µs" for row in rows]
    ends = [0.0] * len(rows)
    for index, part in enumerate(ranked):
        sizes = [shares[row].get(part, 0.0) for row in rows]
        drawn = axes.barh(labels, sizes, 0.66, left=ends, label=part, color=plt.get_cmap("tab20")(index))
        axes.bar_label(
            drawn, [f"{size:.0f}" if size >= 3 else "" for size in sizes], label_type="center", fontsize=7
        )
        ends = [end + size for end, size in zip(ends, sizes, strict=True)]
    axes.set_xlabel("% of the node's CPU time")
    axes.set_xlim(0, 100)
    axes.spines[["left", "bottom"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    save(figure, path)
