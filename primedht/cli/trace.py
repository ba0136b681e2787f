"""`trace get`, `trace put` and `trace closest`: one operation, and how its lookup went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, KeyArgument, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.errors import PrimeDhtError
from primedht.units import format_count

if TYPE_CHECKING:
    from primedht.results import Trace

app = App(name="trace", help="Draw how a lookup goes: who was asked, and what each said.")


@app.command(epilog="Example: primedht trace get greeting")
def get(
    key: KeyArgument,
    quorum: Annotated[int, typer.Option(metavar="N", min=1, help="Ask until N peers had it.")] = 1,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Get a value, and draw whom that asked; also when there is none."""
    from primedht.cli.values import found_json

    wire_key, limit_s = common.key_of(key), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    try:
        with Meter("looking up"):
            found = daemon.get_record(wire_key, quorum=quorum, timeout=limit_s, want_trace=True)
    except PrimeDhtError as error:
        _show_failure("get", wire_key, error, as_json=as_json)
        raise
    size, holders = format_count(len(found.payload), "byte"), format_count(len(found.sources), "peer")
    outcome = f"found {size} at {holders}"
    _show("get", wire_key, found.trace, outcome, found_json(found), as_json=as_json)


@app.command(epilog="Example: primedht trace put greeting hello --once")
def put(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value as text.")],
    once: Annotated[bool, typer.Option("--once", help="Store it once; do not keep it alive.")] = False,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store a value, and draw how the peers for it were found."""
    data = value.encode("utf-8", "surrogateescape")
    wire_key, limit_s = common.key_of(key), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    try:
        with Meter("storing"):
            result = daemon.put(wire_key, data, once=once, timeout=limit_s, want_trace=True)
    except PrimeDhtError as error:
        _show_failure("put", wire_key, error, as_json=as_json)
        raise
    outcome = f"stored on {common.holders_text(result)}"
    _show("put", wire_key, result.trace, outcome, common.put_json(result), as_json=as_json)


@app.command(epilog="Example: primedht trace closest greeting")
def closest(
    key: KeyArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Look up the peers closest to a key, and draw how they were found."""
    wire_key, limit_s = common.key_of(key), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("looking up"):
        trace = daemon.trace_lookup(wire_key, timeout=limit_s)
    answered = sum(ask.outcome == "answered" for ask in trace.asked)
    _show("closest", wire_key, trace, f"{format_count(answered, 'peer')} answered", {}, as_json=as_json)


def _show_failure(operation: str, key: bytes, error: PrimeDhtError, *, as_json: bool) -> None:
    """Show how far an operation came that failed; the error itself is the caller's to raise."""
    if error.trace is not None:
        outcome = {"code": error.code, "message": str(error)}
        _show(operation, key, error.trace, str(error), outcome, as_json=as_json)


def _show(
    operation: str, key: bytes, trace: Trace | None, outcome: str, result: dict[str, Any], *, as_json: bool
) -> None:
    from primedht.cli.trace_view import trace_json, trace_view

    if as_json:
        shown = None if trace is None else trace_json(trace)
        common.print_json(
            {"operation": operation, "key": common.key_text(key), "result": result, "trace": shown}
        )
        return
    console = common.console()
    console.print(
        f"{operation} {common.key_text(key)}: {outcome}", style="bold", markup=False, soft_wrap=True
    )
    if trace is not None:
        console.print(trace_view(trace, width=console.width if console.is_terminal else common.PLAIN_COLUMNS))
