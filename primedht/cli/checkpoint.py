"""`checkpoint`: look at the checkpoints of training runs, and get their files; programs publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, NewDirectory, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.errors import InvalidArgument
from primedht.units import format_count, format_date, format_size

app = App(name="checkpoint", help="Checkpoints of training runs.")

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="RUN, or OWNER/RUN; OWNER: peer id, me or alias.")
]
StepArgument = Annotated[
    str, typer.Argument(metavar="RUN[@STEP]", help="RUN or OWNER/RUN, and which step; else the latest.")
]
OneStepArgument = Annotated[
    str, typer.Argument(metavar="RUN@STEP", help="RUN or OWNER/RUN, and which of its steps.")
]
StepOrAllArgument = Annotated[
    str, typer.Argument(metavar="RUN[@STEP]", help="RUN or OWNER/RUN, and which step, unless --all.")
]


@app.command("ls", epilog="Example: primedht checkpoint ls org/run42")
def list_steps(
    run: RunArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """List a run's steps, the latest last."""
    daemon, limit_s = common.client(control, data_dir), common.timeout_s(timeout)
    for each in daemon.checkpoints.steps(run, timeout=limit_s):
        shown = each._asdict() | {"cid": str(each.cid)}
        pinned = "  pinned" if each.pinned else ""
        size = format_size(each.size_bytes)
        line = f"{each.step}  {format_date(each.published_unix_s)}  {size}  {each.cid}{pinned}"
        common.print_result(shown, line, as_json=as_json)


@app.command(epilog="Example: primedht checkpoint latest org/run42")
def latest(
    run: StepArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what the latest step is, or another, as its owner signed it."""
    name, step = _parse(run)
    found = common.client(control, data_dir).checkpoints.find(name, step, timeout=common.timeout_s(timeout))
    manifest = found.manifest
    shown = {
        "run": found.run,
        "step": found.step,
        "cid": str(found.cid),
        "pinned": found.pinned,
        "attempt": manifest.attempt,
        "created_at": manifest.created_at,
        "metadata": dict(manifest.metadata),
        "content_bytes": manifest.size_bytes,
        "parts": [{"bytes": part.size_bytes, "cid": str(part.cid)} for part in manifest.parts],
    }
    lines = [
        f"{found.run} step {found.step}  {manifest}",
        f"manifest   {found.cid}",
        f"published  {format_date(manifest.created_at)}" + (", pinned" if found.pinned else ""),
        *(f"{key}: {text}" for key, text in manifest.metadata.items()),
    ]
    common.print_result(shown, *map(common.printable, lines), as_json=as_json)


@app.command(epilog="Example: primedht checkpoint pull org/run42@300 -o step300")
def pull(
    run: StepArgument,
    output: NewDirectory = None,
    timeout: Timeout = "1h",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a step's safetensors files to a directory, whole or not at all, and keep it for others too."""
    name, step = _parse(run)
    target = output if output is not None else Path(name.rpartition("/")[2])
    with Meter("pulling", quiet=as_json):
        found = common.client(control, data_dir).checkpoints.pull(
            name, target, step, timeout=common.timeout_s(timeout)
        )
    size = found.manifest.size_bytes
    shown = {"path": str(target), "run": found.run, "step": found.step, "cid": str(found.cid)}
    shown["content_bytes"] = size
    line = f"{target}  {format_size(size)}  {found.run} step {found.step}"
    common.print_result(shown, line, as_json=as_json)


@app.command(epilog="Example: primedht checkpoint pin run42@300")
def pin(
    run: OneStepArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Keep it no longer than others.")] = False,
    timeout: Timeout = "60s",
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep a step of one's own however many follow it."""
    name, step = _parse(run)
    if step is None:
        raise InvalidArgument(f"{run} has no step; write RUN@STEP")
    common.client(control, data_dir).checkpoints.pin(
        name, step, pinned=not undo, timeout=common.timeout_s(timeout)
    )


@app.command(epilog="Example: primedht checkpoint rm run42@300")
def rm(
    run: StepOrAllArgument,
    everything: Annotated[bool, typer.Option("--all", help="All steps, if none is given.")] = False,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep a step no longer, and list it no more if it is yours; gc frees the room."""
    name, step = _parse(run)
    if (step is None) != everything:
        raise InvalidArgument(f"{run}: write RUN@STEP for one step, or --all for all of them")
    pins = common.client(control, data_dir).checkpoints.remove(name, step, timeout=common.timeout_s(timeout))
    common.print_result({"pins": pins}, f"{format_count(pins, 'pin')} removed", as_json=as_json)


def _parse(run: str) -> tuple[str, int | None]:
    name, at, step = run.partition("@")
    if at and not (step.isascii() and step.isdecimal()):
        raise InvalidArgument(f"{run[:100]!r}: a step is a number, as in run42@300")
    return name, int(step) if at else None
