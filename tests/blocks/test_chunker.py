"""Where files are cut."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht.blocks.chunker import chunks
from primedht.blocks.profiles import PROFILES
from primedht.limits import SAFETENSORS_HEADER_BYTES_MAX

TENSORS = replace(PROFILES["safetensors"], chunk_bytes=64)


def _safetensors(tensors: dict[str, bytes], metadata: str = "") -> bytes:
    table: dict[str, object] = {"__metadata__": {"note": metadata}}
    at = 0
    for name, data in tensors.items():
        table[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(tensors.values())


def _cut(data: bytes) -> list[bytes]:
    return list(chunks(io.BytesIO(data), TENSORS))


def test_tensors_are_cut_apart_and_into_chunks() -> None:
    tensors = {"a": b"a" * 100, "b": b"b" * 10, "c": b"c" * 64, "none": b"", "d": b"d" * 65}
    cut = _cut(_safetensors(tensors))
    at = next(index for index, piece in enumerate(cut) if piece == b"a" * 64)
    assert cut[at:] == [b"a" * 64, b"a" * 36, b"b" * 10, b"c" * 64, b"d" * 64, b"d"]


def test_a_longer_header_leaves_the_tensors_chunks_as_they_are() -> None:
    tensors = {name: name.encode() * 50 for name in "abcdef"}
    before, after = _cut(_safetensors(tensors)), _cut(_safetensors(tensors, metadata="x" * 1000))
    assert before[-6:] == after[-6:]


@given(data=st.binary(max_size=500))
def test_any_file_comes_out_whole_in_pieces_that_are_not_too_large(data: bytes) -> None:
    cut = _cut(data)
    assert b"".join(cut) == data
    assert all(0 < len(piece) <= TENSORS.chunk_bytes for piece in cut)


@given(
    table=st.dictionaries(st.text(max_size=4), st.lists(st.integers(-5, 400), max_size=3)), body=st.binary()
)
def test_any_header_comes_out_whole(table: dict[str, list[int]], body: bytes) -> None:
    header = json.dumps({name: {"data_offsets": spans} for name, spans in table.items()}).encode()
    data = struct.pack("<Q", len(header)) + header + body
    assert b"".join(_cut(data)) == data


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        b'{"a": 1}',
        b'{"a": {}}',
        b'{"a": {"data_offsets": [0, 1e999]}}',
        b'{"a": {"data_offsets": [[], {}]}}',
        b'{"a": {"data_offsets": ["x", null]}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_header_that_is_none_is_cut_as_any_file(header: bytes) -> None:
    data = struct.pack("<Q", len(header)) + header + bytes(200)
    assert _cut(data) == [data[at : at + 64] for at in range(0, len(data), 64)]


@pytest.mark.parametrize("length", [0, SAFETENSORS_HEADER_BYTES_MAX + 1, 2**63, 2**64 - 1, 300])
def test_a_length_that_cannot_be_is_cut_as_any_file(length: int) -> None:
    data = struct.pack("<Q", length) + bytes(200)
    assert _cut(data) == [data[at : at + 64] for at in range(0, len(data), 64)]
