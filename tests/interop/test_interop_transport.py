"""Our Noise and Yamux with those of real go and js peers: bulk, requests, ends, many streams at once.

With a go peer that dials and a js peer that is dialled: test_pairings.py has it the other way round.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import trio
from peers import Peer, open_peer

from primedht.host import Host, HostConfig, generate_private_key, open_host
from primedht.host.streams import Stream, StreamReset
from primedht.host.yamux import YamuxConnection
from primedht.ids import PeerId

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

ECHO, SINK, RESET = "/test/echo/1.0.0", "/test/sink/1.0.0", "/test/reset/1.0.0"
BULK_BYTES = 16 << 20
MANY = 1000

other_pairings = pytest.mark.parametrize(
    ("kind", "we_dial"), [("go", False), ("js", True)], ids=["go dials", "js is dialled"]
)


@asynccontextmanager
async def connected(kind: Literal["go", "js"], *, we_dial: bool) -> AsyncIterator[tuple[Host, Peer, PeerId]]:
    """Yield our host, the peer and its id, connected."""

    async def echo(stream: Stream) -> None:
        while data := await stream.receive():
            await stream.send(data)

    async def sink(stream: Stream) -> None:
        digest, size = hashlib.sha256(), 0
        while data := await stream.receive():
            digest.update(data)
            size += len(data)
        await stream.send(size.to_bytes(8, "big") + digest.digest())

    async def reset(stream: Stream) -> None:
        await stream.receive()
        await stream.reset()

    config = HostConfig(
        listen=("/ip4/127.0.0.1/tcp/0",),
        kad_protocol="/test/kad/1.0.0",
        transport="primedht",
    )
    async with open_host(generate_private_key(), config) as ours, open_peer(kind, prefix="/test") as peer:
        for protocol, handler in ((ECHO, echo), (SINK, sink), (RESET, reset)):
            ours.streams.serve(protocol, handler, streams_per_peer_max=2 * MANY)
        if we_dial:
            await ours.connect_addr(peer.addr)
        else:
            await peer.call("connect", addr=f"{ours.listen_addrs[0]}/p2p/{ours.peer_id}")
        yield ours, peer, PeerId.from_text(peer.peer_id)


async def read_all(stream: Stream) -> bytes:
    pieces = []
    while data := await stream.receive():
        pieces.append(data)
    return b"".join(pieces)


def muxer(ours: Host, peer: PeerId) -> YamuxConnection:
    connection = ours.swarm.connection_to(peer)
    assert connection is not None
    muxed = connection.muxed_conn
    assert isinstance(muxed, YamuxConnection)
    return muxed


@other_pairings
async def test_bulk_arrives_whole_in_both_directions(kind: Literal["go", "js"], we_dial: bool) -> None:
    async with connected(kind, we_dial=we_dial) as (ours, peer, peer_id):
        # The peer checks the echo of its own bytes, and what our sink answers.
        for op in ("echo", "sink"):
            reply = await peer.call(
                op,
                peer=str(ours.peer_id),
                protocol={"echo": ECHO, "sink": SINK}[op],
                bytes_n=BULK_BYTES,
                chunk=100_000,
                timeout_s=120,
            )
            assert reply["bytes_n"] == BULK_BYTES
        stream = await ours.streams.open(peer_id, (SINK,), timeout_s=10)
        digest = hashlib.sha256()
        for _ in range(BULK_BYTES // 100_000):
            piece = os.urandom(100_000)
            digest.update(piece)
            await stream.send(piece)
        await stream.finish()
        with trio.fail_after(60):
            answer = await read_all(stream)
        size = BULK_BYTES // 100_000 * 100_000
        assert answer == size.to_bytes(8, "big") + digest.digest()


@other_pairings
async def test_many_streams_at_once_and_then_one_after_the_other(
    kind: Literal["go", "js"], we_dial: bool
) -> None:
    async with connected(kind, we_dial=we_dial) as (ours, _, peer_id):

        async def call(number: int) -> None:
            stream = await ours.streams.open(peer_id, (ECHO,), timeout_s=60)
            payload = b"%06d" % number * 30
            await stream.send(payload)
            await stream.finish()
            assert await read_all(stream) == payload
            await stream.close()

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(MANY - 50):  # go counts its own streams too
                    nursery.start_soon(call, number)
            for number in range(200):
                await call(number)
            while muxer(ours, peer_id).session.stream_count > 4:  # noqa: ASYNC110 - identify, kad
                await trio.sleep(0.01)


@other_pairings
async def test_ten_thousand_requests_on_reused_streams(kind: Literal["go", "js"], we_dial: bool) -> None:
    async with connected(kind, we_dial=we_dial) as (ours, _, peer_id):

        async def ask() -> None:
            stream = await ours.streams.open(peer_id, (ECHO,), timeout_s=30)
            for number in range(1000):
                payload = b"%05d" % number * 20
                await stream.send(payload)
                received = b""
                while len(received) < len(payload):
                    received += await stream.receive()
                assert received == payload
            await stream.close()

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(ask)


@other_pairings
async def test_resets_show_as_resets_and_leave_the_connection(
    kind: Literal["go", "js"], we_dial: bool
) -> None:
    async with connected(kind, we_dial=we_dial) as (ours, peer, peer_id):
        reply = await peer.call(
            "raw_request", peer=str(ours.peer_id), protocol=RESET, frames_b64=[b"x"], read_frames=1
        )
        assert reply["end"] == "reset"
        for _ in range(20):
            stream = await ours.streams.open(peer_id, (ECHO,), timeout_s=10)
            await stream.send(bytes(100_000))
            await stream.reset()
            with pytest.raises(StreamReset):
                await stream.receive()
        stream = await ours.streams.open(peer_id, (ECHO,), timeout_s=10)
        await stream.send(b"still here")
        assert await stream.receive() == b"still here"


@pytest.mark.parametrize("kind", ["go", "js"])
async def test_go_and_js_settle_the_muxer_in_the_handshake_as_they_can(kind: Literal["go", "js"]) -> None:
    for we_dial in (True, False):
        async with connected(kind, we_dial=we_dial) as (ours, _, peer_id):
            agreed = muxer(ours, peer_id).secured_conn.muxer
            assert agreed in ("/yamux/1.0.0", None)
            if kind == "go":
                assert agreed == "/yamux/1.0.0"
