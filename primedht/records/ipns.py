"""`/ipns/<peer id>`: IPNS records, verified and made.

Source: IPNS record spec (specs.ipfs.tech/ipns/ipns-record), "Record Verification", "Record
Creation"; the rule between two records: boxo/ipns, validation.go (selectRecord).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from google.protobuf.message import DecodeError

from primedht import limits
from primedht.errors import InvalidArgument, InvalidKey, InvalidRecord, MalformedKey
from primedht.keys import PrivateKey, PublicKey, public_key_of
from primedht.pb import record_pb2
from primedht.records import dagcbor, rfc3339
from primedht.records.keys import KeyClass, peer_of
from primedht.records.record import Content, RecordLike, ValidRecord
from primedht.records.signatures import SignatureCache

_T = TypeVar("_T")

_SIGNATURE_PREFIX = b"ipns-signature:"
_VALIDITY_TYPE_EOL = 0
_V1_SUFFIX = b"EOL"
_UNIX_NS_MAX = 253_402_300_800 * 1_000_000_000  # the year 10000: RFC 3339 has four digits
_TTL_NS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class IpnsData:
    """What an IPNS record says. validity_unix_ns: its end; ttl_ns: how long readers may cache it."""

    value: bytes
    sequence: int
    validity_unix_ns: int
    ttl_ns: int


class IpnsValidator:
    """Accepts records that the key's owner signed and that have not ended."""

    def __init__(self, signatures: SignatureCache) -> None:
        self._signatures = signatures

    def validate(self, record: RecordLike, *, now_unix_s: float, copied: bool) -> ValidRecord:
        """Raises `InvalidRecord`."""
        wire = _parse(record.value)
        public_key = _public_key(wire, record.key)
        # The signature comes first: nothing else of a forged record is worth looking at.
        if not wire.signature_v2 or not self._signatures.verify(
            public_key, _SIGNATURE_PREFIX + wire.data, wire.signature_v2
        ):
            raise InvalidRecord("the IPNS record is not signed by its name's owner")
        data = _data(wire)
        if now_unix_s * 1e9 > data.validity_unix_ns:
            raise InvalidRecord("the IPNS record has ended")
        return ValidRecord(
            key=record.key,
            key_class=KeyClass.IPNS,
            value=record.value,
            payload=record.value,
            content=Content.VALUE,
            rank=(data.sequence, data.validity_unix_ns, record.value),
            digest=sha256(record.value).digest(),
            authenticated=True,
            sequence=data.sequence,
            expires_unix_s=data.validity_unix_ns / 1e9,
        )


def parse_ipns_record(value: bytes) -> IpnsData:
    """Return what an IPNS record says, unverified: `IpnsValidator` verifies. Raises `InvalidRecord`."""
    return _data(_parse(value))


def make_ipns_record(
    private_key: PrivateKey, value: bytes, *, sequence: int, validity_unix_ns: int, ttl_ns: int
) -> bytes:
    """Return a signed record that points the key's name at `value`, a content path in UTF-8.

    The fields of the first version are set too: older readers want them. Raises `InvalidArgument`.
    """
    for name, number, number_max in (
        ("sequence", sequence, limits.SEQUENCE_MAX),
        ("validity", validity_unix_ns, _UNIX_NS_MAX - 1),
        ("ttl", ttl_ns, _TTL_NS_MAX),
    ):
        if not 0 <= number <= number_max:
            raise InvalidArgument(f"the {name} of an IPNS record is 0 to {number_max}, not {number}")
    validity = rfc3339.format_unix_ns(validity_unix_ns).encode("ascii")
    data = dagcbor.encode_map(
        {
            "Value": value,
            "Validity": validity,
            "ValidityType": _VALIDITY_TYPE_EOL,
            "Sequence": sequence,
            "TTL": ttl_ns,
        }
    )
    record = record_pb2.IpnsRecord(
        value=value,
        signature_v1=private_key.sign(value + validity + _V1_SUFFIX),
        validity_type=record_pb2.IpnsRecord.EOL,
        validity=validity,
        sequence=sequence,
        ttl=ttl_ns,
        signature_v2=private_key.sign(_SIGNATURE_PREFIX + data),
        data=data,
    ).SerializeToString()
    if len(record) > limits.IPNS_RECORD_BYTES_MAX:
        raise InvalidArgument(f"an IPNS record of {len(record)} bytes; the path is too long")
    return record


def _parse(value: bytes) -> record_pb2.IpnsRecord:
    if len(value) > limits.IPNS_RECORD_BYTES_MAX:
        raise InvalidRecord(f"an IPNS record of {len(value)} bytes")
    try:
        wire = record_pb2.IpnsRecord.FromString(value)
    except DecodeError:
        raise InvalidRecord("not an IPNS record") from None
    if not wire.data:
        raise InvalidRecord("an IPNS record of the first version, which anyone can alter")
    return wire


def _public_key(wire: record_pb2.IpnsRecord, key: bytes) -> PublicKey:
    try:
        name = peer_of(key)
        public_key = PublicKey.parse(wire.public_key) if wire.public_key else public_key_of(name)
    except (InvalidKey, MalformedKey) as error:
        raise InvalidRecord(f"the IPNS record's owner has no usable key: {error}") from None
    if public_key is None:
        raise InvalidRecord("the IPNS record lacks the public key that its name only hashes")
    if public_key.peer_id != name:
        raise InvalidRecord(f"the IPNS record holds {public_key.peer_id}'s key, not {name}'s")
    return public_key


def _data(wire: record_pb2.IpnsRecord) -> IpnsData:
    fields = dagcbor.decode_map(wire.data)
    value = _field(fields, "Value", bytes)
    validity = _field(fields, "Validity", bytes)
    sequence = _field(fields, "Sequence", int)
    ttl_ns = _field(fields, "TTL", int) if "TTL" in fields else 0
    if _field(fields, "ValidityType", int) != _VALIDITY_TYPE_EOL:
        raise InvalidRecord("the IPNS record's validity is of an unknown type")
    validity_unix_ns = rfc3339.parse_unix_ns(validity.decode("ascii", "replace"))
    if validity_unix_ns is None:
        raise InvalidRecord("the IPNS record's validity is not an RFC 3339 time")
    if not (0 <= sequence <= limits.SEQUENCE_MAX and 0 <= ttl_ns <= _TTL_NS_MAX):
        raise InvalidRecord("the IPNS record's sequence or ttl is out of range")
    if (wire.signature_v1 or wire.value) and (
        (wire.value, wire.validity, int(wire.validity_type), wire.sequence, wire.ttl)
        != (value, validity, _VALIDITY_TYPE_EOL, sequence, ttl_ns)
        or "TTL" not in fields
    ):
        raise InvalidRecord("the IPNS record says one thing signed and another unsigned")
    return IpnsData(value, sequence, validity_unix_ns, ttl_ns)


def _field(fields: dict[str, object], name: str, kind: type[_T]) -> _T:
    value = fields.get(name)
    if type(value) is not kind:
        raise InvalidRecord(f"the IPNS record's {name} is missing or of another type")
    return value
