"""Statements: what a DAG consists of, in the words of whoever asks others to keep it.

A pointer says so of a value, in a record; what has no record of its own, such as a model or a checkpoint,
is offered with a statement of its owner's. The signature covers

    "primedht-statement:"  version u8
    network id, statement: each as its length u32 and its bytes                (integers big-endian)

Source: docs/design.md, "Durable big values".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from primedht import limits
from primedht.cids import SHA2_256, Cid
from primedht.errors import InvalidArgument, InvalidRecord, MalformedKey
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.keys import PublicKey
from primedht.pb import record_pb2

_DOMAIN = b"primedht-statement:"
_VERSION = 1
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Statement:
    """root: any block. size_bytes, blocks: of its whole DAG, each block once.

    expires_unix_ms: nobody is to keep it longer for this statement.
    """

    root: Cid
    size_bytes: int
    blocks: int
    expires_unix_ms: int

    def encode(self) -> bytes:
        """Return the one form of this statement."""
        return record_pb2.Statement(
            root=bytes(self.root),
            size_bytes=self.size_bytes,
            blocks=self.blocks,
            expires_unix_ms=self.expires_unix_ms,
        ).SerializeToString(deterministic=True)


def sign_statement(private_key: AnyPrivateKey, network_id: str, statement: Statement) -> bytes:
    """Return `statement` as it travels."""
    raw = statement.encode()
    signature = private_key.sign(_signed_bytes(network_id, raw))
    return _serialize(raw, private_key.public_key, signature)


def open_statement(raw: bytes, network_id: str) -> tuple[Statement, PeerId]:
    """Return a statement and who signed it. Raises `InvalidRecord`."""
    try:
        wire = record_pb2.SignedStatement.FromString(raw)
        public_key = PublicKey.parse(wire.public_key)
        statement = _parse(wire.statement)
    except DecodeError:
        raise InvalidRecord("not a statement") from None
    except (MalformedKey, InvalidArgument) as error:
        raise InvalidRecord(f"a statement: {error}") from None
    if _serialize(wire.statement, public_key, wire.signature) != raw:
        raise InvalidRecord("the statement is not in its one form")
    if not public_key.verify(_signed_bytes(network_id, wire.statement), wire.signature):
        raise InvalidRecord("the statement's signature is not that of its key")
    return statement, public_key.peer_id


def _parse(raw: bytes) -> Statement:
    wire = record_pb2.Statement.FromString(raw)
    statement = Statement(Cid.from_bytes(wire.root), wire.size_bytes, wire.blocks, wire.expires_unix_ms)
    if statement.root.hash_code != SHA2_256:
        raise InvalidRecord("a statement's root has a sha2-256 hash")
    if not (statement.blocks and statement.size_bytes <= statement.blocks * limits.BLOCK_BYTES_MAX):
        raise InvalidRecord("a statement's sizes do not fit together")
    if statement.encode() != raw:
        raise InvalidRecord("the statement is not in its one form")
    return statement


def _signed_bytes(network_id: str, statement: bytes) -> bytes:
    parts = (network_id.encode("utf-8"), statement)
    return b"".join((_DOMAIN, bytes((_VERSION,)), *(_LENGTH.pack(len(part)) + part for part in parts)))


def _serialize(raw: bytes, public_key: PublicKey, signature: bytes) -> bytes:
    return record_pb2.SignedStatement(
        statement=raw, public_key=public_key.serialized, signature=signature
    ).SerializeToString(deterministic=True)
