"""Identity keys, as libp2p's serialised `PrivateKey` messages.

Source: libp2p specs, peer-ids/peer-ids.md, "Keys": an Ed25519 key is written as seed and public key,
64 bytes. py-libp2p writes and reads the seed alone; old go versions wrote the public key twice.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from libp2p.crypto.ed25519 import Ed25519PrivateKey, create_new_key_pair
from libp2p.crypto.keys import KeyPair, KeyType, PrivateKey, PublicKey
from libp2p.crypto.pb import crypto_pb2
from libp2p.crypto.serialization import key_type_to_public_key_deserializer
from nacl.exceptions import CryptoError

from primedht import keys
from primedht.errors import InvalidArgument, MalformedKey
from primedht.identity_keys import IdentityKey
from primedht.ids import PeerId

_SEED_BYTES = 32
_ED25519_BYTES = (32, 64, 96)


def generate_private_key() -> bytes:
    """Return a new Ed25519 key as a serialised libp2p `PrivateKey`."""
    pair = create_new_key_pair()
    data = pair.private_key.to_bytes() + pair.public_key.to_bytes()
    serialized: bytes = crypto_pb2.PrivateKey(
        key_type=crypto_pb2.KeyType.Ed25519, data=data
    ).SerializeToString()
    return serialized


def peer_id_of(private_key: bytes) -> PeerId:
    """Return the id of a serialised libp2p `PrivateKey`. Raises `InvalidArgument`."""
    return PeerId.from_public_key(load_key_pair(private_key).public_key.serialize())


def load_key_pair(private_key: bytes) -> KeyPair:
    """Parse a serialised libp2p `PrivateKey` of any type. Raises `InvalidArgument`."""
    try:
        wire = crypto_pb2.PrivateKey.FromString(private_key)
        if wire.key_type != crypto_pb2.KeyType.Ed25519:
            own = _OwnKey(IdentityKey.parse(private_key))
            return KeyPair(own, own.get_public_key())
        if len(wire.data) not in _ED25519_BYTES:
            raise ValueError(f"an Ed25519 key of {len(wire.data)} bytes")
        key = Ed25519PrivateKey.from_bytes(wire.data[:_SEED_BYTES])
    except (DecodeError, MalformedKey, CryptoError, ValueError, TypeError) as error:
        raise InvalidArgument(f"not a libp2p private key: {error}") from error
    pair = KeyPair(key, key.get_public_key())
    public = pair.public_key.to_bytes()
    if len(wire.data) > _SEED_BYTES and wire.data[_SEED_BYTES : _SEED_BYTES + len(public)] != public:
        raise InvalidArgument("not a libp2p private key: its public part does not match")
    return pair


class _PublicKey(PublicKey):
    """A public key of ours as py-libp2p's. It lacks ECDSA, which go peers may have."""

    def __init__(self, key: keys.PublicKey) -> None:
        self._key = key

    def to_bytes(self) -> bytes:
        return self._key.data

    def get_type(self) -> KeyType:
        return KeyType(self._key.type.value)

    def verify(self, data: bytes, signature: bytes) -> bool:
        return self._key.verify(data, signature)


class _OwnKey(PrivateKey):
    """Our identity as py-libp2p's, whose own classes write RSA and Secp256k1 keys in ways of their own."""

    def __init__(self, key: IdentityKey) -> None:
        self._key = key

    def to_bytes(self) -> bytes:
        return self._key.data

    def get_type(self) -> KeyType:
        return KeyType(self._key.type.value)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def get_public_key(self) -> PublicKey:
        return _PublicKey(self._key.public_key)


def _parse_ecdsa(data: bytes) -> PublicKey:
    return _PublicKey(keys.PublicKey(keys.KeyType.ECDSA, data))


def accept_ecdsa_keys() -> None:
    """Have py-libp2p's handshakes read peers' ECDSA keys, beside the types that it knows."""
    key_type_to_public_key_deserializer.setdefault(KeyType.ECDSA.value, _parse_ecdsa)
