"""Pictures of one run's measures, with matplotlib (the extra `charts`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from primedht.errors import InvalidArgument
from primedht.sim.report import Result

_PANEL_INCHES = (5.2, 3.6)
_DPI = 130
_LEVEL_LABELS_MAX = 4


def require_matplotlib() -> None:
    """Raise `InvalidArgument` where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InvalidArgument("plots need matplotlib; install it with: pip install 'primedht[charts]'")


def draw(result: Result, path: Path) -> None:
    """Write one picture, a panel per thing measured. Raises `InvalidArgument` for an unknown format."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = _panels(result)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows),
        squeeze=False,
        layout="constrained",
    )
    flat = [axis for row in axes for axis in row]
    for axis, panel in zip(flat, panels, strict=False):
        panel(axis)
        axis.grid(alpha=0.3)
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    rate = f", {result.success_rate:.2%} of {result.measures.reads} reads" if result.measures.reads else ""
    figure.suptitle(f"{result.scenario}: {result.nodes} nodes, seed {result.seed}{rate}")
    try:
        figure.savefig(path, dpi=_DPI)
    except (ValueError, OSError) as error:
        raise InvalidArgument(f"{path}: {error}; choose another file such as out.png") from None
    finally:
        pyplot.close(figure)


def _panels(result: Result) -> list[Callable[[Any], None]]:
    measures = result.measures
    kinds = [kind for kind, samples in measures.samples.items() if any(sample.ok for sample in samples)]
    panels: list[Callable[[Any], None]] = []
    if kinds:
        panels += [
            lambda axis: _latency(axis, result, kinds),
            lambda axis: _hops(axis, result, kinds),
            lambda axis: _messages(axis, result, kinds),
        ]
    panels.append(lambda axis: _load(axis, result))
    panels += [
        lambda axis, name=name, points=points: _series(axis, name, points)  # type: ignore[misc]
        for name, points in measures.series.items()
        if points
    ]
    return panels


def _latency(axis: Any, result: Result, kinds: list[str]) -> None:
    for kind in kinds:
        rtts = sorted(sample.rtts for sample in result.measures.samples[kind] if sample.ok)
        axis.plot(rtts, [(at + 1) / len(rtts) for at in range(len(rtts))], label=kind, drawstyle="steps-post")
    axis.set(title="Latency", xlabel="mean round trips", ylabel="share of operations", ylim=(0, 1.02))
    axis.set_xlim(left=0)
    axis.legend(fontsize="small", framealpha=0.5)


def _hops(axis: Any, result: Result, kinds: list[str]) -> None:
    width = 0.8 / len(kinds)
    for place, kind in enumerate(kinds):
        hops = [sample.hops for sample in result.measures.samples[kind] if sample.ok and sample.hops]
        counts = {hop: hops.count(hop) / len(hops) for hop in set(hops)}
        offset = (place - (len(kinds) - 1) / 2) * width
        axis.bar([hop + offset for hop in counts], list(counts.values()), width, label=kind)
    axis.set(title="Hops", xlabel="hops of the longest path", ylabel="share of operations")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize="small", framealpha=0.5)


def _messages(axis: Any, result: Result, kinds: list[str]) -> None:
    messages = [[sample.tally.messages for sample in result.measures.samples[kind]] for kind in kinds]
    axis.boxplot(messages, showfliers=False)
    tilt = {"rotation": 20, "ha": "right"} if len(kinds) > _LEVEL_LABELS_MAX else {}
    axis.set_xticks(range(1, len(kinds) + 1), kinds, **tilt)
    axis.set(title="Messages per operation", ylabel="requests and replies")
    axis.set_ylim(bottom=0)


def _load(axis: Any, result: Result) -> None:
    loads = sorted(result.loads)
    axis.plot([100 * (at + 1) / len(loads) for at in range(len(loads))], loads)
    axis.set(title="Load", xlabel="percentile of nodes", ylabel="messages received", xlim=(0, 100))
    axis.set_ylim(bottom=0)


def _series(axis: Any, name: str, points: list[tuple[float, float]]) -> None:
    axis.plot([x for x, _ in points], [y for _, y in points], marker="." if len(points) < 60 else None)
    axis.set(title=name.replace("_", " "), xlabel="virtual seconds")
    axis.set_ylim(bottom=0)
