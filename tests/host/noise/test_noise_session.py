"""The transport phase without I/O."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from primedht import limits
from primedht.host.noise.session import (
    FRAME_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    OVERHEAD_BYTES,
    NoiseSession,
    SessionFailed,
)
from primedht.host.noise.symmetric import NONCE_MAX


def make_pair() -> tuple[NoiseSession, NoiseSession]:
    a, b = (ChaCha20Poly1305(os.urandom(32)) for _ in range(2))
    return NoiseSession(a, b), NoiseSession(b, a)


def seal(session: NoiseSession, *messages: bytes) -> bytes:
    buffer = bytearray(sum(map(len, messages)) + OVERHEAD_BYTES * len(messages))
    assert session.seal_into(messages, memoryview(buffer)) == len(buffer)
    return bytes(buffer)


def open_(session: NoiseSession, data: bytes) -> list[bytes]:
    return session.open(memoryview(session.rest + data))


def test_messages_of_every_size_up_to_the_largest():
    a, b = make_pair()
    messages = [b"", b"1", bytes(1000), os.urandom(MESSAGE_BYTES_MAX)]
    sealed = seal(a, *messages)
    assert len(seal(a, bytes(MESSAGE_BYTES_MAX))) == FRAME_BYTES_MAX
    assert open_(b, sealed) == messages
    assert b.rest == b""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=8), st.lists(st.integers(1, 200), max_size=60))
def test_any_cut_of_the_bytes_yields_the_same_messages(messages, cuts):
    a, b = make_pair()
    sealed = seal(a, *messages)
    received: list[bytes] = []
    for cut in [*cuts, len(sealed)]:
        piece, sealed = sealed[:cut], sealed[cut:]
        received += open_(b, piece)
        assert len(b.rest) < FRAME_BYTES_MAX
    assert received == messages


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_an_error_or_an_incomplete_frame(garbage, honest):
    a, b = make_pair()
    open_(b, seal(a, honest))
    with suppress(SessionFailed):
        assert open_(b, garbage) == []
    assert len(b.rest) < FRAME_BYTES_MAX


def test_tiny_frames_are_opened_a_great_many_at_a_time_and_no_more():
    """So that one peer's flood does not keep the event loop to itself."""
    a, b = make_pair()
    sealed = seal(a, *[b"x"] * 3000)
    assert len(open_(b, sealed)) == 1024
    assert b.is_behind
    assert len(open_(b, b"")) == 1024
    assert len(open_(b, b"")) == 952
    assert not b.is_behind
    assert b.rest == b""


def test_a_changed_a_repeated_and_a_reordered_frame_are_refused():
    a, b = make_pair()
    first, second = seal(a, b"first"), seal(a, b"second")
    changed = first[:5] + bytes([first[5] ^ 1]) + first[6:]
    with pytest.raises(SessionFailed):
        open_(b, changed)
    a, b = make_pair()
    first, second = seal(a, b"first"), seal(a, b"second")
    with pytest.raises(SessionFailed):
        open_(b, second)
    a, b = make_pair()
    first = seal(a, b"first")
    assert open_(b, first) == [b"first"]
    with pytest.raises(SessionFailed):
        open_(b, first)


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_frame_without_room_for_its_tag_is_refused(length):
    _, b = make_pair()
    with pytest.raises(SessionFailed):
        open_(b, length.to_bytes(2, "big") + bytes(length))


def test_the_connection_ends_before_a_nonce_is_used_twice():
    a, b = make_pair()
    a._send_nonce = b._receive_nonce = NONCE_MAX - 2
    last = seal(a, b"last but one", b"last")
    assert open_(b, last) == [b"last but one", b"last"]
    with pytest.raises(SessionFailed, match="nonces"):
        seal(a, b"one too many")
    a._send_nonce = NONCE_MAX - 1
    with pytest.raises(SessionFailed, match="nonces"):
        open_(b, seal(a, b"one too many"))


def test_the_nonce_is_a_little_endian_counter_behind_four_zero_bytes():
    cipher = ChaCha20Poly1305(bytes(32))
    session = NoiseSession(cipher, cipher)
    session._send_nonce = 0x0102030405060708
    sealed = seal(session, b"x")
    assert cipher.decrypt(bytes.fromhex("00000000 0807060504030201"), sealed[2:], None) == b"x"


def test_bytes_that_trickle_in_one_by_one_cost_the_peer_its_connection():
    a, b = make_pair()
    with pytest.raises(SessionFailed, match="trickle"):
        deque((open_(b, bytes([byte])) for _ in range(40) for byte in seal(a, bytes(1000))), maxlen=0)


def test_pieces_of_400_bytes_do_not():
    """docs/py-libp2p.md, B14: a frame in 164 pieces; an honest peer's few small pieces are forgiven."""
    a, b = make_pair()
    for _ in range(2 * limits.NOISE_FRUITLESS_READS_MAX // 90):
        frame = seal(a, bytes(36_000))
        pieces = [frame[:2], *(frame[start : start + 400] for start in range(2, len(frame), 400))]
        assert sum(len(open_(b, piece)) for piece in pieces) == 1
