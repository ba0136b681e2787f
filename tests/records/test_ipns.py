"""/ipns and /pk records, against bytes that boxo and js-ipns made."""

from __future__ import annotations

import itertools

import pytest
from golden_records import GoldenOwner, GoldenRecord, owners
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import InvalidArgument, InvalidRecord
from primedht.ids import PeerId
from primedht.kad.messages import Record
from primedht.keys import PrivateKey
from primedht.pb import record_pb2
from primedht.records import dagcbor, rfc3339
from primedht.records.ipns import IpnsValidator, make_ipns_record, parse_ipns_record
from primedht.records.keys import ipns_key, pk_key
from primedht.records.pk import PkValidator
from primedht.records.record import ValidRecord, compare, select
from primedht.records.signatures import SignatureCache

OWNERS = owners()
RECORDS = [
    pytest.param(owner, record, id=f"{owner}-{record.what.replace(' ', '_')}")
    for owner in OWNERS
    for record in owner.live
]
NOW_UNIX_S = 1_700_000_000.0
KEY = PrivateKey(b"\x05" * 32)
EOL_UNIX_NS = rfc3339.parse_unix_ns("2030-01-01T00:00:00Z") or 0


def validate(key: bytes, value: bytes, *, now_unix_s: float = NOW_UNIX_S) -> ValidRecord:
    return IpnsValidator(SignatureCache()).validate(Record(key, value), now_unix_s=now_unix_s, copied=True)


def made(path: bytes = b"/ipfs/x", **changes: int) -> bytes:
    fields = {"sequence": 1, "validity_unix_ns": EOL_UNIX_NS, "ttl_ns": 10**9, **changes}
    return make_ipns_record(KEY, path, **fields)


def altered(record_bytes: bytes, **fields: object) -> bytes:
    wire = record_pb2.IpnsRecord.FromString(record_bytes)
    for name, content in fields.items():
        setattr(wire, name, content)
    return wire.SerializeToString()


def resigned(data: bytes, **fields: object) -> bytes:
    """A version 2 record of ours around any `data`."""
    signature = KEY.sign(b"ipns-signature:" + data)
    return record_pb2.IpnsRecord(data=data, signature_v2=signature, **fields).SerializeToString()


def cbor(**changes: bytes | int | None) -> bytes:
    fields: dict[str, bytes | int | None] = {
        "Value": b"/ipfs/x", "Validity": b"2030-01-01T00:00:00Z", "ValidityType": 0,
        "Sequence": 1, "TTL": 1, **changes,
    }  # fmt: skip
    return dagcbor.encode_map({name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize(("owner", "record"), RECORDS)
def test_records_of_others_are_accepted(owner: GoldenOwner, record: GoldenRecord) -> None:
    valid = validate(record.key, record.value)
    assert valid.sequence == record.sequence
    assert valid.authenticated
    assert valid.payload == valid.value == record.value
    data = parse_ipns_record(record.value)
    assert data.value == record.path
    assert data.ttl_ns == record.ttl_ns
    assert rfc3339.format_unix_ns(data.validity_unix_ns) == record.validity
    assert valid.expires_unix_s == pytest.approx(data.validity_unix_ns / 1e9)


@pytest.mark.parametrize("owner", OWNERS, ids=str)
def test_selection_agrees_with_the_makers(owner: GoldenOwner) -> None:
    """Behaviour 25: of an old and a new value the new one is selected, in whatever order they come."""
    worst_to_best = [validate(record.key, record.value) for record in owner.live]
    for older, newer in itertools.combinations(worst_to_best, 2):
        assert compare(newer, older) == 1
        assert compare(older, newer) == -1
        assert select([older, newer]) == 1
        assert select([newer, older]) == 0
    for record in worst_to_best:
        assert compare(record, record) == 0


def test_equal_sequence_and_validity_leave_the_bytes_to_decide() -> None:
    """boxo, selectRecord: then the greater bytes."""
    records = [validate(ipns_key(KEY.peer_id), made(path)) for path in (b"/ipfs/a", b"/ipfs/b")]
    by_value = sorted(records, key=lambda record: record.value)
    assert select(by_value) == 1


@pytest.mark.parametrize(
    "owner", [owner for owner in OWNERS if len(owner.records) != len(owner.live)], ids=str
)
def test_ended_records_are_refused(owner: GoldenOwner) -> None:
    ended = owner.records[-1]
    with pytest.raises(InvalidRecord, match="ended"):
        validate(ended.key, ended.value)
    assert validate(ended.key, ended.value, now_unix_s=1_500_000_000.0).sequence == 9


@pytest.mark.parametrize("owner", [owner for owner in OWNERS if owner.private_key], ids=str)
def test_our_records_are_theirs_byte_for_byte(owner: GoldenOwner) -> None:
    key = PrivateKey.parse(owner.private_key or b"")
    usual = [
        record for record in owner.records if record.what in ("usual", "newer sequence", "longer validity")
    ]
    assert len(usual) >= 2
    for record in usual:
        ours = make_ipns_record(
            key,
            record.path,
            sequence=record.sequence,
            validity_unix_ns=rfc3339.parse_unix_ns(record.validity) or 0,
            ttl_ns=record.ttl_ns,
        )
        theirs = record_pb2.IpnsRecord.FromString(record.value)
        assert record_pb2.IpnsRecord.FromString(ours) == theirs
        if owner.maker == "boxo":
            assert ours == record.value


@pytest.mark.parametrize(("owner", "record"), RECORDS)
def test_forged_records_are_refused(owner: GoldenOwner, record: GoldenRecord) -> None:
    wire = record_pb2.IpnsRecord.FromString(record.value)
    forgeries = [
        altered(record.value, data=wire.data[:-1] + bytes((wire.data[-1] ^ 1,))),
        altered(record.value, signature_v2=wire.signature_v2[:-1] + bytes((wire.signature_v2[-1] ^ 1,))),
        altered(record.value, signature_v2=b""),
        altered(record.value, data=b""),
        altered(record.value, public_key=KEY.public_key.serialized),
        altered(record.value, public_key=b"junk"),
        altered(record.value, value=b"/ipfs/other"),
        altered(record.value, signature_v1=b"x", sequence=77),
        altered(record.value, signature_v1=b"x", validity=b"2200-01-01T00:00:00Z"),
        altered(record.value, signature_v1=b"x", ttl=77),
    ]
    for forged in forgeries:
        with pytest.raises(InvalidRecord):
            validate(record.key, forged)
    with pytest.raises(InvalidRecord):
        validate(ipns_key(KEY.peer_id), record.value)


def test_a_hashed_name_needs_its_key_in_the_record() -> None:
    owner = next(owner for owner in OWNERS if owner.type == "RSA")
    wire = record_pb2.IpnsRecord.FromString(owner.records[0].value)
    wire.ClearField("public_key")
    with pytest.raises(InvalidRecord, match="lacks the public key"):
        validate(owner.records[0].key, wire.SerializeToString())


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({}, True),
        ({"TTL": None}, True),
        ({"Value": b""}, True),
        ({"Sequence": 2**63 - 1}, True),
        ({"Validity": b"2030-01-01T00:00:00.5+02:00"}, True),
        ({"Sequence": 2**63}, False),
        ({"Sequence": b"1"}, False),
        ({"Sequence": None}, False),
        ({"TTL": 2**63}, False),
        ({"TTL": b""}, False),
        ({"Value": None}, False),
        ({"Value": 5}, False),
        ({"ValidityType": 1}, False),
        ({"ValidityType": None}, False),
        ({"Validity": None}, False),
        ({"Validity": b""}, False),
        ({"Validity": b"soon"}, False),
        ({"Validity": b"2030-13-01T00:00:00Z"}, False),
        ({"Validity": b"\xff" * 20}, False),
    ],
)
def test_what_an_owner_may_sign(changes: dict, accepted: bool) -> None:
    value = resigned(cbor(**changes))
    if accepted:
        validate(ipns_key(KEY.peer_id), value)
    else:
        with pytest.raises(InvalidRecord):
            validate(ipns_key(KEY.peer_id), value)


def test_unsigned_fields_without_a_ttl_to_match_are_refused() -> None:
    data = cbor(TTL=None)
    value = resigned(
        data, value=b"/ipfs/x", validity=b"2030-01-01T00:00:00Z", validity_type=0, sequence=1, ttl=0
    )
    with pytest.raises(InvalidRecord, match="one thing signed"):
        validate(ipns_key(KEY.peer_id), value)


def test_an_unsigned_validity_type_that_differs_is_refused() -> None:
    wire = record_pb2.IpnsRecord.FromString(made())
    wire.ClearField("validity_type")
    other = wire.SerializeToString() + b"\x18\x05"
    with pytest.raises(InvalidRecord, match="one thing signed"):
        validate(ipns_key(KEY.peer_id), other)


def test_records_over_10_kib_are_refused_and_not_made() -> None:
    made(b"/ipfs/" + b"x" * 4000)
    with pytest.raises(InvalidArgument):
        made(b"/ipfs/" + b"x" * 6000)
    value = resigned(cbor(Value=b"x" * (limits.IPNS_RECORD_BYTES_MAX - 180)))
    assert len(value) <= limits.IPNS_RECORD_BYTES_MAX
    validate(ipns_key(KEY.peer_id), value)
    with pytest.raises(InvalidRecord, match="bytes"):
        validate(ipns_key(KEY.peer_id), resigned(cbor(Value=b"x" * limits.IPNS_RECORD_BYTES_MAX)))


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": -1}, {"sequence": 2**63}, {"ttl_ns": -1}, {"ttl_ns": 2**63}, {"validity_unix_ns": -1},
        {"validity_unix_ns": 10**22},
    ],
)  # fmt: skip
def test_records_that_nobody_would_take_are_not_made(changes: dict) -> None:
    with pytest.raises(InvalidArgument):
        made(**changes)


@given(st.binary(max_size=300))
def test_any_bytes_raise_only_invalid_record(data: bytes) -> None:
    for value in (data, resigned(data)):
        with pytest.raises(InvalidRecord):
            validate(ipns_key(KEY.peer_id), value)


# --- /pk -------------------------------------------------------------------------------------------


def validate_pk(key: bytes, value: bytes) -> ValidRecord:
    return PkValidator().validate(Record(key, value), now_unix_s=NOW_UNIX_S, copied=False)


@pytest.mark.parametrize("owner", OWNERS, ids=str)
def test_public_keys_are_accepted_under_their_hash_only(owner: GoldenOwner) -> None:
    """Behaviour 46: a /pk record is accepted only if its hash matches."""
    key = pk_key(PeerId(owner.peer_id_raw))
    valid = validate_pk(key, owner.public_key)
    assert valid.authenticated
    assert valid.payload == owner.public_key
    assert compare(valid, validate_pk(key, owner.public_key)) == 0
    for value in (
        KEY.public_key.serialized, owner.public_key + b"\x18\x01", owner.public_key[:-1], b"", b"junk",
    ):  # fmt: skip
        with pytest.raises(InvalidRecord):
            validate_pk(key, value)
    with pytest.raises(InvalidRecord):
        validate_pk(pk_key(KEY.peer_id), owner.public_key)
    with pytest.raises(InvalidRecord):
        validate_pk(b"/pk/junk", owner.public_key)


# --- signatures ------------------------------------------------------------------------------------


def test_good_signatures_are_checked_once_and_bad_ones_not_remembered() -> None:
    cache, key = SignatureCache(entries_max=2), KEY.public_key
    messages = [bytes((number,)) for number in range(3)]
    for message in messages:
        assert cache.verify(key, message, KEY.sign(message))
        assert cache.verify(key, message, KEY.sign(message))
        assert not cache.verify(key, message, KEY.sign(b"other"))
        assert not cache.verify(PrivateKey(b"\x06" * 32).public_key, message, KEY.sign(message))
    assert len(cache) == 2
    assert cache.verify(key, messages[0], KEY.sign(messages[0]))
