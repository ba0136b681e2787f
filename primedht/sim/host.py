"""One simulated host: the engine's `Rpc` and `Connections` ports over a `SimNetwork`.

A host lives once. After a crash its object stays dead, and a restart makes a new one with the same id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from primedht.clock import WallClock
from primedht.dht.ports import PeerListener, Ports, Requester, RequestHandler, Rng
from primedht.errors import PeerTimeout, PeerUnreachable, ProtocolViolation, RemoteError
from primedht.ids import PeerId
from primedht.kad.messages import Message
from primedht.sim.addresses import AddrFilter, SimAddressBook
from primedht.sim.determinism import EventKind
from primedht.sim.timeline import tick_after
from primedht.wire import addrs as multiaddrs

if TYPE_CHECKING:
    from primedht.sim.network import Connection, SimNetwork, Traffic

IDENTIFY_PROTOCOL, PING_PROTOCOL = "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"

_SYN_AGAIN_S = (1.0, 3.0, 7.0)
"""When a dial's unanswered SYN is sent again, from its start (RFC 6298: 1 s at first, then twice as long)."""

_DISCONNECTED_ADDRS_TTL_S = 1800.0
"""How long identified addresses outlive the connection (go-libp2p peerstore, RecentlyConnectedAddrTTL)."""


@dataclass(slots=True, eq=False)
class _Dial:
    """A dial that several callers wait for. `failure` stays None when the dialling task was cancelled.

    scope: cancelled when the peer has connected meanwhile.
    """

    ended: trio.Event = field(default_factory=trio.Event)
    failure: RemoteError | None = None
    reached: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class SimHost:
    """Made by `SimNetwork.add_host`. Its ports are itself, its `address_book`, and a clock and rng."""

    def __init__(
        self,
        network: SimNetwork,
        peer: PeerId,
        addrs: Sequence[bytes],
        *,
        index: int,
        protocol: str,
        traffic: Traffic,
        accepts: AddrFilter | None,
        dialable: bool,
        reply_bytes_max: int,
        connections_max: int | None,
    ) -> None:
        self.index, self.protocol = index, protocol
        self.dialable, self.reply_bytes_max = dialable, reply_bytes_max
        self.address_book = SimAddressBook(addrs, accepts=accepts)
        self.traffic = traffic
        self.alive, self.silent = True, False
        self.protected: dict[PeerId, None] = {}
        self._network = network
        self._peer = peer
        self._handler: RequestHandler | None = None
        self._listeners: list[PeerListener] = []
        self._connections: dict[PeerId, Connection] = {}  # the longest unused first
        self._protocols: dict[PeerId, frozenset[str]] = {}
        self._dials: dict[PeerId, _Dial] = {}
        self._life = trio.CancelScope()
        self._handlers: trio.Nursery | None = None
        self._requester: Requester | None = None
        self._connections_max = connections_max

    def __repr__(self) -> str:
        return f"SimHost({self.index}, {self._peer})"

    def ports(self, clock: WallClock, rng: Rng) -> Ports:
        """Return the outside world of a `Dht` on this host."""
        return Ports(rpc=self, address_book=self.address_book, connections=self, clock=clock, rng=rng)

    @property
    def ip(self) -> str:
        """The first of our addresses that is an IP address, as text; "" if none is."""
        ips = (multiaddrs.ip_of(addr) for addr in self.address_book.own_addrs())
        return next((str(ip) for ip in ips if ip is not None), "")

    # --- Rpc ----------------------------------------------------------------------------------------

    async def reach(self, peer: PeerId, *, timeout_s: float) -> None:
        await self._connection_to(peer, (), trio.current_time() + timeout_s)

    async def request(self, peer: PeerId, message: Message, *, timeout_s: float) -> Message:
        deadline = trio.current_time() + timeout_s
        reply = await self._exchange(peer, message, deadline, wants_reply=True)
        if reply is None or reply.type is not message.type:
            raise ProtocolViolation(f"{peer} answered {message.type.name} with something else")
        return reply

    async def notify(self, peer: PeerId, message: Message, *, timeout_s: float) -> None:
        await self._exchange(peer, message, trio.current_time() + timeout_s, wants_reply=False)

    async def _exchange(
        self, peer: PeerId, message: Message, deadline: float, *, wants_reply: bool
    ) -> Message | None:
        connection = await self._connection_to(peer, (), deadline)
        return await self._network.exchange(connection, self, message, deadline, wants_reply=wants_reply)

    # --- Connections --------------------------------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        return self._peer

    def connected(self) -> tuple[PeerId, ...]:
        return tuple(self._connections)

    def serves_kad(self, peer: PeerId) -> bool | None:
        protocols = self._protocols.get(peer)
        return None if protocols is None else self.protocol in protocols

    def is_reached(self, peer: PeerId) -> bool:
        dial = self._dials.get(peer)
        return peer in self._connections or (dial is not None and dial.reached)

    def subscribe(self, listener: PeerListener) -> None:
        self._listeners.append(listener)
        for peer, protocols in list(self._protocols.items()):
            listener.on_identified(peer, protocols)

    def protect(self, peer: PeerId, protected: bool) -> None:
        if protected:
            self.protected[peer] = None
        else:
            self.protected.pop(peer, None)

    async def connect(self, peer: PeerId, addrs: Sequence[bytes] = (), *, timeout_s: float) -> None:
        deadline = trio.current_time() + timeout_s
        connection = await self._connection_to(peer, addrs, deadline)
        with trio.move_on_at(deadline) as limit:
            await connection.wait_identified(self)
        if limit.cancelled_caught:
            raise PeerTimeout(f"{peer} did not identify itself")
        if not connection.alive:
            raise PeerUnreachable(f"{peer} closed the connection")

    async def connect_addr(self, addr: str, *, timeout_s: float) -> PeerId:
        deadline = trio.current_time() + timeout_s
        failure: RemoteError = PeerUnreachable(f"nothing is known at {addr}")
        for resolved in self._network.resolve(addr):
            location, peer = multiaddrs.split_peer(multiaddrs.parse(resolved))
            if peer is None:
                host = self._network.host_at(location)
                peer = None if host is None else host.peer_id
            if peer is None:
                continue
            try:
                await self.connect(peer, (location,), timeout_s=deadline - trio.current_time())
            except RemoteError as error:
                failure = error
            else:
                return peer
        await trio.lowlevel.checkpoint()
        raise failure

    async def ping(self, peer: PeerId, *, timeout_s: float) -> float:
        deadline = trio.current_time() + timeout_s
        connection = await self._connection_to(peer, (), deadline)
        target = connection.other(self)
        started = trio.current_time()
        if self._network.loses(self, target) or self._network.loses(target, self):
            await self._silence(peer, deadline)
        if not await self._sleep(self._network.round_trip_s(self, target), deadline):
            raise PeerTimeout(f"{peer} did not answer a ping")
        if not connection.alive:
            raise PeerUnreachable(f"{peer} closed the connection")
        return trio.current_time() - started

    async def serve_kad(self, handler: RequestHandler | None) -> None:
        await trio.lowlevel.checkpoint()
        changed = (handler is None) != (self._handler is None)
        self._handler = handler
        if changed and self.alive:
            self._network.push_identify(self)

    # --- what scenarios do to a host ------------------------------------------------------------------

    def set_addrs(self, addrs: Sequence[bytes]) -> None:
        """Move to other addresses: connected peers are pushed the change, our listeners are told."""
        self.address_book.set_own(addrs)
        self._requester = None
        self._network.set_addrs(self, addrs)
        self._network.push_identify(self)
        for listener in self._listeners:
            listener.on_own_addrs_changed()

    def disconnect(self, peer: PeerId) -> None:
        """Close our connection to `peer`, if there is one; both ends notice."""
        connection = self._connections.get(peer)
        if connection is not None:
            self._network.disconnect(connection, told=(connection.dialer, connection.listener))

    def crash(self, *, silent: bool = False) -> None:
        """End at once, as with SIGKILL; with `silent` as with a pulled plug: nothing is ever reset."""
        if not self.alive:
            return
        self.alive, self.silent = False, silent
        self._network.digest.add(EventKind.CRASHED, self.index)
        self._life.cancel()
        if silent:
            self._network.watch_silence()
        else:
            self.reset_connections()

    def close(self) -> None:
        """Go offline in order: every peer sees its connection close."""
        if self.alive:
            self.alive = False
            self._network.digest.add(EventKind.STOPPED, self.index)
            self._life.cancel()
            self.reset_connections()

    def reset_connections(self) -> None:
        """Drop all connections; the peers at their other ends notice at once."""
        for connection in tuple(self._connections.values()):
            self._network.disconnect(connection, told=(connection.other(self),))

    # --- what the network calls -----------------------------------------------------------------------

    def protocols(self) -> frozenset[str]:
        """Return what identify lists."""
        kad = () if self._handler is None else (self.protocol,)
        return frozenset((IDENTIFY_PROTOCOL, PING_PROTOCOL, *kad))

    def handler_for(self, protocol: str) -> RequestHandler:
        """Return the handler of the kad `protocol`. Raises `ProtocolViolation` where it is not served."""
        if self._handler is None or protocol != self.protocol or not self.alive:
            raise ProtocolViolation(f"{protocol} is not served")
        return self._handler

    async def serve(self) -> None:
        """Run handlers for as long as this host lives."""
        with self._life:
            async with trio.open_nursery() as nursery:
                self._handlers = nursery
                await trio.sleep_forever()

    def start_soon(self, context: Context, handle: Callable[..., Awaitable[None]], *args: object) -> None:
        """Start a task in `context` that dies with this host."""
        assert self._handlers is not None
        context.run(self._handlers.start_soon, handle, *args)

    def as_requester(self) -> Requester:
        """Return how others see us when we ask them something."""
        if self._requester is None:
            self._requester = Requester(self._peer, self.ip, self.reply_bytes_max)
        return self._requester

    def connections(self) -> tuple[Connection, ...]:
        return tuple(self._connections.values())

    def on_connected(self, connection: Connection) -> None:
        peer = connection.other(self).peer_id
        self._connections[peer] = connection
        dial = self._dials.get(peer)
        if dial is not None:
            dial.scope.cancel()
        if self._connections_max is not None and len(self._connections) > self._connections_max:
            self._trim(keep=connection)

    def on_identified(self, peer: PeerId, protocols: frozenset[str], addrs: Sequence[bytes]) -> None:
        self._protocols[peer] = protocols
        self.address_book.set_connected(peer, addrs)
        for listener in self._listeners:
            listener.on_identified(peer, protocols)

    def forget_connection(self, connection: Connection) -> None:
        peer = connection.other(self).peer_id
        if self._connections.get(peer) is connection:
            del self._connections[peer]
            self._protocols.pop(peer, None)
            self.address_book.set_disconnected(peer, keep_s=_DISCONNECTED_ADDRS_TTL_S)

    def on_disconnected(self, peer: PeerId) -> None:
        for listener in self._listeners:
            listener.on_disconnected(peer)

    # --- dialling -------------------------------------------------------------------------------------

    async def _connection_to(self, peer: PeerId, addrs: Sequence[bytes], deadline: float) -> Connection:
        """Return a live connection to `peer`; callers that come together share one dial."""
        while True:
            if not self.alive:
                await trio.lowlevel.checkpoint()
                raise PeerUnreachable("this host is down")
            connection = self._connections.pop(peer, None)
            if connection is not None:
                self._connections[peer] = connection  # now the most recently used
                return connection
            dial = self._dials.get(peer)
            if dial is None:
                return await self._dial(peer, addrs, deadline)
            with trio.move_on_at(deadline) as limit:
                await dial.ended.wait()
            if limit.cancelled_caught:
                raise PeerTimeout(f"{peer} did not accept a connection")
            if dial.failure is not None:
                raise dial.failure

    async def _dial(self, peer: PeerId, addrs: Sequence[bytes], deadline: float) -> Connection:
        dial = self._dials[peer] = _Dial()
        try:
            target = None
            with dial.scope:
                target = await self._reach(peer, addrs, deadline, dial)
            existing = self._connections.get(peer)
            if existing is not None:
                return existing
            if target is None:
                raise PeerUnreachable(f"{peer} closed the connection")
            return self._network.connect(self, target)
        except RemoteError as error:
            dial.failure = error
            raise
        finally:
            del self._dials[peer]
            dial.ended.set()

    async def _reach(self, peer: PeerId, addrs: Sequence[bytes], deadline: float, dial: _Dial) -> SimHost:
        """Spend what a dial of all addresses at once takes; return the live host that it reached."""
        network = self._network
        candidates = dict.fromkeys((*addrs, *self.address_book.addrs(peer)))
        if peer == self._peer or not candidates:
            await trio.lowlevel.checkpoint()
            raise PeerUnreachable(f"no address of {peer} is known")
        began = trio.current_time()
        target, is_silent = self._answering(peer, candidates)
        for again_s in _SYN_AGAIN_S:
            if target is None and is_silent:
                await network.timeline.sleep_until(min(began + again_s, deadline))
                target, is_silent = self._answering(peer, candidates)
        if target is None and is_silent:
            await self._silence(peer, deadline)
        round_trip_s = network.round_trip_s(self, target or self)
        if not await self._sleep(round_trip_s, deadline):
            raise PeerTimeout(f"{peer} did not accept a connection")
        dial.reached = target is not None
        rest_s = round_trip_s * (network.links.handshake_round_trips - 1)
        if target is not None and not await self._sleep(rest_s, deadline):
            raise PeerTimeout(f"{peer} did not accept a connection")
        if target is None or not (target.alive and self.alive):
            raise PeerUnreachable(f"no address of {peer} answers")
        if network.blocked(self, target):
            await self._silence(peer, deadline)
        return target

    def _answering(self, peer: PeerId, addrs: Iterable[bytes]) -> tuple[SimHost | None, bool]:
        """Return the host of `peer` that a SYN to `addrs` reaches, if any, and whether one gets no answer."""
        network = self._network
        at_addrs = [host for addr in addrs if (host := network.host_at(addr)) is not None]
        silent = [host for host in at_addrs if network.blocked(self, host)]
        live = [host for host in at_addrs if host.alive and host.peer_id == peer and host not in silent]
        return (live[0] if live else None), bool(silent)

    async def _silence(self, peer: PeerId, deadline: float) -> None:
        """Wait for what will never come. Always raises `PeerTimeout`."""
        await self._network.timeline.sleep_until(deadline)
        raise PeerTimeout(f"{peer} is silent")

    async def _sleep(self, delay_s: float, deadline: float) -> bool:
        """Sleep until the tick after `delay_s`, or until `deadline`; return False if that came first."""
        when_s = tick_after(delay_s)
        await self._network.timeline.sleep_until(min(when_s, deadline))
        return when_s < deadline

    def _trim(self, *, keep: Connection) -> None:
        """Close the longest unused connection that is not protected."""
        for peer, connection in self._connections.items():
            if connection is not keep and peer not in self.protected and not connection.pending:
                self.disconnect(peer)
                return
