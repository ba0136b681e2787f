"""Puts and gets in chunks, whose bytes come from files or go to them. Sans-IO but for `open_input`.

A put in chunks is a conversation: PutBegin, PutChunks, PutCommit, each with an answer. So that a slow
answer stalls nobody, a few chunks go ahead of theirs; so few that the answers never fill the socket.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from primedht.client import _decode
from primedht.client._blocks import AnyCid, raw_cid
from primedht.client._call import (
    ANSWER_MARGIN_S,
    Call,
    Duration,
    count,
    key_bytes,
    parse_response,
    prime_call,
    prime_request,
    seconds,
)
from primedht.errors import DaemonUnavailable, InvalidArgument, PrimeDhtError
from primedht.limits import CONTROL_CHUNK_BYTES, CONTROL_CHUNKS_UNANSWERED, CONTROL_TIMEOUT_S
from primedht.pb import p2pd_pb2 as pb
from primedht.results import FoundValue, KeptBlocks, PutResult
from primedht.whole_file import WholeFile
from primedht.wire.frames import encode_frame

Value = bytes | bytearray | memoryview | os.PathLike[str] | BinaryIO
"""What can be put: bytes, a path object, or a binary file that is read from where it stands."""

Target = str | os.PathLike[str] | BinaryIO
"""Where a value can go: a path, or a binary file that is written from where it stands."""


class Progress(NamedTuple):
    """How far a put or a get is. total_bytes: of the value; None while that is not known.

    stage: "lookup" while the value is looked for, "transfer" while its bytes go to the daemon or come
    from it, "store" while peers are given it, "keep" while other peers get blocks to keep (the bytes are
    those of all copies together).
    """

    stage: Literal["transfer", "lookup", "store", "keep"]
    done_bytes: int
    total_bytes: int | None


OnProgress = Callable[[Progress], None]


def report(progress: Progress | None, to: OnProgress | None) -> None:
    """Tell the caller how far it is, if there is news and somebody to tell."""
    if progress is not None and to is not None:
        to(progress)


class Upload:
    """A put in chunks. clean: the connection can be used for something else.

    The owner sends `begin` as any call, then chunks for as long as there are any, taking answers while
    it `must_wait`, then `commit`, and takes answers until there is a `result`.
    """

    def __init__(
        self,
        key: bytes | str,
        size: int | None,
        *,
        ttl: Duration | None,
        min_holders: int | None,
        once: bool,
        compress: str | None,
        timeout: Duration,
        want_trace: bool,
    ) -> None:
        begin = pb.PutBegin(key=key_bytes(key), size=size, once=once, compress=compress)
        if ttl is not None:
            begin.ttl_s = seconds(ttl)
        if min_holders is not None:
            begin.min_holders = count(min_holders, "min_holders")
        self.begin = prime_call("put_begin", begin, lambda prime: (_progress(prime),), CONTROL_TIMEOUT_S)
        commit, timeout_s = prime_request("put_commit", pb.PutCommit(), timeout, want_trace=want_trace)
        self.commit = encode_frame(commit.SerializeToString())
        self.timeout_s = timeout_s + ANSWER_MARGIN_S
        self.result: PutResult | None = None
        self._refused = False
        self._unanswered = 0

    @property
    def clean(self) -> bool:
        return self._refused or self.result is not None

    @property
    def must_wait(self) -> bool:
        """Whether an answer has to be taken before the next chunk goes."""
        return self._unanswered >= CONTROL_CHUNKS_UNANSWERED

    def on_begun(self, frame: bytes) -> Progress:
        """Take the answer to `begin`. Raises the daemon's error."""
        try:
            (progress,) = self.begin.on_frame(frame)
        except PrimeDhtError:
            self._refused = self.begin.finished
            raise
        return progress

    def chunk(self, data: bytes) -> bytes:
        """Return what to send for the next bytes of the value."""
        self._unanswered += 1
        prime = pb.PrimeRequest(put_chunk=pb.PutChunk(data=data))
        return encode_frame(pb.Request(type=pb.Request.PRIME, prime=prime).SerializeToString())

    def on_frame(self, frame: bytes) -> Progress | None:
        """Take one answer; return how far the put is, or None when it is done. Raises the daemon's error."""
        prime = parse_response(frame).prime
        if prime.HasField("put"):
            self.result = _decode.put_result(prime.put)
            return None
        if not prime.more:
            self._unanswered -= 1
        return _progress(prime)


def download(
    key: bytes | str, *, quorum: int, max_bytes: int | None, timeout: Duration, want_trace: bool
) -> Call[FoundValue | Progress | bytes]:
    """Return the call of a get in chunks: what is known of the value, then its bytes, and progress."""
    size = 0
    done = 0

    def on_prime(prime: pb.PrimeResponse) -> Iterator[FoundValue | Progress | bytes]:
        nonlocal size, done
        if prime.HasField("value_begin"):
            size = prime.value_begin.size
            yield _decode.found_value(prime.value_begin.found)
            yield Progress("transfer", 0, size)
        elif prime.HasField("value_chunk"):
            done += len(prime.value_chunk.data)
            yield prime.value_chunk.data
            yield Progress("transfer", done, size)
        else:
            yield _progress(prime)

    request, timeout_s = prime_request(
        "get_chunked",
        pb.GetChunkedRequest(
            key=key_bytes(key),
            quorum=count(quorum, "quorum"),
            max_bytes=None if max_bytes is None else count(max_bytes, "max_bytes"),
        ),
        timeout,
        want_trace=want_trace,
    )

    def on_response(response: pb.Response) -> Iterator[FoundValue | Progress | bytes]:
        if not response.prime.HasField("done"):
            yield from on_prime(response.prime)
        elif done != size:
            raise DaemonUnavailable(f"the daemon ended a value of {size} bytes after {done}")

    return Call(request, on_response, timeout_s=timeout_s)


def wait_kept(root: AnyCid, *, timeout: Duration) -> Call[KeptBlocks | Progress]:
    """Return the call that waits for the receipts of others; progress comes before them."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[KeptBlocks | Progress]:
        if prime.HasField("progress"):
            yield _progress(prime)
        if prime.HasField("kept_blocks"):
            yield _decode.kept_blocks(prime.kept_blocks)

    return prime_call("wait_kept", pb.WaitKeptRequest(root=raw_cid(root)), on_prime, timeout)


def _progress(prime: pb.PrimeResponse) -> Progress:
    message = prime.progress
    stage = pb.Progress.Stage.Name(message.stage).lower()
    total = message.total_bytes if message.HasField("total_bytes") else None
    return Progress(cast("Any", stage), message.done_bytes, total)


# --- where the bytes come from and go to ------------------------------------------------------------


class Input:
    """Bytes to be put. size: how many, or None for a pipe."""

    def __init__(self, stream: BinaryIO, size: int | None) -> None:
        self.size = size
        self._stream = stream
        self._left = size

    def read(self) -> bytes:
        """Return the next chunk; empty at the end. A file that grows meanwhile is read no further."""
        wanted = CONTROL_CHUNK_BYTES if self._left is None else min(CONTROL_CHUNK_BYTES, self._left)
        data = self._stream.read(wanted)
        if not isinstance(data, bytes):
            raise TypeError("a value is read from a blocking file opened in binary mode")
        if self._left is not None:
            self._left -= len(data)
        return data


@contextmanager
def open_input(value: Value) -> Iterator[Input]:
    """Open what is to be put. Raises `InvalidArgument` for a path that cannot be read."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        yield Input(io.BytesIO(value), memoryview(value).nbytes)
    elif isinstance(value, os.PathLike):
        try:
            stream = open(value, "rb", buffering=0)  # noqa: SIM115 - closed below
        except OSError as error:
            raise InvalidArgument(f"{os.fspath(value)}: {error.strerror}; check the path") from None
        with stream:
            yield Input(cast("BinaryIO", stream), _bytes_left(cast("BinaryIO", stream)))
    elif hasattr(value, "read"):
        yield Input(value, _bytes_left(value))
    else:
        raise TypeError(f"a value is bytes, a path object or a binary file, not {type(value).__name__}")


def _bytes_left(stream: BinaryIO) -> int | None:
    if not stream.seekable() or not _is_plain(stream):
        return None
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return max(0, end - here)


def _is_plain(stream: BinaryIO) -> bool:
    """Return whether a file's end says how much is in it: a device's says nothing."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # it is in memory
        return True


class _OpenFile:
    """A file of the caller's as a target: what it holds at the end is the caller's affair."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) :]

    def commit(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Leave it open: the caller opened it."""


def open_output(target: Target) -> WholeFile | _OpenFile:
    """Open where a value goes. A path gets it whole or not at all; see `WholeFile` for its errors."""
    if isinstance(target, (str, os.PathLike)):
        return WholeFile(target)
    return _OpenFile(target)
