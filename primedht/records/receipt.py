"""Receipts: a holder's signed word that it has all blocks of a large value, and until when it keeps them.

    "primedht-receipt:"  version u8  size_bytes u64  expires_unix_ms u64
    network id, root, record digest, holder, requester: each as its length u32 and its bytes
                                                                             (integers big-endian)

Source: docs/design.md, "Durable big values".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from primedht.errors import MalformedKey, ProtocolViolation
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.keys import PublicKey
from primedht.pb import replicate_pb2

_DOMAIN = b"primedht-receipt:"
_VERSION = 1
_FIXED = struct.Struct(">BQQ")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Receipt:
    """root: binary CID. size_bytes: of the value. record_digest: SHA-256 of the record's value."""

    network_id: str
    root: bytes
    size_bytes: int
    record_digest: bytes
    holder: PeerId
    requester: PeerId
    expires_unix_ms: int

    def signed_bytes(self) -> bytes:
        """Return what the holder signs."""
        head = _FIXED.pack(_VERSION, self.size_bytes, self.expires_unix_ms)
        parts = (
            self.network_id.encode("utf-8"), self.root, self.record_digest, bytes(self.holder),
            bytes(self.requester),
        )  # fmt: skip
        return b"".join((_DOMAIN, head, *(_LENGTH.pack(len(part)) + part for part in parts)))


def sign_receipt(holder: AnyPrivateKey, receipt: Receipt) -> replicate_pb2.Receipt:
    """Return `receipt` as it travels."""
    return replicate_pb2.Receipt(
        network_id=receipt.network_id,
        root=receipt.root,
        size_bytes=receipt.size_bytes,
        record_digest=receipt.record_digest,
        holder=bytes(receipt.holder),
        requester=bytes(receipt.requester),
        expires_unix_ms=receipt.expires_unix_ms,
        public_key=holder.public_key.serialized,
        signature=holder.sign(receipt.signed_bytes()),
    )


def verified_receipt(wire: replicate_pb2.Receipt) -> Receipt:
    """Return a receipt that its holder signed. Raises `ProtocolViolation`."""
    try:
        key = PublicKey.parse(wire.public_key)
    except MalformedKey as error:
        raise ProtocolViolation(f"a receipt's key: {error}") from None
    if bytes(key.peer_id) != wire.holder:
        raise ProtocolViolation("a receipt's key is not its holder's")
    receipt = Receipt(
        network_id=wire.network_id,
        root=wire.root,
        size_bytes=wire.size_bytes,
        record_digest=wire.record_digest,
        holder=key.peer_id,
        requester=PeerId(wire.requester),
        expires_unix_ms=wire.expires_unix_ms,
    )
    if not key.verify(receipt.signed_bytes(), wire.signature):
        raise ProtocolViolation("a receipt's signature is not its holder's")
    return receipt
