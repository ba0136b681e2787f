"""The swarm: all connections of a node, their limits, and the way to a new one.

A subclass of py-libp2p's `Swarm` for its data and interface; dialling, accepting, upgrading and
running connections are ours (docs/py-libp2p.md). Its auto-connector, pruner and notifees never run.
"""

from __future__ import annotations

import socket as stdlib_socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import trio
from libp2p.abc import INetConn
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

from primedht import limits
from primedht.errors import ConfigInvalid, NotPermitted, PeerUnreachable, ProtocolViolation
from primedht.host.addresses import Addresses, AddressFilter, tcp_addr
from primedht.host.connection import Connection
from primedht.host.dialer import Dialer
from primedht.host.listener import Handshakes, serve_listener
from primedht.host.rates import Rates
from primedht.host.sockets import TcpStream, connect_tcp, listen_tcp
from primedht.host.streams import Stream
from primedht.host.supervise import supervised
from primedht.host.tags import PeerTags
from primedht.host.upgrade import Upgrader
from primedht.ids import PeerId
from primedht.wire import addrs as wire
from primedht.wire.addrs import IpAddress

_UNLIMITED = 1 << 31


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections a node keeps.

    Above `high` connections are closed until `low` are left, those of the least weight (`tags`) first and
    of equal ones the least recently heard; save those that are protected or younger than `grace_s`.
    Above `max` nobody gets in.
    inbound_per_ip_max: of one IP address that is not loopback.
    """

    low: int = 160
    high: int = 200
    max: int = 300
    inbound_per_ip_max: int = 64
    grace_s: float = 20.0
    handshakes_max: int = limits.HANDSHAKES_MAX
    handshakes_per_ip_max: int = limits.HANDSHAKES_PER_IP_MAX

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= self.max or self.max < 1:
            raise ConfigInvalid(
                f"connection limits must be 0 <= low <= high <= max, not {self.low}, {self.high}, {self.max}"
            )
        if min(self.inbound_per_ip_max, self.handshakes_max, self.handshakes_per_ip_max) < 1:
            raise ConfigInvalid("limits per IP and on handshakes must be at least 1")


class PeerSwarm(Swarm):
    """The connections of one node.

    opened, closed: called with every connection that begins or ends; plain functions.
    """

    def __init__(
        self,
        own_id: ID,
        peerstore: PeerStore,
        upgrader: Upgrader,
        connection_limits: ConnectionLimits,
        address_filter: AddressFilter,
        rates: Rates,
    ) -> None:
        super().__init__(
            own_id,
            peerstore,
            upgrader,
            transports=[TCP()],
            connection_config=ConnectionConfig(
                max_connections=connection_limits.max,
                min_connections=0,
                low_watermark=0,  # never dials by itself
                high_watermark=connection_limits.max,
            ),
        )
        self.own_peer = PeerId(own_id.to_bytes())
        self.rates = rates
        self.by_peer: dict[PeerId, list[Connection]] = {}
        self.tags = PeerTags()
        self.opened: list[Callable[[Connection], None]] = []
        self.closed: list[Callable[[Connection], None]] = []
        self.counts: Counter[str] = Counter()
        self.sockets: list[stdlib_socket.socket] = []
        self.handshakes = Handshakes(
            handshakes_max=connection_limits.handshakes_max,
            per_ip_max=connection_limits.handshakes_per_ip_max,
            must_share=self._has_active_peers,
        )
        self._limits = connection_limits
        self._filter = address_filter
        self._total = 0
        self._running = 0
        self._all_ended = trio.Event()
        self._inbound_by_ip: Counter[str] = Counter()
        self._dialer: Dialer | None = None
        self._serve_stream: Callable[[Stream], Awaitable[None]] | None = None

    def start(
        self,
        nursery: trio.Nursery,
        addresses: Addresses,
        serve_stream: Callable[[Stream], Awaitable[None]],
    ) -> None:
        """Run all tasks of the swarm in `nursery` from now on."""
        self.background_nursery = nursery
        self.event_background_nursery_created.set()
        self._serve_stream = serve_stream
        self._dialer = Dialer(nursery, addresses, self._filter, self._upgrade_outbound)

    @property
    def dialer(self) -> Dialer:
        if self._dialer is None:
            raise SwarmException("the swarm is not started")
        return self._dialer

    @property
    def connection_count(self) -> int:
        return self._total

    # --- listening ------------------------------------------------------------------------------

    def bind(self, ip: IpAddress, port: int) -> None:
        """Listen on `ip`:`port` from now on, accepting once `accept` runs. Raises `ListenFailed`."""
        self.sockets.append(listen_tcp(ip, port))

    def accept(self) -> None:
        """Begin to accept on all bound sockets."""
        nursery = self._nursery()
        for sock in self.sockets:
            nursery.start_soon(serve_listener, sock, nursery, self.handshakes, self._upgrade_inbound)

    def stop_accepting(self) -> None:
        """Close the listening sockets."""
        while self.sockets:
            sock = self.sockets.pop()
            trio.lowlevel.notify_closing(sock.fileno())
            sock.close()

    def listening(self) -> tuple[tuple[str, int], ...]:
        """Return (ip, port) of every listening socket."""
        return tuple((str(name[0]), int(name[1])) for name in (sock.getsockname() for sock in self.sockets))

    async def _upgrade_inbound(self, stream: TcpStream) -> None:
        ip, port = stream.remote
        if not self._filter.admits(ip, None):
            raise NotPermitted(f"{ip} is a public address; this network is private")
        if self._inbound_by_ip[ip] >= self._limits.inbound_per_ip_max and not wire.is_loopback(
            tcp_addr(ip, port)
        ):
            self.counts["refused_per_ip"] += 1
            raise ProtocolViolation(f"{self._inbound_by_ip[ip]} connections from {ip} already")
        await self._upgrade(stream, tcp_addr(ip, port), None, inbound=True)

    # --- dialling -------------------------------------------------------------------------------

    def connection_to(self, peer: PeerId) -> Connection | None:
        """Return the newest connection to `peer`: an older one may have died unnoticed."""
        for connection in reversed(self.by_peer.get(peer, ())):
            if not connection.is_lost:
                return connection
        return None

    async def connect(
        self, peer: PeerId, addrs: Sequence[bytes] = (), *, explicit: bool = False
    ) -> Connection:
        """Return a connection to `peer`, dialling if there is none. Raises `PeerUnreachable`."""
        if peer == self.own_peer:
            raise PeerUnreachable("that is this node itself")
        return self.connection_to(peer) or await self.dialer.dial(peer, addrs, explicit=explicit)

    async def _upgrade_outbound(self, stream: TcpStream, addr: bytes, peer: PeerId | None) -> Connection:
        return await self._upgrade(stream, addr, peer, inbound=False)

    async def probe(self, addr: bytes, peer: PeerId, upgrader: Upgrader) -> None:
        """Dial `addr` anew, and end after the handshake with this very peer. Raises what goes wrong.

        upgrader: of another identity than ours, or the peer would take this for our newest connection.
        """
        endpoint = wire.tcp_endpoint(addr)
        if endpoint is None:
            raise PeerUnreachable(f"{wire.format_addr(addr)} is not a TCP address")
        with trio.fail_after(limits.CONNECT_TIMEOUT_S):
            stream = await connect_tcp(*endpoint, self._nursery())
        try:
            with trio.fail_after(limits.HANDSHAKE_TIMEOUT_S):
                await upgrader.upgrade_security(RawConnection(stream, True), True, ID(bytes(peer)))
        finally:
            stream.abort()

    # --- connections ----------------------------------------------------------------------------

    async def _upgrade(
        self, stream: TcpStream, addr: bytes, peer: PeerId | None, *, inbound: bool
    ) -> Connection:
        raw = RawConnection(stream, not inbound)
        expected = None if peer is None else ID(bytes(peer))
        secure = await self.upgrader.upgrade_security(raw, not inbound, expected)
        remote = PeerId(secure.get_remote_peer().to_bytes())
        if remote == self.own_peer:
            raise PeerUnreachable("that is this node itself")
        if inbound and not self._filter.admits(stream.remote[0], remote):
            raise NotPermitted(f"{stream.remote[0]} is a public address; this network is private")
        muxed = await self.upgrader.upgrade_connection(secure, secure.get_remote_peer())
        self._make_room(inbound=inbound)
        connection = Connection(muxed, self, peer=remote, socket=stream, addr=addr, inbound=inbound)
        self._add(connection)
        return connection

    def _make_room(self, *, inbound: bool) -> None:
        if self._total < self._limits.max or self.trim(self._limits.max - 1):
            return
        if inbound:
            self.counts["refused_full"] += 1
            raise PeerUnreachable(f"{self._total} connections are open already")
        # Those that came to us must not keep us from those that we need: ids for every place in the
        # table cost nothing.
        connections = self.all_connections()
        least = min(
            connections,
            key=lambda each: (
                not each.inbound,
                self.tags.is_protected(each.peer),
                self.tags.value(each.peer),
                each.last_active_at,
            ),
        )
        self.counts["trimmed"] += 1
        least.shut()

    def _add(self, connection: Connection) -> None:
        peer = connection.peer
        connections = self.by_peer.setdefault(peer, [])
        connections.append(connection)
        self.connections.setdefault(ID(bytes(peer)), []).append(connection)
        self._total += 1
        if connection.inbound:
            self._inbound_by_ip[connection.ip] += 1
        self.counts["opened_inbound" if connection.inbound else "opened_outbound"] += 1
        if connection.inbound and wire.is_public(connection.addr):
            self.counts["opened_inbound_public"] += 1
        self.dialer.forget_backoff(peer)
        if connection.inbound:
            self.dialer.has_connected(connection)
        self._nursery().start_soon(self._run_connection, connection)
        for tell in self.opened:
            tell(connection)
        if len(connections) > limits.CONNECTIONS_PER_PEER_MAX:
            connections[0].shut()

    async def _run_connection(self, connection: Connection) -> None:
        serve = self._serve_stream
        if serve is None:
            raise SwarmException("the swarm is not started")
        self._running += 1
        try:
            await supervised("connection_failed", lambda: connection.run(serve), connection)
        finally:
            self._running -= 1
            if not self._running:
                self._all_ended.set()
                self._all_ended = trio.Event()

    def remove_conn(self, swarm_conn: Any) -> None:
        """A connection has ended: forget it."""
        connection: Connection = swarm_conn
        connections = self.by_peer.get(connection.peer, [])
        if connection not in connections:
            return
        connections.remove(connection)
        of_peer = self.connections[ID(bytes(connection.peer))]
        of_peer.remove(connection)
        if not connections:
            del self.by_peer[connection.peer]
            self.tags.forget(connection.peer)
            del self.connections[ID(bytes(connection.peer))]
        self._total -= 1
        if connection.inbound:
            self._inbound_by_ip[connection.ip] -= 1
            if not self._inbound_by_ip[connection.ip]:
                del self._inbound_by_ip[connection.ip]
        for tell in self.closed:
            tell(connection)

    def trim(self, target: int) -> bool:
        """Close the least useful connections until `target` are left; return whether that was reached."""
        excess = self._total - target
        if excess <= 0:
            return True
        now = trio.current_time()
        idle = [
            connection
            for connections in self.by_peer.values()
            for connection in connections
            if not self.tags.is_protected(connection.peer)
            and now - connection.opened_at >= self._limits.grace_s
        ]
        idle.sort(key=lambda connection: (self.tags.value(connection.peer), connection.last_active_at))
        for connection in idle[:excess]:
            self.counts["trimmed"] += 1
            connection.shut()
        return self._total <= target

    def trim_above_high(self) -> None:
        """Bring the number of connections down to `low` if it is above `high`."""
        if self._total > self._limits.high:
            self.trim(self._limits.low)

    def _has_active_peers(self) -> bool:
        """Whether somebody who has been here for a while is at work now."""
        now = trio.current_time()
        return any(
            now - connection.last_active_at < limits.ACTIVE_WITHIN_S
            and now - connection.opened_at > limits.ESTABLISHED_AFTER_S
            for connections in self.by_peer.values()
            for connection in connections
        )

    def all_connections(self) -> list[Connection]:
        return [connection for connections in self.by_peer.values() for connection in connections]

    def _nursery(self) -> trio.Nursery:
        if self.background_nursery is None:
            raise SwarmException("the swarm is not started")
        return self.background_nursery

    # --- py-libp2p's interface ------------------------------------------------------------------

    async def run(self) -> None:
        """As a py-libp2p service: nothing of its own to run, see `start`."""
        await trio.sleep_forever()

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        try:
            return [await self.connect(PeerId(peer_id.to_bytes()))]
        except PeerUnreachable as error:
            raise SwarmException(str(error)) from error

    async def new_stream(self, peer_id: ID) -> Stream:
        try:
            return await (await self.connect(PeerId(peer_id.to_bytes()))).new_stream()
        except PeerUnreachable as error:
            raise SwarmException(str(error)) from error

    async def listen(self, *multiaddrs: Multiaddr) -> bool:
        for addr in multiaddrs:
            endpoint = wire.tcp_endpoint(addr.to_bytes())
            if endpoint is None:
                raise SwarmException(f"cannot listen on {addr}: not a TCP address")
            self.bind(*endpoint)
        return True

    async def close_peer(self, peer_id: ID) -> None:
        for connection in list(self.by_peer.get(PeerId(peer_id.to_bytes()), ())):
            connection.shut()

    async def close(self) -> None:
        """Stop accepting, and tell all peers goodbye. The caller sets the time limit."""
        self.stop_accepting()
        for connection in self.all_connections():
            connection.shut()
        while self._running:
            await self._all_ended.wait()

    async def add_conn(self, *_: object, **__: object) -> NoReturn:
        """Not supported, as all of py-libp2p's own ways around this swarm's limits."""
        raise SwarmException("connections come from connect() and the listeners only")

    dial_addr = add_conn
    upgrade_outbound_raw_conn = add_conn
    upgrade_inbound_raw_conn = add_conn


def make_peerstore() -> PeerStore:
    """Return a peer store for our own key alone, which it can therefore never evict (B3)."""
    return PeerStore(max_records=_UNLIMITED, max_peers=_UNLIMITED)
