"""/prime records: envelopes that the key's owner signed."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidKey, InvalidRecord, ValueTooLarge
from primedht.kad.messages import Record
from primedht.keys import PrivateKey
from primedht.pb import record_pb2
from primedht.records.keys import KeyClass, prime_key
from primedht.records.pointer import Pointer
from primedht.records.record import Content, ValidRecord, compare, find_equivocation
from primedht.records.signed import Envelope, next_sequence, sign_envelope
from primedht.records.validator import RecordValidator

OWNER, STRANGER = PrivateKey(b"\x01" * 32), PrivateKey(b"\x02" * 32)
NETWORK = "/lab/kad/1.0.0"
NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
KEY = prime_key("model", OWNER.peer_id, "resnet50")
ENVELOPE = Envelope(Content.VALUE, NETWORK, 7, NOW_MS, NOW_MS + DAY_MS, b"weights")
POINTER = Pointer(Cid.of(b"block"), 5, 5, 1)


def validator(network_id: str = NETWORK) -> RecordValidator:
    return RecordValidator(network_id=network_id, network_kind="private", ipfs_keys_only=False)


def validate(
    value: bytes, *, key: bytes = KEY, now_ms: int = NOW_MS, network_id: str = NETWORK
) -> ValidRecord:
    return validator(network_id).validate(Record(key, value), now_unix_s=now_ms / 1000, copied=True)


def forged(envelope: Envelope, *, key: bytes = KEY, signer: PrivateKey = OWNER, **fields: object) -> bytes:
    """An envelope that is signed, and in its one form, whatever it says."""
    signature = signer.sign(envelope.signed_bytes(key))
    wire = record_pb2.Envelope(
        version=1,
        kind=envelope.content.name,
        network_id=envelope.network_id.encode(),
        sequence=envelope.sequence,
        issued_unix_ms=envelope.issued_unix_ms,
        expires_unix_ms=envelope.expires_unix_ms,
        value=envelope.value,
        public_key=signer.public_key.serialized,
        signature=signature,
    )
    for name, content in fields.items():
        setattr(wire, name, content)
    return wire.SerializeToString()


def test_an_owners_record_is_accepted() -> None:
    valid = validate(sign_envelope(OWNER, KEY, ENVELOPE))
    assert valid.key_class is KeyClass.PRIME
    assert valid.authenticated
    assert (valid.payload, valid.content, valid.sequence) == (b"weights", Content.VALUE, 7)
    assert valid.expires_unix_s == (NOW_MS + DAY_MS) / 1000


def test_the_signed_layout_is_the_documented_one() -> None:
    """Fixed for good: a change would make every stored record a forgery."""
    value = sign_envelope(OWNER, KEY, ENVELOPE)
    signed = (
        b"primedht-record:" + bytes((1, 1)) + (7).to_bytes(8, "big") + NOW_MS.to_bytes(8, "big")
        + (NOW_MS + DAY_MS).to_bytes(8, "big") + len(NETWORK).to_bytes(4, "big") + NETWORK.encode()
        + len(KEY).to_bytes(4, "big") + KEY + (7).to_bytes(4, "big") + b"weights"
    )  # fmt: skip
    assert ENVELOPE.signed_bytes(KEY) == signed
    assert record_pb2.Envelope.FromString(value).signature == OWNER.sign(signed)
    assert sha256(value).hexdigest() == "c006cecb0fb284013d7b4d0aa0f0dbb70b219a882e1302041f23990159e960ec"
    assert validate(value).digest == sha256(signed).digest()


def test_tombstones_and_pointers_are_signed_as_such() -> None:
    tombstone = replace(ENVELOPE, content=Content.TOMBSTONE, value=b"")
    pointer = replace(ENVELOPE, content=Content.POINTER, value=POINTER.encode())
    assert validate(sign_envelope(OWNER, KEY, tombstone)).content is Content.TOMBSTONE
    assert validate(sign_envelope(OWNER, KEY, pointer)).content is Content.POINTER
    for envelope, kind in ((ENVELOPE, "POINTER"), (pointer, "VALUE"), (tombstone, "VALUE")):
        with pytest.raises(InvalidRecord):
            validate(forged(envelope, kind=kind))
    empty = replace(ENVELOPE, value=b"")
    assert validate(sign_envelope(OWNER, KEY, empty)).content is Content.VALUE
    for envelope in (replace(ENVELOPE, content=Content.TOMBSTONE), replace(pointer, value=b"")):
        with pytest.raises(InvalidRecord, match="empty"):
            validate(forged(envelope))


def test_a_tombstone_flag_outside_the_signature_deletes_nothing() -> None:
    value = sign_envelope(OWNER, KEY, ENVELOPE)
    with pytest.raises(InvalidRecord, match="signed tombstone"):
        validator().validate(Record(KEY, value, tombstone=True), now_unix_s=NOW_MS / 1000, copied=True)


def test_others_cannot_write_an_owners_key() -> None:
    with pytest.raises(InvalidKey, match="belongs to"):
        sign_envelope(STRANGER, KEY, ENVELOPE)
    with pytest.raises(InvalidRecord, match=str(STRANGER.peer_id)):
        validate(forged(ENVELOPE, signer=STRANGER))
    with pytest.raises(InvalidRecord, match="signature"):
        validate(forged(ENVELOPE, signer=STRANGER, public_key=OWNER.public_key.serialized))


def test_a_record_is_good_for_one_key_and_one_network() -> None:
    value = sign_envelope(OWNER, KEY, ENVELOPE)
    with pytest.raises(InvalidRecord, match="another key"):
        validate(value, key=prime_key("model", OWNER.peer_id, "resnet51"))
    with pytest.raises(InvalidRecord, match="for network"):
        validate(value, network_id="/other/kad/1.0.0")
    with pytest.raises(InvalidRecord, match="signature"):
        validate(forged(ENVELOPE, network_id=b"/other/kad/1.0.0"), network_id="/other/kad/1.0.0")


@pytest.mark.parametrize(
    ("changes", "now_ms", "accepted"),
    [
        ({}, NOW_MS + DAY_MS - 1, True),
        ({}, NOW_MS + DAY_MS, False),
        ({}, NOW_MS - 120_000, True),
        ({}, NOW_MS - 120_001, False),
        ({"expires_unix_ms": NOW_MS + 30 * DAY_MS}, NOW_MS, True),
        ({"expires_unix_ms": NOW_MS + 30 * DAY_MS + 1}, NOW_MS, False),
        ({"issued_unix_ms": 0}, NOW_MS, False),
        ({"expires_unix_ms": NOW_MS}, NOW_MS - 1, False),
        ({"expires_unix_ms": NOW_MS - 5}, NOW_MS - 10, False),
        ({"sequence": 0}, NOW_MS, False),
        ({"sequence": 2**63 - 1}, NOW_MS, True),
        ({"sequence": 2**63}, NOW_MS, False),
        ({"sequence": 2**64 - 1}, NOW_MS, False),
        ({"network_id": "n" * 257}, NOW_MS, False),
    ],
)
def test_lifetimes_and_sequences_have_bounds(changes: dict, now_ms: int, accepted: bool) -> None:
    envelope = replace(ENVELOPE, **changes)
    value = forged(envelope)
    if accepted:
        validate(value, now_ms=now_ms)
        assert sign_envelope(OWNER, KEY, envelope) == value
    else:
        with pytest.raises(InvalidRecord):
            validate(value, now_ms=now_ms, network_id=envelope.network_id)


@pytest.mark.parametrize("changes", [{"sequence": 0}, {"expires_unix_ms": NOW_MS}, {"network_id": ""}])
def test_what_no_holder_would_take_is_not_signed(changes: dict) -> None:
    with pytest.raises(InvalidArgument):
        sign_envelope(OWNER, KEY, replace(ENVELOPE, **changes))


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2}, {"version": 0}, {"kind": 0}, {"kind": 9}, {"signature": b""},
        {"signature": bytes(64)}, {"public_key": b""}, {"network_id": b"\xff"},
        {"public_key": b"\x08\x02\x12\x21" + b"\x02" * 33},
        {"sequence": 8}, {"issued_unix_ms": NOW_MS + 1}, {"expires_unix_ms": NOW_MS + DAY_MS + 1},
        {"value": b"weighty"},
    ],
)  # fmt: skip
def test_any_changed_field_is_refused(fields: dict) -> None:
    with pytest.raises(InvalidRecord):
        validate(forged(ENVELOPE, **fields))


def test_an_envelope_has_one_form() -> None:
    """Anybody can rewrite protobuf bytes; if such copies counted they would be other records."""
    value = sign_envelope(OWNER, KEY, ENVELOPE)
    wire = record_pb2.Envelope.FromString(value)
    version = record_pb2.Envelope(version=1).SerializeToString()
    for other in (
        value + b"\x50\x01",  # a field that we do not know
        value + version,  # a field twice
        value[len(version) :] + version,  # another order
        b"\x08\x81\x00" + value[len(version) :],  # a longer varint
        value + b"\x4a\x40" + wire.signature,
    ):
        assert record_pb2.Envelope.FromString(other).signature == wire.signature
        with pytest.raises(InvalidRecord, match="one form"):
            validate(other)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_raise_only_invalid_record(data: bytes, at: int) -> None:
    value = sign_envelope(OWNER, KEY, ENVELOPE)
    for candidate in (data, value[:at] + data, value[:at] + data + value[at:]):
        if candidate != value:
            with pytest.raises(InvalidRecord):
                validate(candidate)


def test_values_have_a_size_and_envelopes_may_exceed_it() -> None:
    largest = replace(
        ENVELOPE, value=bytes(limits.VALUE_BYTES_MAX), network_id="n" * limits.NETWORK_ID_BYTES_MAX,
        sequence=limits.SEQUENCE_MAX,
    )  # fmt: skip
    value = sign_envelope(OWNER, KEY, largest)
    assert len(value) < 65 << 10  # what a rust peer stores
    validate(value, network_id=largest.network_id)
    with pytest.raises(InvalidRecord, match="fit"):
        validate(sign_envelope(OWNER, KEY, replace(ENVELOPE, value=bytes(limits.VALUE_BYTES_MAX + 1))))
    with pytest.raises(ValueTooLarge):
        validate(sign_envelope(OWNER, KEY, replace(ENVELOPE, value=bytes(limits.VALUE_BYTES_MAX + 512))))


def signed(**changes: object) -> ValidRecord:
    return validate(sign_envelope(OWNER, KEY, replace(ENVELOPE, **changes)))


def test_sequence_then_expiry_then_digest_decide() -> None:
    a, b = signed(value=b"a"), signed(value=b"b")
    longer, newer = (
        signed(expires_unix_ms=NOW_MS + DAY_MS + 1),
        signed(sequence=8, expires_unix_ms=NOW_MS + 1),
    )
    assert compare(newer, longer) == compare(longer, a) == compare(longer, b) == 1
    assert compare(a, b) == (1 if a.digest > b.digest else -1) == -compare(b, a)
    assert compare(a, signed(value=b"a")) == 0


def test_two_records_of_one_sequence_are_equivocation() -> None:
    a, b = signed(value=b"a"), signed(value=b"b")
    found = find_equivocation(a, b)
    assert found is not None
    assert (found.key, found.sequence, found.values) == (KEY, 7, (a.value, b.value))
    assert find_equivocation(a, signed(value=b"a")) is None
    assert find_equivocation(a, signed(value=b"b", sequence=8)) is None


@given(st.none() | st.integers(0, 2**50), st.none() | st.integers(0, 2**50), st.integers(0, 2**50))
def test_the_next_sequence_exceeds_everything_known(stored, observed, now_ms) -> None:
    sequence = next_sequence(stored, observed, now_ms)
    assert sequence > (stored or 0)
    assert sequence > (observed or 0)
    assert sequence >= now_ms


def test_a_lost_data_directory_does_not_lose_the_sequence() -> None:
    assert next_sequence(None, None, NOW_MS) == NOW_MS
    assert next_sequence(None, NOW_MS + 5, NOW_MS) == NOW_MS + 6
    with pytest.raises(InvalidArgument):
        next_sequence(limits.SEQUENCE_MAX, None, NOW_MS)
