"""Peer ids: the multihash that names a libp2p peer, as an immutable byte string.

Source: libp2p specs, peer-ids/peer-ids.md ("Peer Ids", "String representation").
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Self

import base58

from primedht.errors import InvalidArgument

_IDENTITY, _SHA2_256 = 0x00, 0x12
_PROTOBUF_KEY_INLINE_BYTES_MAX = 42  # longer serialised keys are hashed (peer-ids.md, "Peer Ids")
_CIDV1_LIBP2P_KEY = bytes((0x01, 0x72))
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_TEXT_CHARS_MAX = 128


class PeerId(bytes):
    """A peer's id: the raw multihash bytes. `str()` gives base58btc, as every libp2p tool prints it."""

    __slots__ = ()

    def __new__(cls, multihash: bytes) -> Self:
        """Raises `InvalidArgument` unless `multihash` is an identity or sha2-256 multihash."""
        if not _is_peer_id(multihash):
            raise InvalidArgument(f"not a peer id: {multihash[:40].hex()}")
        return super().__new__(cls, multihash)

    @classmethod
    def if_valid(cls, raw: bytes) -> PeerId | None:
        """Return `raw` as a peer id, or None if it is not one."""
        return cls(raw) if _is_peer_id(raw) else None

    @classmethod
    def from_public_key(cls, serialized: bytes) -> PeerId:
        """Return the id of a public key given as libp2p's serialised `PublicKey` message."""
        if len(serialized) <= _PROTOBUF_KEY_INLINE_BYTES_MAX:
            return cls(bytes((_IDENTITY, len(serialized))) + serialized)
        return cls(bytes((_SHA2_256, 32)) + hashlib.sha256(serialized).digest())

    @classmethod
    def from_text(cls, text: str) -> PeerId:
        """Parse base58btc (`12D3Koo...`, `Qm...`) or a CIDv1 in base32 or base36 (`bafz...`, `k51...`)."""
        if not 0 < len(text) <= _TEXT_CHARS_MAX:
            raise InvalidArgument(f"not a peer id: {text[:_TEXT_CHARS_MAX]!r}")
        try:
            if text.startswith(("1", "Qm")):
                return cls(base58.b58decode(text))
            raw = _cid_bytes(text)
        except (ValueError, InvalidArgument):
            raise InvalidArgument(f"not a peer id: {text!r}") from None
        if not raw.startswith(_CIDV1_LIBP2P_KEY):
            raise InvalidArgument(f"not a peer id: {text!r} is not a libp2p-key CID")
        return cls(raw[2:])

    def inline_public_key(self) -> bytes | None:
        """Return the serialised public key that the id itself carries, or None if it is a hash."""
        return bytes(self[2:]) if self[0] == _IDENTITY else None

    def __str__(self) -> str:
        return _base58(bytes(self))

    def __repr__(self) -> str:
        return f"PeerId({self})"


def _is_peer_id(raw: bytes) -> bool:
    size = len(raw) - 2
    if size < 1 or raw[1] != size:
        return False
    if raw[0] == _SHA2_256:
        return size == 32
    return raw[0] == _IDENTITY and size <= _PROTOBUF_KEY_INLINE_BYTES_MAX


@lru_cache(maxsize=4096)
def _base58(raw: bytes) -> str:
    return base58.b58encode(raw).decode("ascii")


def _cid_bytes(text: str) -> bytes:
    """Decode a multibase string (base32 lower, `b`; base36 lower, `k`)."""
    base, body = text[0], text[1:].lower()
    if base == "b":
        return base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    if base == "k":
        number = int(body, 36)
        leading = len(body) - len(body.lstrip(_BASE36[0]))
        return b"\x00" * leading + number.to_bytes((number.bit_length() + 7) // 8, "big")
    raise ValueError(text)
