"""Cutting a file into the pieces that become its leaves.

A safetensors file begins with 8 bytes (little-endian) that give the length of its JSON header, which
says where in the rest each tensor lies. Cut there, tensors that two checkpoints share are shared blocks
whatever comes before them. Source: safetensors README, "Format".
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Protocol

from primedht.blocks.profiles import Profile
from primedht.limits import SAFETENSORS_HEADER_BYTES_MAX

_LENGTH_BYTES = 8


class Readable(Protocol):
    """An open file: `read` returns up to `size` bytes, and none at its end only."""

    def read(self, size: int, /) -> bytes | None: ...


def chunks(file: Readable, profile: Profile) -> Iterator[bytes]:
    """Yield the file's bytes in order, in none of them empty."""
    if not profile.by_tensor:
        yield from _of_one_size(file, profile.chunk_bytes)
        return
    start = _read(file, _LENGTH_BYTES)
    header_bytes = int.from_bytes(start, "little")
    if len(start) < _LENGTH_BYTES or not 0 < header_bytes <= SAFETENSORS_HEADER_BYTES_MAX:
        yield from _of_one_size(_Prefixed(start, file), profile.chunk_bytes)
        return
    header = _read(file, header_bytes)
    sizes = _tensor_bytes(header) if len(header) == header_bytes else None
    head = start + header
    if sizes is None:
        yield from _of_one_size(_Prefixed(head, file), profile.chunk_bytes)
        return
    for at in range(0, len(head), profile.chunk_bytes):
        yield head[at : at + profile.chunk_bytes]
    for size in sizes:
        left = size
        while left:
            piece = _read(file, min(left, profile.chunk_bytes))
            if not piece:
                return
            yield piece
            left -= len(piece)
    yield from _of_one_size(file, profile.chunk_bytes)


def _tensor_bytes(header: bytes) -> list[int] | None:
    """Return the lengths of the tensors and of gaps between them, in file order; None for no header."""
    try:
        table = json.loads(header)
        spans = {tuple(entry["data_offsets"]) for name, entry in table.items() if name != "__metadata__"}
        ends = sorted({int(edge) for start, end in spans for edge in (start, end)})
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    edges = [0, *(edge for edge in ends if edge > 0)]
    return [after - before for before, after in itertools.pairwise(edges)]


def _of_one_size(file: Readable, size: int) -> Iterator[bytes]:
    while piece := _read(file, size):
        yield piece


def _read(file: Readable, size: int) -> bytes:
    """Read `size` bytes, fewer at the end of the file only."""
    first = file.read(size) or b""
    if len(first) == size or not first:
        return first
    parts = [first]
    missing = size - len(first)
    while missing and (part := file.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class Limited:
    """The first `size` bytes of what is left of a file: one that grows meanwhile is read no further."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left)) or b""
        self._left -= len(data)
        return data


class _Prefixed:
    """A file with bytes that were read from it already put back."""

    def __init__(self, prefix: bytes, file: Readable) -> None:
        self._prefix = prefix
        self._file = file

    def read(self, size: int, /) -> bytes:
        if self._prefix:
            taken, self._prefix = self._prefix[:size], self._prefix[size:]
            return taken
        return self._file.read(size) or b""
