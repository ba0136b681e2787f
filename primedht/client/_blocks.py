"""What the daemon can be asked about blocks, and imports as a conversation. Sans-IO but for reading files."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, NamedTuple

from primedht.blocks.extraction import ContentEntry
from primedht.blocks.profiles import profile_named
from primedht.blocks.walk import Found, open_regular, walk
from primedht.cids import RAW, Cid
from primedht.client._call import Call, Duration, prime_call, prime_request, seconds
from primedht.errors import DaemonUnavailable, InvalidArgument
from primedht.limits import CONTROL_CHUNK_BYTES, CONTROL_TIMEOUT_S, CONTROL_TIMEOUT_S_MAX
from primedht.pb import p2pd_pb2 as pb
from primedht.wire.frames import encode_frame

AnyCid = Cid | str | bytes
"""A CID, its text or its binary form."""

_KINDS = {"file": pb.FILE, "directory": pb.DIRECTORY, "symlink": pb.SYMLINK}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}


class Content(NamedTuple):
    """What was added. content_bytes: of files. dag_bytes: of blocks, as often as they are linked."""

    cid: Cid
    content_bytes: int
    dag_bytes: int


class DirectoryEntry(NamedTuple):
    """dag_bytes: of all blocks below, as the directory says."""

    name: str
    cid: Cid
    dag_bytes: int


class Pin(NamedTuple):
    """partial: some of the DAG is not here yet. expires_unix_s: None is never."""

    cid: Cid
    name: str
    recursive: bool
    partial: bool
    created_unix_s: float
    expires_unix_s: float | None


class Collected(NamedTuple):
    """What a collection removed. broken: pins whose DAG cannot be followed; then no block was removed.

    Each with the CID where that is, and an error code. failed: files that could not be removed. undecided,
    undecided_bytes: blocks that stay because they may be what a broken pin keeps; no other needs them.
    """

    blocks: int
    bytes: int
    failed: int
    kept: int
    broken: tuple[tuple[Pin, Cid, str], ...]
    undecided: int = 0
    undecided_bytes: int = 0


class DagStat(NamedTuple):
    """What is here of a DAG. missing: blocks that those here link to."""

    blocks: int
    bytes: int
    missing: int
    pins: tuple[Pin, ...]


# --- the requests ----------------------------------------------------------------------------------


def cat(
    cid: AnyCid, path: str = "", *, offset: int = 0, length: int | None = None, timeout: Duration = 60
) -> Call[bytes]:
    """Yield a file's bytes, fetched where they are not here. path: below a directory."""
    request = pb.ReadContentRequest(cid=raw_cid(cid), path=path, offset=_natural(offset, "offset"))
    if length is not None:
        request.length = _natural(length, "length")
    return prime_call("read_content", request, _chunks, timeout)


def export(cid: AnyCid, path: str = "", *, timeout: Duration = 3600) -> Call[ContentEntry | bytes]:
    """Yield each file and directory, a file's bytes behind it."""
    request = pb.ExportRequest(cid=raw_cid(cid), path=path)

    def on_prime(prime: pb.PrimeResponse) -> Iterator[ContentEntry | bytes]:
        if prime.HasField("content_entry"):
            entry = prime.content_entry
            yield ContentEntry(
                entry.path.decode(), _KIND_NAMES[entry.kind], entry.size, entry.target.decode()
            )
        yield from _chunks(prime)

    return prime_call("export_content", request, on_prime, timeout)


def list_directory(cid: AnyCid, path: str = "", *, timeout: Duration = 60) -> Call[DirectoryEntry]:
    """Return a directory's entries by name."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[DirectoryEntry]:
        for entry in prime.directory.entries:
            yield DirectoryEntry(entry.name, Cid.from_bytes(entry.cid), entry.dag_bytes)

    request = pb.ListDirectoryRequest(cid=raw_cid(cid), path=path)
    return prime_call("list_directory", request, on_prime, timeout)


def pin(
    cid: AnyCid,
    *,
    name: str = "",
    direct: bool = False,
    ttl: Duration | None = None,
    announce: bool = True,
    timeout: Duration = 3600,
) -> Call[Pin]:
    """Keep a DAG, or with `direct` one block; what is missing is fetched first.

    ttl: until when; None is for good. announce: tell the DHT that it is here.
    """
    request = pb.PinRequest(cid=raw_cid(cid), name=name, direct=direct, no_announce=not announce)
    if ttl is not None:
        request.ttl_s = seconds(ttl)
    return prime_call("pin", request, _pins, timeout)


def unpin(cid: AnyCid, *, name: str | None = None) -> Call[int]:
    """Remove the pin of that name, or all pins of a CID; returns how many there were."""
    request = pb.UnpinRequest(cid=raw_cid(cid), name=name)
    return prime_call("unpin", request, lambda prime: (prime.unpinned.pins,), CONTROL_TIMEOUT_S)


def pins() -> Call[Pin]:
    """Return all pins."""
    return prime_call("list_pins", pb.ListPinsRequest(), _pins, CONTROL_TIMEOUT_S)


def collect() -> Call[Collected]:
    """Remove the blocks that no pin needs."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[Collected]:
        if prime.HasField("collected"):
            done = prime.collected
            broken = tuple((_pin(each.pin), Cid.from_bytes(each.cid), each.code) for each in done.broken)
            counts = (done.blocks, done.bytes, done.failed, done.kept)
            yield Collected(*counts, broken, done.undecided, done.undecided_bytes)

    return prime_call("collect", pb.CollectRequest(), on_prime, CONTROL_TIMEOUT_S)


def stat(cid: AnyCid) -> Call[DagStat]:
    """Return how much of a DAG is here, and its pins. Nothing is fetched."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[DagStat]:
        if prime.HasField("dag_stat"):
            found = prime.dag_stat
            yield DagStat(found.blocks, found.bytes, found.missing, tuple(map(_pin, found.pins)))

    return prime_call("stat_dag", pb.StatDagRequest(cid=raw_cid(cid)), on_prime, CONTROL_TIMEOUT_S)


def get_block(cid: AnyCid, *, timeout: Duration = 60) -> Call[bytes]:
    """Return a block's bytes, fetched if it is not here."""
    request = pb.GetBlockRequest(cid=raw_cid(cid))
    return prime_call("get_block", request, lambda prime: (prime.block.data,), timeout)


def put_block(data: bytes, *, codec: int = RAW) -> Call[Cid]:
    """Store a block; it stays until the next collection, unless it is pinned. Returns its CID."""

    def on_prime(prime: pb.PrimeResponse) -> Iterable[Cid]:
        return (Cid.from_bytes(prime.block.cid),)

    return prime_call("put_block", pb.PutBlockRequest(data=data, codec=codec), on_prime, CONTROL_TIMEOUT_S)


# --- adding: a conversation ----------------------------------------------------------------------------


class Step(NamedTuple):
    """A request to send, with a descriptor or without, whose final answer is to be sent back."""

    request: bytes
    descriptor: int | None = None


OnAdded = Callable[[str, Content | None], None]
Adding = Generator[Step, pb.PrimeResponse, Content]


def adding(
    source: os.PathLike[str] | bytes | BinaryIO,
    *,
    profile: str,
    name: str,
    ttl: Duration | None,
    pin: bool,
    announce: bool,
    in_place: bool,
    hidden: bool,
    follow_links: bool,
    descriptors: bool,
    on_added: OnAdded | None,
) -> Adding:
    """Yield the steps of an import. descriptors: the daemon can be given open files."""
    profile_named(profile)
    begin = pb.AddBegin(profile=profile, pin_name=name, no_pin=not pin, no_announce=not announce)
    if ttl is not None:
        begin.ttl_s = seconds(ttl)
    if in_place and not (descriptors and isinstance(source, os.PathLike)):
        raise InvalidArgument("in_place needs a path and the Unix socket: the daemon must reach the file")
    yield _step("add_begin", begin)
    if isinstance(source, os.PathLike):
        found = walk(Path(source), hidden=hidden, follow_links=follow_links)
        yield from _add_path(Path(source), found, in_place, descriptors, on_added)
    elif isinstance(source, bytes):
        yield from _add_bytes("", iter((source,)))
    elif descriptors and _is_regular(source):
        entry = pb.AddEntry(path=b"", kind=pb.FILE, descriptor=True)
        yield _step("add_entry", entry, source.fileno())
    else:
        yield from _add_bytes("", iter(lambda: source.read(CONTROL_CHUNK_BYTES), b""))
    answer = yield _step("add_commit", pb.AddCommit())
    return _content(answer)


def _add_path(
    start: Path, walked: Iterator[Found], in_place: bool, descriptors: bool, on_added: OnAdded | None
) -> Generator[Step, pb.PrimeResponse, None]:
    try:
        if start.is_dir():
            yield _step("add_entry", pb.AddEntry(path=b"", kind=pb.DIRECTORY))
        for found in walked:
            if found.kind == "file":
                added = yield from _add_file(found, in_place, descriptors)
            else:
                entry = pb.AddEntry(path=found.path.encode(), kind=_KINDS[found.kind])
                if found.kind == "symlink":
                    entry.target = os.fsencode(os.readlink(found.local))
                yield _step("add_entry", entry)
                added = None
            if on_added is not None:
                on_added(found.path, added)
    except OSError as error:
        path = error.filename or start
        raise InvalidArgument(f"{path}: {error.strerror}; check the path") from None


def _add_file(found: Found, in_place: bool, descriptors: bool) -> Generator[Step, pb.PrimeResponse, Content]:
    descriptor = open_regular(found.local, follow=not found.path)
    try:
        if not descriptors:
            pieces = iter(lambda: os.read(descriptor, CONTROL_CHUNK_BYTES), b"")
            return (yield from _add_bytes(found.path, pieces))
        entry = pb.AddEntry(path=found.path.encode(), kind=pb.FILE, descriptor=True)
        if in_place:
            entry.in_place = os.fsencode(found.local.resolve())
        return _content((yield _step("add_entry", entry, descriptor)))
    finally:
        os.close(descriptor)


def _add_bytes(path: str, pieces: Iterator[bytes]) -> Generator[Step, pb.PrimeResponse, Content]:
    yield _step("add_entry", pb.AddEntry(path=path.encode(), kind=pb.FILE))
    for piece in pieces:
        for at in range(0, len(piece), CONTROL_CHUNK_BYTES):
            yield _step("add_data", pb.AddData(data=piece[at : at + CONTROL_CHUNK_BYTES]))
    return _content((yield _step("add_data", pb.AddData(data=b"", last=True))))


def _step(name: str, operation: object, descriptor: int | None = None) -> Step:
    request, _ = prime_request(name, operation, CONTROL_TIMEOUT_S_MAX)
    return Step(encode_frame(request.SerializeToString()), descriptor)


# --- parts of the above ----------------------------------------------------------------------------------


def _content(prime: pb.PrimeResponse) -> Content:
    if not prime.HasField("added"):
        raise DaemonUnavailable("the daemon sent no result; is it of another version?")
    return Content(Cid.from_bytes(prime.added.cid), prime.added.content_bytes, prime.added.dag_bytes)


def _chunks(prime: pb.PrimeResponse) -> Iterator[bytes]:
    if prime.HasField("content_chunk"):
        yield prime.content_chunk.data


def _pins(prime: pb.PrimeResponse) -> Iterator[Pin]:
    yield from map(_pin, prime.pins.pins)


def _pin(message: pb.Pin) -> Pin:
    return Pin(
        Cid.from_bytes(message.cid),
        message.name,
        message.recursive,
        message.partial,
        message.created_unix_s,
        message.expires_unix_s if message.HasField("expires_unix_s") else None,
    )


def raw_cid(cid: AnyCid) -> bytes:
    """Return the binary form. Raises `InvalidArgument`."""
    if isinstance(cid, str):
        cid = Cid.from_text(cid)
    return bytes(cid)


def _natural(value: int, name: str) -> int:
    if not 0 <= value < 1 << 63:
        raise InvalidArgument(f"{name} is {value}; it must be at least 0")
    return value


def _is_regular(source: BinaryIO) -> bool:
    """Return whether the daemon reads the same bytes through the descriptor, from its beginning."""
    return isinstance(source, FileIO) and S_ISREG(os.fstat(source.fileno()).st_mode) and not source.tell()
