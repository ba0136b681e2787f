"""Peers that abuse Noise and Yamux over a real socket: each loses its connection, and gets no memory.

The attacker has an identity and finishes the handshake; what it then sends no honest session would.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.lowlevel
from host_helpers import (
    DATA,
    PING,
    SYN,
    WINDOW_UPDATE,
    eventually,
    raw_session,
    running_host,
    still_works,
    yamux_frame,
)

from primedht import limits
from primedht.host.multistream import MULTISTREAM, encode_line
from primedht.host.yamux.frames import RST

DEAF = encode_line(MULTISTREAM) + encode_line("/test/deaf")
PIECE = bytes(60_000)


def resident_bytes() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


async def beyond_the_window(send) -> None:
    """Sends on and on to a stream that nobody reads."""
    await send(yamux_frame(DATA, SYN, 1, len(DEAF)) + DEAF)
    while True:
        await send(yamux_frame(DATA, 0, 1, len(PIECE)) + PIECE)


async def streams_without_end(send) -> None:
    stream_id = 1
    while True:
        await send(b"".join(yamux_frame(WINDOW_UPDATE, SYN, stream_id + 2 * i, 0) for i in range(500)))
        stream_id += 1000


async def full_windows_without_end(send) -> None:
    """Each stream is within its window; together they are hundreds of megabytes."""
    window = yamux_frame(DATA, 0, 0, len(PIECE))
    for stream_id in range(1, 10_000, 2):
        await send(yamux_frame(DATA, SYN, stream_id, len(DEAF)) + DEAF)
        header = window[:4] + stream_id.to_bytes(4, "big") + window[8:]
        for _ in range(4):
            await send(header + PIECE)


async def streams_opened_and_reset(send) -> None:
    stream_id = 1
    while True:
        await send(
            b"".join(
                yamux_frame(WINDOW_UPDATE, flags, stream_id + 2 * i, 0)
                for i in range(250)
                for flags in (SYN, RST)
            )
        )
        stream_id += 500


async def pings(send) -> None:
    while True:
        await send(yamux_frame(PING, SYN, 0, 7) * 1000)


async def empty_frames(send) -> None:
    await send(yamux_frame(DATA, SYN, 1, len(DEAF)) + DEAF)
    while True:
        await send(yamux_frame(DATA, 0, 1, 0) * 1000)


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "never reads"])
@pytest.mark.parametrize(
    "attack",
    [
        beyond_the_window,
        streams_without_end,
        full_windows_without_end,
        streams_opened_and_reset,
        pings,
        empty_frames,
    ],
)
async def test_it_loses_its_connection_and_takes_no_memory(attack, reads, monkeypatch):
    monkeypatch.setattr(limits, "YAMUX_CHURN_BURST", 256)  # the same, in less time

    async def deaf(stream):
        await trio.sleep_forever()

    async with running_host(transport="primedht") as host:
        host.streams.serve("/test/deaf", deaf, streams_per_peer_max=10_000)
        before = resident_bytes()
        async with raw_session(host) as (secure, socket), trio.open_nursery() as nursery:
            sent_bytes = 0

            async def send(data: bytes) -> None:
                nonlocal sent_bytes
                await socket.drain()
                await secure.write(data)
                sent_bytes += len(data)
                await trio.lowlevel.checkpoint()

            async def run() -> None:
                with suppress(Exception):  # the connection is gone
                    await attack(send)

            async def drain() -> None:
                with suppress(Exception):
                    while await socket.read():
                        pass

            await eventually(lambda: host.swarm.connection_count)
            nursery.start_soon(run)
            if reads:
                nursery.start_soon(drain)
            most = 0

            def is_gone() -> bool:
                nonlocal most
                most = max(most, resident_bytes() - before)
                return not host.swarm.connection_count

            await eventually(is_gone, timeout_s=60)
            nursery.cancel_scope.cancel()
        # What one connection may hold, twice over: the attacker lives in this process too.
        assert most < 2 * limits.YAMUX_UNREAD_BYTES_MAX, (most, sent_bytes)
        await still_works(host)


async def test_a_trickle_of_bytes_costs_the_peer_its_connection(monkeypatch):
    monkeypatch.setattr(limits, "NOISE_FRUITLESS_READS_MAX", 200)
    async with running_host(transport="primedht") as host, raw_session(host) as (_, socket):
        await eventually(lambda: host.swarm.connection_count)
        connection = host.swarm.all_connections()[0]
        # The head of a frame of 65,535 bytes, then the frame.
        with suppress(OSError):
            for byte in b"\xff\xff" + bytes(2000):
                await socket.write(bytes((byte,)))
                heard_at = connection.socket.received_at
                with trio.move_on_after(0.5):
                    while connection.socket.received_at == heard_at:
                        await trio.lowlevel.checkpoint()
                if not host.swarm.connection_count:
                    break
        await eventually(lambda: not host.swarm.connection_count)
        await still_works(host)
