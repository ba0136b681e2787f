"""Varints, frames and multiaddr bytes."""

from __future__ import annotations

import contextlib

import multiaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht.errors import InvalidArgument, ProtocolViolation
from primedht.ids import PeerId
from primedht.wire import addrs, varint
from primedht.wire.frames import FrameReader, encode_frame

PEER = "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK"


@given(st.integers(0, 2**63 - 1), st.binary(max_size=4))
def test_varints_round_trip_with_anything_behind_them(value: int, rest: bytes) -> None:
    encoded = varint.encode(value)
    assert varint.decode(encoded + rest) == (value, len(encoded))
    assert all(varint.decode(encoded[:cut]) is None for cut in range(len(encoded)))


@pytest.mark.parametrize("raw", [b"\x80\x00", b"\x80" * 9, b"\xff" * 10])
def test_a_varint_that_is_not_minimal_or_too_long_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        varint.decode(raw)


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cutting(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(encode_frame, payloads))
    reader, frames, offset, turn = FrameReader(300), [], 0, 0
    while offset < len(data):
        step = cuts[turn % len(cuts)]
        reader.feed(data[offset : offset + step])
        offset, turn = offset + step, turn + 1
        while (frame := reader.next_frame()) is not None:
            frames.append(frame)
    assert frames == payloads
    assert reader.buffered_bytes == 0


def test_an_oversized_frame_is_refused_before_its_bytes_arrive() -> None:
    reader = FrameReader(100)
    reader.feed(varint.encode(101))
    with pytest.raises(ProtocolViolation):
        reader.next_frame()


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/127.0.0.1/tcp/4101",
        "/ip6/::1/tcp/4101",
        "/ip6/2001:db8::1/udp/4001/quic-v1",
        f"/ip4/10.1.2.3/tcp/1/p2p/{PEER}",
        "/dns4/node.example/tcp/4101",
        "/dnsaddr/bootstrap.example",
        f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}/p2p-circuit",
    ],
)
def test_addresses_have_the_bytes_that_the_multiaddr_library_gives_them(text: str) -> None:
    assert addrs.parse(text) == multiaddr.Multiaddr(text).to_bytes()
    assert addrs.format_addr(addrs.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/1.2.3.4",
        "/ip4/1.2.3.4.5/tcp/1",
        "/ip4/1.2.3.4/tcp",
        "/ip4/1.2.3.4/tcp/65536",
        "/nope/1",
        "/ip4/1.2.3.4/p2p/xyz",
    ],
)
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        addrs.parse(text)


@given(st.binary(max_size=64))
def test_any_bytes_are_looked_at_without_a_crash(raw: bytes) -> None:
    addrs.ip_of(raw)
    addrs.tcp_endpoint(raw)
    assert addrs.is_public(raw) in (True, False)
    with contextlib.suppress(InvalidArgument):
        assert addrs.parse(addrs.format_addr(raw))


def test_a_trailing_peer_id_is_split_off() -> None:
    bare = addrs.parse("/ip4/1.2.3.4/tcp/1")
    assert addrs.split_peer(addrs.parse(f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}")) == (bare, PeerId.from_text(PEER))
    assert addrs.split_peer(bare) == (bare, None)


@pytest.mark.parametrize(
    ("text", "loopback", "private", "public"),
    [
        ("/ip4/127.0.0.1/tcp/1", True, True, False),
        ("/ip4/192.168.1.1/tcp/1", False, True, False),
        ("/ip4/100.64.0.1/tcp/1", False, True, False),
        ("/ip4/8.8.8.8/tcp/1", False, False, True),
        ("/ip6/::1/tcp/1", True, True, False),
        ("/ip6/fd00::1/tcp/1", False, True, False),
        ("/ip6/2606:4700::1111/tcp/1", False, False, True),
        ("/ip4/0.0.0.0/tcp/1", False, False, False),
        ("/dns4/a.example/tcp/1", False, False, False),
    ],
)
def test_ranges(text: str, loopback: bool, private: bool, public: bool) -> None:
    addr = addrs.parse(text)
    assert (addrs.is_loopback(addr), addrs.is_private(addr), addrs.is_public(addr)) == (
        loopback,
        private,
        public,
    )
