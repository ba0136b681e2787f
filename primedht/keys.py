"""libp2p keys: their wire form, signatures, and the peer ids that follow from them.

Records are signed with Ed25519 only; what the other key types sign is verified. `identity_keys` has
the private keys of the others.

Source: libp2p specs, peer-ids/peer-ids.md ("Keys", "How Keys are Encoded"); go-libp2p core/crypto.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from google.protobuf.message import DecodeError
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from primedht import limits
from primedht.errors import MalformedKey
from primedht.ids import PeerId
from primedht.pb import keys_pb2

_ED25519_KEY_BYTES = 32
_ED25519_SIGNATURE_BYTES = 64
_SECP256K1_POINT_BYTES = 33
_ECDSA_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class KeyType(IntEnum):
    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


@dataclass(frozen=True, repr=False)
class PublicKey:
    """A public key. Equal keys have equal bytes: other than the standard encodings are refused.

    data: the type's own encoding: DER (`SubjectPublicKeyInfo`) for RSA and ECDSA, a bare point for
        Ed25519 and a compressed one for Secp256k1. Making one raises `MalformedKey`.
    """

    type: KeyType
    data: bytes

    def __post_init__(self) -> None:
        if self.type is not KeyType.ED25519:
            _loaded(self.type, self.data)
        elif len(self.data) != _ED25519_KEY_BYTES:
            raise MalformedKey(f"an Ed25519 public key has 32 bytes, not {len(self.data)}")

    @classmethod
    def parse(cls, serialized: bytes) -> Self:
        """Read libp2p's `PublicKey` message. Raises `MalformedKey`."""
        if not 0 < len(serialized) <= limits.PUBLIC_KEY_BYTES_MAX:
            raise MalformedKey(f"a public key of {len(serialized)} bytes")
        wire = keys_pb2.PublicKey()
        key_type, data = _parse(wire, serialized)
        key = cls(key_type, data)
        if key.serialized != serialized:
            raise MalformedKey("a public key in another than the standard encoding")
        return key

    @cached_property
    def serialized(self) -> bytes:
        """libp2p's `PublicKey` message: what peer ids are made from."""
        return keys_pb2.PublicKey(type=int(self.type), data=self.data).SerializeToString()  # type: ignore[arg-type]

    @cached_property
    def peer_id(self) -> PeerId:
        return PeerId.from_public_key(self.serialized)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Return whether this key's owner signed `message`."""
        if self.type is KeyType.ED25519:
            if len(signature) != _ED25519_SIGNATURE_BYTES:
                return False
            try:
                VerifyKey(self.data).verify(message, signature)
            except BadSignatureError:
                return False
            return True
        loaded = _loaded(self.type, self.data)
        try:
            if isinstance(loaded, rsa.RSAPublicKey):
                loaded.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            else:
                loaded.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def __repr__(self) -> str:
        return f"PublicKey({self.type.name}, {self.peer_id})"


class PrivateKey:
    """An Ed25519 private key. Never shown: its text form names the peer id only."""

    def __init__(self, seed: bytes) -> None:
        """Take the 32 secret bytes. Raises `MalformedKey`."""
        if len(seed) != _ED25519_KEY_BYTES:
            raise MalformedKey(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self._signing_key = SigningKey(seed)

    @classmethod
    def generate(cls) -> Self:
        return cls(bytes(SigningKey.generate()))

    @classmethod
    def parse(cls, serialized: bytes) -> Self:
        """Read libp2p's `PrivateKey` message: what key files and kubo's `key export` hold.

        Raises `MalformedKey`, for key types other than Ed25519 too.
        """
        key_type, data = parse_private_message(serialized)
        if key_type is not KeyType.ED25519:
            raise MalformedKey(f"a private key of type {key_type.name}; only Ed25519 keys can sign here")
        seed, public_keys = data[:_ED25519_KEY_BYTES], data[_ED25519_KEY_BYTES:]
        key = cls(seed)
        # Old writers repeated the public key (peer-ids.md, "Ed25519").
        if public_keys not in (key.public_key.data, key.public_key.data * 2):
            raise MalformedKey("the halves of an Ed25519 private key do not belong together")
        return key

    @classmethod
    def parse_any(cls, content: bytes) -> Self:
        """Read a key file of any usual form: libp2p's message, that in base64, or PKCS #8 PEM.

        Raises `MalformedKey`.
        """
        text = content.strip()
        if text.startswith(b"-----BEGIN"):
            return cls._parse_pem(text)
        try:
            return cls.parse(content)
        except MalformedKey as error:
            try:
                decoded = base64.b64decode(b"".join(text.split()), validate=True)
            except binascii.Error:
                raise error from None
            return cls.parse(decoded)

    @classmethod
    def _parse_pem(cls, text: bytes) -> Self:
        try:
            loaded = serialization.load_pem_private_key(text, password=None)
        except TypeError:
            raise MalformedKey("the PEM key is encrypted; decrypt it first") from None
        except (ValueError, UnsupportedAlgorithm):
            raise MalformedKey("not a private key in PEM form") from None
        if not isinstance(loaded, ed25519.Ed25519PrivateKey):
            raise MalformedKey("not an Ed25519 key; only Ed25519 keys can sign here")
        return cls(loaded.private_bytes_raw())

    def serialize(self) -> bytes:
        """Return libp2p's `PrivateKey` message: secret."""
        data = bytes(self._signing_key) + self.public_key.data
        return keys_pb2.PrivateKey(type=keys_pb2.ED25519, data=data).SerializeToString()

    def serialize_pem(self) -> bytes:
        """Return the key in PKCS #8 PEM, as OpenSSL and kubo's `pem-pkcs8-cleartext` write it: secret."""
        return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(self._signing_key)).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @cached_property
    def public_key(self) -> PublicKey:
        return PublicKey(KeyType.ED25519, bytes(self._signing_key.verify_key))

    @property
    def peer_id(self) -> PeerId:
        return self.public_key.peer_id

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`; the same each time."""
        return self._signing_key.sign(message).signature

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and self._signing_key == other._signing_key

    def __hash__(self) -> int:
        return hash(self.public_key)

    def __repr__(self) -> str:
        return f"PrivateKey({self.peer_id})"


def public_key_of(peer: PeerId) -> PublicKey | None:
    """Return the key that `peer`'s id itself carries, or None if the id is only a hash.

    Raises `MalformedKey`.
    """
    serialized = peer.inline_public_key()
    return None if serialized is None else PublicKey.parse(serialized)


def parse_private_message(serialized: bytes) -> tuple[KeyType, bytes]:
    """Return type and data of libp2p's `PrivateKey` message. Raises `MalformedKey`."""
    return _parse(keys_pb2.PrivateKey(), serialized)


def _parse(wire: keys_pb2.PublicKey | keys_pb2.PrivateKey, serialized: bytes) -> tuple[KeyType, bytes]:
    try:
        wire.ParseFromString(serialized)
    except DecodeError:
        raise MalformedKey("not a libp2p key") from None
    if not (wire.HasField("type") and wire.HasField("data")):
        raise MalformedKey("not a libp2p key")
    try:
        return KeyType(int(wire.type)), wire.data
    except ValueError:
        raise MalformedKey(f"unknown key type {int(wire.type)}") from None


@lru_cache(maxsize=512)
def _loaded(type: KeyType, data: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    try:
        if type is KeyType.SECP256K1:
            if len(data) != _SECP256K1_POINT_BYTES:
                raise MalformedKey(f"a Secp256k1 public key has 33 bytes, not {len(data)}")
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), data)
        loaded = serialization.load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedKey(f"not a public key of type {type.name}") from None
    if type is KeyType.RSA and isinstance(loaded, rsa.RSAPublicKey):
        if not limits.RSA_KEY_BITS_MIN <= loaded.key_size <= limits.RSA_KEY_BITS_MAX:
            raise MalformedKey(f"an RSA key of {loaded.key_size} bits")
        return loaded
    if (
        type is KeyType.ECDSA
        and isinstance(loaded, ec.EllipticCurvePublicKey)
        and isinstance(loaded.curve, _ECDSA_CURVES)
    ):
        return loaded
    raise MalformedKey(f"not a public key of type {type.name}")
