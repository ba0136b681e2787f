"""Pointers: which blocks hold a value that is too large for a record.

A `/prime` record carries one in an envelope of kind POINTER. The value of an open key is one if it
begins with `MARK` and the rest is a pointer that its writer signed for that key of that network, with a
key of any type:

    "primedht-pointer:"  version u8
    network id, key, pointer: each as its length u32 and its bytes            (integers big-endian)

Anything else is a plain value, whatever it begins with; `Node.put` makes blocks of a plain value that
begins with the mark, so that what was put is what is got.

A value that was compressed says so: with which codec, and how many bytes it had before. Holders need know
no codec to keep its blocks.

Source: docs/design.md, "Big values".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from primedht import limits
from primedht.cids import DAG_PB, RAW, SHA2_256, Cid
from primedht.errors import InvalidArgument, InvalidRecord, MalformedKey
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.keys import PublicKey
from primedht.pb import record_pb2
from primedht.records.signatures import SignatureCache

MARK = b"\x00primedht-pointer\x01"
_DOMAIN = b"primedht-pointer:"
_VERSION = 1
_LENGTH = struct.Struct(">I")
_CODEC = re.compile(r"(?:[a-z][a-z0-9-]*)?")


@dataclass(frozen=True, slots=True)
class Pointer:
    """A value's blocks. root: a UnixFS file. size_bytes: of that file.

    dag_bytes, blocks: all blocks of the DAG, each as often as it is linked: at least what is to be kept.
    codec: how the value was compressed into that file; empty if it is the file. content_bytes: of the value
    if it was compressed; else 0.
    """

    root: Cid
    size_bytes: int
    dag_bytes: int
    blocks: int
    codec: str = ""
    content_bytes: int = 0

    @property
    def value_bytes(self) -> int:
        """How many bytes the value has."""
        return self.content_bytes if self.codec else self.size_bytes

    def encode(self) -> bytes:
        """Return the one form of this pointer."""
        return record_pb2.Pointer(
            root=bytes(self.root),
            size_bytes=self.size_bytes,
            dag_bytes=self.dag_bytes,
            blocks=self.blocks,
            codec=self.codec,
            content_bytes=self.content_bytes,
        ).SerializeToString(deterministic=True)


def decode_pointer(raw: bytes) -> Pointer:
    """Raises `InvalidRecord` for what is not in its one form, or cannot be true."""
    try:
        wire = record_pb2.Pointer.FromString(raw)
        root = Cid.from_bytes(wire.root)
    except DecodeError:
        raise InvalidRecord("not a pointer") from None
    except InvalidArgument as error:
        raise InvalidRecord(f"a pointer's root: {error}") from None
    pointer = Pointer(
        *(root, wire.size_bytes, wire.dag_bytes, wire.blocks),
        codec=wire.codec,
        content_bytes=wire.content_bytes,
    )
    if root.codec not in (RAW, DAG_PB) or root.hash_code != SHA2_256:
        raise InvalidRecord("a pointer's root is a UnixFS file with a sha2-256 hash")
    if not pointer.size_bytes <= pointer.dag_bytes <= pointer.blocks * limits.BLOCK_BYTES_MAX:
        raise InvalidRecord("a pointer's sizes do not fit together")
    if len(pointer.codec) > limits.POINTER_CODEC_CHARS_MAX or not _CODEC.fullmatch(pointer.codec):
        raise InvalidRecord("a pointer's codec has no name")
    if bool(pointer.codec) != bool(pointer.content_bytes):
        raise InvalidRecord("a pointer's codec and its value's size go together")
    if pointer.codec and pointer.size_bytes > compressed_bytes_max(pointer.content_bytes):
        raise InvalidRecord("a pointer's value became larger by being compressed")
    if pointer.encode() != raw:
        raise InvalidRecord("the pointer is not in its one form")
    return pointer


def compressed_bytes_max(content_bytes: int) -> int:
    """Return how many bytes any codec may make of so many.

    zstd's own bound, ZSTD_COMPRESSBOUND in its `zstd.h`, and some for pieces that were flushed.
    """
    return content_bytes + content_bytes // 128 + 1024


def sign_open_pointer(private_key: AnyPrivateKey, network_id: str, key: bytes, pointer: Pointer) -> bytes:
    """Return the value to store under the open `key`."""
    raw = pointer.encode()
    signature = private_key.sign(_signed_bytes(network_id, key, raw))
    return MARK + _serialize(raw, private_key.public_key, signature)


def open_pointer(value: bytes, network_id: str, key: bytes, signatures: SignatureCache) -> bytes | None:
    """Return the encoded pointer that `value` of the open `key` is; None for a plain value."""
    if not value.startswith(MARK):
        return None
    try:
        wire = record_pb2.SignedPointer.FromString(value[len(MARK) :])
        public_key = PublicKey.parse(wire.public_key)
        decode_pointer(wire.pointer)
    except (DecodeError, MalformedKey, InvalidRecord):
        return None
    if MARK + _serialize(wire.pointer, public_key, wire.signature) != value:
        return None
    if not signatures.verify(public_key, _signed_bytes(network_id, key, wire.pointer), wire.signature):
        return None
    return wire.pointer


def pointer_writer(value: bytes) -> PeerId:
    """Return who signed a pointer that `open_pointer` found good."""
    return PublicKey.parse(record_pb2.SignedPointer.FromString(value[len(MARK) :]).public_key).peer_id


def _signed_bytes(network_id: str, key: bytes, pointer: bytes) -> bytes:
    parts = (network_id.encode("utf-8"), key, pointer)
    return b"".join((_DOMAIN, bytes((_VERSION,)), *(_LENGTH.pack(len(part)) + part for part in parts)))


def _serialize(pointer: bytes, public_key: PublicKey, signature: bytes) -> bytes:
    return record_pb2.SignedPointer(
        pointer=pointer, public_key=public_key.serialized, signature=signature
    ).SerializeToString(deterministic=True)
