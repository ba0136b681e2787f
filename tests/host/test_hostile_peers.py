"""Floods and forged addresses from peers with an identity: they cost those peers alone."""

from __future__ import annotations

from contextlib import suppress

import trio
from host_helpers import (
    ACK,
    DATA,
    KAD,
    PING,
    SYN,
    addr_text,
    connect,
    echo,
    eventually,
    raw_session,
    running_host,
    still_works,
    yamux_frame,
)
from libp2p.identity.identify.pb.identify_pb2 import Identify as IdentifyMessage

from primedht import limits
from primedht.errors import PeerUnreachable, ProtocolViolation
from primedht.host import ConnectionLimits, generate_private_key
from primedht.host.addresses import Addresses, AddressFilter, is_dialable
from primedht.host.identify import IDENTIFY_PUSH
from primedht.host.keys import peer_id_of
from primedht.host.multistream import encode_line
from primedht.kad.messages import Message, MessageType
from primedht.wire import addrs
from primedht.wire.frames import encode_frame

FIND = Message(MessageType.FIND_NODE, key=b"k")
# --- floods -------------------------------------------------------------------------------------------


async def test_data_that_nobody_reads_does_not_pile_up(monkeypatch):
    """py-libp2p's Yamux buffers whatever comes, window or not."""
    monkeypatch.setattr(limits, "CONNECTION_UNREAD_BYTES_MAX", 1 << 20)

    async def reads_nothing(stream):
        await trio.sleep_forever()

    async with running_host() as host:
        host.streams.serve("/test/deaf", reads_nothing)
        async with raw_session(host) as (secure, stream), trio.open_nursery() as nursery:

            async def drain():
                with suppress(Exception):
                    while await stream.read():
                        pass

            nursery.start_soon(drain)
            await eventually(lambda: host.swarm.connection_count)
            opening = encode_line("/multistream/1.0.0") + encode_line("/test/deaf")
            await secure.write(yamux_frame(DATA, SYN, 1, len(opening)) + opening)
            piece = yamux_frame(DATA, 0, 1, 64 << 10) + bytes(64 << 10)
            with trio.move_on_after(20), suppress(Exception):
                for _ in range(200):
                    await stream.drain()
                    await secure.write(piece)
            await eventually(lambda: not host.swarm.connection_count)
            nursery.cancel_scope.cancel()
        await still_works(host)


async def test_frames_that_are_only_dropped_do_not_stop_the_others():
    """Answers to pings that were never sent: reading them took no checkpoint."""
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with running_host() as host, raw_session(host) as (secure, _):
        await eventually(lambda: host.swarm.connection_count)
        await trio.sleep(0.2)
        frames = 5000
        async with trio.open_nursery() as nursery:
            await secure.write(yamux_frame(PING, ACK, 0, 7) * frames)
            nursery.start_soon(count_turns)
            with suppress(Exception), trio.fail_after(20):  # a strict host may end the connection
                await secure.write(yamux_frame(PING, SYN, 0, 7))
                while (await secure.read(12))[1] != PING:
                    pass
            nursery.cancel_scope.cancel()
        # A host that drops the connection is done at once; one that goes on gives others their turn.
        assert turns >= frames / 64 or not host.swarm.connection_count
        await still_works(host)


async def test_a_peer_that_asks_without_a_pause_keeps_places_free_for_others(monkeypatch):
    """The queue of all requests is first come, first served: no peer may be most of it."""
    monkeypatch.setattr(limits, "KAD_REQUESTS_IN_MAX", 2 * limits.KAD_REQUESTS_PER_PEER_MAX)
    asked = []

    async with running_host() as host, running_host() as greedy, running_host() as honest:

        async def handler(requester, message):
            asked.append(requester.peer)
            if requester.peer == greedy.peer_id:
                await trio.sleep_forever()
            return message

        await host.connections.serve_kad(handler)
        await connect(greedy, host)
        await connect(honest, host)
        async with trio.open_nursery() as nursery:
            frame = encode_frame(b"\x08\x04\x12\x01k")
            for _ in range(limits.KAD_STREAMS_IN_MAX):
                stream = await greedy.streams.open(host.peer_id, (KAD,), timeout_s=10)
                nursery.start_soon(stream.send, frame * 20)
            await eventually(lambda: len(asked) >= limits.KAD_REQUESTS_PER_PEER_MAX)
            for _ in range(20):
                assert await honest.rpc.request(host.peer_id, FIND, timeout_s=10) == FIND
            assert asked.count(greedy.peer_id) == limits.KAD_REQUESTS_PER_PEER_MAX
        for connection in greedy.swarm.all_connections():
            connection.shut()
        server = host.connections.kad_server
        await eventually(lambda: not server._desks)


async def test_thousands_of_requests_sent_at_once_give_the_others_their_turn():
    """They fill a window, come in one read, and are answered without anything to wait for."""
    async with running_host() as host, running_host() as peer:
        await host.connections.serve_kad(echo)
        await connect(peer, host)
        stream = await peer.streams.open(host.peer_id, (KAD,), timeout_s=10)
        await stream.send(encode_frame(b"\x08\x04\x12\x01k") * 10_000)
        answered = host.connections.kad_server.counts
        most, before = 0, 0
        while answered["find_node"] < 10_000:
            await trio.lowlevel.checkpoint()
            most, before = max(most, answered["find_node"] - before), answered["find_node"]
        assert most < 100


async def test_a_connection_that_ends_with_its_dial_leaves_nothing(monkeypatch):
    """Its pool of streams was made after everyone had been told of the end."""
    async with running_host() as a, running_host() as b:
        await b.connections.serve_kad(echo)
        await connect(a, b)
        lost = a.swarm.connection_to(b.peer_id)
        lost.shut()
        monkeypatch.setattr(a.swarm, "connection_to", lambda peer: None)

        async def dial(peer, *_, **__):
            return lost

        monkeypatch.setattr(a.swarm, "connect", dial)
        with suppress(PeerUnreachable):
            await a.rpc.request(b.peer_id, FIND, timeout_s=5)
        assert lost not in a.rpc._pools


async def test_inbound_connections_do_not_keep_a_node_from_dialling():
    """All places taken by peers that came to us, young ones and members of the table alike."""
    few = ConnectionLimits(low=2, high=3, max=3)
    async with (
        running_host(connections=few) as host,
        running_host() as wanted,
        running_host() as a,
        running_host() as b,
        running_host() as c,
    ):
        for intruder in (a, b, c):
            await connect(intruder, host)
        await eventually(lambda: host.swarm.connection_count == 3)
        for intruder in (a, b, c):
            host.connections.protect(intruder.peer_id, True)
        await connect(host, wanted)
        assert host.swarm.connection_count == 3
        async with running_host() as another:
            with suppress(PeerUnreachable, ProtocolViolation):  # told at once, or a moment later
                await another.connect_addr(addr_text(host))
            await eventually(lambda: not another.connections.connected())
        assert wanted.peer_id in host.connections.connected()


# --- what peers say ---------------------------------------------------------------------------------


async def test_names_that_are_not_utf_8_are_left_out():
    """Protobuf gives such a field as bytes; each later request of the peer ended in a TypeError."""
    async with running_host() as peer, running_host() as host:
        await host.connections.serve_kad(echo)
        await connect(peer, host)
        await eventually(lambda: host.connections.facts(peer.peer_id))
        said = IdentifyMessage(protocols=["/x/1"]).SerializeToString()
        stream = await peer.streams.open(host.peer_id, (IDENTIFY_PUSH,), timeout_s=10)
        await stream.send(encode_frame(said + b"\x32\x02\xff\xfe" + b"\x1a\x02\xff\xfe"))
        await stream.finish()
        await eventually(lambda: "/x/1" in host.connections.facts(peer.peer_id).protocols)
        facts = host.connections.facts(peer.peer_id)
        assert facts.protocols == {"/x/1"}
        assert isinstance(facts.agent_version, str)
        assert await peer.rpc.request(host.peer_id, FIND, timeout_s=10) == FIND


def test_an_address_with_a_peer_id_that_is_none_is_not_dialled():
    """The text of such an address cannot be made: that ended the dial of all others beside it."""
    forged = addrs.parse("/ip4/10.0.0.1/tcp/4001") + b"\xa5\x03\x03abc"
    assert not is_dialable(forged)


async def test_one_forged_address_does_not_end_a_dial():
    forged = addrs.parse("/ip4/10.0.0.1/tcp/4001") + b"\xa5\x03\x03abc"
    async with running_host() as a, running_host() as b:
        a.address_book.add(b.peer_id, [forged, *b.address_book.own_addrs()], ttl_s=600)
        await a.connections.connect(b.peer_id, timeout_s=10)


def book(connected: set, **options) -> Addresses:
    permissive = AddressFilter("private", prefix_is_ipfs=False)
    return Addresses(permissive, tuple, connected.__contains__, **options)


def numbered(first: int, count: int) -> list[bytes]:
    return [addrs.parse(f"/ip4/10.0.0.1/tcp/{first + number}") for number in range(count)]


async def test_hearsay_does_not_displace_what_a_peer_says_of_itself(autojump_clock):
    peer, connected = peer_id_of(generate_private_key()), set()
    known = book(connected)
    (own,) = numbered(1, 1)
    known.replace(peer, [own], ttl_s=limits.CONNECTED_ADDRS_TTL_S)
    await trio.sleep(limits.CONNECTED_ADDRS_TTL_S - 1)
    known.add(peer, numbered(1000, 100), ttl_s=limits.HEARD_ADDRS_TTL_S)
    assert own in known.addrs(peer)
    assert len(known.addrs(peer)) == limits.IDENTIFY_ADDRS_MAX


async def test_what_a_connected_peer_said_of_itself_stays_good(autojump_clock):
    """It says so once: half an hour later it could not be named to others, nor dialled again."""
    peer, connected = peer_id_of(generate_private_key()), set()
    known = book(connected)
    connected.add(peer)
    (own,), heard = numbered(1, 1), numbered(2, 1)
    known.replace(peer, [own], ttl_s=limits.CONNECTED_ADDRS_TTL_S)
    known.add(peer, heard, ttl_s=limits.HEARD_ADDRS_TTL_S)
    await trio.sleep(24 * 3600)
    assert known.addrs(peer) == (own,)
    connected.discard(peer)
    known.disconnected(peer)
    assert known.addrs(peer) == (own,)
    await trio.sleep(limits.CONNECTED_ADDRS_TTL_S + 1)
    assert known.addrs(peer) == ()


async def test_many_names_do_not_push_members_out_of_the_book(autojump_clock):
    member, connected = peer_id_of(generate_private_key()), set()
    known = book(connected, is_kept={member}.__contains__, peers_max=8)
    known.add(member, numbered(1, 1), ttl_s=600)
    for _ in range(50):
        known.add(peer_id_of(generate_private_key()), numbered(1, 1), ttl_s=600)
    assert known.addrs(member)
    assert len(known) == 8


async def test_one_more_address_that_answers_than_are_kept(autojump_clock):
    peer = peer_id_of(generate_private_key())
    known = book(set())
    for addr in numbered(1, 2 * limits.IDENTIFY_ADDRS_MAX):
        known.succeeded(peer, addr)
        await trio.sleep(1)
    assert known.addrs(peer)[0] == numbered(1, 2 * limits.IDENTIFY_ADDRS_MAX)[-1]
