"""`put`, `get` and `delete`: one value at a time."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, KeyArgument, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.errors import InvalidArgument
from primedht.units import format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from primedht.results import FoundValue, PutResult

app = App()


@app.command(epilog="Example: primedht put greeting hello --ttl 2h")
def put(
    key: KeyArgument,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="The value as text; - reads standard input.")
    ] = None,
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Store this file's bytes; - is standard input.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Life of the value, such as 2h or 10m.")
    ] = None,
    min_holders: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Fail unless N peers hold it.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Store it once; do not keep it alive.")] = False,
    compress: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="Compress a large value: none, auto or zstd; else as records.compression says.",
        ),
    ] = None,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store a value under a key."""
    wire_key, source = common.key_of(key), _source(value, file)
    ttl_s = None if ttl is None else parse_duration(ttl)
    limit_s = common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("storing") as meter:
        result = daemon.put(
            *(wire_key, source), ttl=ttl_s, min_holders=min_holders, once=once, compress=compress,
            timeout=limit_s, progress=None if isinstance(source, bytes) else meter.on_transfer,
        )  # fmt: skip
    lines = [f"stored on {common.holders_text(result)}", *(f"  {peer}" for peer in result.receipts)]
    if result.codec or compress in ("auto", "zstd"):
        lines.append(compression_text(result))
    common.print_result(common.put_json(result), *lines, as_json=as_json)


@app.command(epilog="Example: primedht get greeting -o greeting.txt")
def get(
    key: KeyArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the value to this file.")
    ] = None,
    quorum: Annotated[int, typer.Option(metavar="N", min=1, help="Ask until N peers had it.")] = 1,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Refuse a larger value; 1GiB unless given.")
    ] = None,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print the value of a key, byte for byte."""
    wire_key, limit_s = common.key_of(key), common.timeout_s(timeout)
    bytes_max = None if max_bytes is None else parse_size(max_bytes)
    daemon = common.client(control, data_dir)
    if output is not None:
        with Meter("looking up") as meter:
            found, size = daemon.get_to(
                *(wire_key, output), quorum=quorum, max_bytes=bytes_max, timeout=limit_s,
                progress=meter.on_transfer,
            )  # fmt: skip
        common.print_result(found_json(found, size=size), as_json=as_json)
        return
    with Meter("looking up"):
        found = daemon.get_record(wire_key, quorum=quorum, max_bytes=bytes_max, timeout=limit_s)
    if as_json:
        common.print_json(found_json(found))
    else:
        common.write_output(found.payload, None, what="the value")


@app.command(epilog="Example: primedht delete greeting")
def delete(
    key: KeyArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete a value everywhere, and stop keeping it alive."""
    wire_key, limit_s = common.key_of(key), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("deleting"):
        result = daemon.delete(wire_key, timeout=limit_s)
    common.print_result(common.put_json(result), f"deleted on {common.holders_text(result)}", as_json=as_json)


def compression_text(result: PutResult) -> str:
    """Say what compressing a value saved, or why it was not compressed."""
    if result.value_bytes is None or result.stored_bytes is None:
        return "not compressed: a value that its record holds never is"
    if not result.codec:
        return "not compressed: its beginning would shrink by less than a tenth"
    saved = 1 - result.stored_bytes / result.value_bytes
    sizes = f"{format_size(result.value_bytes)} to {format_size(result.stored_bytes)}"
    return f"compressed with {result.codec}: {sizes}, {abs(saved):.1%} {'less' if saved >= 0 else 'more'}"


def found_json(found: FoundValue, *, size: int | None = None) -> dict[str, Any]:
    """Return the stable JSON form of a value that was found. size: given if its bytes went elsewhere."""
    shown = {
        "key": common.key_text(found.key),
        "bytes": len(found.payload) if size is None else size,
        "authenticated": found.authenticated,
        "sources": common.peer_texts(found.sources),
        "sequence": found.sequence,
        "writer_unix_ms": found.writer_unix_ms,
        "expires_unix_s": found.expires_unix_s,
        "root": common.root_text(found.root),
    }
    if size is None:
        shown["value_base64"] = base64.b64encode(found.payload).decode("ascii")
    return shown


def _source(value: str | None, file: str | None) -> bytes | Path | BinaryIO:
    if (value is None) == (file is None):
        raise InvalidArgument("give either VALUE or --file; - is standard input")
    if value is not None and value != "-":
        return value.encode("utf-8", "surrogateescape")
    return sys.stdin.buffer if file in (None, "-") else Path(file)
