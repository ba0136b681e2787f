"""Identities of RSA, Secp256k1 and ECDSA, as go made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from libp2p.crypto.secp256k1 import Secp256k1PublicKey

from primedht.errors import IdentityCorrupt, MalformedKey
from primedht.host import peer_id_of
from primedht.identity_keys import IdentityKey, parse_identity
from primedht.keys import KeyType, PrivateKey
from primedht.keystore import Keystore, read_identity_file, read_key_file, write_key_file
from primedht.pb import keys_pb2

GOLDEN = json.loads((Path(__file__).parent / "golden/keys/go.json").read_text())
every_type = pytest.mark.parametrize("made", GOLDEN, ids=[made["type"] for made in GOLDEN])


def message(type: KeyType, data: bytes) -> bytes:
    return keys_pb2.PrivateKey(type=int(type), data=data).SerializeToString()


@every_type
def test_gos_keys_have_the_ids_that_go_says(made: dict) -> None:
    serialized = bytes.fromhex(made["private_key"])
    key = parse_identity(serialized)
    assert isinstance(key, IdentityKey)
    assert key.serialize() == serialized
    assert key.public_key.serialized.hex() == made["public_key"]
    assert str(key.peer_id) == made["peer_id"]
    assert str(peer_id_of(serialized)) == made["peer_id"]
    assert key.public_key.verify(b"message", key.sign(b"message"))
    assert not key.public_key.verify(b"another", key.sign(b"message"))
    assert made["peer_id"] in repr(key)


def test_secp256k1_signatures_are_of_the_form_that_libsecp256k1_takes() -> None:
    """It refuses the other one, which means the same and comes out half of the time."""
    made = next(made for made in GOLDEN if made["type"] == "Secp256k1")
    key = parse_identity(bytes.fromhex(made["private_key"]))
    theirs = Secp256k1PublicKey.from_bytes(key.public_key.data)
    for number in range(16):
        assert theirs.verify(b"%d" % number, key.sign(b"%d" % number))


def test_ed25519_keys_stay_what_they_are() -> None:
    key = PrivateKey.generate()
    assert parse_identity(key.serialize()) == key


@every_type
def test_key_files_identify_and_do_not_sign(made: dict, tmp_path: Path) -> None:
    key = parse_identity(bytes.fromhex(made["private_key"]))
    write_key_file(tmp_path / "name.key", key)
    assert read_identity_file(tmp_path / "name.key").peer_id == key.peer_id
    with pytest.raises(MalformedKey, match="only Ed25519 keys can sign"):
        read_key_file(tmp_path / "name.key")
    with pytest.raises(MalformedKey, match="only Ed25519 keys can sign"):
        Keystore(tmp_path).get("name")


def _der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ("type", "data"),
    [
        (KeyType.RSA, b""),
        (KeyType.RSA, b"garbage"),
        (KeyType.RSA, bytes(20_000)),
        (KeyType.RSA, _der(rsa.generate_private_key(65537, 1024))),
        (KeyType.RSA, _der(ec.generate_private_key(ec.SECP256R1()))),
        (KeyType.ECDSA, _der(ec.generate_private_key(ec.SECP256K1()))),
        (KeyType.ECDSA, _der(rsa.generate_private_key(65537, 2048))),
        (KeyType.SECP256K1, bytes(32)),
        (KeyType.SECP256K1, b"\xff" * 32),
        (KeyType.SECP256K1, b"\x01" * 31),
    ],
)
def test_what_is_no_key_is_refused(type: KeyType, data: bytes) -> None:
    with pytest.raises(MalformedKey):
        parse_identity(message(type, data))


def test_a_corrupt_identity_is_still_told(tmp_path: Path) -> None:
    from primedht.datadir import open_data_dir

    with open_data_dir(tmp_path / "d") as directory:
        path = tmp_path / "d/identity"
        path.write_bytes(message(KeyType.RSA, b"garbage"))
        path.chmod(0o600)
        with pytest.raises(IdentityCorrupt):
            directory.identity()
