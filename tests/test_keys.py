"""libp2p keys, against bytes that go-libp2p and js-libp2p made."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from primedht.errors import MalformedKey
from primedht.ids import PeerId
from primedht.keys import KeyType, PrivateKey, PublicKey, public_key_of

GOLDEN = Path(__file__).parent / "golden" / "records"
OWNERS = [
    owner
    for name in ("boxo.json", "js_ipns.json")
    for owner in json.loads((GOLDEN / name).read_text())["owners"]
]
OWNER_IDS = [f"{owner['type']}-{owner['peer_id'][-6:]}" for owner in OWNERS]
ED25519 = [owner for owner in OWNERS if owner["type"] == "Ed25519"]


@pytest.mark.parametrize("owner", OWNERS, ids=OWNER_IDS)
def test_keys_of_others_parse_name_their_peer_and_verify(owner: dict) -> None:
    serialized = bytes.fromhex(owner["public_key"])
    message, signature = bytes.fromhex(owner["message"]), bytes.fromhex(owner["signature"])
    key = PublicKey.parse(serialized)
    assert key.type.name == owner["type"].upper()
    assert key.serialized == serialized
    assert str(key.peer_id) == owner["peer_id"]
    assert key.peer_id == bytes.fromhex(owner["peer_id_hex"])
    assert key.verify(message, signature)
    assert not key.verify(message + b".", signature)
    assert not key.verify(message, signature[:-1])
    assert not key.verify(message, b"")
    assert not key.verify(message, bytes(len(signature)))


@pytest.mark.parametrize("owner", ED25519, ids=[owner["peer_id"][-6:] for owner in ED25519])
def test_private_keys_of_others_are_ours_byte_for_byte(owner: dict) -> None:
    serialized = bytes.fromhex(owner["private_key"])
    key = PrivateKey.parse(serialized)
    assert key.serialize() == serialized
    assert str(key.peer_id) == owner["peer_id"]
    assert key.sign(bytes.fromhex(owner["message"])) == bytes.fromhex(owner["signature"])


def test_the_specs_ed25519_vector() -> None:
    """libp2p specs, peer-ids.md, "Test vectors": the key pair, in both forms."""
    private = bytes.fromhex(
        "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
        "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )
    public = bytes.fromhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    key = PrivateKey.parse(private)
    assert key.public_key.serialized == public
    assert key.serialize() == private


@pytest.mark.parametrize("owner", OWNERS, ids=OWNER_IDS)
def test_no_altered_public_key_makes_trouble(owner: dict) -> None:
    """Every byte changed, cut or followed by junk: another key, or `MalformedKey`; nothing else."""
    serialized = bytes.fromhex(owner["public_key"])
    for at in range(len(serialized)):
        changed = bytearray(serialized)
        changed[at] ^= 0x55
        for data in (bytes(changed), serialized[:at]):
            try:
                assert PublicKey.parse(data).serialized == data
            except MalformedKey:
                continue


def test_one_key_has_one_form() -> None:
    """Unknown fields, swapped fields and repeated fields are refused: they would be other peer ids."""
    good = PrivateKey(bytes(range(32))).public_key.serialized
    type_field, data_field = good[:2], good[2:]
    for other in (
        data_field + type_field, good + type_field, good + b"\x18\x01", type_field, data_field, b"",
        good[:1] + b"\x81\x00" + data_field, bytes(5000),
    ):  # fmt: skip
        with pytest.raises(MalformedKey):
            PublicKey.parse(other)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(MalformedKey, match="unknown key type 9"):
        PublicKey.parse(b"\x08\x09\x12\x20" + bytes(32))


def test_weak_rsa_keys_and_odd_curves_are_refused() -> None:
    def der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
        return key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    with pytest.raises(MalformedKey, match="1024 bits"):
        PublicKey(KeyType.RSA, der(rsa.generate_private_key(65537, 1024)))
    with pytest.raises(MalformedKey):
        PublicKey(KeyType.ECDSA, der(ec.generate_private_key(ec.SECP256K1())))
    p256 = der(ec.generate_private_key(ec.SECP256R1()))
    assert PublicKey(KeyType.ECDSA, p256).data == p256
    with pytest.raises(MalformedKey):
        PublicKey(KeyType.RSA, p256)
    uncompressed = (
        ec.generate_private_key(ec.SECP256K1())
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    with pytest.raises(MalformedKey):
        PublicKey(KeyType.SECP256K1, uncompressed)


def test_a_generated_key_round_trips_through_every_form() -> None:
    key = PrivateKey.generate()
    assert key != PrivateKey.generate()
    for form in (
        key.serialize(), base64.b64encode(key.serialize()), base64.encodebytes(key.serialize()),
        key.serialize_pem(),
    ):  # fmt: skip
        assert PrivateKey.parse_any(form) == key
    assert public_key_of(key.peer_id) == key.public_key
    assert key.public_key.verify(b"m", key.sign(b"m"))


def test_a_private_key_with_a_repeated_public_key_parses() -> None:
    """Old writers stored the public half twice (go-libp2p, ed25519.go)."""
    key = PrivateKey(bytes(32))
    seed, public = bytes(32), key.public_key.data
    assert PrivateKey.parse(b"\x08\x01\x12\x60" + seed + public * 2) == key
    with pytest.raises(MalformedKey, match="belong together"):
        PrivateKey.parse(b"\x08\x01\x12\x60" + seed + public + bytes(32))
    with pytest.raises(MalformedKey, match="belong together"):
        PrivateKey.parse(b"\x08\x01\x12\x40" + seed + bytes(32))
    with pytest.raises(MalformedKey):
        PrivateKey.parse(b"\x08\x01\x12\x20" + seed)


def test_keys_that_cannot_sign_here_say_so() -> None:
    rsa_pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    for content, words in (
        (rsa_pem, "only Ed25519"),
        (encrypted, "encrypted"),
        (b"\x08\x00\x12\x01\x00", "only Ed25519"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "PEM"),
        (b"hello", "not a libp2p key"),
        (b"", "not a libp2p key"),
    ):
        with pytest.raises(MalformedKey, match=words):
            PrivateKey.parse_any(content)


def test_a_private_key_is_not_shown() -> None:
    key = PrivateKey(b"\x07" * 32)
    shown = repr(key) + str(key) + f"{key}"
    assert str(key.peer_id) in shown
    assert "07" * 8 not in shown
    assert repr(b"\x07" * 32)[2:-1] not in shown


def test_a_hashed_peer_id_carries_no_key() -> None:
    assert public_key_of(PeerId(b"\x12\x20" + bytes(32))) is None


@given(st.binary(max_size=200))
def test_parsing_any_bytes_raises_only_malformed_key(data: bytes) -> None:
    for parse in (PublicKey.parse, PrivateKey.parse, PrivateKey.parse_any):
        try:
            parse(data)
        except MalformedKey:
            continue


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_made_up_signature_verifies(message: bytes, signature: bytes) -> None:
    for owner in OWNERS:
        assert not PublicKey.parse(bytes.fromhex(owner["public_key"])).verify(message, signature)
