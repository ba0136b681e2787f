"""`/prime` records: an envelope that the key's owner signed.

The signature covers a layout of our own, not protobuf's bytes, which have no one form:

    "primedht-record:"  version u8  kind u8  sequence u64  issued_unix_ms u64  expires_unix_ms u64
    network id, key, value: each as its length u32 and its bytes            (integers big-endian)

so an envelope is good for one key of one network, and a value can never pass for a pointer or a
tombstone. An envelope whose bytes are not the ones that `sign_envelope` makes of its fields is
refused: else anybody could turn one record into many that differ.

Source: docs/design.md, "Keys, values, lifetimes".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import DecodeError

from primedht import limits
from primedht.errors import InvalidArgument, InvalidKey, InvalidRecord, MalformedKey
from primedht.keys import KeyType, PrivateKey, PublicKey
from primedht.pb import record_pb2
from primedht.records.keys import KeyClass, parse_prime_key
from primedht.records.pointer import decode_pointer
from primedht.records.record import Content, RecordLike, ValidRecord
from primedht.records.signatures import SignatureCache

_DOMAIN = b"primedht-record:"
_VERSION = 1
_FIXED = struct.Struct(">BBQQQ")
_LENGTH = struct.Struct(">I")
_KINDS = {
    Content.VALUE: record_pb2.Envelope.VALUE,
    Content.POINTER: record_pb2.Envelope.POINTER,
    Content.TOMBSTONE: record_pb2.Envelope.TOMBSTONE,
}
_CONTENTS = {int(kind): content for content, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an owner says about a key. value: empty in a tombstone."""

    content: Content
    network_id: str
    sequence: int
    issued_unix_ms: int
    expires_unix_ms: int
    value: bytes

    def signed_bytes(self, key: bytes) -> bytes:
        """Return what the owner of `key` signs."""
        head = _FIXED.pack(
            _VERSION, int(_KINDS[self.content]), self.sequence, self.issued_unix_ms, self.expires_unix_ms
        )
        parts = (self.network_id.encode("utf-8"), key, self.value)
        return b"".join((_DOMAIN, head, *(_LENGTH.pack(len(part)) + part for part in parts)))

    def problem(self) -> str | None:
        """Return what no clock can make good about this envelope, or None."""
        if not 0 < len(self.network_id.encode("utf-8")) <= limits.NETWORK_ID_BYTES_MAX:
            return f"a network id has 1 to {limits.NETWORK_ID_BYTES_MAX} bytes"
        if not 0 < self.sequence <= limits.SEQUENCE_MAX:
            return f"a sequence is 1 to {limits.SEQUENCE_MAX}"
        if not 0 < self.issued_unix_ms < self.expires_unix_ms:
            return "a record ends after it was issued"
        if self.expires_unix_ms - self.issued_unix_ms > limits.SIGNED_LIFETIME_S_MAX * 1000:
            return f"a record lives at most {limits.SIGNED_LIFETIME_S_MAX / 86400:.0f} days"
        if self.content is Content.TOMBSTONE and self.value:
            return "a tombstone is empty"
        if self.content is Content.POINTER and not self.value:
            return "a pointer is not empty"
        return None


class SignedValidator:
    """Accepts envelopes of this network that the key's owner signed, within their lifetime."""

    def __init__(
        self,
        network_id: str,
        signatures: SignatureCache,
        *,
        value_bytes_max: int = limits.VALUE_BYTES_MAX,
    ) -> None:
        self._network_id = network_id
        self._signatures = signatures
        self._value_bytes_max = value_bytes_max

    def validate(self, record: RecordLike, *, now_unix_s: float, copied: bool) -> ValidRecord:
        """Raises `InvalidRecord`."""
        if record.tombstone:
            raise InvalidRecord("a /prime key is deleted by a signed tombstone only")
        envelope, public_key, signature = _parse(record.value)
        self._check(envelope, now_unix_ms=int(now_unix_s * 1000))
        try:
            owner = parse_prime_key(record.key).owner
        except InvalidKey as error:
            raise InvalidRecord(f"not a /prime key: {error}") from None
        if public_key.peer_id != owner:
            raise InvalidRecord(f"the record is {public_key.peer_id}'s; the key is {owner}'s")
        signed = envelope.signed_bytes(record.key)
        if not self._signatures.verify(public_key, signed, signature):
            raise InvalidRecord("the record's signature is not its owner's, or for another key")
        digest = sha256(signed).digest()
        return ValidRecord(
            key=record.key,
            key_class=KeyClass.PRIME,
            value=record.value,
            payload=envelope.value,
            content=envelope.content,
            rank=(envelope.sequence, envelope.expires_unix_ms, digest),
            digest=digest,
            authenticated=True,
            sequence=envelope.sequence,
            expires_unix_s=envelope.expires_unix_ms / 1000,
        )

    def _check(self, envelope: Envelope, *, now_unix_ms: int) -> None:
        problem = envelope.problem()
        if problem is not None:
            raise InvalidRecord(problem)
        if envelope.network_id != self._network_id:
            raise InvalidRecord(f"the record is for network {envelope.network_id!r}")
        if len(envelope.value) > self._value_bytes_max:
            raise InvalidRecord(f"a value of {len(envelope.value)} bytes; {self._value_bytes_max} fit")
        if envelope.content is Content.POINTER:
            decode_pointer(envelope.value)
        ahead_s = (envelope.issued_unix_ms - now_unix_ms) / 1000
        if ahead_s > limits.SIGNED_ISSUED_AHEAD_S_MAX:
            raise InvalidRecord(f"the record was issued {ahead_s:.0f} s ahead of this machine's clock")
        if envelope.expires_unix_ms <= now_unix_ms:
            raise InvalidRecord("the record has expired")


def sign_envelope(private_key: PrivateKey, key: bytes, envelope: Envelope) -> bytes:
    """Return the value to store under `/prime` key `key`.

    Raises `InvalidArgument` if no holder would take it, `InvalidKey` if the key is not the signer's.
    """
    problem = envelope.problem()
    if problem is not None:
        raise InvalidArgument(problem)
    owner = parse_prime_key(key).owner
    if owner != private_key.peer_id:
        raise InvalidKey(f"the key belongs to {owner}; the signer is {private_key.peer_id}")
    return _serialize(envelope, private_key.public_key, private_key.sign(envelope.signed_bytes(key)))


def next_sequence(stored: int | None, observed: int | None, now_unix_ms: int) -> int:
    """Return the sequence of an owner's next record.

    stored: the last one that this node knows to have signed. observed: the highest that a lookup
    found. The clock's part makes it survive a lost data directory. Raises `InvalidArgument` when
    there is none left.
    """
    sequence = max((stored or 0) + 1, (observed or 0) + 1, now_unix_ms)
    if sequence > limits.SEQUENCE_MAX:
        raise InvalidArgument("the key's highest possible sequence is in use; choose another key")
    return sequence


def _parse(value: bytes) -> tuple[Envelope, PublicKey, bytes]:
    try:
        wire = record_pb2.Envelope.FromString(value)
    except DecodeError:
        raise InvalidRecord("not a signed envelope") from None
    if wire.version != _VERSION:
        raise InvalidRecord(f"an envelope of version {wire.version}; only {_VERSION} is known")
    content = _CONTENTS.get(int(wire.kind))
    if content is None:
        raise InvalidRecord(f"an envelope of unknown kind {int(wire.kind)}")
    try:
        public_key = PublicKey.parse(wire.public_key)
        network_id = wire.network_id.decode("utf-8")
    except MalformedKey as error:
        raise InvalidRecord(f"the envelope's key: {error}") from None
    except UnicodeDecodeError:
        raise InvalidRecord("the envelope's network id is not UTF-8") from None
    if public_key.type is not KeyType.ED25519:
        raise InvalidRecord("only Ed25519 keys sign /prime records")
    envelope = Envelope(
        content, network_id, wire.sequence, wire.issued_unix_ms, wire.expires_unix_ms, wire.value
    )
    if _serialize(envelope, public_key, wire.signature) != value:
        raise InvalidRecord("the envelope is not in its one form")
    return envelope, public_key, wire.signature


def _serialize(envelope: Envelope, public_key: PublicKey, signature: bytes) -> bytes:
    return record_pb2.Envelope(
        version=_VERSION,
        kind=_KINDS[envelope.content],
        network_id=envelope.network_id.encode("utf-8"),
        sequence=envelope.sequence,
        issued_unix_ms=envelope.issued_unix_ms,
        expires_unix_ms=envelope.expires_unix_ms,
        value=envelope.value,
        public_key=public_key.serialized,
        signature=signature,
    ).SerializeToString(deterministic=True)
