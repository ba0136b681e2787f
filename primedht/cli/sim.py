"""`sim`: thousands of nodes in one process, on a simulated network, in virtual time."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from primedht.cli import common
from primedht.cli.common import AsJson
from primedht.cli.help import App
from primedht.errors import InvalidArgument, SimulationFailed
from primedht.units import format_duration, parse_duration

if TYPE_CHECKING:
    from primedht.sim.report import Result

app = App()

_NODES_MAX = 100_000
_REFRESHES_PER_S = 4


@app.command(
    epilog="Example: primedht sim --nodes 200 --scenario churn --seed 7 --set median=600",
)
def sim(
    nodes: Annotated[int, typer.Option(metavar="N", min=1, max=_NODES_MAX, help="How many nodes.")] = 200,
    scenario: Annotated[
        str, typer.Option(metavar="NAME", help="What happens; `list` names all scenarios.")
    ] = "static",
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Same seed, same run.")] = 1,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Virtual time, such as 24h; each scenario has its own.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=NUMBER", help="A parameter of the scenario, such as replication=6."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw what was measured, such as to out.png.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run real nodes on a simulated network, in virtual time.

    Exit status 1 means that a check failed; the command that replays the run is printed.
    """
    from primedht import logs
    from primedht.sim.scenarios import SCENARIOS

    if scenario == "list":
        rows = [
            (known.name, known.summary, ", ".join(f"{k}={v:g}" for k, v in known.parameters.items()))
            for known in SCENARIOS.values()
        ]
        common.print_table(("SCENARIO", "WHAT HAPPENS", "PARAMETERS"), rows)
        return
    if scenario not in SCENARIOS:
        raise InvalidArgument(f"no scenario {scenario!r}; there are {', '.join(SCENARIOS)}")
    if plot is not None:
        from primedht.sim import plots

        plots.require_matplotlib()
        plots.check_path(plot)
    logs.configure_logs("error", "console")  # nodes warn of what a scenario does to them on purpose
    result = _run(
        SCENARIOS[scenario],
        nodes,
        seed,
        None if duration is None else parse_duration(duration),
        _parameters(changes or []),
    )
    if plot is not None:
        plots.draw(result, plot)
    if as_json:
        common.print_json(result.to_json())
    else:
        _print(result)
    if result.failures:
        raise SimulationFailed(f"{len(result.failures)} checks failed; replay: {result.command}")


def _run(
    scenario: Any, nodes: int, seed: int, duration_s: float | None, parameters: dict[str, float]
) -> Result:
    from primedht.sim.run import run_scenario

    with _progress(f"{scenario.name}, {nodes} nodes, seed {seed}") as on_progress:
        return run_scenario(
            scenario,
            nodes=nodes,
            seed=seed,
            duration_s=duration_s,
            parameters=parameters,
            on_progress=on_progress,
        )


def _progress(title: str) -> AbstractContextManager[Any]:
    """Return a context that shows a bar with virtual and real time, where somebody looks at it."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext(lambda phase, passed_s, total_s: None)
    return _Bar(title, console)


class _Bar(AbstractContextManager["_Bar"]):
    """Called by the run once a virtual second; draws a few times a real second."""

    def __init__(self, title: str, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[times]}"),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self._title = title
        self._task = self._progress.add_task(title, total=1.0, times="")
        self._began = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, phase: str, passed_s: float, total_s: float) -> None:
        now = time.monotonic()
        if now - self._drawn < 1 / _REFRESHES_PER_S:
            return
        self._drawn = now
        real = format_duration(now - self._began)
        self._progress.update(
            self._task,
            description=f"{self._title}: {phase}",
            completed=min(1.0, passed_s / total_s),
            times=f"{format_duration(passed_s)} virtual, {real} real",
        )
        self._progress.refresh()


def _parameters(changes: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for change in changes:
        name, equals, number = change.partition("=")
        try:
            found[name.strip()] = float(number) if equals else float("nan")
        except ValueError:
            found[name.strip()] = parse_duration(number)
        if found[name.strip()] != found[name.strip()]:
            raise InvalidArgument(f"--set {change[:40]!r}: write NAME=NUMBER, such as replication=6")
    return found


def _print(result: Result) -> None:
    print(f"{result.scenario}: {result.nodes} nodes, seed {result.seed}")
    print()
    rows = list(result.operation_rows())
    if rows:
        header = ("OPERATION", "OK", "HOPS", "MESSAGES", "BYTES", "RTTS P50", "P90", "P99", "MEDIAN")
        common.print_table(header, rows)
        print()
    width = max(len(name) for name, _ in result.figure_rows())
    for name, value in result.figure_rows():
        print(f"{name:<{width}}  {value}")
    for failure in result.failures:
        print(f"FAILED: {failure}")
