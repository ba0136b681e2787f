"""Hosts on loopback for the tests of this folder, and small tools to watch them."""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from libp2p.network.connection.raw_connection import RawConnection

from primedht.dht.ports import Requester
from primedht.host import Host, HostConfig, generate_private_key, open_host
from primedht.host.keys import load_key_pair
from primedht.host.multistream import Proposer, negotiate
from primedht.host.sockets import connect_tcp
from primedht.host.upgrade import YAMUX, build_upgrader
from primedht.host.yamux import YamuxConnection
from primedht.kad.messages import Message
from primedht.wire import addrs

KAD = "/test/kad/1.0.0"
TRANSPORT = os.environ.get("PRIMEDHT_TEST_TRANSPORT", "primedht")  # or libp2p, for a whole run


def config(**changes) -> HostConfig:
    defaults = {"listen": ("/ip4/127.0.0.1/tcp/0",), "kad_protocol": KAD, "transport": TRANSPORT}
    return HostConfig(**{**defaults, **changes})


@asynccontextmanager
async def running_host(**changes) -> AsyncIterator[Host]:
    async with open_host(generate_private_key(), config(**changes)) as host:
        yield host


async def echo(requester: Requester, message: Message) -> Message | None:
    """Answers every request with itself."""
    return message


async def connect(a: Host, b: Host) -> None:
    assert await a.connect_addr(addr_text(b)) == b.peer_id


def addr_text(host: Host) -> str:
    return f"{host.listen_addrs[0]}/p2p/{host.peer_id}"


def endpoint(host: Host) -> tuple[str, int]:
    return host.swarm.listening()[0]


async def eventually(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait until `condition` holds; fail if it does not in a time that even a loaded machine makes."""
    with trio.move_on_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - any condition, seen from outside
            await trio.sleep(0.005)
        return
    raise AssertionError("the condition did not come about")


def muxed_stream_count(connection) -> int:
    """Return how many streams the muxer of `connection` holds."""
    muxer = connection.muxed_conn
    return muxer.session.stream_count if isinstance(muxer, YamuxConnection) else len(muxer.streams)


def stop_reading(connection) -> None:
    """Let `connection` read nothing from now on, whichever transport it has."""

    async def deaf(n=None):
        await trio.sleep_forever()

    socket = connection.socket
    socket._fill = socket.wait_readable = deaf
    socket.receive_nowait = lambda buffer: None


def stop_writing(connection) -> None:
    """Let `connection` send nothing from now on, whichever transport it has."""

    async def mute(data):
        pass

    connection.socket.write = mute
    connection.socket.write_nowait = lambda data: None


class Recorder:
    """A `PeerListener` that writes down what it is told."""

    def __init__(self) -> None:
        self.identified: list[tuple[object, frozenset[str]]] = []
        self.disconnected: list[object] = []
        self.own_addrs_changes = 0

    def on_identified(self, peer, protocols) -> None:
        self.identified.append((peer, protocols))

    def on_disconnected(self, peer) -> None:
        self.disconnected.append(peer)

    def on_own_addrs_changed(self) -> None:
        self.own_addrs_changes += 1


Handler = Callable[[Requester, Message], Awaitable[Message | None]]


# --- hostile peers ------------------------------------------------------------------------------------

DATA, WINDOW_UPDATE, PING = 0, 1, 2
SYN, ACK = 1, 2


def yamux_frame(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream_id, length)


@asynccontextmanager
async def raw_session(host):
    """A Noise session with `host` in which the test writes Yamux's frames itself."""
    upgrader = build_upgrader(load_key_pair(generate_private_key()), "libp2p")  # no early muxer
    ip, port = endpoint(host)
    async with trio.open_nursery() as nursery:
        stream = await connect_tcp(addrs.ip_of(addrs.parse(f"/ip4/{ip}/tcp/{port}")), port, nursery)
        secure = await upgrader.upgrade_security(RawConnection(stream, True), True)
        proposer = Proposer([str(YAMUX)])
        await negotiate(secure, proposer, proposer.opening())
        try:
            yield secure, stream
        finally:
            stream.abort()
            nursery.cancel_scope.cancel()


async def still_works(host) -> None:
    async with running_host() as newcomer:
        await connect(newcomer, host)
        assert await newcomer.connections.ping(host.peer_id, timeout_s=10) > 0
