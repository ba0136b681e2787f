"""mDNS: the TXT record, and two nodes that find each other over loopback."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from host_helpers import eventually, running_host
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, Zeroconf

from primedht import limits
from primedht.host.mdns import decode_txt, encode_txt, serve_mdns
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.wire.addrs import parse

PEER, OTHER = PeerId(b"\x12\x20" + bytes(32)), PeerId(b"\x12\x20" + b"\x01" * 32)
LAN, LOOPBACK = parse("/ip4/192.168.1.5/tcp/4101"), parse("/ip4/127.0.0.1/tcp/4101")


def test_the_record_carries_each_address_as_a_dnsaddr_string():
    data = encode_txt(PEER, [LAN, LOOPBACK])
    text = b"dnsaddr=/ip4/192.168.1.5/tcp/4101/p2p/" + str(PEER).encode()
    assert data == bytes([len(text)]) + text
    assert decode_txt(data) == [PeerInfo(PEER, (LAN,))]
    assert decode_txt(encode_txt(PEER, [LOOPBACK])) == [PeerInfo(PEER, (LOOPBACK,))]


def test_what_makes_no_sense_is_skipped():
    def string(text: bytes) -> bytes:
        return bytes([len(text)]) + text

    good = encode_txt(PEER, [LAN])
    noise = string(b"x=1") + string(b"dnsaddr=/nonsense") + string(b"dnsaddr=/ip4/10.0.0.1/tcp/1") + b"\x00"
    assert decode_txt(noise + good + b"\xff") == [PeerInfo(PEER, (LAN,))]
    many = b"".join(encode_txt(PEER, [parse(f"/ip4/10.0.0.{n}/tcp/1")]) for n in range(100))
    assert len(decode_txt(many)[0].addrs) == limits.IDENTIFY_ADDRS_MAX
    assert {info.id for info in decode_txt(good + encode_txt(OTHER, [LAN]))} == {PEER, OTHER}


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data):
    decode_txt(data)


async def test_two_nodes_find_each_other():
    try:
        probe = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=["127.0.0.1"]))
    except (OSError, ZeroconfError):
        pytest.skip("no multicast on loopback here")
    await trio.to_thread.run_sync(probe.close)
    found = []
    async with running_host() as a, running_host() as b, trio.open_nursery() as nursery:
        for host in (a, b):
            serve = partial(serve_mdns, interfaces=["127.0.0.1"])
            nursery.start_soon(serve, host, lambda info, host=host: found.append((host, info)))
        expected = [  # others on this machine may be found too
            (a, PeerInfo(b.peer_id, b.address_book.own_addrs())),
            (b, PeerInfo(a.peer_id, a.address_book.own_addrs())),
        ]
        await eventually(lambda: all(entry in found for entry in expected), timeout_s=60)
        nursery.cancel_scope.cancel()


async def test_a_machine_without_multicast_is_no_error(monkeypatch):
    monkeypatch.setattr(limits, "INTERFACES_POLL_S", 0.01)
    attempts = []

    def unavailable(interfaces=InterfaceChoice.All):
        attempts.append(interfaces)
        raise OSError("no such device")

    monkeypatch.setattr("primedht.host.mdns.Zeroconf", unavailable)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_mdns, None, print)
        await eventually(lambda: len(attempts) >= 3)
        nursery.cancel_scope.cancel()
