"""Connections in memory, and both stacks' secure transports on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as StockNoise
from multiaddr import Multiaddr

from primedht.host.noise import NoiseTransport, SecureConnection


class PipeEnd(IRawConnection):
    """One end of a connection in memory. `cut`: the most bytes that one read returns; 0 for any."""

    def __init__(self, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self.peer: PipeEnd
        self.received = bytearray()
        self.sent_bytes = 0
        self.cut = 0
        self.is_closed = False
        self._changed = trio.Event()

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_closed or self.peer.is_closed:
            raise ConnectionClosedError("the pipe is closed")
        self.sent_bytes += len(data)
        self.peer.received += data
        self.peer._change()

    async def read(self, n: int | None = None) -> bytes:
        """As stock connections: up to `n` bytes, b"" at the end."""
        await trio.lowlevel.checkpoint()
        while not self.received:
            if self.is_closed or self.peer.is_closed:
                return b""
            await self._changed.wait()
        wanted = len(self.received) if n is None else n
        size = min(wanted, self.cut or wanted)
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def close(self) -> None:
        self.is_closed = True
        self._change()
        self.peer._change()

    def get_remote_address(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def get_transport_addresses(self) -> list[Multiaddr]:
        return [Multiaddr("/ip4/127.0.0.1/tcp/1")]

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT


def make_pipe() -> tuple[PipeEnd, PipeEnd]:
    """Return both ends, the initiator's first."""
    first, second = PipeEnd(is_initiator=True), PipeEnd(is_initiator=False)
    first.peer, second.peer = second, first
    return first, second


def peer_of(key_pair: KeyPair) -> ID:
    return ID.from_pubkey(key_pair.public_key)


def ours(key_pair: KeyPair | None = None, muxers: tuple[str, ...] = ()) -> NoiseTransport:
    return NoiseTransport(key_pair or create_new_key_pair(), muxers)


def stock(key_pair: KeyPair | None = None) -> StockNoise:
    return StockNoise(key_pair or create_new_key_pair(), noise_privkey=create_noise_key_pair().private_key)


async def both(*calls: Callable[[], Awaitable[object]]) -> list:
    """Run `calls` at the same time and return their results in order."""
    results: list = [None] * len(calls)

    async def run(index: int, call) -> None:
        results[index] = await call()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for index, call in enumerate(calls):
                nursery.start_soon(run, index, call)
    return results


async def secure(dialer, listener, ends=None, expected: ID | None = None) -> list:
    """Return the secure connections of both transports, the dialer's first."""
    first, second = ends or make_pipe()
    return await both(
        lambda: dialer.secure_outbound(first, expected), lambda: listener.secure_inbound(second)
    )


async def secured_pair() -> tuple[SecureConnection, SecureConnection]:
    first, second = await secure(ours(), ours())
    return first, second
