"""The simulated ports: what the engine sees of healthy peers."""

import pytest
import trio
from sim_lab import FIND, ONE_WAY_S, PROTOCOL

from primedht.dht.ports import Ports
from primedht.errors import PeerTimeout, PeerUnreachable, ProtocolViolation
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.sim.addresses import host_addr, private_ip
from primedht.sim.clock import EPOCH_UNIX_S, SimClock
from primedht.sim.peer import answering, resetting, silent
from primedht.wire import addrs as multiaddrs

HANDSHAKE_S = 3 * 2 * ONE_WAY_S
ROUND_TRIP_S = 2 * ONE_WAY_S


async def test_a_request_dials_and_is_answered(autojump_clock, lab):
    a = await lab.add()
    b = await lab.add(answering(closer=[PeerInfo(a.peer, (b"\x04\x7f\x00\x00\x01\x06\x0f\xa1",))]))
    reply = await a.request(b.peer, FIND)
    assert reply.type is MessageType.FIND_NODE
    assert [peer.id for peer in reply.closer_peers] == [a.peer]
    assert trio.current_time() == pytest.approx(HANDSHAKE_S + ROUND_TRIP_S)
    assert b.received[0].requester.peer == a.peer
    assert b.received[0].requester.ip == private_ip(0)
    assert a.host.connected() == (b.peer,)
    assert b.host.connected() == (a.peer,)


async def test_a_second_request_uses_the_connection(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    await a.request(b.peer, FIND)
    started = trio.current_time()
    await b.request(a.peer, FIND)
    assert trio.current_time() - started == pytest.approx(ROUND_TRIP_S)


async def test_callers_that_come_together_share_one_dial(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(a.request, b.peer, FIND)
    assert trio.current_time() == pytest.approx(HANDSHAKE_S + ROUND_TRIP_S)
    assert len(b.received) == 5


async def test_a_cancelled_dial_leaves_the_next_caller_a_dial_of_its_own(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()

    async def give_up():
        with trio.move_on_after(ONE_WAY_S):
            await a.request(b.peer, FIND)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        nursery.start_soon(a.request, b.peer, FIND)
    assert len(b.received) == 1


async def test_a_dial_is_over_when_the_peer_has_connected(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.request, b.peer, FIND)
        await trio.sleep(0.8 * HANDSHAKE_S)
        await b.request(a.peer, FIND)
    assert trio.current_time() == pytest.approx(HANDSHAKE_S + ROUND_TRIP_S)
    assert len(a.host.connections()) == 1


async def test_both_ends_are_told_who_the_other_is(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add(serves=False)
    a.host.subscribe(listener)
    assert a.host.serves_kad(b.peer) is None
    await a.host.connect(b.peer, timeout_s=5)
    assert listener.events == [("identified", b.peer, False)]
    assert a.host.serves_kad(b.peer) is False
    assert b.host.serves_kad(a.peer) is True


async def test_a_listener_that_comes_late_hears_of_those_who_are_there(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    await a.host.connect(b.peer, timeout_s=5)
    a.host.subscribe(listener)
    assert listener.events == [("identified", b.peer, True)]


async def test_identify_push_follows_the_mode(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    a.host.subscribe(listener)
    await a.host.connect(b.peer, timeout_s=5)
    await b.start(serves=False)
    await trio.sleep(1)
    await b.start()
    await trio.sleep(1)
    assert [event[2] for event in listener.events] == [True, False, True]


async def test_serving_with_another_handler_is_no_change_of_mode(autojump_clock, lab, listener):
    a, b = await lab.add(), await lab.add()
    a.host.subscribe(listener)
    await a.host.connect(b.peer, timeout_s=5)
    await b.start()
    await trio.sleep(1)
    assert len(listener.events) == 1


async def test_clients_and_other_networks_reset_the_stream(autojump_clock, lab):
    a, client = await lab.add(), await lab.add(serves=False)
    stranger = await lab.add(protocol="/other/kad/1.0.0")
    for peer in (client, stranger):
        with pytest.raises(ProtocolViolation):
            await a.request(peer.peer, FIND)
    await trio.sleep(1)
    assert a.host.serves_kad(stranger.peer) is False


async def test_a_handler_error_resets_the_stream(autojump_clock, lab):
    a, b = await lab.add(), await lab.add(resetting)
    with pytest.raises(ProtocolViolation):
        await a.request(b.peer, FIND)
    assert trio.current_time() == pytest.approx(HANDSHAKE_S + ROUND_TRIP_S)


async def test_a_reply_of_another_type_is_a_violation(autojump_clock, lab):
    a = await lab.add()
    b = await lab.add(answering(replies=[Message(MessageType.FIND_NODE)]))
    assert await a.request(b.peer, FIND)

    async def confused(requester, message):
        return Message(MessageType.GET_VALUE)

    b.script = confused
    with pytest.raises(ProtocolViolation):
        await a.request(b.peer, FIND)


async def test_a_reply_may_not_exceed_what_the_requester_takes(autojump_clock, lab):
    a = await lab.add(reply_bytes_max=16 << 10)
    big = Message(MessageType.GET_VALUE, record=Record(b"k", bytes(20_000)))
    b = await lab.add(answering(replies=[big]))
    with pytest.raises(ProtocolViolation):
        await a.request(b.peer, Message(MessageType.GET_VALUE, key=b"k"))


async def test_a_silent_peer_times_out_and_a_cancelled_request_reaches_it_all_the_same(autojump_clock, lab):
    a, b = await lab.add(), await lab.add(silent)
    started = trio.current_time()
    with pytest.raises(PeerTimeout):
        await a.request(b.peer, FIND, timeout_s=3)
    assert trio.current_time() - started == pytest.approx(3)
    with trio.move_on_after(ONE_WAY_S / 2):
        await a.request(b.peer, FIND)
    await trio.sleep(1)
    assert len(b.received) == 2


async def test_a_notification_is_not_answered(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    message = Message(MessageType.ADD_PROVIDER, key=b"\x12\x20" + bytes(32), provider_peers=(a.info,))
    await a.notify(b.peer, message)
    assert b.received_of(MessageType.ADD_PROVIDER)[0].message == message
    assert b.host.traffic.sent[MessageType.ADD_PROVIDER] == 0


async def test_a_peer_without_a_known_address_is_unreachable(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    hidden = await lab.add(dialable=False)
    for peer in (hidden.peer, a.peer):
        with pytest.raises(PeerUnreachable):
            await a.request(peer, FIND)
    await hidden.request(b.peer, FIND)
    assert await b.request(hidden.peer, FIND), "it can be asked over its own connection"


async def test_a_dead_first_address_does_not_matter(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    await a.host.connect(b.peer, (host_addr("10.9.9.9"), *b.info.addrs), timeout_s=5)
    assert a.host.connected() == (b.peer,)


async def test_an_address_that_another_peer_has_now_does_not_reach_the_first(autojump_clock, lab):
    a, b, c = await lab.add(), await lab.add(), await lab.add()
    (old,) = b.info.addrs
    b.host.set_addrs((host_addr("10.9.9.9"),))
    c.host.set_addrs((old,))
    with pytest.raises(PeerUnreachable):
        await a.request(b.peer, FIND)


async def test_connecting_by_address_learns_the_id(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    text = multiaddrs.format_addr(b.info.addrs[0])
    assert await a.host.connect_addr(text, timeout_s=5) == b.peer
    lab.network.names["/dnsaddr/boot.example"] = (f"{text}/p2p/{a.peer}", f"{text}/p2p/{b.peer}")
    assert await a.host.connect_addr("/dnsaddr/boot.example", timeout_s=5) == b.peer
    with pytest.raises(PeerUnreachable):
        await a.host.connect_addr("/ip4/10.8.8.8/tcp/1", timeout_s=5)


async def test_ping_measures_a_round_trip(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    assert await a.host.ping(b.peer, timeout_s=5) == pytest.approx(ROUND_TRIP_S)


async def test_new_addresses_are_announced_and_used(autojump_clock, lab, listener):
    a, b, c = await lab.add(), await lab.add(), await lab.add()
    b.host.subscribe(listener)
    await a.host.connect(b.peer, timeout_s=5)
    new = host_addr("10.9.9.9")
    b.host.set_addrs((new,))
    assert listener.events[-1] == ("own_addrs",)
    await trio.sleep(1)
    assert a.host.address_book.addrs(b.peer)[0] == new
    with pytest.raises(PeerUnreachable):
        await c.request(b.peer, FIND)
    await c.host.connect(b.peer, (new,), timeout_s=5)


async def test_the_longest_unused_unprotected_connection_is_trimmed(autojump_clock, lab, listener):
    hub = await lab.add(connections_max=2)
    others = [await lab.add() for _ in range(3)]
    hub.host.subscribe(listener)
    hub.host.protect(others[0].peer, True)
    for other in others:
        await hub.host.connect(other.peer, timeout_s=5)
    assert set(hub.host.connected()) == {others[0].peer, others[2].peer}
    assert ("disconnected", others[1].peer) in listener.events
    assert others[1].host.connected() == ()


async def test_the_ports_of_a_host_are_complete(autojump_clock, lab):
    import random

    a = await lab.add()
    ports = a.host.ports(SimClock(), random.Random(1))
    assert isinstance(ports, Ports)
    assert ports.connections.peer_id == a.peer
    assert ports.address_book.own_addrs() == a.info.addrs


class TestAddresses:
    async def test_they_expire_unless_the_peer_is_connected(self, autojump_clock, lab):
        a, b = await lab.add(), await lab.add()
        other = host_addr("10.7.7.7")
        a.host.address_book.add(b.peer, (other,), ttl_s=60)
        await a.host.connect(b.peer, timeout_s=5)
        assert a.host.address_book.addrs(b.peer) == (*b.info.addrs, other)
        await trio.sleep(121)
        assert a.host.address_book.addrs(b.peer) == b.info.addrs

    async def test_identified_addresses_outlive_the_connection_for_a_while(self, autojump_clock, lab):
        a, b = await lab.add(), await lab.add()
        new = host_addr("10.7.7.7")
        b.host.set_addrs((new,))
        await b.host.connect(a.peer, timeout_s=5)
        a.host.disconnect(b.peer)
        assert new in a.host.address_book.addrs(b.peer)
        await trio.sleep(3600)
        assert new not in a.host.address_book.addrs(b.peer)

    async def test_a_filter_refuses_and_counts(self, autojump_clock, lab):
        a = await lab.add(accepts=multiaddrs.is_public)
        before = a.host.address_book.refused_count
        a.host.address_book.add(a.peer, (host_addr("10.0.0.1"), host_addr("8.8.8.8")), ttl_s=5)
        assert a.host.address_book.addrs(a.peer) == (host_addr("8.8.8.8"),)
        assert a.host.address_book.refused_count == before + 1

    async def test_entries_of_a_peer_are_bounded(self, autojump_clock, lab):
        a, b = await lab.add(), await lab.add()
        many = [host_addr(f"10.1.{i // 250}.{i % 250}") for i in range(1000)]
        a.host.address_book.add(b.peer, many, ttl_s=5)
        assert len(a.host.address_book.addrs(b.peer)) <= 32


async def test_wall_clocks_follow_virtual_time_with_their_own_error(autojump_clock):
    clock = SimClock(skew_s=5.0)
    assert clock.unix_now() == pytest.approx(EPOCH_UNIX_S + 5, abs=1)
    before = clock.unix_now()
    await trio.sleep(3600)
    assert clock.unix_now() - before == pytest.approx(3600)
    clock.skew_s = -5.0
    assert clock.unix_now() - before == pytest.approx(3590)


async def test_messages_pass_the_real_codec_in_a_small_network(autojump_clock, lab):
    """A record's over-long key cannot cross the wire; the codec at the other end resets."""
    a, b = await lab.add(), await lab.add()
    with pytest.raises(ProtocolViolation):
        await a.request(b.peer, Message(MessageType.FIND_NODE, key=bytes(5000)))
    assert b.received == []


async def test_traffic_is_counted_by_type(autojump_clock, lab):
    a, b = await lab.add(), await lab.add()
    await a.request(b.peer, FIND)
    find = MessageType.FIND_NODE
    assert a.host.traffic.sent[find] == b.host.traffic.received[find] == 1
    assert b.host.traffic.sent[find] == a.host.traffic.received[find] == 1
    assert lab.network.traffic.sent[find] == 2
    assert lab.network.traffic.sent_bytes[find] == lab.network.traffic.received_bytes[find] > 0
    assert PROTOCOL in a.host.protocols()
