"""How far a command is, on standard error: a bar on a terminal, else a line now and then.

Nothing is shown of what ends within a second, and on a terminal nothing is left behind.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from primedht.units import format_duration, format_size

if TYPE_CHECKING:
    from primedht.client import Progress as TransferProgress

_PATIENCE_S = 1.0
_LINE_INTERVAL_S = 5.0
_REDRAW_S = 0.1
_BAR_COLUMNS = 20
_STAGES = {
    "transfer": "moving",
    "lookup": "looking up",
    "store": "storing",
    "keep": "others are getting it to keep",
}


class Meter:
    """Shows how far the block that it surrounds is. quiet: show nothing.

    Its own thread does: the block may be waiting for the daemon.
    """

    def __init__(self, doing: str, *, quiet: bool = False) -> None:
        self._stopped = threading.Event()
        self._thread = None if quiet else threading.Thread(target=self._run, daemon=True)
        self._state = _State(doing)

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def count(self, done: int, share: float | None) -> None:
        """Tell of `done` items, which are this share (0 to 1) of all, if that is known."""
        self._state.at(f"{done:,} done", done, share)

    def on_transfer(self, progress: TransferProgress) -> None:
        """Tell how far a put or a get is, or others that get blocks to keep."""
        state, total = self._state, progress.total_bytes
        state.enter(_STAGES[progress.stage])
        if progress.stage in ("transfer", "keep"):
            text = format_size(progress.done_bytes) + (f" of {format_size(total)}" if total else "")
            share = progress.done_bytes / total if total else None
            state.at(text, progress.done_bytes, share, as_bytes=True)

    def _run(self) -> None:
        if self._stopped.wait(_PATIENCE_S):
            return
        with suppress(OSError):  # nobody reads standard error any more
            if sys.stderr.isatty():
                self._draw()
            else:
                self._write_lines()

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(_BAR_COLUMNS),
            TextColumn("{task.fields[text]}"),
        )
        console = Console(stderr=True, highlight=False)
        with Progress(
            *columns, console=console, transient=True, auto_refresh=False, redirect_stdout=False,
            redirect_stderr=False,
        ) as progress:  # fmt: skip
            task = progress.add_task("", total=None, text="")
            while not self._stopped.is_set():
                state = self._state
                done, total = (None, None) if state.share is None else (state.share, 1.0)
                progress.update(
                    task,
                    description=state.doing,
                    completed=done,
                    total=total,
                    text=state.text(),
                    refresh=True,
                )
                self._stopped.wait(_REDRAW_S)

    def _write_lines(self) -> None:
        self._stopped.wait(_LINE_INTERVAL_S - _PATIENCE_S)
        while not self._stopped.is_set():
            print(f"{self._state.doing}: {self._state.text()}", file=sys.stderr, flush=True)
            self._stopped.wait(_LINE_INTERVAL_S)


class _State:
    """What is being done, since when, and how much of it is done. share: 0 to 1, or None if unknown."""

    def __init__(self, doing: str) -> None:
        self._start(doing)

    def _start(self, doing: str) -> None:
        self.doing = doing
        self.share: float | None = None
        self._began = time.monotonic()
        self._amount = ""
        self._rate = ""

    def enter(self, doing: str) -> None:
        if doing != self.doing:
            self._start(doing)

    def at(self, amount: str, done: float, share: float | None, *, as_bytes: bool = False) -> None:
        rate = done / max(1e-3, time.monotonic() - self._began)
        self._rate = f"{format_size(rate)}/s" if as_bytes else f"{rate:,.0f}/s"
        self._amount, self.share = amount, share

    def text(self) -> str:
        """Return how much, how fast, and how long it will take; or how long it has taken."""
        elapsed_s = time.monotonic() - self._began
        if not self._amount:
            return format_duration(elapsed_s)
        parts = [self._amount, self._rate]
        if self.share:
            parts.append(f"{format_duration(max(0.0, elapsed_s * (1 / self.share - 1)))} left")
        return ", ".join(parts)
