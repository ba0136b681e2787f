"""Accepting connections: one loop per listening socket, bounded handshakes, room for newcomers.

A socket that says nothing may not keep others out (docs/py-libp2p.md, B4, B8). Unauthenticated
connections are bounded in total and per IP; when there are too many, the oldest one of the IP that
has most yields, those first that have not sent a byte. When a handshake may begin is `admission`'s.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import trio

from primedht import limits
from primedht.host.admission import BlockRates, CpuBudget, Metered
from primedht.host.sockets import TcpStream, endpoint_of, prepare
from primedht.host.supervise import supervised

log = structlog.get_logger(__name__)

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPTS_AT_ONCE = 32
_RESOURCES_PAUSE_S = 0.1

Upgrade = Callable[[TcpStream], Coroutine[Any, Any, object]]


class _Handshake:
    __slots__ = ("ip", "scope", "stream")

    def __init__(self, stream: TcpStream) -> None:
        self.ip = stream.remote[0]
        self.stream = stream
        self.scope = trio.CancelScope(deadline=trio.current_time() + limits.HANDSHAKE_TIMEOUT_S)


class Handshakes:
    """The inbound connections that have not authenticated yet, oldest first.

    cpu_s: what they have cost so far. must_share: whether there are established peers at work, to whom
    the handshakes must leave CPU.
    """

    def __init__(
        self, *, handshakes_max: int, per_ip_max: int, must_share: Callable[[], bool] = lambda: True
    ) -> None:
        self._must_share = must_share
        self._rates = BlockRates()
        self._budget = CpuBudget()
        self._turn = trio.Lock()  # one waits for the budget, the others for their turn
        self._handshakes_max = handshakes_max
        self._per_ip_max = per_ip_max
        self._pending: dict[_Handshake, None] = {}
        self._by_ip: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.cpu_s = 0.0

    def __len__(self) -> int:
        return len(self._pending)

    def admits(self, ip: str) -> bool:
        """Count a connection from `ip`; return whether it may begin a handshake."""
        if self._rates.admits(ip, trio.current_time()):
            return True
        self.counts["refused_rate"] += 1
        return False

    async def run(self, stream: TcpStream, upgrade: Upgrade) -> None:
        """Do the handshake when the peer has said something and the CPU budget allows it."""
        await stream.wait_readable()
        budget = self._budget
        async with self._turn:
            while self._must_share() and (wait_s := budget.wait_s(trio.current_time())):
                self.counts["delayed"] += 1
                await trio.sleep(wait_s)
            reserved_s = budget.begin(trio.current_time())
        metered = Metered(upgrade(stream))
        try:
            await metered
        finally:
            budget.end(reserved_s, metered.spent_s)
            self.cpu_s += metered.spent_s

    @contextmanager
    def admitted(self, stream: TcpStream) -> Iterator[None]:
        """Run a handshake on `stream`; it is cancelled when its time or its place is up."""
        handshake = _Handshake(stream)
        self._pending[handshake] = None
        self._by_ip[handshake.ip] += 1
        self._make_room(handshake.ip)
        try:
            with handshake.scope:
                yield
        finally:
            self._remove(handshake)

    def _make_room(self, ip: str) -> None:
        if self._by_ip[ip] > self._per_ip_max and not ipaddress.ip_address(ip).is_private:
            self._evict(ip)
        if len(self._pending) > self._handshakes_max:
            self._evict(self._by_ip.most_common(1)[0][0])

    def _evict(self, ip: str) -> None:
        candidates = [handshake for handshake in self._pending if handshake.ip == ip]
        silent = [handshake for handshake in candidates if handshake.stream.received_at == -math.inf]
        victim = (silent or candidates)[0]
        self.counts["evicted"] += 1
        self._remove(victim)
        victim.scope.cancel()

    def _remove(self, handshake: _Handshake) -> None:
        if handshake in self._pending:
            del self._pending[handshake]
            self._by_ip[handshake.ip] -= 1
            if not self._by_ip[handshake.ip]:
                del self._by_ip[handshake.ip]


async def serve_listener(
    sock: socket.socket,
    nursery: trio.Nursery,
    handshakes: Handshakes,
    upgrade: Upgrade,
) -> None:
    """Accept on `sock` until it is closed; every accepted socket is upgraded in `nursery`."""
    while sock.fileno() >= 0:
        try:
            await trio.lowlevel.wait_readable(sock.fileno())
        except trio.ClosedResourceError:
            return
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                accepted, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    log.warning("accept_paused", error=str(error))
                    await trio.sleep(_RESOURCES_PAUSE_S)
                break  # otherwise the connection was gone before we took it
            if not handshakes.admits(endpoint_of(address)[0]):
                accepted.close()
                continue
            nursery.start_soon(_handshake, accepted, nursery, handshakes, upgrade)


async def _handshake(
    accepted: socket.socket,
    nursery: trio.Nursery,
    handshakes: Handshakes,
    upgrade: Upgrade,
) -> None:
    try:
        prepare(accepted)
        stream = TcpStream(accepted, nursery)
    except OSError:  # gone already
        accepted.close()
        return
    done = False
    try:
        with handshakes.admitted(stream):
            # Whatever goes wrong in here is the peer's doing.
            problem = await supervised(
                "handshake_failed",
                lambda: handshakes.run(stream, upgrade),
                stream.remote[0],
                expected=(Exception,),
            )
            done = problem is None
    finally:
        if not done:
            handshakes.counts["failed"] += 1
            stream.abort()
