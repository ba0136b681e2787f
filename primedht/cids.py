"""CIDs: the text and binary forms, and the multihash inside, which is what provider records name.

Source: multiformats/cid, "Decoding Algorithm"; multiformats/multibase.
"""

from __future__ import annotations

import base64

import base58

from primedht.errors import InvalidArgument, ProtocolViolation
from primedht.limits import PROVIDER_KEY_BYTES_MAX
from primedht.wire import varint

_TEXT_CHARS_MAX = 256
_V0_BYTES, _V0_HEAD = 34, b"\x12\x20"  # a bare sha2-256 multihash
_V1 = 1


def parse_cid(text: str) -> bytes:
    """Return the binary form of a CID in text: v0 (`Qm...`), or v1 in base16, 32, 36, 58 or 64.

    Raises `InvalidArgument`.
    """
    try:
        if not 2 <= len(text) <= _TEXT_CHARS_MAX:
            raise ValueError(text)
        raw = base58.b58decode(text) if text.startswith("Qm") else _multibase(text)
    except ValueError:
        raise InvalidArgument(f"not a CID: {text[:100]!r}; it begins with Qm, b, z, k or f") from None
    multihash_of(raw)
    return raw


def multihash_of(cid: bytes) -> bytes:
    """Return the multihash in a binary CID, v0 or v1. Raises `InvalidArgument`."""
    if len(cid) == _V0_BYTES and cid.startswith(_V0_HEAD):
        return cid
    try:
        version, offset = varint.decode(cid) or (0, 0)
        _codec, offset = varint.decode(cid, offset) or (0, 0)
        _hash, digest_at = varint.decode(cid, offset) or (0, 0)
        size, digest_at = varint.decode(cid, digest_at) or (0, 0)
    except ProtocolViolation:
        version = digest_at = size = 0
    if version != _V1 or not digest_at or digest_at + size != len(cid):
        raise InvalidArgument(f"not a CID: {cid[:64].hex()}")
    if len(cid) - offset > PROVIDER_KEY_BYTES_MAX:
        raise InvalidArgument(f"the CID's multihash is over {PROVIDER_KEY_BYTES_MAX} bytes")
    return cid[offset:]


def _multibase(text: str) -> bytes:
    base, body = text[0], text[1:]
    if base in "bB":
        return base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    if base in "kK":
        number = int(body, 36)
        leading = len(body) - len(body.lstrip("0"))
        return b"\x00" * leading + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if base == "z":
        return base58.b58decode(body)
    if base in "fF":
        return bytes.fromhex(body)
    if base in "mu":
        return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_" if base == "u" else None)
    raise ValueError(text)
