"""Both transports of a host, ours and py-libp2p's, with each other."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

import pytest
import trio
from host_helpers import connect, echo, eventually, running_host
from libp2p.stream_muxer.yamux.yamux import Yamux

from primedht.errors import PrimeDhtError
from primedht.host.multistream import MULTISTREAM, encode_line
from primedht.host.noise import SecureConnection
from primedht.host.yamux import YamuxConnection
from primedht.kad.messages import Message, MessageType, Record

PAIRINGS = [(a, b) for a in ("primedht", "libp2p") for b in ("primedht", "libp2p")]
OURS = ("primedht", "primedht")


@pytest.mark.parametrize(("dialer", "listener"), PAIRINGS)
async def test_requests_of_every_size_are_answered_in_both_directions(dialer, listener):
    async with running_host(transport=dialer) as a, running_host(transport=listener) as b:
        await a.connections.serve_kad(echo)
        await b.connections.serve_kad(echo)
        await connect(a, b)
        for size in (0, 1000, 60_000):
            request = Message(MessageType.FIND_NODE, record=Record(key=b"k", value=os.urandom(size)))
            assert await a.rpc.request(b.peer_id, request, timeout_s=20) == request
            assert await b.rpc.request(a.peer_id, request, timeout_s=20) == request
        assert await a.connections.ping(b.peer_id, timeout_s=10) > 0


@pytest.mark.parametrize(("dialer", "listener"), PAIRINGS)
async def test_streams_carry_bulk_both_ways_and_half_close(dialer, listener):
    size = (8 if (dialer, listener) == OURS else 2) << 20
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def send_back(stream):
        while data := await stream.receive():
            await stream.send(data)
        await stream.finish()

    async with running_host(transport=dialer) as a, running_host(transport=listener) as b:
        b.streams.serve("/back", send_back)
        await connect(a, b)
        stream = await a.streams.open(b.peer_id, ("/back",), timeout_s=10)

        async def send():
            piece = os.urandom(100_000)
            for _ in range(size // len(piece)):
                sent.update(piece)
                await stream.send(piece)
            await stream.finish()

        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while data := await stream.receive():
                    received.update(data)
        assert received.digest() == sent.digest()
        await stream.close()


async def test_the_key_chooses_whose_noise_and_yamux_run():
    async with running_host(transport="primedht") as a, running_host(transport="libp2p") as b:
        await connect(a, b)
        ours = a.swarm.connection_to(b.peer_id).muxed_conn
        await eventually(lambda: b.swarm.connection_to(a.peer_id))
        stock = b.swarm.connection_to(a.peer_id).muxed_conn
        assert isinstance(ours, YamuxConnection)
        assert isinstance(ours.secured_conn, SecureConnection)
        assert ours.secured_conn.muxer is None  # py-libp2p does not offer one in the handshake
        assert isinstance(stock, Yamux)


async def test_between_ours_the_handshake_settles_the_muxer():
    async with running_host(transport="primedht") as a, running_host(transport="primedht") as b:
        await connect(a, b)
        assert a.swarm.connection_to(b.peer_id).muxed_conn.secured_conn.muxer == "/yamux/1.0.0"


async def test_memory_for_received_data_is_shared_by_a_nodes_connections():
    async with (
        running_host(transport="primedht") as a,
        running_host(transport="primedht") as b,
        running_host(transport="primedht") as hub,
    ):
        await connect(a, hub)
        await connect(b, hub)
        budgets = {id(c.muxed_conn.session._budget) for c in hub.swarm.all_connections()}
        assert len(budgets) == 1


async def test_a_small_request_is_answered_during_a_bulk_transfer():
    """Fairness, end to end: both directions of one connection are full of bulk meanwhile."""

    async def sink(stream):
        while await stream.receive():
            pass

    async with running_host(transport="primedht") as a, running_host(transport="primedht") as b:
        await b.connections.serve_kad(echo)
        b.streams.serve("/sink", sink)
        await connect(a, b)
        request = Message(MessageType.FIND_NODE, key=b"k")

        async def bulk():
            stream = await a.streams.open(b.peer_id, ("/sink",), timeout_s=10)
            while True:
                await stream.send(bytes(1 << 20))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(bulk)
            connection = a.swarm.connection_to(b.peer_id)
            await eventually(lambda: connection.muxed_conn.session.queued_bytes > 1 << 20)
            waits = []
            for _ in range(30):
                started = trio.current_time()
                assert await a.rpc.request(b.peer_id, request, timeout_s=20) == request
                waits.append(trio.current_time() - started)
            nursery.cancel_scope.cancel()
        # Queued behind the bulk it would wait for several MB; the machine may be busy, the best is not.
        assert min(waits) < 0.05


async def test_the_first_message_of_noise_goes_out_with_its_proposal():
    received = b""

    async def answer_nothing(stream):
        nonlocal received
        async for data in stream:
            received += data

    proposal = encode_line(MULTISTREAM) + encode_line("/noise")
    first_message_bytes = 2 + 32  # its length, an ephemeral key
    async with trio.open_nursery() as nursery, running_host(transport="primedht") as host:
        listeners = await nursery.start(trio.serve_tcp, answer_nothing, 0)
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(suppressed(host.connect_addr), f"/ip4/127.0.0.1/tcp/{port}")
        await eventually(lambda: len(received) >= len(proposal) + first_message_bytes)
        assert received.startswith(proposal)
        assert received[len(proposal) :][:2] == b"\x00\x20"
        nursery.cancel_scope.cancel()


def suppressed(call):
    async def run(*args):
        with suppress(PrimeDhtError):
            await call(*args)

    return run
