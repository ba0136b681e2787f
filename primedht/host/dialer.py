"""Dialling a peer: every address, staggered, one dial per peer at a time.

An address that fails makes room for the next at once; one that is silent does so after
`DIAL_STAGGER_S` (RFC 8305). What comes out first wins. A peer that could not be reached is left
alone for as long as the attempt took twice over, at most `DIAL_BACKOFF_S_MAX`; an explicit connect
does not wait for that, and neither does a new address.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from primedht import limits
from primedht.errors import PeerUnreachable, PskMismatch
from primedht.host.addresses import Addresses, AddressFilter, is_dialable
from primedht.host.connection import Connection
from primedht.host.resolve import resolve_tcp
from primedht.host.sockets import TcpStream, connect_tcp
from primedht.host.supervise import supervised
from primedht.ids import PeerId
from primedht.wire import addrs as wire

Upgrade = Callable[[TcpStream, bytes, PeerId | None], Awaitable[Connection]]
"""Makes a dialled socket a connection: (socket, address, the peer expected or None for anyone)."""


class _Dial:
    """One peer's dial, which any number of callers wait for."""

    def __init__(self, peer: PeerId | None) -> None:
        self.peer = peer
        self.waiting: deque[bytes] = deque()
        self.tried: set[bytes] = set()
        self.running = 0
        self.problems: list[str] = []
        self.is_reached = False  # somebody has taken a TCP connection
        self.is_foreign = False  # somebody answered who has another pre-shared key
        self.connection: Connection | None = None
        self.inbound: Connection | None = None  # the peer has connected meanwhile
        self.done = trio.Event()
        self._changed = trio.Event()

    def add(self, addrs: Sequence[bytes]) -> None:
        for addr in addrs:
            if addr not in self.tried:
                self.tried.add(addr)
                self.waiting.append(addr)
        self.change()

    def change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for_change(self) -> None:
        await self._changed.wait()


class Dialer:
    """Dials on behalf of one swarm; its tasks run in `nursery`, so that callers may come and go."""

    def __init__(
        self,
        nursery: trio.Nursery,
        addresses: Addresses,
        address_filter: AddressFilter,
        upgrade: Upgrade,
    ) -> None:
        self._nursery = nursery
        self._addresses = addresses
        self._filter = address_filter
        self._upgrade = upgrade
        self._dials: dict[PeerId, _Dial] = {}
        self._limiter = trio.CapacityLimiter(limits.DIALS_MAX)
        self._backoffs: OrderedDict[PeerId, tuple[float, frozenset[bytes]]] = OrderedDict()
        self.counts: Counter[str] = Counter()

    async def dial(self, peer: PeerId, addrs: Sequence[bytes] = (), *, explicit: bool = False) -> Connection:
        """Return a new connection to `peer` over `addrs` and those in the address book, or one from it.

        Raises `PeerUnreachable`. A caller that is cancelled leaves the dial to the others.
        """
        candidates = self._candidates(peer, (*addrs, *self._addresses.addrs(peer)))
        dial = self._dials.get(peer)
        if dial is not None:
            dial.add(candidates)
        else:
            if not candidates:
                raise PeerUnreachable(f"no address of {peer} is known that this node can dial")
            if not explicit:
                self._check_backoff(peer, candidates)
            dial = self._dials[peer] = _Dial(peer)
            dial.add(candidates)
            self._nursery.start_soon(self._run, dial)
        done = dial.done
        await done.wait()
        if dial.inbound is not None and done is not dial.done:
            return dial.inbound
        return self._outcome(dial)

    def has_connected(self, connection: Connection) -> None:
        """A peer has connected: whoever waits for a dial of it need not any more.

        The dial itself goes on: if both ends ended theirs for the other's sake, none would be left.
        """
        dial = self._dials.get(connection.peer)
        if dial is not None:
            dial.inbound, done = connection, dial.done
            dial.done = trio.Event()
            done.set()

    def is_reached(self, peer: PeerId) -> bool:
        """Whether somebody has taken a TCP connection of a dial of `peer` that goes on."""
        dial = self._dials.get(peer)
        return dial is not None and dial.is_reached

    async def dial_anyone(self, addr: bytes) -> Connection:
        """Return a connection to whoever answers at `addr`. Raises `PeerUnreachable`."""
        dial = _Dial(None)
        dial.add([addr])
        self._nursery.start_soon(self._run, dial)
        await dial.done.wait()
        return self._outcome(dial)

    def _candidates(self, peer: PeerId, addrs: Sequence[bytes]) -> list[bytes]:
        own = set(self._addresses.own_addrs())
        return [
            addr
            for addr in dict.fromkeys(addrs)
            if addr not in own and is_dialable(addr) and self._filter.permits(addr, peer)
        ]

    def _check_backoff(self, peer: PeerId, candidates: Sequence[bytes]) -> None:
        until, tried = self._backoffs.get(peer, (0.0, frozenset[bytes]()))
        if trio.current_time() < until and tried.issuperset(candidates):
            self.counts["backed_off"] += 1
            raise PeerUnreachable(f"{peer} did not answer a moment ago")

    @staticmethod
    def _outcome(dial: _Dial) -> Connection:
        if dial.connection is None:
            error = PskMismatch if dial.is_foreign else PeerUnreachable
            raise error(
                f"no address of {dial.peer or 'the peer'} answers: "
                + ("; ".join(dial.problems) or "time is up")
            )
        return dial.connection

    async def _run(self, dial: _Dial) -> None:
        started = trio.current_time()
        try:
            with trio.move_on_after(limits.DIAL_TIMEOUT_S):
                await supervised("dial_failed", lambda: self._race(dial), dial.peer)
                while dial.connection is None and dial.waiting:  # added as the race was ending
                    await supervised("dial_failed", lambda: self._race(dial), dial.peer)
        finally:
            if dial.peer is not None:
                del self._dials[dial.peer]
                self._note(dial.peer, dial, started)
            self.counts["succeeded" if dial.connection else "failed"] += 1
            dial.done.set()

    async def _race(self, dial: _Dial) -> None:
        async with trio.open_nursery() as attempts:
            while dial.connection is None and (dial.waiting or dial.running):
                if dial.waiting:
                    dial.running += 1
                    attempts.start_soon(self._attempt, dial, dial.waiting.popleft())
                    with trio.move_on_after(limits.DIAL_STAGGER_S):
                        await dial.wait_for_change()
                else:
                    await dial.wait_for_change()
            attempts.cancel_scope.cancel()

    async def _attempt(self, dial: _Dial, addr: bytes) -> None:
        async def attempt() -> None:
            async with self._limiter:
                try:
                    dial.connection = await self._connect(dial, addr)
                except PskMismatch:
                    dial.is_foreign = True
                    raise

        try:
            # Whatever goes wrong between here and the end of the handshake is the peer's doing.
            problem = await supervised("dial_failed", attempt, wire.format_addr(addr), expected=(Exception,))
            if problem is not None:
                dial.problems.append(f"{wire.format_addr(addr)}: {problem}")
                if dial.peer is not None:
                    self._addresses.failed(dial.peer, addr)
        finally:
            dial.running -= 1
            dial.change()

    async def _connect(self, dial: _Dial, addr: bytes) -> Connection:
        socket = await self._open(addr, dial.peer)
        dial.is_reached = True
        try:
            with trio.fail_after(limits.HANDSHAKE_TIMEOUT_S):
                connection = await self._upgrade(socket, addr, dial.peer)
        except BaseException:
            socket.abort()
            raise
        self._addresses.succeeded(connection.peer, addr)
        return connection

    async def _open(self, addr: bytes, peer: PeerId | None) -> TcpStream:
        endpoint = wire.tcp_endpoint(addr)
        if endpoint is not None:
            with trio.fail_after(limits.CONNECT_TIMEOUT_S):
                return await connect_tcp(*endpoint, self._nursery)
        problem = "the name stands for no address that may be dialled"
        for ip, port in await resolve_tcp(addr):
            if not self._filter.permits_ip(ip, addr, peer):
                continue
            with trio.move_on_after(limits.CONNECT_TIMEOUT_S):
                try:
                    return await connect_tcp(ip, port, self._nursery)
                except OSError as error:
                    problem = str(error)
        raise PeerUnreachable(problem)

    def _note(self, peer: PeerId, dial: _Dial, started: float) -> None:
        self._backoffs.pop(peer, None)
        if dial.connection is None:
            now = trio.current_time()
            pause_s = min(limits.DIAL_BACKOFF_S_MAX, max(limits.DIAL_BACKOFF_S_MIN, 2 * (now - started)))
            self._backoffs[peer] = (now + pause_s, frozenset(dial.tried))
            if len(self._backoffs) > limits.DIAL_BACKOFFS_MAX:
                self._backoffs.popitem(last=False)

    def forget_backoff(self, peer: PeerId) -> None:
        """`peer` shows signs of life."""
        self._backoffs.pop(peer, None)
