"""Noise over connections: with itself, with py-libp2p's own, and with hostile bytes."""

from __future__ import annotations

import os

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.rsa import create_new_key_pair as create_rsa_key_pair
from libp2p.crypto.secp256k1 import create_new_key_pair as create_secp256k1_key_pair
from libp2p.io.exceptions import IncompleteReadError
from libp2p.network.connection.raw_connection import RawConnection
from noise_lab import both, make_pipe, ours, peer_of, secure, secured_pair, stock
from trio.testing import MockClock

from primedht import limits
from primedht.host.noise import HandshakeFailed, SessionFailed
from primedht.host.noise.session import MESSAGE_BYTES_MAX
from primedht.host.noise.wire import RawWire, Wire, wire_of

YAMUX = "/yamux/1.0.0"


async def read_exactly(conn, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await conn.read(size - len(data))
        assert piece, "the connection ended early"
        data += piece
    return data


async def exchange(first, second) -> None:
    """Send data of awkward sizes both ways at once."""
    sizes = [1, 2, 100, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1, 300_000]
    data = os.urandom(sum(sizes))

    async def send(conn) -> None:
        start = 0
        for size in sizes:
            await conn.write(data[start : start + size])
            start += size

    results = await both(
        lambda: send(first),
        lambda: send(second),
        lambda: read_exactly(first, len(data)),
        lambda: read_exactly(second, len(data)),
    )
    assert results[2] == results[3] == data


@pytest.mark.parametrize("make_dialer", [ours, stock])
@pytest.mark.parametrize("make_listener", [ours, stock])
async def test_data_passes_between_ours_and_stock_in_every_pairing(make_dialer, make_listener):
    keys = create_new_key_pair(), create_new_key_pair()
    first, second = await secure(make_dialer(keys[0]), make_listener(keys[1]), expected=peer_of(keys[1]))
    assert first.get_remote_peer() == peer_of(keys[1])
    assert second.get_remote_peer() == peer_of(keys[0])
    await exchange(first, second)


@pytest.mark.parametrize("create", [create_rsa_key_pair, create_secp256k1_key_pair])
async def test_other_identities_are_understood_in_both_directions(create):
    keys = create()
    for dialer, listener in ((ours(keys), stock()), (stock(keys), ours())):
        _, second = await secure(dialer, listener)
        assert second.get_remote_peer() == peer_of(keys)
        assert second.get_local_peer() is not None


async def test_what_the_connection_says_of_itself():
    keys = create_new_key_pair(), create_new_key_pair()
    first, second = await secure(ours(keys[0]), ours(keys[1]))
    assert first.is_initiator
    assert not second.is_initiator
    assert first.get_remote_public_key().serialize() == keys[1].public_key.serialize()
    assert first.get_local_peer() == peer_of(keys[0])
    assert first.get_local_private_key() == keys[0].private_key
    assert first.get_remote_address() == ("127.0.0.1", 1)
    assert [str(addr) for addr in first.get_transport_addresses()] == ["/ip4/127.0.0.1/tcp/1"]


async def test_a_muxer_is_agreed_on_early_only_if_both_offer_it():
    first, second = await secure(ours(muxers=(YAMUX,)), ours(muxers=("/other", YAMUX)))
    assert first.muxer == second.muxer == YAMUX
    for dialer, listener in ((ours(muxers=(YAMUX,)), ours()), (ours(), ours(muxers=(YAMUX,)))):
        first, second = await secure(dialer, listener)
        assert first.muxer is None
        assert second.muxer is None
    first, _ = await secure(ours(muxers=(YAMUX,)), stock())
    assert first.muxer is None


async def test_the_identity_signs_once_however_many_connections(monkeypatch):
    keys = create_new_key_pair()
    signatures = []
    sign = type(keys.private_key).sign
    monkeypatch.setattr(
        type(keys.private_key), "sign", lambda self, data: signatures.append(data) or sign(self, data)
    )
    listener = ours(keys)
    for _ in range(3):
        await secure(ours(), listener)
    assert len([data for data in signatures if data.endswith(signatures[0][-32:])]) == 1


async def test_a_dialer_does_not_accept_another_peer():
    ends = make_pipe()
    wrong = peer_of(create_new_key_pair())

    async def listen() -> None:
        with pytest.raises(HandshakeFailed):
            await ours().secure_inbound(ends[1])

    async def dial() -> None:
        with pytest.raises(HandshakeFailed, match="in place of"):
            await ours().secure_outbound(ends[0], wrong)
        await ends[0].close()

    await both(listen, dial)


@pytest.mark.parametrize("is_initiator", [True, False])
async def test_a_silent_peer_fails_the_handshake_after_ten_seconds(is_initiator, autojump_clock: MockClock):
    """docs/py-libp2p.md, B7."""
    end, _ = make_pipe()
    started = trio.current_time()
    with pytest.raises(HandshakeFailed, match="within 10 s"):
        await (ours().secure_outbound(end, None) if is_initiator else ours().secure_inbound(end))
    assert trio.current_time() - started == pytest.approx(limits.HANDSHAKE_TIMEOUT_S)


@pytest.mark.parametrize("is_initiator", [True, False])
async def test_a_peer_that_hangs_up_fails_the_handshake(is_initiator):
    end, other = make_pipe()
    await other.write(b"\x00\x20half")
    await other.close()
    with pytest.raises(HandshakeFailed):
        await (ours().secure_outbound(end, None) if is_initiator else ours().secure_inbound(end))


async def test_garbage_fails_the_handshake():
    for garbage in (b"\x00\x00", b"\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n" * 2000, bytes(70_000)):
        end, other = make_pipe()
        await other.write(garbage)
        with pytest.raises(HandshakeFailed):
            await ours().secure_inbound(end)


async def test_pieces_of_any_size_and_data_right_behind_the_handshake():
    ends = make_pipe()
    ends[0].cut, ends[1].cut = 3, 7
    first, second = await secure(ours(), ours(), ends)
    ends[0].cut, ends[1].cut = 1000, 90
    await exchange(first, second)
    dialer, listener = make_pipe()

    async def dial() -> None:
        conn = await ours().secure_outbound(dialer, None)
        await conn.write(b"at once")

    async def listen() -> bytes:
        await trio.testing.wait_all_tasks_blocked()
        conn = await ours().secure_inbound(listener)
        return await conn.read(7)

    assert (await both(dial, listen))[1] == b"at once"


async def test_read_returns_what_was_asked_for():
    first, second = await secured_pair()
    await first.write(b"abcdef")
    await first.write(b"ghi")
    assert await second.read(0) == b""
    assert await second.read(4) == b"abcd"
    assert await second.read(0) == b""
    assert await second.read(4) == b"efgh"
    assert await second.read() == b"i"
    await first.write(b"end")
    await first.close()
    assert await second.read(10) == b"end"
    assert await second.read(10) == b""
    assert await second.read() == b""


async def test_what_comes_behind_a_negotiation_is_not_lost():
    """`read` may have received more than it was asked for; a multiplexer then takes over."""
    first, second = await secured_pair()
    await first.write(b"agreed" + b"frame")
    assert await second.read(6) == b"agreed"
    await first.write(b"next frame")
    assert await second.receive() == [b"frame"]
    assert await second.receive() == [b"next frame"]


async def test_a_flood_of_empty_messages_gives_the_others_their_turn():
    first, second = await secured_pair()
    first.send_nowait([b""] * 10_000 + [b"last"])
    await first.flush()
    counts = []
    while sum(counts) < 10_001:
        counts.append(len(await second.receive()))
    assert max(counts) <= 1024


async def test_an_end_inside_a_frame_is_not_an_end():
    """docs/py-libp2p.md, B9, one layer down: truncation shows."""
    ends = make_pipe()
    _, second = await secure(ours(), ours(), ends)
    await ends[0].write(b"\x00\x30cut")
    await ends[0].close()
    with pytest.raises(IncompleteReadError):
        await second.receive()


async def test_a_forged_frame_ends_the_connection():
    ends = make_pipe()
    _, second = await secure(ours(), ours(), ends)
    await ends[0].write(b"\x00\x20" + bytes(32))
    with pytest.raises(SessionFailed):
        await second.receive()


async def test_connections_share_buffers_without_mixing_their_bytes():
    """Two connections of one node, both with half a frame pending, receive in turn."""
    node = ours()
    ends = [make_pipe(), make_pipe()]
    pairs = [await secure(ours(), node, pair) for pair in ends]
    for _, listener in ends:
        listener.cut = 50
    messages = [os.urandom(500), os.urandom(500)]

    async def send(index: int) -> None:
        await pairs[index][0].write(messages[index])

    results = await both(
        lambda: send(0),
        lambda: send(1),
        lambda: read_exactly(pairs[0][1], 500),
        lambda: read_exactly(pairs[1][1], 500),
    )
    assert results[2:] == messages


async def test_what_wraps_a_connection_is_never_bypassed():
    """A pre-shared key, for one: only a stream that is itself a `Wire` is taken out of its wrapper."""

    class Wrapped:
        stream = object()

    assert isinstance(wire_of(Wrapped()), RawWire)  # type: ignore[arg-type]
    end, _ = make_pipe()
    wire = RawWire(end)
    assert isinstance(wire, Wire)
    assert wire_of(RawConnection(wire, True)) is wire  # type: ignore[arg-type]
    assert isinstance(wire_of(RawConnection(Wrapped(), True)), RawWire)  # type: ignore[arg-type]
