"""XSalsa20 against other implementations, and a connection's keystreams without a connection."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht.errors import PskMismatch
from primedht.host.multistream import GREETING
from primedht.host.pnet.session import PskSession
from primedht.host.pnet.xsalsa20 import KEY_BYTES, NONCE_BYTES, hsalsa20, xsalsa20
from primedht.psk import Psk

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/pnet/go.json").read_text())
keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)


def feed(session: PskSession, nonce: bytes) -> None:
    """Give the peer's nonce in the pieces that the session asks for."""
    while wanted := session.wanted_bytes:
        session.feed(nonce[:wanted])
        nonce = nonce[wanted:]
    assert not nonce


def sealed(session: PskSession, data: bytes) -> bytes:
    out = bytearray(len(data))
    session.seal(data, memoryview(out))
    return bytes(out)


def opened(session: PskSession, data: bytes) -> bytes:
    buffer = bytearray(data)
    session.open(memoryview(buffer))
    return bytes(buffer)


def pair(psk: Psk) -> tuple[PskSession, PskSession]:
    a, b = PskSession(psk, b"a" * NONCE_BYTES), PskSession(psk, b"b" * NONCE_BYTES)
    feed(a, b.nonce)
    feed(b, a.nonce)
    return a, b


def test_hsalsa20_of_the_nacl_paper():
    """Source: D. J. Bernstein, "Cryptography in NaCl", sections 8 and 10: firstkey, and two nonces."""
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    first = hsalsa20(shared, bytes(16))
    assert first.hex() == "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"
    second = hsalsa20(first, bytes.fromhex("69696ee955b62b73cd62bda875fc73d6"))
    assert second.hex() == "dc908dda0b9344a953629b733820778880f3ceb421bb61b91cbd4c3e66256ce4"


def test_the_long_keystream_of_nacl():
    """Source: NaCl, tests/stream3 and stream4 with 4 MiB, whose SHA-256 is printed there."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    digest = hashlib.sha256(xsalsa20(key, nonce).encrypt(bytes(4 << 20))).hexdigest()
    assert digest == "662b9d0e3463029156069b12f918691a98f7dfb2ca0393c96bbfc6b1fbd630a2"


@given(keys, nonces, st.binary(max_size=300))
def test_the_keystream_is_libsodiums(key, nonce, message):
    box = nacl.bindings.crypto_secretbox(message, nonce, key)
    assert xsalsa20(key, nonce).encrypt(bytes(32) + message)[32:] == box[16:]


@pytest.mark.parametrize("made", GOLDEN, ids=["base16", "base64", "bin"])
def test_what_go_sent_is_read_and_sent_alike(made):
    psk, wire = Psk(bytes.fromhex(made["key"])), bytes.fromhex(made["wire"])
    writes = [bytes.fromhex(write) for write in made["writes"]]
    nonce, rest = wire[:NONCE_BYTES], wire[NONCE_BYTES:]
    reader = PskSession(psk, bytes(NONCE_BYTES))
    feed(reader, nonce)
    assert opened(reader, rest) == b"".join(writes)
    assert reader.is_proven
    writer = PskSession(psk, nonce)
    assert b"".join(sealed(writer, write) for write in writes) == rest


@given(st.lists(st.binary(max_size=200)), st.lists(st.integers(1, 200)), keys)
def test_bytes_arrive_however_they_are_cut(messages, cuts, key):
    a, b = pair(Psk(key))
    plain = GREETING + b"".join(messages)
    wire = sealed(a, GREETING) + b"".join(sealed(a, message) for message in messages)
    assert len(wire) == len(plain)
    received = b""
    for cut in [*cuts, len(wire)]:
        if piece := wire[len(received) : len(received) + cut]:
            received += opened(b, piece)
    assert received == plain


def test_the_two_directions_have_keystreams_of_their_own():
    a, b = pair(Psk.generate())
    assert sealed(a, GREETING) != sealed(b, GREETING)


@given(st.integers(1, len(GREETING)), keys)
def test_another_key_shows_in_the_first_bytes(size, key):
    writer = PskSession(Psk(b"\xff" * KEY_BYTES), b"w" * NONCE_BYTES)
    reader = PskSession(Psk(key), b"r" * NONCE_BYTES)
    feed(reader, writer.nonce)
    wire = sealed(writer, GREETING)
    if key == b"\xff" * KEY_BYTES:
        assert opened(reader, wire) == GREETING
        return
    with pytest.raises(PskMismatch, match="another pre-shared key"):
        for start in range(0, len(wire), size):
            opened(reader, wire[start : start + size])


@pytest.mark.parametrize("tampered", range(len(GREETING)))
def test_each_byte_of_the_greeting_counts(tampered):
    a, b = pair(Psk.generate())
    wire = bytearray(sealed(a, GREETING))
    wire[tampered] ^= 1
    with pytest.raises(PskMismatch):
        for byte in wire:
            opened(b, bytes([byte]))
    assert not b.is_proven


@given(st.lists(st.integers(1, 24)))
def test_a_peer_without_a_key_is_known_by_its_greeting(cuts):
    session, rest = PskSession(Psk.generate(), bytes(NONCE_BYTES)), GREETING
    assert not session.has_begun
    with pytest.raises(PskMismatch, match="no pre-shared key"):
        for cut in [*cuts, *[1] * len(GREETING)]:
            piece, rest = rest[: min(cut, session.wanted_bytes)], rest[min(cut, session.wanted_bytes) :]
            session.feed(piece)
            assert session.wanted_bytes > 0


def test_an_echo_is_no_peer():
    session = PskSession(Psk.generate(), b"n" * NONCE_BYTES)
    with pytest.raises(PskMismatch, match="returns what it is sent"):
        feed(session, session.nonce)
