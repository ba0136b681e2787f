"""The list of a name's versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.cids import DAG_CBOR, Cid
from primedht.errors import InvalidManifest, StaleRecord, ValueNotFound
from primedht.ml.versions import Version, Versions, parse_versions
from primedht.records.dagcbor import encode


def version(number: int) -> Version:
    return Version(number, Cid.of(str(number).encode(), DAG_CBOR), 1_700_000_000, 1 << 62)


def listed(*numbers: int) -> Versions:
    return Versions(1_600_000_000, tuple(map(version, numbers)))


def test_a_list_comes_back_and_fits_one_inline_record_when_full() -> None:
    full = listed(*range(2**32, 2**32 + limits.MODEL_VERSIONS_MAX))
    assert parse_versions(full.encode()) == full
    assert len(full.encode()) <= limits.INLINE_BYTES_MAX


def test_a_newer_version_is_added_and_the_oldest_leaves_a_full_list() -> None:
    versions = listed()
    for number in range(1, limits.MODEL_VERSIONS_MAX + 3):
        versions = versions.with_version(version(number))
    assert versions.latest == limits.MODEL_VERSIONS_MAX + 2
    assert [each.version for each in versions.listed[:1]] == [3]


@pytest.mark.parametrize("number", [-1, 0, 1, 4, 5])
def test_a_stale_version_cannot_win(number: int) -> None:
    with pytest.raises(StaleRecord, match="5"):
        listed(1, 5).with_version(version(number))


def test_a_version_is_picked_by_number_or_the_latest() -> None:
    assert listed(1, 5).pick(None).version == 5
    assert listed(1, 5).pick(1).version == 1
    with pytest.raises(ValueNotFound, match="1, 5"):
        listed(1, 5).pick(2)
    assert listed(1, 5).without(5) == listed(1)


@pytest.mark.parametrize(
    "value",
    [
        {}, {"created": 1}, {"created": 1, "versions": {}}, {"created": 1, "versions": []},
        {"created": 1, "versions": [[1]]}, {"created": 1, "versions": [[1, b"x", 1, 1]]},
        {"created": 1, "versions": [[1, Cid.of(b""), 1]]},
        {"created": 1, "versions": [[-1, Cid.of(b""), 1, 1]]},
        {"created": -1, "versions": [[1, Cid.of(b""), 1, 1]]},
        {"created": 1, "versions": [[2, Cid.of(b""), 1, 1]] * 2},
        {"created": 1, "versions": [[2, Cid.of(b""), 1, 1], [1, Cid.of(b""), 1, 1]]},
        {"created": 1, "versions": [[1, Cid.of(b""), 1, 1]], "more": 1},
        {"created": 1, "versions": [[i, Cid.of(b""), 1, 1] for i in range(1, 66)]},
    ],
)  # fmt: skip
def test_other_records_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(InvalidManifest):
        parse_versions(encode(value))


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse_versions(data)
