"""A libp2p host for the engine: `open_host` yields the ports of `dht.ports` over TCP, Noise, Yamux."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import structlog
import trio
from libp2p.peer.id import ID

from primedht import limits
from primedht.errors import InvalidArgument, ListenFailed, PeerTimeout, PeerUnreachable, RemoteError
from primedht.host.addresses import (
    Addresses,
    AddressFilter,
    expand_listen,
    interface_ips,
    is_dialable,
)
from primedht.host.autonat import AUTONAT, AutoNat, DialBack
from primedht.host.connection import Connection
from primedht.host.connections import HostConnections, identified
from primedht.host.identify import IDENTIFY, IDENTIFY_PUSH, Identify
from primedht.host.keys import generate_private_key, load_key_pair
from primedht.host.peer_host import PeerHost
from primedht.host.ping import PING, serve_ping
from primedht.host.pnet import Protector
from primedht.host.rates import Rates
from primedht.host.resolve import resolve_dnsaddr
from primedht.host.rpc import KadRpc
from primedht.host.supervise import supervised
from primedht.host.swarm import ConnectionLimits, PeerSwarm, make_peerstore
from primedht.host.upgrade import Transport, build_upgrader
from primedht.ids import PeerId
from primedht.psk import Psk
from primedht.tasks import open_background_nursery
from primedht.wire import addrs as wire

log = structlog.get_logger(__name__)

_SWEEP_S = 1.0
_TRIM_SWEEPS = 10
_DEFAULT_LIMITS = ConnectionLimits()


def _agent_version() -> str:
    try:
        return f"primedht/{version('primedht')}"
    except PackageNotFoundError:  # run from a source tree
        return "primedht"


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What a host needs to know. Addresses are multiaddr texts.

    listen: IP and TCP, port 0 for any. announce: replaces the addresses found by itself.
    kad_protocol: full protocol id. prefix_is_ipfs: whether that is under /ipfs, which confines a
    private network to private addresses; derived from `kad_protocol` when None.
    allowed: addresses, with or without /p2p, that an operator listed (bootstrap peers); the filter
    lets them pass. transport: see `upgrade.Transport`. psk: the key that every connection is under;
    with one, addresses are not confined, as nobody else can be reached by mistake.
    upload_bytes_per_s, download_bytes_per_s: of all streams together but those of the DHT itself.
    """

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4101", "/ip6/::/tcp/4101")
    announce: tuple[str, ...] = ()
    kad_protocol: str = "/ipfs/kad/1.0.0"
    network_kind: Literal["private", "public"] = "private"
    prefix_is_ipfs: bool | None = None
    allowed: tuple[str, ...] = ()
    connections: ConnectionLimits = _DEFAULT_LIMITS
    address_book_peers_max: int = limits.ADDRESS_BOOK_PEERS_MAX
    transport: Transport = "primedht"
    psk: Psk | None = None
    upload_bytes_per_s: float | None = None
    download_bytes_per_s: float | None = None
    agent_version: str = field(default_factory=_agent_version)


class Host:
    """A running host. `rpc`, `address_book`, `connections` and `streams` are the engine's ports."""

    def __init__(self, private_key: bytes, config: HostConfig, nursery: trio.Nursery) -> None:
        key_pair = load_key_pair(private_key)
        own_id = ID.from_pubkey(key_pair.public_key)
        peerstore = make_peerstore()
        peerstore.add_key_pair(own_id, key_pair)
        is_ipfs = config.prefix_is_ipfs
        if is_ipfs is None:
            is_ipfs = config.kad_protocol.startswith("/ipfs/")
        self._protector = None if config.psk is None else Protector(config.psk)
        self._config = config
        self._nursery = nursery
        self._announce = tuple(wire.split_peer(wire.parse(text))[0] for text in config.announce)
        self._own_addrs = self._announce
        self.filter = AddressFilter(
            config.network_kind,
            prefix_is_ipfs=is_ipfs and self._protector is None,
        )
        for text in config.allowed:
            self.allow(text)
        self.swarm = PeerSwarm(
            own_id,
            peerstore,
            build_upgrader(key_pair, config.transport, self._protector),
            config.connections,
            self.filter,
            Rates(
                config.upload_bytes_per_s,
                config.download_bytes_per_s,
                exempt={config.kad_protocol, IDENTIFY, IDENTIFY_PUSH, PING},
            ),
        )
        self.address_book = Addresses(
            self.filter,
            lambda: self._own_addrs,
            self.swarm.by_peer.__contains__,
            is_kept=lambda peer: peer in self.swarm.by_peer or self.swarm.tags.is_protected(peer),
            peers_max=config.address_book_peers_max,
        )
        self.swarm.closed.append(self._on_closed)
        self.streams = PeerHost(self.swarm, self.address_book.own_addrs)
        self.connections = HostConnections(self.swarm, self.streams, config.kad_protocol)
        self.rpc = KadRpc(self.swarm, nursery, config.kad_protocol)
        self._identify = Identify(
            self.streams,
            self.address_book,
            key_pair.public_key.serialize(),
            config.agent_version,
            self.connections.on_identified,
        )
        stranger = build_upgrader(load_key_pair(generate_private_key()), config.transport, self._protector)
        self.autonat = AutoNat(
            self.swarm.own_peer,
            self.address_book.own_addrs,
            self.filter,
            lambda addr, peer: self.swarm.probe(addr, peer, stranger),
        )
        self.connections.start(
            self._identify, lambda addr, timeout_s: self.connect_addr(addr, timeout_s=timeout_s)
        )

    @property
    def peer_id(self) -> PeerId:
        return self.swarm.own_peer

    @property
    def listen_addrs(self) -> tuple[str, ...]:
        """The addresses that we announce, as text, without /p2p."""
        return tuple(wire.format_addr(addr) for addr in self._own_addrs)

    @property
    def psk(self) -> Psk | None:
        """The pre-shared key that every connection is under."""
        return self._config.psk

    def _on_closed(self, connection: Connection) -> None:
        if connection.peer not in self.swarm.by_peer:
            self.address_book.disconnected(connection.peer)

    def allow(self, addr_text: str) -> None:
        """Let an address that an operator named pass the filter, and the peer it names.

        Raises `InvalidArgument`.
        """
        addr, peer = wire.split_peer(wire.parse(addr_text))
        self.filter.allow(addr, peer)

    async def connect_addr(self, addr_text: str, *, timeout_s: float = limits.DIAL_TIMEOUT_S) -> PeerId:
        """Connect to an address that an operator named and wait for identify; return the peer's id.

        Without /p2p the id is the one that the peer proves in the handshake. Names are resolved.
        Raises `InvalidArgument`, `PeerUnreachable`, `PeerTimeout` or `ProtocolViolation`.
        """
        self.allow(addr_text)
        with trio.move_on_after(timeout_s):
            return await self._connect_first(await resolve_dnsaddr(wire.parse(addr_text)))
        raise PeerTimeout(f"no connection to {addr_text} within {timeout_s:g} s")

    async def _connect_first(self, targets: Sequence[bytes]) -> PeerId:
        """Connect to whichever peer among `targets` answers first in their order."""
        by_peer: dict[PeerId | None, list[bytes]] = {}
        for target in targets:
            addr, peer = wire.split_peer(target)
            if not is_dialable(addr):
                continue
            self.filter.allow(addr, peer)
            by_peer.setdefault(peer, []).append(addr)
        if not by_peer:
            raise PeerUnreachable("no TCP address among " + ", ".join(map(wire.format_addr, targets)))
        problem: RemoteError = PeerUnreachable("nobody answers")
        for peer, addrs in by_peer.items():
            try:
                if peer is not None:
                    return (await identified(await self.swarm.connect(peer, addrs, explicit=True))).peer
                return await self._connect_anyone(addrs)
            except RemoteError as error:
                problem = error
        raise problem

    async def _connect_anyone(self, addrs: Sequence[bytes]) -> PeerId:
        if self._config.network_kind == "public":
            raise InvalidArgument("on a public network an address must end in /p2p/<peer id>")
        problem: RemoteError = PeerUnreachable("nobody answers")
        for addr in addrs:
            try:
                return (await identified(await self.swarm.dialer.dial_anyone(addr))).peer
            except RemoteError as error:
                problem = error
        raise problem

    def observed_ips(self) -> Counter[str]:
        """Return the IP addresses that connected peers see this node at, with how many peers each."""
        seen: Counter[str] = Counter()
        for connections in self.swarm.by_peer.values():
            ips = {wire.ip_of(connection.observed_addr) for connection in connections}
            seen.update(str(ip) for ip in ips if ip is not None)
        return seen

    async def ask_dial_backs(self, *, peers_max: int, timeout_s: float) -> list[DialBack]:
        """Ask connected peers that serve AutoNAT to dial us; those that fail to answer count as untried."""
        asked = [
            connection
            for connection in map(self.swarm.connection_to, tuple(self.swarm.by_peer))
            if connection is not None and AUTONAT in (connection.protocols or ())
        ]
        answers: list[DialBack] = []

        async def ask(connection: Connection) -> None:
            try:
                answers.append(await self.autonat.ask(connection, timeout_s=timeout_s))
            except RemoteError as error:
                answers.append(DialBack(None, str(error)))

        async with trio.open_nursery() as nursery:
            for connection in asked[:peers_max]:
                nursery.start_soon(ask, connection)
        return answers

    def stats(self) -> dict[str, object]:
        """Return counters for status and metrics: connections, refusals, dials, handshakes, requests."""
        server = self.connections.kad_server
        return {
            "connections": self.swarm.connection_count,
            "peers": len(self.swarm.by_peer),
            "handshakes": len(self.swarm.handshakes),
            "known_peers": len(self.address_book),
            "psk_mismatches": 0 if self._protector is None else self._protector.mismatches,
            "refused_addrs": dict(self.filter.refused),
            "swarm": dict(self.swarm.counts),
            "inbound_handshakes": dict(self.swarm.handshakes.counts),
            "inbound_handshakes_cpu_s": round(self.swarm.handshakes.cpu_s, 3),
            "dials": dict(self.swarm.dialer.counts),
            "rpc": dict(self.rpc.counts),
            "served": dict(server.counts) if server is not None else {},
        }

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, accept and run. Raises `ListenFailed` or `InvalidArgument`."""
        self._bind()
        self._refresh_own_addrs()
        swarm, streams, identify = self.swarm, self.streams, self._identify
        swarm.opened.append(lambda connection: self._nursery.start_soon(identify.identify, connection))
        few = limits.IDENTIFY_STREAMS_IN_MAX
        streams.serve(IDENTIFY, identify.serve_identify, streams_per_peer_max=few)
        streams.serve(IDENTIFY_PUSH, identify.serve_push, streams_per_peer_max=few)
        streams.serve(PING, serve_ping, streams_per_peer_max=limits.PING_STREAMS_IN_MAX)
        streams.serve(AUTONAT, self.autonat.serve, streams_per_peer_max=limits.AUTONAT_STREAMS_IN_MAX)
        streams.protocols_changed = identify.changed
        swarm.start(self._nursery, self.address_book, streams.dispatch)
        swarm.accept()
        self._nursery.start_soon(identify.serve_pushes)
        self._nursery.start_soon(self._serve_sweeps)
        self._nursery.start_soon(self._serve_own_addrs)

    def _bind(self) -> None:
        for text in self._config.listen:
            endpoint = wire.tcp_endpoint(wire.parse(text))
            if endpoint is None:
                raise InvalidArgument(f"cannot listen on {text}: it must be /ip4 or /ip6, then /tcp")
            try:
                self.swarm.bind(*endpoint)
            except ListenFailed as error:
                if not (endpoint[0].version == 6 and endpoint[0].is_unspecified and self.swarm.sockets):
                    raise
                log.warning("ipv6_unavailable", error=str(error))

    def _refresh_own_addrs(self) -> bool:
        if self._announce:
            return False
        found = expand_listen(self.swarm.listening(), self._config.network_kind, interface_ips())
        changed = found != self._own_addrs
        self._own_addrs = found
        return changed

    async def _serve_own_addrs(self) -> None:
        while True:
            await trio.sleep(limits.INTERFACES_POLL_S)
            try:
                changed = self._refresh_own_addrs()
            except OSError as error:
                log.warning("interfaces_unreadable", error=str(error))
                continue
            if changed:
                log.info("own_addrs_changed", addrs=self.listen_addrs)
                self._identify.changed()
                self.connections.on_own_addrs_changed()

    async def _serve_sweeps(self) -> None:
        sweeps = 0
        while True:
            await trio.sleep(_SWEEP_S)
            sweeps += 1
            await supervised("sweep_failed", lambda: self._sweep(trio.current_time()), "host")
            if sweeps % _TRIM_SWEEPS == 0:
                self.swarm.trim_above_high()

    async def _sweep(self, now: float) -> None:
        await self.rpc.sweep(now)
        for connection in self.swarm.all_connections():
            await connection.sweep(now)

    async def close(self) -> None:
        """Stop accepting and say goodbye to all peers; takes at most `CONNECTION_CLOSE_TIMEOUT_S`."""
        deadline = trio.current_time() + limits.CONNECTION_CLOSE_TIMEOUT_S
        with trio.CancelScope(shield=True, deadline=deadline):
            await self.swarm.close()


@asynccontextmanager
async def open_host(private_key: bytes, config: HostConfig | None = None) -> AsyncIterator[Host]:
    """Run a host with the identity `private_key` (a serialised libp2p `PrivateKey`).

    Raises `InvalidArgument` for a bad key or address, `ListenFailed` for one that cannot be used.
    """
    # A peer must not be able to fill the log: what py-libp2p reports per stream and frame is silenced.
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    async with open_background_nursery() as nursery:
        host = Host(private_key, config if config is not None else HostConfig(), nursery)
        try:
            host.start()
            yield host
        finally:
            await host.close()
