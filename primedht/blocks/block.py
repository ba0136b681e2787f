"""A block: bytes and the CID that they hash to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from primedht.cids import IDENTITY, RAW, SHA2_256, SHA2_512, Cid
from primedht.errors import InvalidArgument, Unsupported
from primedht.limits import BLOCK_BYTES_MAX
from primedht.wire import varint

Buffer = bytes | bytearray | memoryview

_DIGESTS: dict[int, Callable[[Buffer], bytes]] = {
    IDENTITY: bytes,
    SHA2_256: lambda data: hashlib.sha256(data).digest(),
    SHA2_512: lambda data: hashlib.sha512(data).digest(),
}
_TRAVELLING_HASHES = (SHA2_256, SHA2_512)  # an identity CID is its own block


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that are known to match their CID: the functions of this module are the only makers."""

    cid: Cid
    data: bytes


def make_block(data: bytes, codec: int = RAW, *, version: int = 1) -> Block:
    """Return `data` as a block of its sha2-256 CID. Raises `InvalidArgument` if it is too large."""
    _check_size(data)
    return Block(Cid.of(data, codec, version=version), data)


def hashed_block(data: bytes, *, version: int, codec: int, hash_code: int, digest_bytes: int) -> Block:
    """Return `data` as the block of the CID that has these parts and the digest of `data`.

    Raises `InvalidArgument` if there are too many bytes; `Unsupported` for another hash, or a cut one.
    """
    _check_size(data)
    digest = _DIGESTS[hash_code](data) if hash_code in _TRAVELLING_HASHES else b""
    if not digest or len(digest) != digest_bytes:
        raise Unsupported(f"a block of hash function {hash_code:#x} with {digest_bytes} bytes")
    return Block(Cid(version, codec, varint.encode(hash_code) + varint.encode(digest_bytes) + digest), data)


def verified_block(cid: Cid, data: bytes) -> Block:
    """Return `data` as the block of `cid`.

    Raises `InvalidArgument` if the bytes are not those, or too many; `Unsupported` for another hash.
    """
    _check_size(data)
    if not matches(cid, data):
        raise InvalidArgument(f"{len(data)} bytes that are not those of {cid}")
    return Block(cid, data)


def matches(cid: Cid, data: Buffer) -> bool:
    """Return whether `data` hashes to `cid`. Raises `Unsupported` for a hash that we do not compute."""
    check_hash(cid)
    return _DIGESTS[cid.hash_code](data) == cid.digest


def check_hash(cid: Cid) -> None:
    """Raise `Unsupported` unless the CID's bytes can be verified here."""
    if cid.hash_code not in _DIGESTS:
        raise Unsupported(f"{cid} uses hash function {cid.hash_code:#x}; sha2-256, sha2-512 and identity go")


def _check_size(data: bytes) -> None:
    if len(data) > BLOCK_BYTES_MAX:
        raise InvalidArgument(f"a block of {len(data)} bytes; at most {BLOCK_BYTES_MAX} go")
