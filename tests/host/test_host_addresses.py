"""The address book, the filter and the expansion of our own addresses."""

from __future__ import annotations

import trio

from primedht import limits
from primedht.host.addresses import Addresses, AddressFilter, expand_listen, is_dialable
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.wire.addrs import format_addr, parse, peer_suffix


def peer(number: int) -> PeerId:
    return PeerId(b"\x12\x20" + number.to_bytes(32, "big"))


def book(*, kind="private", prefix_is_ipfs=False, connected=(), peers_max=100) -> Addresses:
    address_filter = AddressFilter(kind, prefix_is_ipfs=prefix_is_ipfs)
    return Addresses(address_filter, tuple, connected.__contains__, peers_max=peers_max)


ONE, TWO = parse("/ip4/10.0.0.1/tcp/1"), parse("/ip4/10.0.0.2/tcp/2")


async def test_addresses_expire(autojump_clock):
    addresses = book()
    addresses.add(peer(1), [ONE], ttl_s=10)
    addresses.add(peer(1), [TWO], ttl_s=20)
    addresses.add(peer(1), [ONE], ttl_s=1)  # never shortens
    await trio.sleep(5)
    assert addresses.addrs(peer(1)) == (ONE, TWO)
    await trio.sleep(6)
    assert addresses.addrs(peer(1)) == (TWO,)
    await trio.sleep(10)
    assert addresses.addrs(peer(1)) == ()
    assert len(addresses) == 0


async def test_peers_with_addresses_are_the_same_objects_until_something_changes(autojump_clock):
    """They carry their encoded form."""
    connected = {peer(1)}
    addresses = book(connected=connected)
    await trio.sleep(1)
    addresses.replace(peer(1), [ONE, TWO], ttl_s=10)
    addresses.add(peer(2), [TWO], ttl_s=10)

    def info(number):
        found = addresses.infos([peer(number)])
        assert [each.addrs for each in found] == [addresses.addrs(peer(number))] * len(found)
        return found[0] if found else None

    assert addresses.infos([peer(3), peer(2), peer(1)]) == [
        PeerInfo(peer(2), (TWO,)),
        PeerInfo(peer(1), (ONE, TWO)),
    ]
    first = info(1)
    assert info(1) is first
    addresses.succeeded(peer(1), TWO)
    assert info(1).addrs == (TWO, ONE)
    addresses.failed(peer(1), TWO)
    assert info(1).addrs == (ONE, TWO)
    await trio.sleep(11)
    assert info(1).addrs == (ONE, TWO)  # connected
    assert info(2) is None
    connected.clear()
    addresses.disconnected(peer(1))
    assert info(1).addrs == (ONE, TWO)
    await trio.sleep(limits.CONNECTED_ADDRS_TTL_S + 1)
    assert info(1) is None
    assert addresses._infos == {}


async def test_the_book_is_bounded_and_spares_connected_peers():
    addresses = book(connected={peer(0)}, peers_max=10)
    for number in range(100):
        addresses.add(peer(number), [ONE], ttl_s=60)
    assert len(addresses) == 10
    assert addresses.addrs(peer(0)) == (ONE,)
    assert addresses.addrs(peer(99)) == (ONE,)
    assert addresses.addrs(peer(50)) == ()


async def test_addresses_per_peer_are_bounded_and_those_that_work_stay():
    addresses = book()
    addresses.succeeded(peer(1), ONE)
    many = [parse(f"/ip4/10.0.1.{number}/udp/1/quic-v1") for number in range(100)]
    addresses.add(peer(1), [*many, TWO], ttl_s=600)
    kept = addresses.addrs(peer(1))
    assert len(kept) == limits.IDENTIFY_ADDRS_MAX
    assert kept[0] == ONE
    assert TWO in kept  # what we can dial goes before what we cannot


async def test_a_success_goes_first_and_a_failure_loses_that():
    addresses = book()
    addresses.add(peer(1), [ONE, TWO], ttl_s=60)
    addresses.succeeded(peer(1), TWO)
    assert addresses.addrs(peer(1)) == (TWO, ONE)
    addresses.failed(peer(1), TWO)
    assert addresses.addrs(peer(1)) == (ONE, TWO)
    addresses.failed(peer(2), TWO)


async def test_what_a_peer_no_longer_lists_is_forgotten_unless_it_works():
    addresses = book()
    addresses.add(peer(1), [ONE], ttl_s=60)
    addresses.succeeded(peer(1), TWO)
    third = parse("/ip4/10.0.0.3/tcp/3")
    addresses.replace(peer(1), [third], ttl_s=60)
    assert addresses.addrs(peer(1)) == (TWO, third)
    addresses.replace(peer(1), [], ttl_s=60)
    assert addresses.addrs(peer(1)) == (TWO, third)


async def test_peer_ids_in_addresses():
    addresses = book()
    addresses.add(peer(1), [ONE + peer_suffix(peer(1)), TWO + peer_suffix(peer(2))], ttl_s=60)
    assert addresses.addrs(peer(1)) == (ONE,)


def permitted(address_filter: AddressFilter, text: str) -> bool:
    return address_filter.permits(parse(text))


def test_public_networks_refuse_private_addresses():
    address_filter = AddressFilter("public", prefix_is_ipfs=True)
    refused = ("/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/fe80::1/tcp/1")
    for text in (*refused, "/ip4/0.0.0.0/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip4/169.254.0.1/tcp/1"):
        assert not permitted(address_filter, text), text
    for text in ("/ip4/8.8.8.8/tcp/1", "/ip6/2001:4860::1/udp/1/quic-v1", "/dns4/example.org/tcp/1"):
        assert permitted(address_filter, text), text
    assert address_filter.refused["private_address"] == 6
    assert address_filter.refused["not_unicast"] == 1


def test_a_private_network_on_ipfs_is_confined():
    address_filter = AddressFilter("private", prefix_is_ipfs=True)
    for text in ("/ip4/8.8.8.8/tcp/1", "/dns4/example.org/tcp/1", "/ip6/2001:4860::1/tcp/1"):
        assert not permitted(address_filter, text), text
    for text in ("/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/fd00::1/tcp/1"):
        assert permitted(address_filter, text), text
    address_filter.allow(parse("/dns4/example.org/tcp/1"))
    assert permitted(address_filter, "/dns4/example.org/tcp/1")
    address_filter.allow(peer=peer(1))
    assert address_filter.permits(parse("/ip4/8.8.8.8/tcp/1"), peer(1))


def test_who_is_admitted_to_a_confined_network():
    address_filter = AddressFilter("private", prefix_is_ipfs=True)
    for ip in ("10.1.1.1", "127.0.0.1", "::1", "fd00::1"):
        assert address_filter.admits(ip, None)
    assert not address_filter.admits("8.8.8.8", None)
    address_filter.allow(peer=peer(1))
    assert address_filter.admits("8.8.8.8", None)  # it may be that peer
    assert address_filter.admits("8.8.8.8", peer(1))
    assert not address_filter.admits("8.8.8.8", peer(2))
    address_filter.allow(parse("/ip4/8.8.8.8/tcp/4001"))
    assert address_filter.admits("8.8.8.8", peer(2))


def test_other_private_networks_allow_everything_but_nonsense():
    address_filter = AddressFilter("private", prefix_is_ipfs=False)
    for text in ("/ip4/8.8.8.8/tcp/1", "/dns4/example.org/tcp/1", "/ip4/10.0.0.1/tcp/1"):
        assert permitted(address_filter, text)
    assert not permitted(address_filter, "/ip4/0.0.0.0/tcp/1")
    assert not permitted(address_filter, "/ip4/224.0.0.1/tcp/1")
    assert not address_filter.permits(b"")
    assert not address_filter.permits(bytes(limits.ADDR_BYTES_MAX + 1))


IPS = ("127.0.0.1", "::1", "192.168.1.5", "8.8.4.4", "fd00::5")


def expanded(listening, kind) -> list[str]:
    return [format_addr(addr) for addr in expand_listen(listening, kind, IPS)]


def test_listen_addresses_expand_over_the_interfaces():
    both = [("0.0.0.0", 1), ("::", 2)]
    assert expanded(both, "private") == [
        "/ip4/192.168.1.5/tcp/1",
        "/ip4/8.8.4.4/tcp/1",
        "/ip6/fd00::5/tcp/2",
        "/ip4/127.0.0.1/tcp/1",
        "/ip6/::1/tcp/2",
    ]
    assert expanded(both, "public") == ["/ip4/8.8.4.4/tcp/1"]
    assert expanded([("127.0.0.1", 1)], "public") == ["/ip4/127.0.0.1/tcp/1"]
    assert expanded([("127.0.0.1", 1), ("192.168.1.5", 2)], "public") == ["/ip4/192.168.1.5/tcp/2"]
    assert expanded([("127.0.0.1", 1)], "private") == ["/ip4/127.0.0.1/tcp/1"]


def test_what_can_be_dialled():
    for text in ("/ip4/1.2.3.4/tcp/1", "/ip6/::1/tcp/1", "/dns/a.b/tcp/1", "/dns6/a.b/tcp/1"):
        assert is_dialable(parse(text)), text
    for text in ("/ip4/1.2.3.4/udp/1/quic-v1", "/ip4/1.2.3.4/tcp/1/ws", "/dnsaddr/a.b", "/dns4/a.b/udp/1"):
        assert not is_dialable(parse(text)), text
    assert not is_dialable(b"\xff\xff\xff")
