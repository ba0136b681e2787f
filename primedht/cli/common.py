"""What the commands share: their common options, the client, and the shapes of their output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primedht.errors import InvalidArgument
from primedht.units import format_count, parse_duration
from primedht.whole_file import WholeFile

if TYPE_CHECKING:
    from rich.console import Console

    from primedht.client import Client, PeerAddrs
    from primedht.ids import PeerId
    from primedht.results import PutResult, Refusal

PLAIN_COLUMNS = 100  # of drawings where there is no terminal
_DAEMON_PANEL = "Which daemon"

Control = Annotated[
    str | None,
    typer.Option(
        metavar="MULTIADDR",
        help="The daemon's control socket, such as /unix/run/primedht.sock. Also: PRIMEDHT_CONTROL.",
        rich_help_panel=_DAEMON_PANEL,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The daemon's data directory. Also: PRIMEDHT_NODE_DATA_DIR.",
        rich_help_panel=_DAEMON_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Timeout = Annotated[str, typer.Option(metavar="TIME", help="Give up after this time, such as 30s or 2m.")]
KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="Text, /pk/<peer id>, /ipns/<name>, or 0x and hexadecimal.")
]
NewDirectory = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where it goes; it must be new.")
]
CidArgument = Annotated[str, typer.Argument(metavar="CID", help="A content id, such as bafkrei... or Qm...")]


def client(control: str | None, data_dir: Path | None) -> Client:
    """Return a client of the daemon that the options name. Raises `DaemonUnavailable`."""
    from primedht.client import Client

    return Client(control, data_dir=data_dir)


def key_of(text: str) -> bytes:
    """Return the key that `text` stands for. Raises `InvalidKey`."""
    from primedht.records.keys import parse_key_text

    return parse_key_text(text)


def key_text(key: bytes) -> str:
    """Return text that `key_of` turns back into `key`."""
    from primedht.records.keys import format_key

    return format_key(key)


def timeout_s(text: str) -> float:
    """Return a `--timeout` in seconds. Raises `InvalidArgument`."""
    seconds = parse_duration(text)
    if seconds <= 0:
        raise InvalidArgument(f"--timeout is {text!r}; it must be positive")
    return seconds


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def print_result(value: Any, *lines: object, as_json: bool) -> None:
    """Print what a command found out: `value` for machines, or else `lines` for people."""
    if as_json:
        print_json(value)
    elif lines:
        print(*lines, sep="\n", flush=True)


def peer_json(peer: PeerAddrs) -> dict[str, Any]:
    return {"peer": str(peer.id), "addrs": list(peer.addrs)}


def console() -> Console:
    """Return standard output for tables: as wide as the terminal; where there is none, never cut."""
    from rich.console import Console

    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=1_000)


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under a header, columns two spaces apart."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def peer_texts(peers: tuple[PeerId, ...]) -> list[str]:
    return [str(peer) for peer in peers]


def refusals_json(refusals: tuple[Refusal, ...]) -> list[dict[str, str]]:
    return [{"peer": str(each.peer), "code": each.code} for each in refusals]


def put_json(result: PutResult) -> dict[str, Any]:
    """Return the stable JSON form of a put's or a delete's result."""
    return {
        "key": key_text(result.key),
        "holders": peer_texts(result.holders),
        "refused": refusals_json(result.refused),
        "wanted": result.wanted,
        "replication_factor": result.replication_factor,
        "degraded": result.degraded,
        "sequence": result.sequence,
        "expires_unix_s": result.expires_unix_s,
        "root": root_text(result.root),
        "receipts": peer_texts(result.receipts),
        "receipts_refused": refusals_json(result.receipts_refused),
        "value_bytes": result.value_bytes,
        "stored_bytes": result.stored_bytes,
        "codec": result.codec,
    }


def root_text(root: bytes | None) -> str | None:
    """Return the CID of a large value's blocks in text."""
    from primedht.cids import Cid

    return None if root is None else str(Cid.from_bytes(root))


def holders_text(result: PutResult) -> str:
    """Say how many peers hold a value, and why not more: `1 of 3 (no more peers yet)`."""
    return _record_holders_text(result) + ("" if result.root is None else _block_holders_text(result))


def _block_holders_text(result: PutResult) -> str:
    wanted = result.replication_factor
    return f"; {block_keepers_text(len(result.receipts), result.receipts_refused, wanted)}"


def block_keepers_text(receipts: int, refused: tuple[Refusal, ...], wanted: int) -> str:
    """Say how many other peers keep blocks, and what would make them more."""
    codes = sorted({each.code for each in refused})
    why = f"{len(refused)} refused: {', '.join(codes)}" if refused else "no more peers yet"
    if receipts:
        kept = f"blocks here and on {format_count(receipts, 'other peer')}"
        return f"{kept} ({why})" if refused and receipts < wanted else kept
    text = f"only this node keeps the blocks ({why})"
    if "not_permitted" in codes:
        text += (
            "; others will if all nodes have the same network.psk_file, or if theirs list this node's "
            "peer id in replicate.allow"
        )
    return text


def _record_holders_text(result: PutResult) -> str:
    text = f"{len(result.holders)} of {result.replication_factor}"
    if not result.degraded:
        return text
    if result.refused:
        codes = sorted({each.code for each in result.refused})
        return f"{text} ({len(result.refused)} refused: {', '.join(codes)})"
    return f"{text} (no more peers yet)"


def read_input(path: str, *, bytes_max: int) -> bytes:
    """Read a file, or standard input for `-`, up to one byte beyond `bytes_max`.

    Raises `InvalidArgument` for one that cannot be read.
    """
    if path == "-":
        return sys.stdin.buffer.read(bytes_max + 1)
    try:
        with open(path, "rb") as stream:
            return stream.read(bytes_max + 1)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}; check the path") from None


def write_output(data: bytes, output: Path | None, *, what: str, mode: int = 0o666) -> None:
    """Write bytes as they are, to a file (whole or not at all) or to standard output.

    Raises `InvalidArgument` for binary data on a terminal, and `WholeFile`'s errors.
    """
    if output is not None:
        file = WholeFile(output, mode=mode)
        try:
            file.write(data)
            file.commit()
        finally:
            file.close()
        return
    if sys.stdout.isatty():
        if not _is_text(data):
            raise InvalidArgument(
                f"{what} is binary and would garble the terminal; write it to a file with -o"
            )
        if not data.endswith(b"\n"):
            data += b"\n"
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\n\t\r" for char in text)


def printable(line: str) -> str:
    """Return a line that a stranger has written parts of, without what would steer a terminal."""
    return "".join(each if each.isprintable() else "\ufffd" for each in line)
