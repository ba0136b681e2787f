"""`--watch`: what a command shows, again and again in the same place."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primedht.cli import common
from primedht.errors import InvalidArgument
from primedht.units import format_duration, parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_INTERVAL_S_MIN = 0.1

Watch = Annotated[bool, typer.Option("--watch", help="Refresh in place until Ctrl-C.")]
Interval = Annotated[str, typer.Option(metavar="TIME", help="With --watch: how often to refresh.")]


def show(
    look: Callable[[], Any],
    draw: Callable[[Any], RenderableType],
    as_json: Callable[[Any], Any] | None,
    *,
    watch: bool,
    interval: str,
) -> None:
    """Show what `look` returns: once, or again every `interval` until Ctrl-C.

    as_json: gives what is printed as a line of JSON, in the place of the drawing.
    Raises `InvalidArgument` for watching without a terminal: a file would fill with drawings.
    """
    if not watch:
        seen = look()
        if as_json is not None:
            common.print_json(as_json(seen))
        else:
            common.console().print(draw(seen))
        return
    pause_s = parse_duration(interval)
    if not pause_s >= _INTERVAL_S_MIN:
        raise InvalidArgument(f"--interval is {interval!r}; it must be at least 100ms")
    if as_json is None and not sys.stdout.isatty():
        raise InvalidArgument("--watch draws on a terminal; with --json it prints a line each time")
    try:
        if as_json is None:
            _redraw(look, draw, pause_s)
        while as_json is not None:
            common.print_json(as_json(look()))
            sys.stdout.flush()
            time.sleep(pause_s)
    except KeyboardInterrupt:
        return


def _redraw(look: Callable[[], Any], draw: Callable[[Any], RenderableType], pause_s: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    def frame() -> RenderableType:
        every = f"{time.strftime('%H:%M:%S')}, every {format_duration(pause_s)}; Ctrl-C ends"
        return Group(draw(look()), Text(), Text(every, style="dim"))

    first = frame()  # an error belongs on the screen that stays
    with Live(
        first, console=common.console(), screen=True, auto_refresh=False, vertical_overflow="crop"
    ) as live:
        while True:
            time.sleep(pause_s)
            live.update(frame(), refresh=True)
