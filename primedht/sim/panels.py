"""The panels of a run's picture; each draws on matplotlib axes that it is given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from primedht.sim.measures import Measures, Series, mean

_COLOURS = {
    "lookup": "#2e86ab",
    "get": "#d1495b",
    "put": "#edae49",
    "provide": "#6a994e",
    "find_providers": "#7b5ea7",
    "update": "#8d6b4f",
}
_OTHER_COLOURS = ("#3d405b", "#00798c", "#8d99ae")
_INK, _FAINT, _LINE = "#22223b", "#6c757d", "#d1495b"
_HOP_SHADES = ("#c6d2e3", "#8fa9c9", "#55799f", "#2f4b6e", "#182a42")
_DARK_FROM = 3
_WITH = " with "
_WARM_UP = "warm-up"
_SHARE_TOLD_MIN = 0.08
_LETTER_SHARE = 0.017
"""Of the width of a panel, for one letter."""
_PHASE_UPRIGHT_MAX = 12
_BINS_MAX = 150


class Style(NamedTuple):
    """How a kind of operation looks in every panel. varied: the same kind under worse conditions."""

    colour: str
    varied: bool


def styles(measures: Measures) -> dict[str, Style]:
    """Return the kinds of operations that succeeded at least once, each beside its variants."""
    kinds = [
        kind
        for kind, samples in measures.samples.items()
        if kind != _WARM_UP and any(sample.ok for sample in samples)
    ]
    first = {base: at for at, base in enumerate(dict.fromkeys(kind.partition(_WITH)[0] for kind in kinds))}
    others = iter(_OTHER_COLOURS)
    colours = {base: _COLOURS.get(base) or next(others, _INK) for base in first}
    ranked = sorted(kinds, key=lambda kind: (first[kind.partition(_WITH)[0]], _WITH in kind))
    return {kind: Style(colours[kind.partition(_WITH)[0]], _WITH in kind) for kind in ranked}


def legend_handles(measures: Measures) -> list[Any]:
    """Return a line for each kind, with how often there was one."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            color=style.colour,
            linestyle="--" if style.varied else "-",
            linewidth=2,
            label=f"{_name(kind)} ({len(measures.samples[kind]):,})",
        )
        for kind, style in styles(measures).items()
    ]


def draw_latency(axis: Any, *, measures: Measures, kinds: Mapping[str, Style]) -> None:
    """Draw which share of the operations was done within a time."""
    longest = 0.0
    for kind, style in kinds.items():
        rtts = [sample.rtts for sample in measures.samples[kind] if sample.ok]
        axis.ecdf(rtts, color=style.colour, linestyle="--" if style.varied else "-", linewidth=1.6)
        longest = max(longest, *rtts)
    axis.set(title="Latency", xlabel="mean round trips", ylabel="share of operations", ylim=(0, 1.03))
    axis.set_xlim(-0.02 * longest, 1.03 * longest or 1)
    axis.yaxis.set_major_formatter("{x:.0%}")


def draw_messages(axis: Any, *, measures: Measures, kinds: Mapping[str, Style]) -> None:
    """Draw a box from quartile to quartile for each kind, and its median as a number."""
    counts = [[sample.tally.messages for sample in measures.samples[kind]] for kind in kinds]
    drawn = axis.boxplot(
        counts,
        orientation="horizontal",
        showfliers=False,
        widths=_row_height(kinds),
        patch_artist=True,
        medianprops={"color": _INK, "linewidth": 2},
        whiskerprops={"color": _FAINT},
        capprops={"color": _FAINT},
    )
    right = 0.0
    for place, (box, style) in enumerate(zip(drawn["boxes"], kinds.values(), strict=True)):
        box.set(facecolor=style.colour, edgecolor=style.colour, hatch="////" if style.varied else None)
        box.set_alpha(0.55)
        end = max(drawn["caps"][2 * place + 1].get_xdata())
        right = max(right, end)
        middle = drawn["medians"][place].get_xdata()[0]
        axis.annotate(
            f"{middle:g}", (end, place + 1), (5, 0), textcoords="offset points", va="center", fontsize=8
        )
    _name_rows(axis, kinds, first=1)
    axis.set(title="Messages per operation, and their median", xlabel="requests and replies")
    axis.set_xlim(-0.01 * right, 1.12 * right or 1)


def hop_kinds(measures: Measures, kinds: Mapping[str, Style]) -> list[str]:
    """Return the kinds most of whose operations have hops; those answered at hand have none."""
    return [kind for kind in kinds if 2 * len(_hops(measures, kind)) > measures.summary(kind).ok_count]


def draw_hops(axis: Any, *, measures: Measures, kinds: Mapping[str, Style]) -> None:
    """Draw a bar for each kind that has hops, cut into the shares of operations with 1, 2, ... of them."""
    rows = hop_kinds(measures, kinds)
    found = [Counter(_hops(measures, kind)) for kind in rows]
    most = max(max(hops) for hops in found)
    starts = [0.0] * len(rows)
    for hops in range(1, most + 1):
        shares = [counts[hops] / counts.total() for counts in found]
        shade = _HOP_SHADES[min(hops, len(_HOP_SHADES)) - 1]
        name = f"{hops} hop{'s' * (hops != 1)}"
        axis.barh(range(len(rows)), shares, _row_height(rows), left=starts, color=shade, edgecolor="white")
        for place, share in enumerate(shares):
            if share >= _SHARE_TOLD_MIN:
                told = f"{name}\n{percent(share, 0)}"
                colour = "white" if hops >= _DARK_FROM else _INK
                middle = (starts[place] + share / 2, place)
                axis.text(*middle, told, ha="center", va="center", fontsize=7.5, color=colour)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    _name_rows(axis, rows, first=0)
    axis.set(title="Hops of the longest path", xlim=(0, 1), xlabel="share of operations that asked a peer")
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.grid(visible=False)


def draw_load(axis: Any, *, loads: Sequence[float]) -> None:
    """Draw how many messages each node received, from the one with the fewest to the one with the most."""
    ranked = sorted(loads)
    last = max(1, len(ranked) - 1)
    places = [100 * at / last for at in range(len(ranked))]
    axis.fill_between(places, ranked, color="#2e86ab", alpha=0.15, linewidth=0)
    axis.plot(places, ranked, color="#2e86ab", linewidth=1.6)
    average = mean(ranked)
    axis.axhline(average, color=_FAINT, linestyle=":", linewidth=1.2)
    axis.annotate(f"mean {average:,.0f}", (0, average), (4, 3), textcoords="offset points", fontsize=8)
    axis.set(title="Load", xlabel="percentile of nodes", ylabel="messages received", xlim=(0, 100))
    axis.set_ylim(0, 1.06 * max(ranked, default=0) or 1)
    axis.yaxis.set_major_formatter("{x:,.0f}")


def draw_series(axis: Any, *, title: str, series: Series) -> None:
    """Draw what one scenario measures beside: bars where places have names, else a line, or dots."""
    xs, ys = zip(*series.points, strict=True)
    if isinstance(xs[0], str):
        bars = axis.bar(xs, ys, 0.55, color="#2e86ab", alpha=0.8)
        axis.bar_label(bars, [f"{y:.3g}" for y in ys], padding=-12, fontsize=7, color="white")
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(visible=False, axis="x")
    else:
        _draw_points(axis, series)
    if series.limit is not None:
        axis.axhline(series.limit, color=_LINE, linestyle="--", linewidth=1.2)
        axis.annotate(
            f"allowed: {series.limit:g}",
            (1, series.limit),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=_LINE,
        )
    axis.set(title=title, xlabel=series.x_label, ylabel=series.y_label)
    axis.set_ylim(0, 1.15 * max(*ys, series.limit or 0.0, 0.0) or 1)
    if series.y_percent:
        axis.yaxis.set_major_formatter("{x:.3g}%")


def draw_traffic(axis: Any, *, timeline: Sequence[tuple[float, str, int]]) -> None:
    """Draw the messages of the whole network over virtual time, below the names of the run's phases."""
    step = -(-len(timeline) // _BINS_MAX)
    points = [*timeline[::step], timeline[-1]] if (len(timeline) - 1) % step else list(timeline[::step])
    spans = [(one[0], other[0], other[2] - one[2]) for one, other in pairwise(points) if other[0] > one[0]]
    edges = [spans[0][0], *(end for _, end, _ in spans)]
    rates = [count / (end - start) for start, end, count in spans]
    axis.stairs(rates, edges, fill=True, color="#2e86ab", alpha=0.5)
    axis.stairs(rates, edges, color="#2e86ab", linewidth=1.2)
    axis.set(title="Traffic", xlabel="virtual seconds", ylabel="messages a second, all nodes")
    axis.set_xlim(edges[0], edges[-1])
    axis.set_ylim(0, 1.35 * max(rates) or 1)
    axis.yaxis.set_major_formatter("{x:,.0f}")
    _name_phases(axis, timeline)


def _name_phases(axis: Any, timeline: Sequence[tuple[float, str, int]]) -> None:
    """Part the phases by lines, and write their names above where there is room."""
    columns = len(axis.get_subplotspec().colspan)
    room = axis.get_xlim()[1] - axis.get_xlim()[0]
    starts = [(next(group)[0], phase) for phase, group in groupby(timeline, key=lambda sample: sample[1])]
    ends = [start for start, _ in starts[1:]] + [timeline[-1][0]]
    top = axis.get_xaxis_transform()
    for (start, phase), end in zip(starts, ends, strict=True):
        axis.axvline(start, color=_FAINT, linewidth=0.6, linestyle=":")
        share, needed = (end - start) / room, _LETTER_SHARE * len(phase) / columns
        if share >= needed:
            axis.text((start + end) / 2, 0.98, phase, transform=top, ha="center", va="top", fontsize=8)
        elif share >= 2 * _LETTER_SHARE / columns and len(phase) <= _PHASE_UPRIGHT_MAX:
            axis.text(start, 0.98, f" {phase}", transform=top, va="top", fontsize=8, rotation=90)


def _draw_points(axis: Any, series: Series) -> None:
    by_x: defaultdict[float, list[float]] = defaultdict(list)
    for x, y in series.points:
        by_x[float(x)].append(y)
    if len(by_x) < len(series.points):
        axis.plot(*zip(*series.points, strict=True), "o", color="#2e86ab", markersize=4, alpha=0.3, mew=0)
        axis.plot(list(by_x), [mean(ys) for ys in by_x.values()], color="#2e86ab", label="mean")
        axis.legend(frameon=False, fontsize=8)
    else:
        marker = "o" if len(by_x) < 60 else None
        axis.plot(list(by_x), [y for (y,) in by_x.values()], color="#2e86ab", marker=marker, markersize=3)
    if all(x.is_integer() for x in by_x):
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.margins(x=0.02)


def percent(share: float, digits: int = 2) -> str:
    """Write a share such that only all of it is 100 %."""
    text = f"{share:.{digits}%}"
    return (
        "100%" if share == 1 else f"over {99 if digits == 0 else 99.99}%" if text.startswith("100") else text
    )


def _name_rows(axis: Any, kinds: Sequence[str] | Mapping[str, Style], *, first: int) -> None:
    axis.set_yticks(range(first, first + len(kinds)), [_name(kind) for kind in kinds])
    axis.set_ylim(first + len(kinds) - 0.4, first - 0.6)
    axis.grid(visible=False, axis="y")


def _row_height(rows: Sequence[str] | Mapping[str, Style]) -> float:
    """Return the height of a bar; rows are 1 high, and few of them are high."""
    return min(0.6, 0.2 * len(rows))


def _hops(measures: Measures, kind: str) -> list[int]:
    return [sample.hops for sample in measures.samples[kind] if sample.ok and sample.hops]


def _name(kind: str) -> str:
    return kind.replace("_", " ")
