"""DAG-CBOR maps and RFC 3339 times."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht.errors import InvalidRecord
from primedht.records.dagcbor import decode_map, encode_map
from primedht.records.rfc3339 import format_unix_ns, parse_unix_ns

INTEGERS = st.integers(-(2**64), 2**64 - 1)
VALUES = st.recursive(
    INTEGERS
    | st.binary()
    | st.text()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcXYZ", max_size=30), st.binary(max_size=300) | st.integers(0, 2**64 - 1)))
def test_maps_are_encoded_as_cbor2_does_canonically(fields: dict[str, bytes | int]) -> None:
    assert encode_map(fields) == cbor2.dumps(fields, canonical=True)
    assert decode_map(encode_map(fields)) == fields


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_whatever_dag_cbor_can_say_is_read(fields: dict[str, object]) -> None:
    assert decode_map(cbor2.dumps(fields)) == fields


def test_a_cid_is_read_as_its_bytes() -> None:
    assert decode_map(cbor2.dumps({"c": cbor2.CBORTag(42, b"\x00\x01")})) == {"c": b"\x00\x01"}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x01", b"\x80", b"\xa1", b"\xa1\x61", b"\xa0\x00",
        b"\xa1\x01\x02",  # a key that is no text
        b"\xa2\x61a\x01\x61a\x02",  # a key twice
        b"\xa1\x61a\x18\x17", b"\xa1\x61a\x19\x00\xff", b"\xa1\x61a\x1b" + bytes(8),  # not the shortest
        b"\xbf\xff", b"\xa1\x61a\x5f\x41x\xff", b"\xa1\x61a\x9f\xff",  # indefinite
        b"\xa1\x61a\xf7", b"\xa1\x61a\xf9\x3c\x00", b"\xa1\x61a\xfa\x3f\x80\x00\x00",  # short floats
        b"\xa1\x61a\xc1\x01", b"\xa1\x61a\xd8\x23\x61x",  # a date, a regular expression
        b"\xa1\x62\xff\xff\x01",  # not UTF-8
        b"\xa1\x61a\x5b" + b"\xff" * 8, b"\xa1\x61a\x9b" + b"\xff" * 8, b"\xbb" + b"\xff" * 8,  # huge
        b"\xa1\x61a" + b"\x81" * 5000, b"\xa1\x61a" * 5000,  # deep
    ],
)  # fmt: skip
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRecord):
        decode_map(data)


@given(st.binary(max_size=60))
def test_reading_any_bytes_raises_only_invalid_record(data: bytes) -> None:
    for candidate in (data, b"\xa1\x61a" + data):
        try:
            decode_map(candidate)
        except InvalidRecord:
            continue


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_times_round_trip(unix_ns: int) -> None:
    assert parse_unix_ns(format_unix_ns(unix_ns)) == unix_ns


def test_times_of_others_are_read() -> None:
    """js writes nine digits, go as many as it needs, people offsets."""
    assert parse_unix_ns("1970-01-01T00:00:01Z") == 10**9
    assert parse_unix_ns("1970-01-01T00:00:00.5Z") == 5 * 10**8
    assert parse_unix_ns("1970-01-01T02:00:00.000000001+02:00") == 1
    assert parse_unix_ns("1969-12-31T23:00:00-01:00") == 0
    assert parse_unix_ns("1970-01-01T00:00:00.1234567899Z") == 123_456_789


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-02-30T00:00:00Z", "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:60Z", "0000-01-01T00:00:00Z", "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00." + "1" * 99 + "Z", "١٩٧٠-01-01T00:00:00Z", "1970-01-01T00:00:00Z\n",
    ],
)  # fmt: skip
def test_other_text_is_no_time(text: str) -> None:
    assert parse_unix_ns(text) is None
