"""`add`, `cat`, `fetch`, `ls`, `pin`, `unpin`, `gc` and `stat`: files and directories as blocks."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primedht.blocks.profiles import DEFAULT_NAME, PROFILES, profile_named
from primedht.cids import Cid
from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, Timeout
from primedht.cli.exits import PARTIAL
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.errors import BlockNotFound, InvalidArgument
from primedht.units import format_count, format_duration, format_size, parse_duration

if TYPE_CHECKING:
    from primedht.client import Collected, Content, Pin

app = App()

ContentArgument = Annotated[
    str, typer.Argument(metavar="CID", help="A content id; with a path below it, as in CID/train/0.bin.")
]
_Ttl = Annotated[str | None, typer.Option(metavar="TIME", help="Keep it for this long, such as 30d.")]


@app.command(epilog="Example: primedht add model.safetensors --profile safetensors")
def add(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or a directory; - is standard input.")],
    profile: Annotated[
        str, typer.Option(metavar="NAME", help=f"How files are cut: {', '.join(PROFILES)}.")
    ] = DEFAULT_NAME,
    name: Annotated[str, typer.Option(metavar="NAME", help="A name for the pin.")] = "",
    ttl: _Ttl = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Do not copy files; read them where they are.")
    ] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Add names that begin with a dot too.")] = False,
    no_pin: Annotated[bool, typer.Option("--no-pin", help="Leave it to the next `primedht gc`.")] = False,
    no_announce: Annotated[bool, typer.Option("--no-announce", help="Do not tell the network.")] = False,
    only_hash: Annotated[
        bool, typer.Option("--only-hash", help="Print the CID and store nothing; needs no daemon.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the CID alone.")] = False,
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep a file or a directory as blocks, and announce it."""
    ttl_s = None if ttl is None else parse_duration(ttl)
    profile_named(profile)
    with Meter("adding", quiet=quiet or as_json) as meter:
        if only_hash:
            added = _hash(path, profile, hidden)
        else:
            count = 0

            def on_added(found: str, made: object) -> None:
                nonlocal count
                count += 1
                meter.count(count, None)

            added = common.client(control, data_dir).add(
                sys.stdin.buffer if path == "-" else Path(path),
                profile=profile, name=name, ttl=ttl_s, pin=not no_pin, announce=not no_announce,
                in_place=in_place, hidden=hidden, on_added=on_added,
            )  # fmt: skip
    shown = {
        "cid": str(added.cid),
        "content_bytes": added.content_bytes,
        "dag_bytes": added.dag_bytes,
        "profile": profile,
    }
    text = str(added.cid) if quiet else f"{added.cid}  {format_size(added.content_bytes)}  {path}"
    common.print_result(shown, text, as_json=as_json)


@app.command(epilog="Example: primedht cat bafy.../README.md")
def cat(
    content: ContentArgument,
    offset: Annotated[int, typer.Option(metavar="BYTES", min=0, help="Begin there.")] = 0,
    length: Annotated[int | None, typer.Option(metavar="BYTES", min=0, help="Print so many.")] = None,
    timeout: Timeout = "60s",
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print a file's bytes, as they are."""
    cid, path = _split(content)
    daemon = common.client(control, data_dir)
    pieces = daemon.cat(cid, path, offset=offset, length=length, timeout=common.timeout_s(timeout))
    if sys.stdout.isatty():
        common.write_output(b"".join(pieces), None, what="the file")
        return
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@app.command(epilog="Example: primedht fetch bafy... -o model.safetensors")
def fetch(
    content: ContentArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Where it goes; a directory must be new."),
    ] = None,
    timeout: Timeout = "1h",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a file or a directory to disk, whole or not at all."""
    cid, path = _split(content)
    target = output if output is not None else Path(path.rstrip("/").rpartition("/")[2] or str(cid))
    with Meter("fetching", quiet=as_json):
        size = common.client(control, data_dir).fetch(
            cid, target, path=path, timeout=common.timeout_s(timeout)
        )
    shown = {"path": str(target), "content_bytes": size}
    common.print_result(shown, f"{target}  {format_size(size)}", as_json=as_json)


@app.command(epilog="Example: primedht ls bafy...")
def ls(
    content: Annotated[
        str | None,
        typer.Argument(metavar="CID", help="A directory, or a path below one; without it, what is pinned."),
    ] = None,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """List a directory, or what is pinned."""
    daemon = common.client(control, data_dir)
    if content is None:
        for pin in daemon.pins():
            common.print_result(_pin_json(pin), _pin_text(pin), as_json=as_json)
        return
    cid, path = _split(content)
    for entry in daemon.list_directory(cid, path, timeout=common.timeout_s(timeout)):
        shown = {"name": entry.name, "cid": str(entry.cid), "dag_bytes": entry.dag_bytes}
        line = f"{entry.cid}  {format_size(entry.dag_bytes):>10}  {entry.name}"
        common.print_result(shown, common.printable(line), as_json=as_json)


@app.command(epilog="Example: primedht pin bafy... --name resnet50 --ttl 30d")
def pin(
    cid: common.CidArgument,
    name: Annotated[str, typer.Option(metavar="NAME", help="A name for the pin.")] = "",
    ttl: _Ttl = None,
    direct: Annotated[bool, typer.Option("--direct", help="This one block, not what it links to.")] = False,
    no_announce: Annotated[bool, typer.Option("--no-announce", help="Do not tell the network.")] = False,
    timeout: Timeout = "1h",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep content, fetching what is missing, and announce it."""
    ttl_s = None if ttl is None else parse_duration(ttl)
    wanted, limit_s = Cid.from_text(cid), common.timeout_s(timeout)
    with Meter("pinning", quiet=as_json):
        made = common.client(control, data_dir).pin(
            wanted, name=name, direct=direct, ttl=ttl_s, announce=not no_announce, timeout=limit_s
        )
    common.print_result(_pin_json(made), f"pinned {_pin_text(made)}", as_json=as_json)


@app.command(epilog="Example: primedht unpin bafy...")
def unpin(
    cid: common.CidArgument,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the pin of this name; else all of them.")
    ] = None,
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep content no longer; gc removes what nothing else needs."""
    removed = common.client(control, data_dir).unpin(Cid.from_text(cid), name=name)
    common.print_result({"pins": removed}, f"{format_count(removed, 'pin')} removed", as_json=as_json)


def gc_lines(done: Collected) -> list[str]:
    """Say what a collection removed, and what keeps it from removing more."""
    lines = [f"{format_count(done.blocks, 'block')} removed, {format_size(done.bytes)}"]
    if done.broken:
        lines[0] = "no block removed: a pin is broken, and nothing else could go"
    if done.undecided:
        blocks = f"{format_count(done.undecided, 'block')}, {format_size(done.undecided_bytes)}"
        lines[0] = f"no block removed: a broken pin may keep the {blocks}, that no other pin needs"
    if done.failed:
        lines.append(f"{format_count(done.failed, 'file')} could not be removed; the next run tries again")
    for pin, cid, code in done.broken:
        what = "is not here, and no peer gave it" if code == BlockNotFound.code else "cannot be followed"
        named = f"{pin.cid}{f' --name {shlex.quote(pin.name)}' if pin.name else ''}"
        lines += [
            f"broken pin {pin.cid} {pin.name}".rstrip() + f": {cid} {what} ({code})",
            f"  to get it back: primedht pin {named}",
            f"  to give it up:  primedht unpin {named}",
        ]
    return lines


@app.command(epilog="Example: primedht gc")
def gc(as_json: AsJson = False, control: Control = None, data_dir: DataDirOption = None) -> None:
    """Remove the blocks that no pin needs."""
    with Meter("collecting", quiet=as_json):
        done = common.client(control, data_dir).collect()
    broken = [{"pin": _pin_json(pin), "cid": str(cid), "code": code} for pin, cid, code in done.broken]
    shown = {
        "blocks": done.blocks,
        "bytes": done.bytes,
        "failed": done.failed,
        "kept": done.kept,
        "broken": broken,
        "undecided": done.undecided,
        "undecided_bytes": done.undecided_bytes,
    }
    common.print_result(shown, *gc_lines(done), as_json=as_json)
    if done.broken or done.failed:
        raise typer.Exit(PARTIAL)


@app.command(epilog="Example: primedht stat bafy...")
def stat(
    cid: Annotated[
        str | None, typer.Argument(metavar="CID", help="A content id; without it, all that is here.")
    ] = None,
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show how much of some content is here, and what keeps it."""
    daemon = common.client(control, data_dir)
    if cid is None:
        state = daemon.status()["blocks"]
        quota = format_size(state["bytes_max"]) if state["bytes_max"] else "no limit"
        common.print_result(
            state,
            f"{format_count(state['blocks'], 'block')}, {format_size(state['bytes'])} of {quota}",
            f"{format_size(state['referenced_bytes'])} in files of yours",
            as_json=as_json,
        )
        return
    found = daemon.stat(Cid.from_text(cid))
    shown = {
        "blocks": found.blocks,
        "bytes": found.bytes,
        "missing": found.missing,
        "pins": [_pin_json(pin) for pin in found.pins],
    }
    here = f"{format_count(found.blocks, 'block')} here, {format_size(found.bytes)}"
    missing = f"; {format_count(found.missing, 'more block')} linked and not here" if found.missing else ""
    lines = [here + missing]
    lines += [f"pinned {_pin_text(pin)}" for pin in found.pins]
    common.print_result(shown, *lines, as_json=as_json)


def _hash(path: str, profile: str, hidden: bool) -> Content:
    from primedht.blocks.importer import import_file, import_path, root_of
    from primedht.client import Content

    try:
        if path == "-":
            part = root_of(import_file(sys.stdin.buffer, profile_named(profile)))
        else:
            part = root_of(import_path(Path(path), profile_named(profile), hidden=hidden))
    except OSError as error:
        raise InvalidArgument(f"{error.filename or path}: {error.strerror}; check the path") from None
    return Content(part.cid, part.content_bytes, part.dag_bytes)


def _split(content: str) -> tuple[Cid, str]:
    cid, _, path = content.removeprefix("/ipfs/").partition("/")
    return Cid.from_text(cid), path


def _pin_json(pin: Pin) -> dict[str, Any]:
    return {
        "cid": str(pin.cid),
        "name": pin.name,
        "recursive": pin.recursive,
        "partial": pin.partial,
        "created_unix_s": pin.created_unix_s,
        "expires_unix_s": pin.expires_unix_s,
    }


def _pin_text(pin: Pin) -> str:
    words = [str(pin.cid)]
    if pin.name:
        words.append(pin.name)
    if not pin.recursive:
        words.append("(one block)")
    if pin.partial:
        words.append("(not all of it is here)")
    if pin.expires_unix_s is not None:
        words.append(f"(for {format_duration(max(0.0, pin.expires_unix_s - time.time()))})")
    return " ".join(words)
