"""Open keys: the newest write wins, whoever made it and whichever way it came."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import InvalidKey, InvalidRecord, ValueTooLarge
from primedht.kad.codec import decode, encode
from primedht.kad.messages import Message, MessageType, Record
from primedht.records import rfc3339
from primedht.records.keys import KeyClass
from primedht.records.open import UNKNOWN_WRITER_UNIX_MS, next_writer_unix_ms
from primedht.records.record import Content, ValidRecord, compare
from primedht.records.validator import RecordValidator

KEY = b"model_weights_v1"
NOW_MS = 1_700_000_000_000
VALIDATOR = RecordValidator(network_id="/lab/kad/1.0.0", network_kind="private", ipfs_keys_only=False)


def validate(record: Record, *, copied: bool = False, now_ms: int = NOW_MS) -> ValidRecord:
    return VALIDATOR.validate(record, now_unix_s=now_ms / 1000, copied=copied)


def put(value: bytes, writer_unix_ms: int) -> ValidRecord:
    return validate(Record(KEY, value, writer_unix_ms=writer_unix_ms), copied=True)


def test_an_open_value_is_anyones() -> None:
    valid = validate(Record(KEY, b"", writer_unix_ms=NOW_MS))
    assert valid.key_class is KeyClass.OPEN
    assert not valid.authenticated
    assert (valid.content, valid.payload, valid.sequence) == (Content.VALUE, b"", None)
    assert valid.expires_unix_s is None


@pytest.mark.parametrize(
    ("sent_ms", "copied", "kept_ms"),
    [
        (5, False, 5),
        (5, True, 5),
        (NOW_MS + 60_000, False, NOW_MS + 60_000),
        (NOW_MS + 60_001, False, NOW_MS),
        (NOW_MS + 60_001, True, NOW_MS),
        (2**63 - 1, True, NOW_MS),
        (0, False, NOW_MS),
        (0, True, UNKNOWN_WRITER_UNIX_MS),
    ],
)
def test_a_writer_time_is_kept_unless_absent_or_a_minute_ahead(sent_ms, copied, kept_ms) -> None:
    assert validate(Record(KEY, b"v", writer_unix_ms=sent_ms), copied=copied).writer_unix_ms == kept_ms


@pytest.mark.parametrize(
    ("time_received", "kept_ms"),
    [
        (rfc3339.format_unix_ns((NOW_MS - 7_000) * 10**6), NOW_MS - 7_000),
        (rfc3339.format_unix_ns((NOW_MS + 7_000) * 10**6), NOW_MS),
        ("1969-01-01T00:00:00Z", UNKNOWN_WRITER_UNIX_MS),
        ("yesterday", UNKNOWN_WRITER_UNIX_MS),
    ],
)
def test_a_copy_without_writer_time_has_its_holders_time_of_receipt(time_received, kept_ms) -> None:
    """go and js holders send none, but say when they received the put."""
    assert validate(Record(KEY, b"v", time_received=time_received), copied=True).writer_unix_ms == kept_ms
    put_by_its_writer = validate(Record(KEY, b"v", time_received=time_received), copied=False)
    assert put_by_its_writer.writer_unix_ms == NOW_MS


def test_a_held_record_keeps_its_writer_time_when_validated_again() -> None:
    kept = validate(Record(KEY, b"v"), copied=True).writer_unix_ms or 0
    again = validate(
        Record(KEY, b"v", writer_unix_ms=kept, time_received=rfc3339.format_unix_ns(NOW_MS * 10**6)),
        copied=True,
        now_ms=NOW_MS + 10**9,
    )
    assert again.writer_unix_ms == kept


def test_newest_writer_then_digest_decide() -> None:
    old, new = put(b"old", NOW_MS - 1), put(b"new", NOW_MS)
    assert compare(new, old) == -compare(old, new) == 1
    a, b = put(b"a", NOW_MS), put(b"b", NOW_MS)
    assert compare(a, b) == (1 if sha256(b"a").digest() > sha256(b"b").digest() else -1)
    assert compare(a, put(b"a", NOW_MS)) == 0


def test_a_copy_that_lost_its_writer_time_outranks_nothing_that_has_one() -> None:
    lost = validate(Record(KEY, b"old"), copied=True)
    assert compare(lost, put(b"new", 2)) == -1


def test_a_tombstone_says_when_and_nothing_else() -> None:
    tombstone = validate(Record(KEY, b"", writer_unix_ms=NOW_MS, tombstone=True))
    assert (tombstone.content, tombstone.payload) == (Content.TOMBSTONE, b"")
    assert compare(tombstone, put(b"v", NOW_MS - 1)) == 1
    assert compare(tombstone, put(b"v", NOW_MS + 1)) == -1
    for value in (b"", b"v", b"w"):
        assert compare(tombstone, put(value, NOW_MS)) == 1
    for wrong in (
        Record(KEY, b"v", writer_unix_ms=NOW_MS, tombstone=True),
        Record(KEY, b"", tombstone=True),
    ):
        with pytest.raises(InvalidRecord, match="tombstone"):
            validate(wrong)


def test_others_see_a_tombstone_as_an_empty_value() -> None:
    """On the wire it is a record that every peer can parse; the flag is a field of ours."""
    tombstone = Record(KEY, b"", writer_unix_ms=NOW_MS, tombstone=True)
    wire = encode(Message(MessageType.PUT_VALUE, KEY, tombstone))
    assert decode(wire).record == tombstone
    empty = encode(Message(MessageType.PUT_VALUE, KEY, Record(KEY, b"", writer_unix_ms=NOW_MS)))
    assert decode(empty).record != tombstone


@given(st.none() | st.integers(1, 2**60), st.integers(1, 2**60))
def test_a_new_write_comes_after_the_one_it_replaces(observed, now_ms) -> None:
    writer_ms = next_writer_unix_ms(observed, now_ms)
    assert writer_ms >= now_ms
    assert observed is None or writer_ms > observed


def test_values_have_a_size() -> None:
    validate(Record(KEY, bytes(limits.VALUE_BYTES_MAX)))
    with pytest.raises(ValueTooLarge):
        validate(Record(KEY, bytes(limits.VALUE_BYTES_MAX + 1)))


def test_a_public_network_takes_no_open_record() -> None:
    public = RecordValidator(network_id="/ipfs/kad/1.0.0", network_kind="public", ipfs_keys_only=True)
    with pytest.raises(InvalidKey):
        public.validate(Record(KEY, b"v"), now_unix_s=NOW_MS / 1000, copied=False)
