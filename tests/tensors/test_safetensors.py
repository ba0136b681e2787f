"""Headers of safetensors files: what strangers may write into them, and what is refused."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import InvalidTensor, PickleRefused
from primedht.tensors.arrays import read_header
from primedht.tensors.dtypes import DTYPES
from primedht.tensors.safetensors import Header, header_bytes, make_header, parse_header


def parsed(table: object, data_bytes: int) -> Header:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return parse_header(text, 8 + len(text) + data_bytes)


def entry(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("table", "data_bytes", "says"),
    [
        ({"a": entry(), "b": entry(offsets=(2, 6))}, 6, "overlap"),
        ({"a": entry(), "b": entry()}, 4, "overlap"),
        ({"a": entry(), "b": entry(offsets=(5, 9))}, 9, "hole"),
        ({"a": entry(offsets=(1, 5))}, 5, "hole"),
        ({"a": entry()}, 5, "end at"),
        ({}, 1, "end at"),
        ({"a": entry(shape=(3,))}, 4, "takes 3"),
        ({"a": entry(shape=(1 << 40,), offsets=(0, 1 << 40))}, 4, "end at"),
        ({"a": entry(shape=(1 << 62, 4), offsets=(0, 0))}, 0, "elements"),
        ({"a": entry(shape=(0, 1 << 62, 4), offsets=(0, 0))}, 0, "elements"),
        ({"a": entry("F64", shape=(0, 1 << 61), offsets=(0, 0))}, 0, "elements"),
        ({"a": entry(shape=(1,) * 65, offsets=(0, 1))}, 1, "dimensions"),
        ({"a": entry(shape=(-4,))}, 4, "no size"),
        ({"a": entry(shape=(True,))}, 4, "no size"),
        ({"a": entry(shape=(4.0,))}, 4, "no size"),
        ({"a": entry(offsets=(4, 0))}, 4, "something else"),
        ({"a": entry(offsets=(-4, 0))}, 4, "something else"),
        ({"a": entry(offsets=(0, 4, 4))}, 4, "something else"),
        ({"a": entry(dtype="F4")}, 4, "not known"),
        ({"a": entry(dtype=["U8"])}, 4, "something else"),
        ({"a": entry() | {"more": 1}}, 4, "something else"),
        ({"a": [1, 2]}, 4, "something else"),
        ({"x" * 2000: entry()}, 4, "name"),
        ({"__metadata__": {"a": 1}}, 0, "metadata"),
        ({"__metadata__": []}, 0, "metadata"),
        (b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8"}}', 4, "twice"),
        (b"[]", 0, "no object"),
        (b" {}", 0, "no object"),
        (b"{", 0, "not what"),
        (b'{"a":' * 100_000, 0, "not what"),
        (b'{"\xff":1}', 0, "not what"),
        (b'{"a":NaN}', 0, "something else"),
    ],
)
def test_hostile_headers_are_refused(table: object, data_bytes: int, says: str) -> None:
    with pytest.raises(InvalidTensor, match=says):
        parsed(table, data_bytes)


@pytest.mark.parametrize("start", [b"", b"\x01" * 7, (1 << 40).to_bytes(8, "little"), b"\xff" * 8, bytes(8)])
def test_lengths_that_a_file_cannot_have_are_refused_before_anything_is_read(start: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidTensor):
            read_header(io.BytesIO(start + b"{}"), len(start) + 2)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_header_over_the_limit_is_refused_though_the_file_has_it() -> None:
    with pytest.raises(InvalidTensor, match="go"):
        header_bytes((limits.SAFETENSORS_HEADER_BYTES_MAX + 1).to_bytes(8, "little"), 1 << 40)


@given(st.binary(max_size=64), st.integers(0, 100))
def test_any_bytes_are_a_header_or_refused(data: bytes, more: int) -> None:
    try:
        header = read_header(io.BytesIO(data), len(data) + more)
    except (InvalidTensor, PickleRefused):
        return
    assert header.file_bytes == len(data) + more


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 4), max_size=3).map(tuple)),
        max_size=6,
    )
)
def test_what_we_make_is_parsed_to_what_it_was_made_from(
    tensors: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    head, header = make_header((name, DTYPES[dtype], shape) for name, (dtype, shape) in tensors.items())
    assert parse_header(head[8:], header.file_bytes) == header
    assert {span.name: (span.dtype.name, span.shape) for span in header.tensors} == tensors
    data = head + bytes(header.file_bytes - len(head))
    assert {name for name, _ in safetensors.deserialize(data)} == set(tensors)


@pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
def test_names_that_a_header_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidTensor):
        make_header([(name, DTYPES["U8"], ())])
