"""`put-many` and `get-many`: newline-delimited JSON in and out, one line an item."""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import typer

from primedht.cli import common, exits
from primedht.cli.common import Control, DataDirOption, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.cli.values import found_json
from primedht.errors import InvalidArgument, PrimeDhtError
from primedht.limits import VALUE_BYTES_MAX
from primedht.units import parse_duration

if TYPE_CHECKING:
    from primedht.client import ItemResult, PutItem

T = TypeVar("T")
# 32 of the largest values fit one request; more would only wait in the daemon.
_ITEMS_PER_REQUEST = 32
_LINE_CHARS_MAX = 4 * VALUE_BYTES_MAX
app = App()

_File = Annotated[str, typer.Argument(metavar="FILE", help="Newline-delimited JSON; - is standard input.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Accepted for uniformity: the output is JSON anyway.")]


@app.command(
    "put-many",
    epilog='Example: echo \'{"key": "a", "value": "1", "ttl": "2h"}\' | primedht put-many',
)
def put_many(
    file: _File = "-",
    timeout: Timeout = "60s",
    as_json: _AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store many values, one JSON object a line.

    A line has "key", "value" or "value_base64", and perhaps "ttl" and "compress". Each gives a line
    with "key", "ok", and the put's result or "code" and "message". The status is 5 if only some were
    stored.
    """
    limit_s = common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    tally = _Tally()
    with _Lines(file) as lines, _meter("storing") as meter:
        for batch in _batches(lines):
            items = [_put_item(number, line) for number, line in batch]
            for outcome in daemon.put_many(items, timeout=limit_s):
                tally.count(outcome)
                meter.count(tally.done, lines.share)
                stored = outcome.result
                _print_outcome(outcome, common.put_json(stored) if stored is not None else {})
    raise typer.Exit(tally.status(exits.FAILED))


@app.command(
    "get-many",
    epilog='Example: printf \'"a"\\n"b"\\n\' | primedht get-many',
)
def get_many(
    file: _File = "-",
    quorum: Annotated[int, typer.Option(metavar="N", min=1, help="Ask until N peers had each.")] = 1,
    timeout: Timeout = "60s",
    as_json: _AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Get many values, one key a line.

    A line is a JSON string, or an object with "key". Each gives a line with "key", "ok", and
    "value_base64" and more, or "code" and "message", as it arrives. The status is 5 if only some
    were found.
    """
    limit_s = common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    tally = _Tally()
    with _Lines(file) as lines, _meter("getting") as meter:
        for batch in _batches(lines):
            keys = [_key(number, line) for number, line in batch]
            for outcome in daemon.get_many(keys, quorum=quorum, timeout=limit_s):
                tally.count(outcome)
                meter.count(tally.done, lines.share)
                found = outcome.result
                _print_outcome(outcome, found_json(found) if found is not None else {})
    raise typer.Exit(tally.status(exits.NOT_FOUND))


class _Tally:
    """Counts outcomes, and says which exit status they add up to."""

    def __init__(self) -> None:
        self.done = 0
        self.succeeded = 0
        self.codes: set[str] = set()

    def count(self, outcome: ItemResult[Any]) -> None:
        self.done += 1
        if outcome.error is None:
            self.succeeded += 1
        else:
            self.codes.add(outcome.error.code)

    def status(self, all_failed: int) -> int:
        if not self.codes:
            return exits.OK
        if self.succeeded:
            return exits.PARTIAL
        return all_failed if {exits.status_of(code) for code in self.codes} == {all_failed} else exits.FAILED


def _print_outcome(outcome: ItemResult[Any], result: dict[str, Any]) -> None:
    shown: dict[str, Any] = {"key": common.key_text(outcome.key), "ok": outcome.error is None}
    if outcome.error is not None:
        shown |= {"code": outcome.error.code, "message": str(outcome.error)}
    common.print_json(shown | result)


def _meter(doing: str) -> Meter:
    """Return what shows how far a batch is; the lines that it prints do so themselves on a terminal."""
    return Meter(doing, quiet=sys.stdout.isatty())


class _Lines:
    """The lines of a file, or of standard input for `-`, as they come in; those that are empty left out.

    Iterating gives (line number, text). Raises `InvalidArgument`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._read_bytes = 0
        with self._failing():
            self._stream = sys.stdin if path == "-" else open(path, encoding="utf-8")  # noqa: SIM115
            status = os.fstat(self._stream.fileno())
            self._size = status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def share(self) -> float | None:
        """How much of the file has been read, from 0 to 1; None of what has no end."""
        return min(1.0, self._read_bytes / self._size) if self._size else None

    def __iter__(self) -> Iterator[tuple[int, str]]:
        number = 0
        with self._failing():
            while line := self._stream.readline(_LINE_CHARS_MAX + 1):
                number += 1
                self._read_bytes += len(line.encode("utf-8", "surrogateescape"))
                if len(line) > _LINE_CHARS_MAX:
                    raise InvalidArgument(f"line {number}: over {_LINE_CHARS_MAX} characters; split it")
                if line.strip():
                    yield number, line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stream.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise InvalidArgument(f"{self._path}: not UTF-8; give one JSON object a line") from None
        except OSError as error:
            raise InvalidArgument(f"{self._path}: {error.strerror}; check the path") from None


def _batches(lines: Iterable[T]) -> Iterator[list[T]]:
    source = iter(lines)
    while batch := list(islice(source, _ITEMS_PER_REQUEST)):
        yield batch


def _put_item(number: int, line: str) -> PutItem:
    from primedht.client import PutItem
    from primedht.transfers import compress_named

    fields = _object(number, line, {"key", "value", "value_base64", "ttl", "compress"})
    try:
        if ("value" in fields) == ("value_base64" in fields):
            raise InvalidArgument('give one of "value" and "value_base64"')
        value = (
            str(fields["value"]).encode("utf-8")
            if "value" in fields
            else base64.b64decode(str(fields["value_base64"]), validate=True)
        )
        ttl = parse_duration(fields["ttl"]) if fields.get("ttl") is not None else None
        compress = compress_named(fields["compress"]) if fields.get("compress") is not None else None
        return PutItem(common.key_of(str(fields["key"])), value, ttl, compress)
    except (PrimeDhtError, binascii.Error, UnicodeEncodeError) as error:
        raise InvalidArgument(f"line {number}: {error}; nothing of its batch was stored") from None


def _key(number: int, line: str) -> bytes:
    fields = _object(number, line, {"key"})
    try:
        return common.key_of(str(fields["key"]))
    except PrimeDhtError as error:
        raise InvalidArgument(f"line {number}: {error}") from None


def _object(number: int, line: str, known: set[str]) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidArgument(f'line {number}: not JSON; write it like {{"key": "a", ...}}') from None
    fields = {"key": value} if isinstance(value, str) else value
    if not isinstance(fields, dict) or "key" not in fields or not set(fields) <= known:
        raise InvalidArgument(f"line {number}: give an object with {', '.join(sorted(known))}")
    return fields
