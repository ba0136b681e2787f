"""Private keys of the types that other daemons made their identities of: RSA, Secp256k1 and ECDSA.

Such a key identifies a node, and signs its handshakes, pointers to large values of open keys, and receipts.
Owned records are signed by Ed25519 keys only.

Source: libp2p specs, peer-ids/peer-ids.md ("Key Types"); go-libp2p, core/crypto/{rsa,secp256k1,ecdsa}.go.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from primedht import limits
from primedht.errors import MalformedKey
from primedht.ids import PeerId
from primedht.keys import KeyType, PrivateKey, PublicKey, parse_private_message
from primedht.pb import keys_pb2

_SECP256K1_BYTES = 32
# SEC 2, section 2.4.1: n.
_SECP256K1_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class IdentityKey:
    """A private key that is not Ed25519. Never shown: its text form names the peer id only."""

    def __init__(self, type: KeyType, data: bytes) -> None:
        """Take the type's own encoding: PKCS #1 (RSA), SEC 1 (ECDSA), or 32 bytes. Raises `MalformedKey`."""
        self.type = type
        self.data = data
        self._key = _load(type, data)

    @classmethod
    def parse(cls, serialized: bytes) -> Self:
        """Read libp2p's `PrivateKey` message. Raises `MalformedKey`."""
        return cls(*parse_private_message(serialized))

    def serialize(self) -> bytes:
        """Return libp2p's `PrivateKey` message: secret."""
        return keys_pb2.PrivateKey(type=int(self.type), data=self.data).SerializeToString()  # type: ignore[arg-type]

    @cached_property
    def public_key(self) -> PublicKey:
        """Raises `MalformedKey` for an RSA key of a size, or an ECDSA key of a curve, that peers refuse."""
        public = self._key.public_key()
        if self.type is KeyType.SECP256K1:
            point = serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
            return PublicKey(self.type, public.public_bytes(*point))
        der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return PublicKey(self.type, public.public_bytes(*der))

    @property
    def peer_id(self) -> PeerId:
        return self.public_key.peer_id

    def sign(self, message: bytes) -> bytes:
        """Return a signature of `message` as peers of every implementation verify it."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        signature = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        return _with_low_s(signature) if self.type is KeyType.SECP256K1 else signature

    def __repr__(self) -> str:
        return f"IdentityKey({self.type.name}, {self.peer_id})"


AnyPrivateKey: TypeAlias = PrivateKey | IdentityKey


def parse_identity(serialized: bytes) -> AnyPrivateKey:
    """Read libp2p's `PrivateKey` message of any type. Raises `MalformedKey`."""
    if parse_private_message(serialized)[0] is KeyType.ED25519:
        return PrivateKey.parse(serialized)
    key = IdentityKey.parse(serialized)
    key.public_key  # noqa: B018 - one that peers would refuse is refused here
    return key


def _with_low_s(signature: bytes) -> bytes:
    """Return the signature's form that libsecp256k1 takes: of the two with one meaning, the lower."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _SECP256K1_ORDER - s))


def _load(type: KeyType, data: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    malformed = MalformedKey(f"not a private key of type {type.name}")
    if len(data) > limits.KEY_FILE_BYTES_MAX:
        raise malformed
    try:
        if type is KeyType.SECP256K1:
            if len(data) != _SECP256K1_BYTES:
                raise malformed
            return ec.derive_private_key(int.from_bytes(data, "big"), ec.SECP256K1())
        loaded = serialization.load_der_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise malformed from None
    if type is KeyType.RSA and isinstance(loaded, rsa.RSAPrivateKey):
        return loaded
    if type is KeyType.ECDSA and isinstance(loaded, ec.EllipticCurvePrivateKey):
        return loaded
    raise malformed
