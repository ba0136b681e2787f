"""Where simulated hosts live."""

import hashlib

import trio

from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.sim.addresses import SimAddressBook, host_addr, private_ip, public_ip
from primedht.wire import addrs as multiaddrs

HOUR_S = 3600.0
ONE, OTHER = host_addr("10.0.0.1"), host_addr("10.0.0.2")


def test_simulated_ips_are_distinct_and_public_ones_diverse():
    assert len({private_ip(i) for i in range(10_000)}) == 10_000
    blocks = {tuple(public_ip(i).split(".")[:2]) for i in range(10_000)}
    assert len(blocks) == 10_000
    assert all(multiaddrs.is_public(host_addr(public_ip(i))) for i in range(0, 10_000, 97))


def peer_number(number):
    return PeerId(b"\x12\x20" + hashlib.sha256(bytes([number])).digest())


def book_of(*own):
    return SimAddressBook(own, accepts=lambda addr: addr != host_addr("10.9.9.9"))


async def test_a_book_forgets_at_whole_minutes(autojump_clock):
    book, peer = book_of(), peer_number(1)
    await trio.sleep(30)
    book.add(peer, (ONE,), ttl_s=60)
    await trio.sleep(89)
    assert book.infos([peer]) == [PeerInfo(peer, (ONE,))]
    await trio.sleep(1)
    assert book.infos([peer]) == []
    assert book.addrs(peer) == ()
    assert len(book) == 0


async def test_hearing_again_prolongs_and_never_shortens(autojump_clock):
    book, peer = book_of(), peer_number(1)
    book.add(peer, (ONE,), ttl_s=HOUR_S)
    book.add(peer, (ONE,), ttl_s=60)
    book.add(peer, (OTHER,), ttl_s=60)
    assert book.addrs(peer) == (ONE, OTHER)
    await trio.sleep(HOUR_S / 2)
    assert book.addrs(peer) == (ONE,)
    book.add(peer, (ONE,), ttl_s=HOUR_S)
    await trio.sleep(HOUR_S - 1)
    assert book.addrs(peer) == (ONE,)


async def test_what_a_connected_peer_says_of_itself_comes_first_and_stays_a_while(autojump_clock):
    book, peer = book_of(), peer_number(1)
    book.add(peer, (ONE,), ttl_s=60)
    book.set_connected(peer, (OTHER, ONE))
    await trio.sleep(HOUR_S)
    assert book.infos([peer]) == [PeerInfo(peer, (OTHER, ONE))]
    book.set_disconnected(peer, keep_s=60)
    assert set(book.addrs(peer)) == {ONE, OTHER}
    await trio.sleep(61)
    assert book.addrs(peer) == ()


async def test_refused_addresses_are_counted_and_kept_out(autojump_clock):
    book, peer = book_of(), peer_number(1)
    book.add(peer, (host_addr("10.9.9.9"),), ttl_s=60)
    assert (book.refused_count, len(book), book.addrs(peer)) == (1, 0, ())


async def test_books_that_know_the_same_share_it(autojump_clock):
    books, peer = [book_of(), book_of()], peer_number(1)
    for book in books:
        await trio.sleep(1)
        book.add(peer, (ONE,), ttl_s=600)
    first, second = (book.infos([peer])[0] for book in books)
    assert first is second


async def test_what_is_heard_of_many_at_once_is_remembered_as_of_each(autojump_clock):
    infos = [PeerInfo(peer_number(1), (ONE,)), PeerInfo(peer_number(2), (OTHER,)), PeerInfo(peer_number(3))]
    together, singly = book_of(), book_of()
    for again_s in (0, 30, 90):
        await trio.sleep(again_s)
        together.add_all(infos, ttl_s=60)
        for info in infos:
            singly.add(info.id, info.addrs, ttl_s=60)
    assert len(together) == len(singly) == 2
    for _ in range(2):
        await trio.sleep(60)
        assert [together.addrs(info.id) for info in infos] == [singly.addrs(info.id) for info in infos]
