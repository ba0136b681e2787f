"""The handshake without I/O: identities, malformed messages, hostile keys."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.security.noise.pb import noise_pb2

from primedht.host.noise.handshake import Handshake, HandshakeFailed
from primedht.host.noise.payload import LocalIdentity, agreed_muxer, verify_payload
from primedht.keys import PrivateKey, PublicKey
from primedht.pb import keys_pb2

YAMUX = "/yamux/1.0.0"
MPLEX = "/mplex/6.7.0"
# Source: RFC 7748, section 6.1, and cr.yp.to/ecdh.html, "Validation": points of low order.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ((1 << 255) - 20).to_bytes(32, "little"),
    ((1 << 255) - 19).to_bytes(32, "little"),
    ((1 << 255) - 18).to_bytes(32, "little"),
]


class Side:
    """One side of a handshake, with an identity."""

    def __init__(self, *, is_initiator: bool, identity: LocalIdentity | None = None, expected=None) -> None:
        self.key = PrivateKey.generate()
        own = identity or LocalIdentity.create(self.key.public_key.serialized, self.key.sign, (YAMUX,))
        self.remote = None
        self.expected = expected
        self.handshake = Handshake(own.static, own.payload, self.check, is_initiator=is_initiator)

    def check(self, payload: bytes, remote_static: bytes) -> None:
        self.remote = verify_payload(payload, remote_static, self.expected)


def run(initiator: Side, responder: Side, tamper=lambda index, message: message) -> None:
    """Carry all three messages, each through `tamper`."""
    message = tamper(0, initiator.handshake.start())
    message = tamper(1, responder.handshake.feed(message))
    message = tamper(2, initiator.handshake.feed(message))
    responder.handshake.feed(message)


def test_both_sides_learn_who_the_other_is_and_what_it_offers():
    a, b = Side(is_initiator=True), Side(is_initiator=False)
    run(a, b)
    assert a.handshake.result.hash == b.handshake.result.hash
    assert a.remote.peer == b.key.public_key.peer_id
    assert b.remote.peer == a.key.public_key.peer_id
    assert a.remote.muxers == b.remote.muxers == (YAMUX,)


def test_one_byte_at_a_time_with_more_behind_the_last_message():
    a, b = Side(is_initiator=True), Side(is_initiator=False)
    sent = a.handshake.start()
    replied = b"".join(b.handshake.feed(bytes([byte])) for byte in sent)
    sent = b"".join(a.handshake.feed(bytes([byte])) for byte in replied)
    for byte in sent[:-1]:
        b.handshake.feed(bytes([byte]))
    assert b.handshake.result is None
    b.handshake.feed(sent[-1:] + b"early data")
    assert b.handshake.result.rest == b"early data"


def test_the_wrong_peer_is_refused():
    a, b = Side(is_initiator=True, expected=PrivateKey.generate().peer_id), Side(is_initiator=False)
    with pytest.raises(HandshakeFailed, match="answers in place of"):
        run(a, b)
    assert a.handshake.result is None


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_changed_bit_anywhere_fails_the_handshake(index):
    """The first message is not encrypted: a change of it shows in the second."""
    size = len(Side(is_initiator=True).handshake.start()) if index == 0 else 120
    for position in range(2, size, 7):

        def flip(number: int, message: bytes, position: int = position) -> bytes:
            if number != index:
                return message
            return message[:position] + bytes([message[position] ^ 1]) + message[position + 1 :]

        with pytest.raises(HandshakeFailed):
            run(Side(is_initiator=True), Side(is_initiator=False), flip)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_truncated_message_fails_the_handshake(index):
    for size in (0, 1, 31, 33, 47, 48, 63, 79, 95):
        if index == 0 and size >= 32:
            continue  # the first message may carry a payload of any size in the clear

        def cut(number: int, message: bytes, size: int = size) -> bytes:
            return message if number != index else size.to_bytes(2, "big") + message[2 : 2 + size]

        with pytest.raises(HandshakeFailed):
            run(Side(is_initiator=True), Side(is_initiator=False), cut)


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_keys_of_low_order_are_refused(point):
    def poisoned(index: int):
        return lambda number, message: message[:2] + point + message[34:] if number == index else message

    for index in (0, 1):
        with pytest.raises(HandshakeFailed, match="low order"):
            run(Side(is_initiator=True), Side(is_initiator=False), poisoned(index))


def test_a_static_key_of_low_order_is_refused():
    class Static:
        """The peer's static key: 32 zero bytes, which no private key belongs to."""

        def public_key(self):
            return self

        def public_bytes_raw(self) -> bytes:
            return bytes(32)

        def exchange(self, _: object) -> bytes:
            return b"\1" * 32

    key = PrivateKey.generate()
    payload = LocalIdentity.create(key.public_key.serialized, key.sign).payload
    for is_initiator in (True, False):
        hostile = Side(
            is_initiator=is_initiator,
            identity=LocalIdentity(Static(), payload, ()),  # type: ignore[arg-type]
        )
        honest = Side(is_initiator=not is_initiator)
        with pytest.raises(HandshakeFailed, match="low order"):
            run(*((hostile, honest) if is_initiator else (honest, hostile)))


# --- identities -------------------------------------------------------------------------------------


def der(key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def identities():
    """(libp2p public key message, signing function) of every key type that libp2p knows."""
    ed = PrivateKey.generate()
    yield "ed25519", ed.public_key.serialized, ed.sign
    secp = ec.generate_private_key(ec.SECP256K1())
    point = secp.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    for name, key_type, data, key in (
        ("secp256k1", keys_pb2.SECP256K1, point, secp),
        *((curve.name, keys_pb2.ECDSA, None, ec.generate_private_key(curve)) for curve in (ec.SECP256R1(),)),
    ):
        yield (
            name,
            keys_pb2.PublicKey(type=key_type, data=data or der(key)).SerializeToString(),
            lambda message, key=key: key.sign(message, ec.ECDSA(hashes.SHA256())),
        )
    big = rsa.generate_private_key(65537, 2048)
    yield (
        "rsa",
        keys_pb2.PublicKey(type=keys_pb2.RSA, data=der(big)).SerializeToString(),
        lambda message: big.sign(message, padding.PKCS1v15(), hashes.SHA256()),
    )


IDENTITIES = list(identities())


@pytest.mark.parametrize(("serialized", "sign"), [i[1:] for i in IDENTITIES], ids=[i[0] for i in IDENTITIES])
def test_every_type_of_identity_is_verified(serialized, sign):
    identity = LocalIdentity.create(serialized, sign)
    a, b = Side(is_initiator=True, identity=identity), Side(is_initiator=False)
    run(a, b)
    assert b.remote.peer == PublicKey.parse(serialized).peer_id
    forged = LocalIdentity.create(serialized, lambda message: sign(message + b"!"))
    with pytest.raises(HandshakeFailed, match="signature"):
        run(Side(is_initiator=True, identity=forged), Side(is_initiator=False))


def static_of(identity: LocalIdentity) -> bytes:
    return identity.static.public_key().public_bytes_raw()


def test_a_stolen_payload_does_not_vouch_for_another_static_key():
    key = PrivateKey.generate()
    payload = LocalIdentity.create(key.public_key.serialized, key.sign).payload
    thief = LocalIdentity(X25519PrivateKey.generate(), payload, ())
    with pytest.raises(HandshakeFailed, match="signature"):
        run(Side(is_initiator=True, identity=thief), Side(is_initiator=False))


def broken_payloads():
    key = PrivateKey.generate()
    good = noise_pb2.NoiseHandshakePayload(identity_key=key.public_key.serialized, identity_sig=bytes(64))
    yield "empty", b""
    yield "garbage", b"\xff" * 40
    yield "no key", noise_pb2.NoiseHandshakePayload(identity_sig=bytes(64)).SerializeToString()
    yield (
        "no signature",
        noise_pb2.NoiseHandshakePayload(identity_key=key.public_key.serialized).SerializeToString(),
    )
    yield "zero signature", good.SerializeToString()
    yield (
        "short signature",
        noise_pb2.NoiseHandshakePayload(
            identity_key=key.public_key.serialized, identity_sig=b"1"
        ).SerializeToString(),
    )
    for name, data in {
        "unknown key type": keys_pb2.PublicKey(type=keys_pb2.RSA, data=b"x").SerializeToString(),
        "not a key": b"\x08\x09",
        "long key": b"\x08\x01\x12\x90\x4e" + bytes(10_000),
    }.items():
        yield name, noise_pb2.NoiseHandshakePayload(identity_key=data, identity_sig=b"s").SerializeToString()
    yield "muxers are not text", good.SerializeToString() + b"\x22\x04\x12\x02\xff\xfe"


BROKEN = list(broken_payloads())


@pytest.mark.parametrize("payload", [b[1] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_payload_fails_the_handshake(payload):
    hostile = LocalIdentity(X25519PrivateKey.generate(), payload, ())
    with pytest.raises(HandshakeFailed):
        run(Side(is_initiator=True, identity=hostile), Side(is_initiator=False))


def test_certificate_hashes_and_unknown_extensions_are_ignored_and_muxers_bounded():
    key = PrivateKey.generate()
    identity = LocalIdentity.create(key.public_key.serialized, key.sign)
    message = noise_pb2.NoiseHandshakePayload.FromString(identity.payload)
    message.extensions.webtransport_certhashes.append(b"hash")
    message.extensions.stream_muxers.extend([f"/m/{number}" for number in range(1000)])
    payload = message.SerializeToString() + b"\x82\x40\x01\x78"  # field 1024, above the registered ones
    remote = verify_payload(payload, static_of(identity), None)
    assert 1 <= len(remote.muxers) <= 16


def test_the_initiators_preference_decides_on_the_muxer():
    assert agreed_muxer([MPLEX, YAMUX], [YAMUX, MPLEX]) == MPLEX
    assert agreed_muxer([MPLEX], [YAMUX]) is None
    assert agreed_muxer([], [YAMUX]) is None


# --- anything at all --------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_at_any_point_end_in_an_error_or_in_waiting(data):
    """No other exception, no result, and no more memory than one message."""
    is_initiator = data.draw(st.booleans())
    honest_messages = data.draw(st.integers(0, 1))
    victim, partner = Side(is_initiator=is_initiator), Side(is_initiator=not is_initiator)
    out = victim.handshake.start()
    if honest_messages and not is_initiator:
        out = victim.handshake.feed(partner.handshake.start())
    elif honest_messages:
        partner.handshake.feed(out)
    try:
        for _ in range(data.draw(st.integers(1, 4))):
            body = data.draw(st.binary(max_size=300))
            framed = len(body).to_bytes(2, "big") + body
            victim.handshake.feed(framed if data.draw(st.booleans()) else body)
    except HandshakeFailed:
        pass
    assert victim.handshake.result is None
    assert len(victim.handshake._buffer) < 2 + 65_535
