"""Record keys: their classes, the wire bytes of each class, and the text people write.

Wire keys are bytes. `/pk/` and `/ipns/` are followed by a raw peer id, as everyone writes them.
`/prime/<kind>/<owner>/<path>` is ours and is text throughout: the owner stands in base58, since a
raw peer id may contain a slash (peers that split keys at slashes would cut it), and in that one
form only, so that a key has one sequence of bytes and one place in the keyspace.

Source: docs/design.md, "Keys, values, lifetimes"; IPNS record spec, "Routing Record";
go-libp2p-record, pubkey.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from primedht import limits
from primedht.errors import InvalidArgument, InvalidKey
from primedht.ids import PeerId

NetworkKind = Literal["private", "public"]

_PK, _IPNS, _PRIME = b"/pk/", b"/ipns/", b"/prime/"
_ED25519_PEER_ID = bytes((0, 36, 8, 1, 18, 32))  # an inlined PublicKey message of type Ed25519
_KIND = re.compile(rf"[a-z][a-z0-9_-]{{0,{limits.PRIME_KIND_CHARS_MAX - 1}}}", re.ASCII)
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXT_HEX = "0x"


class KeyClass(StrEnum):
    """Who may write a key, and by which rule one of two records wins."""

    PK = "pk"
    IPNS = "ipns"
    PRIME = "prime"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class PrimeKey:
    """The parts of a `/prime` key.

    kind: a word such as `model`: a lower-case letter, then letters, digits, `-` and `_`.
    owner: a peer id that is an Ed25519 key: others cannot sign for it.
    path: segments joined by slashes; none is empty, `.` or `..`, none has control characters.
    """

    kind: str
    owner: PeerId
    path: str

    @property
    def wire(self) -> bytes:
        return f"/prime/{self.kind}/{self.owner}/{self.path}".encode()


def classify(key: bytes, *, network_kind: NetworkKind, ipfs_keys_only: bool) -> KeyClass:
    """Return the class of `key` on a network.

    Public networks, and private ones with `/ipfs`'s key rules (`ipfs_keys_only`), take `/pk` and
    `/ipns` only. Raises `InvalidKey` for what the network does not take, and for malformed keys.
    """
    if not 0 < len(key) <= limits.RECORD_KEY_BYTES_MAX:
        raise InvalidKey(f"a key has 1 to {limits.RECORD_KEY_BYTES_MAX} bytes, not {len(key)}")
    if key.startswith(_PK):
        _peer_in(key, _PK)
        return KeyClass.PK
    if key.startswith(_IPNS):
        _peer_in(key, _IPNS)
        return KeyClass.IPNS
    if network_kind == "public" or ipfs_keys_only:
        raise InvalidKey("this network takes only /pk and /ipns keys")
    if key.startswith(_PRIME):
        parse_prime_key(key)
        return KeyClass.PRIME
    return KeyClass.OPEN


def pk_key(peer: PeerId) -> bytes:
    """Return the key under which `peer`'s public key is stored."""
    return _PK + peer


def ipns_key(owner: PeerId) -> bytes:
    """Return the key of `owner`'s IPNS record."""
    return _IPNS + owner


def prime_key(kind: str, owner: PeerId, path: str) -> bytes:
    """Return the wire key of `/prime/<kind>/<owner>/<path>`. Raises `InvalidKey`."""
    key = PrimeKey(kind, owner, path)
    _check_prime(key)
    return key.wire


@lru_cache(maxsize=4096)
def parse_prime_key(key: bytes) -> PrimeKey:
    """Return the parts of a `/prime` wire key. Raises `InvalidKey`."""
    if not key.startswith(_PRIME):
        raise InvalidKey("not a /prime key")
    try:
        parts = key[len(_PRIME) :].decode("utf-8").split("/", 2)
    except UnicodeDecodeError:
        raise InvalidKey("a /prime key is UTF-8 text") from None
    if len(parts) != 3:
        raise InvalidKey("a /prime key is /prime/<kind>/<owner's peer id>/<path>")
    kind, owner, path = parts
    parsed = PrimeKey(kind, _peer_from_text(owner), path)
    _check_prime(parsed)
    if parsed.wire != key:
        raise InvalidKey(f"the owner of a /prime key is written {parsed.owner}")
    return parsed


def peer_of(key: bytes) -> PeerId:
    """Return the peer id in a `/pk`, `/ipns` or `/prime` key: its owner. Raises `InvalidKey`."""
    for prefix in (_PK, _IPNS):
        if key.startswith(prefix):
            return _peer_in(key, prefix)
    return parse_prime_key(key).owner


def parse_key_text(text: str) -> bytes:
    """Return the wire key that `text` stands for.

    `/pk/<peer id>`, `/ipns/<name>` and `/prime/<kind>/<peer id>/<path>` take peer ids in any usual
    form; `0x...` is any key in hexadecimal; everything else is itself in UTF-8. Raises `InvalidKey`.
    """
    key = _parse_key_text(text)
    if not 0 < len(key) <= limits.RECORD_KEY_BYTES_MAX:
        raise InvalidKey(f"a key has 1 to {limits.RECORD_KEY_BYTES_MAX} bytes, not {len(key)}")
    return key


def format_key(key: bytes) -> str:
    """Return text that `parse_key_text` turns back into `key`, as readable as can be."""
    try:
        if key.startswith((_PK, _IPNS)):
            return f"{'/pk/' if key.startswith(_PK) else '/ipns/'}{peer_of(key)}"
        text = key.decode("utf-8")
        if text.isprintable() and parse_key_text(text) == key:
            return text
    except (InvalidKey, UnicodeDecodeError):
        pass  # only hexadecimal can say it
    return _TEXT_HEX + key.hex()


def _parse_key_text(text: str) -> bytes:
    if text.startswith(_TEXT_HEX):
        digits = text[len(_TEXT_HEX) :]
        if not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits):
            raise InvalidKey("a key in hexadecimal is 0x and pairs of digits")
        return bytes.fromhex(digits)
    if text.startswith("/pk/"):
        return pk_key(_peer_from_text(text[len("/pk/") :]))
    if text.startswith("/ipns/"):
        return ipns_key(_peer_from_text(text[len("/ipns/") :]))
    if text.startswith("/prime/"):
        parts = text[len("/prime/") :].split("/", 2)
        if len(parts) != 3:
            raise InvalidKey("a /prime key is /prime/<kind>/<owner's peer id>/<path>")
        return prime_key(parts[0], _peer_from_text(parts[1]), parts[2])
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidKey("a key cannot hold half a UTF-16 pair") from None


def _check_prime(key: PrimeKey) -> None:
    if not _KIND.fullmatch(key.kind):
        raise InvalidKey(
            f"the kind of a /prime key is a lower-case letter and up to "
            f"{limits.PRIME_KIND_CHARS_MAX - 1} letters, digits, dashes or underscores"
        )
    if not key.owner.startswith(_ED25519_PEER_ID):
        raise InvalidKey("the owner of a /prime key is an Ed25519 peer id (12D3Koo...)")
    try:
        path_bytes = len(key.path.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidKey("a key cannot hold half a UTF-16 pair") from None
    if not 0 < path_bytes <= limits.PRIME_PATH_BYTES_MAX:
        raise InvalidKey(f"the path of a /prime key has 1 to {limits.PRIME_PATH_BYTES_MAX} bytes")
    if _CONTROL_CHARACTER.search(key.path):
        raise InvalidKey("the path of a /prime key has no control characters")
    if any(segment in ("", ".", "..") for segment in key.path.split("/")):
        raise InvalidKey("no segment of a /prime key's path is empty, '.' or '..'")


def _peer_in(key: bytes, prefix: bytes) -> PeerId:
    try:
        return PeerId(key[len(prefix) :])
    except InvalidArgument:
        raise InvalidKey(f"{prefix.decode()} is followed by a raw peer id") from None


def _peer_from_text(text: str) -> PeerId:
    try:
        return PeerId.from_text(text)
    except InvalidArgument:
        raise InvalidKey(f"not a peer id: {text[:128]!r}") from None
