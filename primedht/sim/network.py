"""A network in one process: hosts, the connections between them, and messages on their way.

No sockets, no threads, no real time. A message is a plan to arrive after the link's delay; it then
starts a task with the handler of whatever lives at the other end by then, as it would if its sender
had gone away meanwhile. The requester waits in its own task, so cancelling it abandons the answer and
nothing else.
Every delay and every loss is drawn from the seed, in whole ticks, and every event goes into the
digest.

What a failure looks like is what sockets would show: a dead process resets at once, an unplugged or
partitioned one is silence until the requester's own time limit, and both ends of a connection that
stays silent for `KEEPALIVE_S` give it up.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field

import trio

from primedht import limits
from primedht.errors import PeerTimeout, PeerUnreachable, PrimeDhtError, ProtocolViolation, RemoteError
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType
from primedht.sim.addresses import AddrFilter
from primedht.sim.determinism import EventDigest, EventKind, require_virtual_time
from primedht.sim.faults import LinkFaults, Links
from primedht.sim.host import SimHost
from primedht.sim.measures import TALLY
from primedht.sim.timeline import Timeline, tick_after
from primedht.tasks import open_background_nursery
from primedht.wire import addrs as multiaddrs

KEEPALIVE_S = 60.0
"""After so long without an answer to its pings, a muxer gives a connection up (yamux: 30 s, twice)."""

_SMALL_NETWORK_HOSTS = 32
_CODEC_SHARE = 64


@dataclass(slots=True)
class Traffic:
    """Messages and bytes of one host, or of all, by type. Requests and replies count alike."""

    sent: Counter[MessageType] = field(default_factory=Counter)
    received: Counter[MessageType] = field(default_factory=Counter)
    sent_bytes: Counter[MessageType] = field(default_factory=Counter)
    received_bytes: Counter[MessageType] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class Connection:
    """One connection; both hosts hold it until either closes it or dies."""

    dialer: SimHost
    listener: SimHost
    identified: list[SimHost] = field(default_factory=list)  # who know the other end
    waiting: dict[SimHost, trio.Event] = field(default_factory=dict)
    pending: dict[Delivery, None] = field(default_factory=dict)
    alive: bool = True

    def other(self, host: SimHost) -> SimHost:
        return self.listener if host is self.dialer else self.dialer

    async def wait_identified(self, host: SimHost) -> None:
        """Wait until `host` knows the other end."""
        if host not in self.identified:
            await self.waiting.setdefault(host, trio.Event()).wait()


@dataclass(slots=True, eq=False)
class Delivery:
    """One message under way, and what its requester, `task`, waits for; None if nobody waits any more.

    settled: there is a reply or a failure; whatever comes second has no effect.
    """

    connection: Connection
    source: SimHost
    message: Message
    wants_reply: bool
    task: trio.lowlevel.Task | None
    context: Context = field(default_factory=copy_context)
    settled: bool = False
    timed_out: bool = False
    reply: Message | None = None
    reply_bytes: int = 0
    failure: RemoteError | None = None

    def wake(self) -> None:
        """Let the requester go on."""
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)
            self.task = None

    def time_out(self) -> None:
        """Let the requester go on with nothing."""
        self.timed_out = True
        self.wake()

    def abandon(self, raise_cancel: object) -> trio.lowlevel.Abort:
        """The requester has been cancelled."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class SimNetwork:
    """Every host of a world. Made by `open_network`."""

    def __init__(self, nursery: trio.Nursery, links: Links, *, seed: int) -> None:
        self.links = links
        self.faults = LinkFaults(on_blocked=self.watch_silence)
        self.timeline = Timeline()
        self.digest = EventDigest()
        self.traffic = Traffic()
        self.traffic_of: dict[PeerId, Traffic] = {}
        self.hosts: dict[PeerId, SimHost] = {}
        self.names: dict[str, tuple[str, ...]] = {}  # such as "/dnsaddr/boot.example" to its entries
        self._by_addr: dict[bytes, SimHost] = {}
        self._listening: dict[PeerId, tuple[bytes, ...]] = {}
        self._nursery = nursery
        self._rng = random.Random(f"network {seed}")
        self._indexes: dict[PeerId, int] = {}

    # --- hosts ------------------------------------------------------------------------------------

    def add_host(
        self,
        peer: PeerId,
        addrs: Sequence[bytes],
        *,
        protocol: str,
        accepts: AddrFilter | None = None,
        dialable: bool = True,
        reply_bytes_max: int = limits.MESSAGE_BYTES_MAX,
        connections_max: int | None = None,
    ) -> SimHost:
        """Start a host; one with the same id must have crashed or closed before.

        protocol: its kad protocol id. dialable: False for a host behind a NAT, which can only dial.
        reply_bytes_max: the largest reply it takes (16 KiB for one that behaves like rust).
        connections_max: trims the longest unused unprotected connections beyond it.
        """
        before = self.hosts.get(peer)
        if before is not None and before.alive:
            raise ValueError(f"{peer} is running already")
        if before is not None:
            before.reset_connections()  # what a silent crash left behind; the new process knows none of it
        index = self._indexes.setdefault(peer, len(self._indexes))
        host = SimHost(
            self,
            peer,
            addrs,
            index=index,
            protocol=protocol,
            traffic=self.traffic_of.setdefault(peer, Traffic()),
            accepts=accepts,
            dialable=dialable,
            reply_bytes_max=reply_bytes_max,
            connections_max=connections_max,
        )
        self._nursery.start_soon(host.serve)
        self.hosts[peer] = host
        self.set_addrs(host, addrs)
        self.digest.add(EventKind.STARTED, index)
        return host

    def set_addrs(self, host: SimHost, addrs: Sequence[bytes]) -> None:
        """Make `host` reachable at `addrs` and nowhere else."""
        for addr in self._listening.pop(host.peer_id, ()):
            del self._by_addr[addr]
        if host.dialable:
            taken = [addr for addr in addrs if addr in self._by_addr]
            if taken:
                raise ValueError(f"{multiaddrs.format_addr(taken[0])} belongs to another host")
            self._listening[host.peer_id] = tuple(addrs)
            self._by_addr.update(dict.fromkeys(addrs, host))

    def host_at(self, addr: bytes) -> SimHost | None:
        """Return the host that listens, or listened when it died, at `addr`."""
        return self._by_addr.get(addr)

    def resolve(self, addr: str) -> tuple[str, ...]:
        """Return the addresses that a multiaddr in text stands for; `names` holds those with a name."""
        return self.names.get(addr, (addr,))

    def go_dark(self) -> None:
        """Unplug every host at once: the world ends, and nothing of that is an event."""
        for host in self.hosts.values():
            host.alive, host.silent = False, True

    # --- links ------------------------------------------------------------------------------------

    def delay_s(self, source: SimHost, target: SimHost, size_bytes: int = 0) -> float:
        """Draw how long a message takes now, in seconds."""
        delay_s = self.links.latency.one_way_s(source.index, target.index, self._rng)
        if self.links.bytes_per_s is not None:
            delay_s += size_bytes / self.links.bytes_per_s
        return delay_s + self.faults.extra_s(source.peer_id, target.peer_id)

    def round_trip_s(self, source: SimHost, target: SimHost) -> float:
        """Draw the time there and back of two small messages, in seconds."""
        return self.delay_s(source, target) + self.delay_s(target, source)

    def blocked(self, source: SimHost, target: SimHost) -> bool:
        """Whether nothing gets through between the two in at least one direction."""
        a, b = source.peer_id, target.peer_id
        return source.silent or target.silent or self.faults.blocks(a, b) or self.faults.blocks(b, a)

    def loses(self, source: SimHost, target: SimHost) -> bool:
        """Draw whether a message from `source` to `target` vanishes now."""
        if source.silent or target.silent or self.faults.blocks(source.peer_id, target.peer_id):
            return True
        return self.links.loss > 0 and self._rng.random() < self.links.loss

    # --- connections --------------------------------------------------------------------------------

    def connect(self, dialer: SimHost, listener: SimHost) -> Connection:
        """Join two live hosts; the dial's delays are behind us. Identify follows by itself."""
        connection = Connection(dialer, listener)
        dialer.on_connected(connection)
        listener.on_connected(connection)
        self.digest.add(EventKind.CONNECTED, dialer.index, listener.index)
        arrives_s = tick_after(self.round_trip_s(dialer, listener))
        self.timeline.plan(arrives_s, self._identify, connection)
        return connection

    def disconnect(self, connection: Connection, *, told: Sequence[SimHost]) -> None:
        """End `connection`: everything pending on it fails, and the hosts in `told` notice at once."""
        if not connection.alive:
            return
        connection.alive = False
        dialer, listener = connection.dialer, connection.listener
        self.digest.add(EventKind.DISCONNECTED, dialer.index, listener.index)
        for delivery in tuple(connection.pending):
            self._settle(delivery, failure=PeerUnreachable("the connection was lost"))
        connection.pending.clear()
        for host in (dialer, listener):
            host.forget_connection(connection)
        for host in told:
            host.on_disconnected(connection.other(host).peer_id)

    def push_identify(self, host: SimHost) -> None:
        """Send identify-push to all peers of `host`."""
        for connection in host.connections():
            target = connection.other(host)
            if not self.loses(host, target):
                arrives_s = tick_after(self.delay_s(host, target))
                self.timeline.plan(arrives_s, self._push_identify, host, target, connection)

    def watch_silence(self) -> None:
        """Let connections that stay blocked for `KEEPALIVE_S` from now be given up by both ends."""
        self._nursery.start_soon(self._give_up_silent)

    def _identify(self, connection: Connection) -> None:
        dialer, listener = connection.dialer, connection.listener
        if not connection.alive or self.blocked(dialer, listener):
            return
        for host in (dialer, listener):
            self._tell_identity(connection.other(host), host, connection)

    def _push_identify(self, host: SimHost, target: SimHost, connection: Connection) -> None:
        if connection.alive:
            self._tell_identity(host, target, connection)

    def _tell_identity(self, host: SimHost, listener: SimHost, connection: Connection) -> None:
        self.digest.add(EventKind.IDENTIFIED, listener.index, host.index)
        listener.on_identified(host.peer_id, host.protocols(), host.address_book.own_addrs())
        if listener not in connection.identified:
            connection.identified.append(listener)
        if listener in connection.waiting:
            connection.waiting.pop(listener).set()

    async def _give_up_silent(self) -> None:
        silent = [connection for connection in self._all_connections() if self._is_silent(connection)]
        await trio.sleep(KEEPALIVE_S)
        for connection in silent:
            if connection.alive and self._is_silent(connection):
                told = [host for host in (connection.dialer, connection.listener) if host.alive]
                self.disconnect(connection, told=told)

    def _is_silent(self, connection: Connection) -> bool:
        return self.blocked(connection.dialer, connection.listener)

    def _all_connections(self) -> list[Connection]:
        found: dict[Connection, None] = {}
        for host in self.hosts.values():
            found.update(dict.fromkeys(host.connections()))
        return list(found)

    # --- messages -----------------------------------------------------------------------------------

    async def exchange(
        self, connection: Connection, source: SimHost, message: Message, deadline: float, *, wants_reply: bool
    ) -> Message | None:
        """Send `message` and wait for its reply, or without `wants_reply` until it has arrived.

        Raises `PeerTimeout` at `deadline`, `PeerUnreachable` if the connection is lost meanwhile, and
        `ProtocolViolation` for a reset.
        """
        target = connection.other(source)
        delivery = Delivery(connection, source, message, wants_reply, trio.lowlevel.current_task())
        connection.pending[delivery] = None
        self._send(delivery, target)
        limit = self.timeline.plan(deadline, delivery.time_out)
        try:
            await trio.lowlevel.wait_task_rescheduled(delivery.abandon)
        finally:
            limit.cancel()
            connection.pending.pop(delivery, None)
        if delivery.timed_out:
            self.note(EventKind.TIMED_OUT, source, target, message)
            raise PeerTimeout(f"{target.peer_id} did not answer {message.type.name}")
        if delivery.failure is not None:
            raise delivery.failure
        return None if delivery.reply is None else self._receive_reply(delivery, delivery.reply)

    def note(
        self, kind: EventKind, source: SimHost, target: SimHost, message: Message, size_bytes: int = 0
    ) -> None:
        """Add an event about `message` to the digest."""
        self.digest.add(kind, source.index, target.index, message_type=message.type, size_bytes=size_bytes)

    def _send(self, delivery: Delivery, target: SimHost) -> None:
        """Put a message on its way. The delivery of one that gets lost settles only with its connection."""
        source, message = delivery.source, delivery.message
        size_bytes = len(codec.encode(message))
        self._count_sent(source, message, size_bytes)
        self.note(EventKind.SENT, source, target, message, size_bytes)
        if self.loses(source, target):
            self.note(EventKind.LOST, source, target, message)
        else:
            arrives_s = tick_after(self.delay_s(source, target, size_bytes))
            self.timeline.plan(arrives_s, self._arrive, delivery, target, size_bytes)

    def _arrive(self, delivery: Delivery, target: SimHost, size_bytes: int) -> None:
        if not delivery.connection.alive or not target.alive:
            return
        source, message = delivery.source, delivery.message
        self._count_received(target, message, size_bytes)
        self.note(EventKind.DELIVERED, source, target, message, size_bytes)
        target.start_soon(delivery.context, self._handle, delivery, target)

    async def _handle(self, delivery: Delivery, target: SimHost) -> None:
        source = delivery.source
        if not delivery.wants_reply:
            self._settle(delivery)
        try:
            handler = target.handler_for(source.protocol)
            message = self._through_codec(delivery.message)
            reply = await handler(source.as_requester(), message)
        except PrimeDhtError as error:
            self.note(EventKind.RESET, target, source, delivery.message)
            self._settle(delivery, failure=ProtocolViolation(f"the peer reset the stream ({error.code})"))
        else:
            if reply is not None:
                self._settle(delivery, reply=reply)

    def _settle(
        self, delivery: Delivery, *, reply: Message | None = None, failure: RemoteError | None = None
    ) -> None:
        """Let the requester know, when word has travelled back to it."""
        if delivery.settled or delivery.task is None:
            return
        delivery.settled, delivery.reply, delivery.failure = True, reply, failure
        if delivery.wants_reply:
            self._send_back(delivery)
        else:
            delivery.wake()

    def _send_back(self, delivery: Delivery) -> None:
        """Put a reply or a reset on its way; if it gets lost, nothing ever comes."""
        source = delivery.source
        target = delivery.connection.other(source)
        size_bytes = 0
        if delivery.reply is not None:
            size_bytes = delivery.reply_bytes = len(codec.encode(delivery.reply))
            self._count_sent(target, delivery.reply, size_bytes)
        if delivery.connection.alive and self.loses(target, source):
            self.note(EventKind.LOST, target, source, delivery.message)
        else:
            self.timeline.plan(tick_after(self.delay_s(target, source, size_bytes)), delivery.wake)

    def _receive_reply(self, delivery: Delivery, reply: Message) -> Message:
        """Return the reply as its requester reads it. Raises `ProtocolViolation` where that refuses it."""
        source = delivery.source
        self._count_received(source, reply, delivery.reply_bytes)
        self.note(EventKind.ANSWERED, delivery.connection.other(source), source, reply, delivery.reply_bytes)
        if delivery.reply_bytes > source.reply_bytes_max:
            raise ProtocolViolation(f"a reply of {delivery.reply_bytes} bytes")
        return self._through_codec(reply)

    def _through_codec(self, message: Message) -> Message:
        """Return `message`, now and then (in small networks always) by way of its bytes."""
        if len(self.hosts) > _SMALL_NETWORK_HOSTS and self._rng.random() * _CODEC_SHARE >= 1:
            return message
        return codec.decode(codec.encode(message))

    def _count_sent(self, source: SimHost, message: Message, size_bytes: int) -> None:
        for traffic in (self.traffic, source.traffic):
            traffic.sent[message.type] += 1
            traffic.sent_bytes[message.type] += size_bytes
        tally = TALLY.get()
        if tally is not None:
            tally.messages += 1
            tally.bytes += size_bytes

    def _count_received(self, target: SimHost, message: Message, size_bytes: int) -> None:
        for traffic in (self.traffic, target.traffic):
            traffic.received[message.type] += 1
            traffic.received_bytes[message.type] += size_bytes


@asynccontextmanager
async def open_network(links: Links | None = None, *, seed: int) -> AsyncIterator[SimNetwork]:
    """Run a network for the block. An error that a handler should not raise ends the block with it."""
    require_virtual_time()
    async with open_background_nursery() as nursery:
        network = SimNetwork(nursery, links or Links(), seed=seed)
        try:
            yield network
        finally:
            network.timeline.close()
