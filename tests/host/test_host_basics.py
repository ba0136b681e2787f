"""Two hosts meet: connecting, identify, ping, requests, modes, closing."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
from host_helpers import KAD, Recorder, addr_text, config, connect, echo, eventually, running_host

from primedht.errors import ConfigInvalid, InvalidArgument, ListenFailed, PeerUnreachable
from primedht.host import ConnectionLimits, generate_private_key, open_host, peer_id_of
from primedht.host.keys import load_key_pair
from primedht.ids import PeerId
from primedht.kad.messages import Message, MessageType

FIND = Message(MessageType.FIND_NODE, key=b"k")


async def test_two_hosts_connect_identify_ping_and_answer_requests():
    async with running_host() as a, running_host() as b:
        await b.connections.serve_kad(echo)
        assert await a.connect_addr(addr_text(b)) == b.peer_id
        assert a.connections.serves_kad(b.peer_id) is True
        assert 0 < await a.connections.ping(b.peer_id, timeout_s=10) < 10
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        await eventually(lambda: b.connections.serves_kad(a.peer_id) is False)
        assert 0 < await b.connections.ping(a.peer_id, timeout_s=10) < 10
        assert a.connections.connected() == (b.peer_id,)
        assert b.connections.connected() == (a.peer_id,)


async def test_a_missing_peer_id_is_learnt_in_the_handshake():
    async with running_host() as a, running_host() as b:
        assert await a.connect_addr(b.listen_addrs[0]) == b.peer_id


async def test_on_public_networks_an_address_must_name_its_peer():
    async with running_host(network_kind="public") as a, running_host() as b:
        with pytest.raises(InvalidArgument):
            await a.connect_addr(b.listen_addrs[0])


async def test_names_in_addresses_are_resolved():
    async with running_host() as a, running_host() as b:
        port = b.swarm.listening()[0][1]
        assert await a.connect_addr(f"/dns4/localhost/tcp/{port}/p2p/{b.peer_id}") == b.peer_id


async def test_another_peer_at_the_address_is_refused():
    async with running_host() as a, running_host() as b:
        other = peer_id_of(generate_private_key())
        with pytest.raises(PeerUnreachable, match="no address of"):
            await a.connect_addr(f"{b.listen_addrs[0]}/p2p/{other}")
        assert a.connections.connected() == ()


async def test_a_node_does_not_connect_to_itself():
    async with running_host() as a:
        with pytest.raises(PeerUnreachable):
            await a.connect_addr(a.listen_addrs[0])
        with pytest.raises(PeerUnreachable):
            await a.connections.connect(a.peer_id, timeout_s=5)
        await eventually(lambda: a.swarm.connection_count == 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6_works_and_the_remote_ip_is_known():
    """B19."""
    seen = []

    async def handler(requester, message):
        seen.append(requester.ip)
        return message

    try:
        async with running_host(listen=("/ip6/::1/tcp/0",)) as b, running_host() as a:
            await b.connections.serve_kad(handler)
            await connect(a, b)
            await a.rpc.request(b.peer_id, FIND, timeout_s=10)
            assert seen == ["::1"]
            connection = b.swarm.connection_to(a.peer_id)
            assert connection.ip == "::1"
            assert connection.addr.startswith(b"\x29")
    except ListenFailed:
        pytest.skip("no IPv6 loopback here")


async def test_the_requesters_ip_is_known():
    seen = []

    async def handler(requester, message):
        seen.append((requester.peer, requester.ip))
        return message

    async with running_host() as a, running_host() as b:
        await b.connections.serve_kad(handler)
        await connect(a, b)
        await a.rpc.request(b.peer_id, FIND, timeout_s=10)
        assert seen == [(a.peer_id, "127.0.0.1")]


async def test_listeners_hear_of_identify_and_of_the_last_connection_closing():
    async with running_host() as a:
        recorder = Recorder()
        a.connections.subscribe(recorder)
        async with running_host() as b:
            await connect(a, b)
            assert [peer for peer, _ in recorder.identified] == [b.peer_id]
            assert "/ipfs/ping/1.0.0" in recorder.identified[0][1]
            assert recorder.disconnected == []
        await eventually(lambda: recorder.disconnected == [b.peer_id])
        assert a.connections.serves_kad(b.peer_id) is None


async def test_a_listener_that_comes_late_hears_of_those_who_are_there():
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        late = Recorder()
        a.connections.subscribe(late)
        assert [peer for peer, _ in late.identified] == [b.peer_id]
        assert "/ipfs/ping/1.0.0" in late.identified[0][1]


async def test_a_listener_that_fails_harms_nobody():
    class Broken(Recorder):
        def on_identified(self, peer, protocols):
            raise ZeroDivisionError

        def on_disconnected(self, peer):
            raise ZeroDivisionError

    async with running_host() as a, running_host() as b:
        recorder = Recorder()
        a.connections.subscribe(Broken())
        a.connections.subscribe(recorder)
        await connect(a, b)
        await a.connections.disconnect(b.peer_id)
        assert len(recorder.identified) == len(recorder.disconnected) == 1
        await connect(a, b)


async def test_closing_with_fifty_connections_is_quick():
    """B16: 0.2 s per connection, one after the other."""
    async with running_host() as hub, trio.open_nursery() as nursery:
        closing = trio.Event()

        async def spoke(task_status):
            async with running_host(listen=()) as host:
                await connect(host, hub)
                task_status.started()
                await closing.wait()

        for _ in range(50):
            await nursery.start(spoke)
        await eventually(lambda: len(hub.connections.connected()) == 50)
        started = trio.current_time()
        await hub.close()
        assert trio.current_time() - started < 3
        closing.set()


async def test_an_exception_in_the_body_comes_out_as_it_is():
    with pytest.raises(KeyError):
        async with running_host():
            raise KeyError("mine")


async def test_cancelling_ends_the_host():
    with trio.move_on_after(0.1) as scope:
        async with running_host() as host:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert host.swarm.sockets == []


async def test_a_port_in_use_is_one_clear_error():
    async with running_host() as a:
        with pytest.raises(ListenFailed, match="is another node running"):
            async with running_host(listen=a.listen_addrs):
                pass


async def test_bad_addresses_and_keys_are_refused():
    for changes in ({"listen": ("/ip4/1.2.3.4",)}, {"listen": ("nonsense",)}, {"announce": ("/tcp",)}):
        with pytest.raises(InvalidArgument):
            async with running_host(**changes):
                pass
    with pytest.raises(InvalidArgument):
        async with open_host(b"not a key", config()):
            pass


def test_contradictory_connection_limits_are_refused():
    for changes in ({"low": 9, "high": 8}, {"high": 400, "max": 300}, {"low": 0, "high": 0, "max": 0}):
        with pytest.raises(ConfigInvalid):
            ConnectionLimits(**changes)


async def test_the_programs_logging_is_left_alone():
    root = logging.getLogger()
    before = list(root.handlers)
    for handler in before:
        root.removeHandler(handler)
    try:
        async with running_host() as a, running_host() as b:
            await connect(a, b)
            assert root.handlers == []
    finally:
        for handler in before:
            root.addHandler(handler)


async def test_keys_are_written_as_go_and_js_write_them_and_read_in_either_form():
    key = generate_private_key()
    pair = load_key_pair(key)
    assert key[:4] == bytes.fromhex("08011240")
    assert len(key) == 68
    assert isinstance(peer_id_of(key), PeerId)
    assert peer_id_of(pair.private_key.serialize()) == peer_id_of(key)  # py-libp2p: the seed alone
    with pytest.raises(InvalidArgument):
        peer_id_of(key[:-32] + bytes(32))


async def test_kad_is_listed_only_while_it_is_served_and_peers_are_pushed_the_change():
    """behaviour 32, the host's part."""
    async with running_host() as a, running_host() as b:
        recorder = Recorder()
        a.connections.subscribe(recorder)
        await connect(a, b)
        assert a.connections.serves_kad(b.peer_id) is False
        await b.connections.serve_kad(echo)
        await eventually(lambda: a.connections.serves_kad(b.peer_id))
        assert KAD in recorder.identified[-1][1]
        await b.connections.serve_kad(None)
        await eventually(lambda: a.connections.serves_kad(b.peer_id) is False)
        assert KAD not in recorder.identified[-1][1]


async def test_a_mode_change_during_identify_is_not_lost():
    """A peer that asked just before the change is pushed the change all the same."""
    async with running_host() as a, running_host() as b:
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect, a, b)
                await b.connections.serve_kad(echo)
            await eventually(lambda: a.connections.serves_kad(b.peer_id))
            await b.connections.serve_kad(None)
            await a.connections.disconnect(b.peer_id)
            await eventually(lambda: not a.connections.connected() and not b.connections.connected())


async def test_trimming_closes_the_longest_silent_and_spares_the_protected():
    limits = ConnectionLimits(low=2, high=4, max=10, grace_s=0)
    async with running_host(connections=limits) as hub, trio.open_nursery() as nursery:
        closing = trio.Event()
        hosts = []

        async def spoke(task_status):
            async with running_host(listen=()) as host:
                await connect(host, hub)
                hosts.append(host)
                task_status.started()
                await closing.wait()

        for _ in range(6):
            await nursery.start(spoke)
        await eventually(lambda: len(hub.connections.connected()) == 6)
        hub.connections.protect(hosts[0].peer_id, True)
        hub.swarm.trim_above_high()
        left = hub.connections.connected()
        assert len(left) == 2
        assert hosts[0].peer_id in left
        closing.set()


async def test_a_full_node_makes_room_for_a_newcomer_unless_all_are_protected():
    limits = ConnectionLimits(low=2, high=2, max=2, grace_s=0)
    async with (
        running_host(connections=limits) as hub,
        running_host() as a,
        running_host() as b,
        running_host() as c,
    ):
        await connect(a, hub)
        await connect(b, hub)
        await connect(c, hub)
        assert len(hub.connections.connected()) == 2
        for host in (a, b, c):
            hub.connections.protect(host.peer_id, True)
        refused = ({a.peer_id, b.peer_id, c.peer_id} - set(hub.connections.connected())).pop()
        host = {x.peer_id: x for x in (a, b, c)}[refused]
        await eventually(lambda: not host.connections.connected())
        with pytest.raises(PeerUnreachable):
            await host.connect_addr(addr_text(hub))
        assert len(hub.connections.connected()) == 2
        assert hub.stats()["swarm"]["refused_full"] >= 1


async def test_own_key_survives_five_thousand_known_peers():
    """B3."""
    from libp2p.peer.id import ID
    from multiaddr import Multiaddr

    async with running_host() as a, running_host() as b:
        addr = Multiaddr("/ip4/10.0.0.1/tcp/4001")
        store = a.streams.get_peerstore()
        for number in range(5000):
            peer = PeerId(b"\x12\x20" + number.to_bytes(32, "big"))
            a.address_book.add(peer, [addr.to_bytes()], ttl_s=600)
            store.add_addrs(ID(bytes(peer)), [addr], 600)
        assert a.streams.get_private_key().get_public_key().serialize()
        assert len(a.address_book) == 5000
        await connect(b, a)
        assert await b.connections.ping(a.peer_id, timeout_s=10) > 0


async def test_the_host_dials_nobody_by_itself():
    """py-libp2p's auto-connector is off: known addresses alone make no connection."""
    async with running_host() as a, running_host() as b:
        a.address_book.add(b.peer_id, b.address_book.own_addrs(), ttl_s=600)
        await trio.sleep(0.3)
        assert a.connections.connected() == ()
