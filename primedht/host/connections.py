"""The port `Connections`: who is connected, what they serve, and our own mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from primedht import limits
from primedht.dht.ports import PeerListener, RequestHandler
from primedht.errors import PeerTimeout, PeerUnreachable, ProtocolViolation
from primedht.host.connection import Connection
from primedht.host.identify import Identify, PeerFacts
from primedht.host.inbound import KadServer
from primedht.host.peer_host import PeerHost
from primedht.host.ping import ping
from primedht.host.supervise import told
from primedht.host.swarm import PeerSwarm
from primedht.ids import PeerId

log = structlog.get_logger(__name__)

_DHT = "kbucket"  # go-libp2p-kad-dht, dht.go: the tag of its table's members

Dial = Callable[[str, float], Awaitable[PeerId]]
"""Connects to a multiaddr in text within so many seconds."""


class HostConnections:
    """Connections of one host, and the events about them."""

    def __init__(self, swarm: PeerSwarm, host: PeerHost, kad_protocol: str) -> None:
        self._swarm = swarm
        self._host = host
        self._kad_protocol = kad_protocol
        self._listeners: list[PeerListener] = []
        self._identify: Identify | None = None
        self._dial: Dial | None = None
        self.kad_server: KadServer | None = None
        swarm.closed.append(self._on_closed)

    def start(self, identify: Identify, dial: Dial) -> None:
        """Use `identify`, and `dial` for addresses in text, from now on."""
        self._identify = identify
        self._dial = dial

    @property
    def peer_id(self) -> PeerId:
        return self._swarm.own_peer

    def connected(self) -> tuple[PeerId, ...]:
        return tuple(self._swarm.by_peer)

    def facts(self, peer: PeerId) -> PeerFacts | None:
        """Return what connected `peer` says of itself; None while unknown."""
        return self._identify.facts.get(peer) if self._identify is not None else None

    def serves_kad(self, peer: PeerId) -> bool | None:
        facts = self.facts(peer)
        return None if facts is None else self._kad_protocol in facts.protocols

    def is_reached(self, peer: PeerId) -> bool:
        return peer in self._swarm.by_peer or self._swarm.dialer.is_reached(peer)

    def subscribe(self, listener: PeerListener) -> None:
        self._listeners.append(listener)
        for peer, facts in list(self._identify.facts.items()) if self._identify is not None else ():
            told("listener_failed", listener.on_identified, peer, facts.protocols)

    def protect(self, peer: PeerId, protected: bool) -> None:
        if protected:
            self._swarm.tags.protect(peer, _DHT)
        else:
            self._swarm.tags.unprotect(peer, _DHT)

    async def connect(self, peer: PeerId, addrs: Sequence[bytes] = (), *, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            await identified(await self._swarm.connect(peer, addrs, explicit=True))
            return
        raise PeerTimeout(f"no connection to {peer} within {timeout_s:g} s")

    async def connect_addr(self, addr: str, *, timeout_s: float) -> PeerId:
        if self._dial is None:
            raise PeerUnreachable("the host is not started")
        return await self._dial(addr, timeout_s)

    async def disconnect(self, peer: PeerId) -> None:
        """Close all connections to `peer`."""
        for connection in list(self._swarm.by_peer.get(peer, ())):
            connection.shut()

    async def ping(self, peer: PeerId, *, timeout_s: float) -> float:
        with trio.move_on_after(timeout_s):
            connection = await self._swarm.connect(peer)
            return await ping(connection, timeout_s=timeout_s)
        raise PeerTimeout(f"{peer} did not answer a ping within {timeout_s:g} s")

    async def serve_kad(self, handler: RequestHandler | None) -> None:
        if self._identify is None:
            raise PeerUnreachable("the host is not started")
        if handler is None:
            self.kad_server = None
            self._host.serve(self._kad_protocol, None)
        else:
            self.kad_server = KadServer(self._identify, handler)
            self._host.serve(
                self._kad_protocol,
                self.kad_server.serve,
                streams_per_peer_max=limits.KAD_STREAMS_IN_MAX,
            )

    # --- events ---------------------------------------------------------------------------------

    def on_identified(self, peer: PeerId, facts: PeerFacts) -> None:
        for listener in tuple(self._listeners):
            told("listener_failed", listener.on_identified, peer, facts.protocols)

    def _on_closed(self, connection: Connection) -> None:
        if connection.peer in self._swarm.by_peer:
            return
        if self._identify is not None:
            self._identify.forget(connection.peer)
        for listener in tuple(self._listeners):
            told("listener_failed", listener.on_disconnected, connection.peer)

    def on_own_addrs_changed(self) -> None:
        for listener in tuple(self._listeners):
            told("listener_failed", listener.on_own_addrs_changed)


async def identified(connection: Connection) -> Connection:
    """Wait until identify is done on `connection`. Raises `PeerUnreachable`, `ProtocolViolation`."""
    await connection.identified.wait()
    if connection.is_lost:
        raise PeerUnreachable(f"the connection to {connection.peer} was lost")
    if connection.protocols is None:
        raise ProtocolViolation(f"{connection.peer} does not say what it serves (identify)")
    return connection
