"""CIDs: what names a block or a whole DAG by the hash of its bytes, in text and in binary.

Source: multiformats/cid, "Decoding Algorithm"; multiformats/multibase; multiformats/multihash.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

import base58

from primedht.errors import InvalidArgument, ProtocolViolation
from primedht.limits import CID_TEXT_CHARS_MAX, PROVIDER_KEY_BYTES_MAX
from primedht.wire import varint

# multiformats/multicodec, table.csv
RAW, DAG_PB, DAG_CBOR, LIBP2P_KEY = 0x55, 0x70, 0x71, 0x72
CODEC_NAMES = {RAW: "raw", DAG_PB: "dag-pb", DAG_CBOR: "dag-cbor", LIBP2P_KEY: "libp2p-key"}
IDENTITY, SHA2_256, SHA2_512 = 0x00, 0x12, 0x13

_V0_BYTES, _V0_HEAD = 34, b"\x12\x20"  # a bare sha2-256 multihash


@dataclass(frozen=True, slots=True)
class Cid:
    """A CID. version: 0 or 1; a CIDv0 is always dag-pb with sha2-256. multihash: with its prefix.

    Two CIDs of one multihash name the same bytes, read in different ways.
    """

    version: int
    codec: int
    multihash: bytes

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, codec: int = RAW, *, version: int = 1) -> Cid:
        """Return the sha2-256 CID of `data`."""
        return cls(version, codec, _V0_HEAD + hashlib.sha256(data).digest())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Cid:
        """Parse a binary CID and nothing after it. Raises `InvalidArgument`."""
        if len(raw) == _V0_BYTES and raw.startswith(_V0_HEAD):
            return cls(0, DAG_PB, bytes(raw))
        try:
            version, offset = varint.decode(raw) or (0, 0)
            codec, offset = varint.decode(raw, offset) or (0, 0)
            _, digest_at = varint.decode(raw, offset) or (0, 0)
            size, digest_at = varint.decode(raw, digest_at) or (0, 0)
        except ProtocolViolation:
            version = codec = offset = digest_at = size = 0
        if version != 1 or not digest_at or digest_at + size != len(raw):
            raise InvalidArgument(f"not a CID: {raw[:64].hex()}")
        if len(raw) - offset > PROVIDER_KEY_BYTES_MAX:
            raise InvalidArgument(f"the CID's multihash is over {PROVIDER_KEY_BYTES_MAX} bytes")
        return cls(1, codec, bytes(raw[offset:]))

    @classmethod
    def from_text(cls, text: str) -> Cid:
        """Parse a CID in text: v0 (`Qm...`), or v1 in base16, 32, 36, 58 or 64. Raises `InvalidArgument`."""
        try:
            if not 2 <= len(text) <= CID_TEXT_CHARS_MAX:
                raise ValueError(text)
            raw = base58.b58decode(text) if text.startswith("Qm") else _multibase(text)
        except ValueError:
            raise InvalidArgument(f"not a CID: {text[:100]!r}; it begins with Qm, b, z, k or f") from None
        return cls.from_bytes(raw)

    @property
    def hash_code(self) -> int:
        """The multihash's function, such as `SHA2_256`."""
        return (varint.decode(self.multihash) or (0, 0))[0]

    @property
    def digest(self) -> bytes:
        """The multihash without its prefix."""
        _, offset = varint.decode(self.multihash) or (0, 0)
        _, offset = varint.decode(self.multihash, offset) or (0, 0)
        return self.multihash[offset:]

    def as_v1(self) -> Cid:
        """Return the CIDv1 of the same content."""
        return Cid(1, self.codec, self.multihash)

    def __bytes__(self) -> bytes:
        if self.version == 0:
            return self.multihash
        return varint.encode(1) + varint.encode(self.codec) + self.multihash

    def __str__(self) -> str:
        """Return the usual text: base58 for v0, base32 for v1, base36 for a libp2p key."""
        if self.version == 0:
            return base58.b58encode(self.multihash).decode("ascii")
        raw = bytes(self)
        if self.codec == LIBP2P_KEY:
            return "k" + _base36(raw)
        return "b" + base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def parse_cid(text: str) -> bytes:
    """Return the binary form of a CID in text, v0 or v1. Raises `InvalidArgument`."""
    return bytes(Cid.from_text(text))


def multihash_of(cid: bytes) -> bytes:
    """Return the multihash in a binary CID, v0 or v1. Raises `InvalidArgument`."""
    return Cid.from_bytes(cid).multihash


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


def _base36(raw: bytes) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number, out = int.from_bytes(raw, "big"), []
    while number:
        number, rest = divmod(number, 36)
        out.append(digits[rest])
    return "0" * (len(raw) - len(raw.lstrip(b"\x00"))) + "".join(reversed(out))
