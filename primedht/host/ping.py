"""`/ipfs/ping/1.0.0`: 32 random bytes there and back.

Source: libp2p specs, ping/ping.md.
"""

from __future__ import annotations

import os

import trio

from primedht import limits
from primedht.errors import PeerTimeout, ProtocolViolation
from primedht.host.connection import Connection
from primedht.host.peer_host import open_on
from primedht.host.streams import Stream, StreamReset

PING = "/ipfs/ping/1.0.0"


async def ping(connection: Connection, *, timeout_s: float) -> float:
    """Return the round-trip time in seconds. Raises as the port `Rpc` does."""
    with trio.move_on_after(timeout_s):
        stream = await open_on(connection, (PING,))
        try:
            payload = os.urandom(limits.PING_BYTES)
            started = trio.current_time()
            await stream.send(payload)
            if await _receive_ping(stream) != payload:
                raise ProtocolViolation(f"{connection.peer} answered a ping with other bytes")
            elapsed_s = trio.current_time() - started
            await stream.close()
            return elapsed_s
        except BaseException:
            await stream.reset()
            raise
    raise PeerTimeout(f"{connection.peer} did not answer a ping within {timeout_s:g} s")


async def serve_ping(stream: Stream) -> None:
    """Echo pings until the peer has finished or is idle for `STREAM_IDLE_S`."""
    while True:
        with trio.move_on_after(limits.STREAM_IDLE_S) as patience:
            payload = await _receive_ping(stream)
            if not payload:
                return
            await stream.send(payload)
        if patience.cancelled_caught:
            raise ProtocolViolation("an idle ping stream")


async def _receive_ping(stream: Stream) -> bytes:
    received = b""
    while len(received) < limits.PING_BYTES:
        data = await stream.receive()
        if not data:
            if received:
                raise StreamReset("the stream ended inside a ping")
            return b""
        received += data
    if len(received) > limits.PING_BYTES:
        raise ProtocolViolation("more than one ping at once")
    return received
