"""Pictures of one run's measures, with matplotlib (the extra `charts`).

A panel for each thing measured, one colour for each kind of operation in all of them, and the command that
repeats the run below. The same run gives the same file.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from primedht.errors import InvalidArgument
from primedht.sim import panels
from primedht.sim.report import Result

_PANEL_INCHES = (5.4, 3.2)
_EDGE_INCHES = 0.6
_LEGEND_INCHES = 0.25
_LEGEND_COLUMNS = 4
_DPI = 130
INK, GRID = "#22223b", "#d9dce3"
STYLE: dict[str, Any] = {
    "svg.hashsalt": "primedht",  # the same figures give the same file
    "svg.fonttype": "none",  # text stays text
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
}
"""Of all charts of the project, those of the benchmarks included."""
_PANEL_STYLE: Any = STYLE | {
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def require_matplotlib() -> None:
    """Raise `InvalidArgument` where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InvalidArgument("plots need matplotlib; install it with: pip install 'primedht[charts]'")


def check_path(path: Path) -> None:
    """Raise `InvalidArgument` if no picture can be written there; a run may take long before one is."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise InvalidArgument(f"{path}: no picture format has this ending; choose another, such as out.png")
    if not path.parent.is_dir():
        raise InvalidArgument(f"{path}: there is no folder {path.parent}; make it first")


def draw(result: Result, path: Path) -> None:
    """Write one picture, a panel per thing measured. Raises `InvalidArgument` where it cannot be written."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    check_path(path)
    with mpl.rc_context(_PANEL_STYLE):
        drawn = _panels(result)
        handles = panels.legend_handles(result.measures)
        legend_inches = _LEGEND_INCHES * -(-max(1, len(handles)) // _LEGEND_COLUMNS)
        heights = [legend_inches, *[_PANEL_INCHES[1]] * (-(-len(drawn) // 2))]
        figure = Figure(figsize=(2 * _PANEL_INCHES[0], sum(heights) + _EDGE_INCHES), layout="constrained")
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        _frame(figure, result)
        legend = figure.add_subplot(grid[0, :])
        legend.set_axis_off()
        if handles:
            legend.legend(handles=handles, loc="center", ncols=_LEGEND_COLUMNS, frameon=False)
        for place, panel in enumerate(drawn):
            row, column = divmod(place, 2)
            last_alone = place == len(drawn) - 1 and not column
            panel(figure.add_subplot(grid[row + 1, :] if last_alone else grid[row + 1, column]))
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        try:
            figure.savefig(path, dpi=_DPI, metadata=metadata)
        except OSError as error:
            raise InvalidArgument(f"{path}: {error.strerror}; choose another file") from None


def _panels(result: Result) -> list[Any]:
    measures = result.measures
    kinds = panels.styles(measures)
    drawn: list[Any] = []
    if kinds:
        drawn += [partial(panels.draw_latency, measures=measures, kinds=kinds)]
        drawn += [partial(panels.draw_messages, measures=measures, kinds=kinds)]
        if panels.hop_kinds(measures, kinds):
            drawn += [partial(panels.draw_hops, measures=measures, kinds=kinds)]
    drawn.append(partial(panels.draw_load, loads=result.loads))
    drawn += [
        partial(panels.draw_series, title=title, series=series)
        for title, series in measures.series.items()
        if series.points
    ]
    if len(measures.timeline) > 2:
        drawn.append(partial(panels.draw_traffic, timeline=measures.timeline))
    return drawn


def _frame(figure: Any, result: Result) -> None:
    """Add what all panels share: the title, and the command."""
    reads = result.measures.reads
    rate = f", {panels.percent(result.success_rate)} of {reads:,} reads right" if reads else ""
    nodes = f"{result.nodes:,} node{'s' * (result.nodes != 1)}"
    figure.suptitle(f"{result.scenario}: {nodes}, seed {result.seed}{rate}", fontsize=12, weight="bold")
    figure.supxlabel(result.command, fontsize=7, color="#6c757d", family="DejaVu Sans Mono", wrap=True)
