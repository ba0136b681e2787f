"""Dialling: every address, no fixed delay, one dial per peer, short backoff (B5, B6)."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from host_helpers import addr_text, connect, endpoint, eventually, running_host

from primedht import limits
from primedht.errors import PeerTimeout, PeerUnreachable
from primedht.host import generate_private_key, peer_id_of
from primedht.host.addresses import tcp_addr
from primedht.wire.addrs import parse


def dead_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@asynccontextmanager
async def silent_port():
    """A port that accepts connections and never says a word; yields (port, number of accepted)."""
    accepted = []

    async def silent(stream):
        accepted.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, silent, 0)
        yield listeners[0].socket.getsockname()[1], accepted
        nursery.cancel_scope.cancel()


def own_addr(host) -> bytes:
    return tcp_addr(*endpoint(host))


async def test_no_fixed_delay_per_dial():
    """B5: 250 ms were added to every dial."""
    async with running_host() as a, running_host() as b:
        started = trio.current_time()
        for _ in range(20):
            await connect(a, b)
            await a.connections.disconnect(b.peer_id)
        assert trio.current_time() - started < 20 * 0.25


async def test_every_address_is_tried_and_a_dead_first_one_costs_nothing():
    """B6: only one address per transport class was dialled."""
    async with running_host() as a, running_host() as b:
        dead = [parse(f"/ip4/127.0.0.1/tcp/{dead_port()}") for _ in range(4)]
        started = trio.current_time()
        await a.connections.connect(b.peer_id, [*dead, own_addr(b)], timeout_s=15)
        assert trio.current_time() - started < limits.CONNECT_TIMEOUT_S


async def test_a_silent_address_delays_the_next_by_the_stagger_only():
    async with running_host() as a, running_host() as b, silent_port() as (port, accepted):
        silent = parse(f"/ip4/127.0.0.1/tcp/{port}")
        started = trio.current_time()
        await a.connections.connect(b.peer_id, [silent, own_addr(b)], timeout_s=15)
        assert limits.DIAL_STAGGER_S * 0.9 < trio.current_time() - started < limits.HANDSHAKE_TIMEOUT_S
        assert len(accepted) == 1
        assert a.swarm.connection_count == 1


async def test_a_peer_that_took_the_connection_is_reached_before_it_says_a_word():
    """A lookup is more patient with it than with one from which nothing came back at all."""
    async with running_host() as a, running_host() as b, silent_port() as (port, _):
        reached = a.connections.is_reached
        assert not reached(b.peer_id)
        async with trio.open_nursery() as nursery:
            silent = parse(f"/ip4/127.0.0.1/tcp/{port}")
            nursery.start_soon(partial(a.connections.connect, b.peer_id, [silent], timeout_s=15))
            await eventually(lambda: reached(b.peer_id))
            assert a.connections.connected() == ()
            await a.connections.connect(b.peer_id, [own_addr(b)], timeout_s=15)
            assert reached(b.peer_id)
        await a.connections.disconnect(b.peer_id)
        await eventually(lambda: not reached(b.peer_id))


async def test_the_address_that_worked_is_tried_first():
    async with running_host() as a, running_host() as b:
        dead = parse(f"/ip4/127.0.0.1/tcp/{dead_port()}")
        a.address_book.add(b.peer_id, [dead, own_addr(b)], ttl_s=600)
        assert a.address_book.addrs(b.peer_id)[0] == dead
        await a.connections.connect(b.peer_id, timeout_s=15)
        assert a.address_book.addrs(b.peer_id)[0] == own_addr(b)


async def test_simultaneous_dials_to_one_peer_are_one_dial():
    async with running_host() as a, running_host() as b:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(connect, a, b)
        assert a.stats()["dials"] == {"succeeded": 1}
        await eventually(lambda: b.swarm.connection_count == 1)


async def test_an_address_that_comes_up_during_a_dial_is_tried_too():
    async with running_host() as a, running_host() as b, silent_port() as (port, accepted):
        silent = parse(f"/ip4/127.0.0.1/tcp/{port}")
        async with trio.open_nursery() as nursery:

            async def with_the_silent_one():
                await a.connections.connect(b.peer_id, [silent], timeout_s=15)

            nursery.start_soon(with_the_silent_one)
            await eventually(lambda: accepted)
            await a.connections.connect(b.peer_id, [own_addr(b)], timeout_s=5)
        assert a.stats()["dials"] == {"succeeded": 1}


async def test_a_caller_that_is_cancelled_leaves_the_dial_to_the_others():
    async with running_host() as a, running_host() as b:
        async with trio.open_nursery() as nursery:
            impatient = trio.CancelScope()

            async def caller(scope):
                with scope:
                    await a.connections.connect(b.peer_id, [own_addr(b)], timeout_s=15)

            nursery.start_soon(caller, impatient)
            nursery.start_soon(caller, trio.CancelScope())
            await trio.lowlevel.checkpoint()
            impatient.cancel()
        assert a.connections.connected() == (b.peer_id,)


async def test_dials_back_off_shortly_and_an_explicit_connect_does_not():
    peer = peer_id_of(generate_private_key())
    async with running_host() as a:
        a.address_book.add(peer, [parse(f"/ip4/127.0.0.1/tcp/{dead_port()}")], ttl_s=600)
        for expected in ("answers", "a moment ago"):
            with pytest.raises(PeerUnreachable, match=expected):
                await a.connections.ping(peer, timeout_s=10)
        with pytest.raises(PeerUnreachable, match="answers"):
            await a.connections.connect(peer, timeout_s=10)
        assert limits.DIAL_BACKOFF_S_MAX <= 15
        a.address_book.add(peer, [parse(f"/ip4/127.0.0.1/tcp/{dead_port()}")], ttl_s=600)
        with pytest.raises(PeerUnreachable, match="answers"):  # a new address is tried at once
            await a.connections.ping(peer, timeout_s=10)


async def test_a_peer_that_comes_back_is_reached_again(monkeypatch):
    monkeypatch.setattr(limits, "DIAL_BACKOFF_S_MIN", 0.05)
    key = generate_private_key()
    port = dead_port()
    from host_helpers import config

    from primedht.host import open_host

    async with running_host() as a:
        a.address_book.add(peer_id_of(key), [parse(f"/ip4/127.0.0.1/tcp/{port}")], ttl_s=600)
        with pytest.raises(PeerUnreachable):
            await a.connections.ping(peer_id_of(key), timeout_s=10)
        async with open_host(key, config(listen=(f"/ip4/127.0.0.1/tcp/{port}",))):
            with trio.fail_after(15):
                while True:
                    try:
                        await a.connections.ping(peer_id_of(key), timeout_s=10)
                        break
                    except PeerUnreachable:
                        await trio.sleep(0.01)


async def test_a_peer_without_a_usable_address_is_unreachable():
    peer = peer_id_of(generate_private_key())
    async with running_host() as a:
        with pytest.raises(PeerUnreachable, match="no address"):
            await a.connections.connect(peer, timeout_s=10)
        quic = parse("/ip4/127.0.0.1/udp/4001/quic-v1")
        with pytest.raises(PeerUnreachable, match="no address"):
            await a.connections.connect(peer, [quic, b"\xff\xff", b""], timeout_s=10)
        bad_name = b"\x36\x02\xff\xfe\x06\x10\x01"  # /dns4 of bytes that are not UTF-8
        with pytest.raises(PeerUnreachable, match="no address"):
            await a.connections.connect(peer, [bad_name], timeout_s=10)


async def test_connect_ends_at_its_time_limit():
    peer = peer_id_of(generate_private_key())
    async with running_host() as a, silent_port() as (port, _):
        with pytest.raises(PeerTimeout):
            await a.connections.connect(peer, [parse(f"/ip4/127.0.0.1/tcp/{port}")], timeout_s=0.2)
        with pytest.raises(PeerTimeout):
            await a.connect_addr(f"/ip4/127.0.0.1/tcp/{port}", timeout_s=0.2)


async def test_both_sides_dialling_at_once_works():
    async with running_host() as a, running_host() as b:
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect, a, b)
                nursery.start_soon(connect, b, a)
            assert await a.connections.ping(b.peer_id, timeout_s=10) > 0
            assert await b.connections.ping(a.peer_id, timeout_s=10) > 0
            await a.connections.disconnect(b.peer_id)
            await eventually(lambda: not a.connections.connected() and not b.connections.connected())


async def test_who_waits_for_a_dial_is_served_by_the_peer_that_connects():
    """Its address is dead or slow, but it is here."""
    async with running_host() as a, running_host() as b, silent_port() as (port, accepted):
        silent = parse(f"/ip4/127.0.0.1/tcp/{port}")
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(a.connections.connect, b.peer_id, [silent], timeout_s=60))
            await eventually(lambda: accepted)
            await connect(b, a)
        assert trio.current_time() - started < limits.HANDSHAKE_TIMEOUT_S
        assert a.connections.connected() == (b.peer_id,)


async def test_connections_to_one_peer_are_bounded():
    async with running_host() as a, running_host() as b:
        for _ in range(limits.CONNECTIONS_PER_PEER_MAX + 3):
            await a.swarm.dialer.dial(b.peer_id, [own_addr(b)], explicit=True)
        await eventually(lambda: b.swarm.connection_count == limits.CONNECTIONS_PER_PEER_MAX)
        await eventually(lambda: a.swarm.connection_count == limits.CONNECTIONS_PER_PEER_MAX)
        assert await a.connections.ping(b.peer_id, timeout_s=10) > 0


async def test_a_confined_network_dials_and_admits_only_private_and_listed_addresses():
    """A private node on /ipfs: one wrong bootstrap line cannot join it to the public DHT."""
    peer = peer_id_of(generate_private_key())
    public = parse("/ip4/8.8.8.8/tcp/4001")
    async with running_host(kad_protocol="/ipfs/kad/1.0.0") as a, running_host() as b:
        a.address_book.add(peer, [public, parse("/dns4/example.org/tcp/1")], ttl_s=600)
        assert a.address_book.addrs(peer) == ()
        with pytest.raises(PeerUnreachable, match="no address"):
            await a.connections.connect(peer, [public], timeout_s=10)
        assert a.stats()["refused_addrs"]["public_address"] >= 3
        await a.connect_addr(addr_text(b))
        assert not a.filter.admits("8.8.8.8", peer)
        a.allow("/ip4/8.8.8.8/tcp/4001")
        assert a.filter.admits("8.8.8.8", peer)
        a.address_book.add(peer, [public], ttl_s=600)
        assert a.address_book.addrs(peer) == (public,)
