"""The blocking client: plain sockets, no thread and no event loop of its own.

Thread-safe, and usable after a fork: every call takes an idle connection of this process or opens
one, so calls of several threads run side by side and a child never touches its parent's sockets.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeVar

from primedht.client import _ops
from primedht.client._ops import (
    Call,
    DrainResult,
    Duration,
    Identity,
    ItemResult,
    PeerAddrs,
    PutItem,
)
from primedht.client.locate import locate
from primedht.control_addr import ControlAddr, UnixAddr
from primedht.errors import DaemonUnavailable, OperationTimeout, ProtocolViolation, ValueNotFound
from primedht.ids import PeerId
from primedht.limits import CONTROL_RESPONSE_BYTES_MAX, IPNS_LIFETIME_S
from primedht.results import (
    DiscoveredPeer,
    FoundValue,
    NameRecord,
    ProvideResult,
    PublishedName,
    PutResult,
    Trace,
)
from primedht.wire.frames import FrameReader

T = TypeVar("T")
_CONNECT_TIMEOUT_S = 5.0
_RECEIVE_BYTES = 64 << 10
_IDLE_CONNECTIONS_MAX = 8


class Client:
    """Talks to the daemon of this machine. Keys as `str` are UTF-8; durations are seconds or timedelta.

    control: the socket's multiaddr, such as `/unix/run/primedht.sock`. data_dir: the daemon's data
    directory. With neither: `$PRIMEDHT_CONTROL`, then `$PRIMEDHT_NODE_DATA_DIR`, then the default.

    Every method raises the daemon's error by its code, `DaemonUnavailable` if no daemon answers and
    `OperationTimeout` if it does not answer in time.
    """

    def __init__(self, control: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._addr = locate(control, data_dir)
        self._pool = _Pool()

    @property
    def control(self) -> str:
        """The multiaddr of the control socket in use."""
        return str(self._addr)

    def put(
        self,
        key: bytes | str,
        value: bytes,
        *,
        ttl: Duration | None = None,
        min_holders: int | None = None,
        once: bool = False,
        timeout: Duration = 60,
        want_trace: bool = False,
    ) -> PutResult:
        """Store `value` under `key`. once: do not keep it alive by republishing."""
        call = _ops.put(
            key, value, ttl=ttl, min_holders=min_holders, once=once, timeout=timeout, want_trace=want_trace
        )
        return self._one(call)

    def get(self, key: bytes | str, *, quorum: int = 1, timeout: Duration = 60) -> bytes | None:
        """Return the value of `key`, or None if nobody has one."""
        try:
            return self.get_record(key, quorum=quorum, timeout=timeout).payload
        except ValueNotFound:
            return None

    def get_record(
        self,
        key: bytes | str,
        *,
        quorum: int = 1,
        timeout: Duration = 60,
        want_trace: bool = False,
    ) -> FoundValue:
        """Return the value of `key` and what is known about it. Raises `ValueNotFound`."""
        return self._one(_ops.get_record(key, quorum=quorum, timeout=timeout, want_trace=want_trace))

    def delete(self, key: bytes | str, *, timeout: Duration = 60) -> PutResult:
        """Replace the value by a tombstone, and stop republishing it."""
        return self._one(_ops.delete(key, timeout=timeout))

    def put_many(
        self, items: Sequence[PutItem], *, timeout: Duration = 60
    ) -> Iterator[ItemResult[PutResult]]:
        """Store many values; yields each outcome as it is known, in any order."""
        return self._each(_ops.put_many(items, timeout=timeout))

    def get_many(
        self, keys: Sequence[bytes | str], *, quorum: int = 1, timeout: Duration = 60
    ) -> Iterator[ItemResult[FoundValue]]:
        """Get many values; yields each outcome as it is known, in any order."""
        return self._each(_ops.get_many(keys, quorum=quorum, timeout=timeout))

    def provide(self, cid: bytes, *, timeout: Duration = 60, want_trace: bool = False) -> ProvideResult:
        """Announce that this node has the content of a binary CID, now and until `stop_providing`."""
        return self._one(_ops.provide(cid, timeout=timeout, want_trace=want_trace))

    def stop_providing(self, cid: bytes) -> bool:
        """Announce it no longer; returns whether it was announced."""
        return self._one(_ops.stop_providing(cid))

    def find_providers(self, cid: bytes, *, limit: int = 20, timeout: Duration = 60) -> Iterator[PeerAddrs]:
        """Yield providers of the content as they are found."""
        return self._each(_ops.find_providers(cid, limit=limit, timeout=timeout))

    def find_peer(self, peer: PeerId | bytes | str, *, timeout: Duration = 60) -> PeerAddrs:
        """Return the peer's addresses. Raises `PeerNotFound`."""
        return self._one(_ops.find_peer(peer, timeout=timeout))

    def closest_peers(self, key: bytes | str, *, timeout: Duration = 60) -> list[PeerAddrs]:
        """Return the k reachable peers closest to `key`, nearest first."""
        return list(self._each(_ops.closest_peers(key, timeout=timeout)))

    def publish_name(
        self,
        value: str,
        *,
        key: str | None = None,
        lifetime: Duration = IPNS_LIFETIME_S,
        once: bool = False,
        timeout: Duration = 60,
    ) -> PublishedName:
        """Point an IPNS name at a content path or CID, and keep it alive.

        key: the name of a key in the daemon's keystore; None is its own. lifetime: of the signature.
        once: do not keep it alive.
        """
        call = _ops.publish_name(value, key=key, lifetime=lifetime, once=once, timeout=timeout)
        return self._one(call)

    def resolve_name(
        self, name: PeerId | bytes | str, *, quorum: int = 1, timeout: Duration = 60
    ) -> NameRecord:
        """Return what an IPNS name points at, one step. Raises `ValueNotFound`."""
        return self._one(_ops.resolve_name(name, quorum=quorum, timeout=timeout))

    def trace_lookup(self, key: bytes | str, *, timeout: Duration = 60) -> Trace:
        """Look the peers closest to `key` up, and return how that went."""
        return self._one(_ops.trace_lookup(key, timeout=timeout))

    def peers(self) -> list[DiscoveredPeer]:
        """Return the peers that the node knows, and how it came to know each."""
        return list(self._each(_ops.discovered_peers()))

    def connect(self, addr: str, *, timeout: Duration = 60) -> PeerAddrs:
        """Connect to a multiaddr (with or without `/p2p`) or HOST:PORT; returns who is there."""
        return self._one(_ops.connect(addr, timeout=timeout))

    def disconnect(self, peer: PeerId | bytes | str) -> None:
        """Close all connections to a peer."""
        self._one(_ops.disconnect(peer))

    def ping(self, peer: PeerId | bytes | str, *, timeout: Duration = 60) -> float:
        """Return the round-trip time in seconds."""
        return self._one(_ops.ping(peer, timeout=timeout))

    def identify(self) -> Identity:
        """Return the daemon's peer id and addresses."""
        return self._one(_ops.identify())

    def status(self) -> dict[str, Any]:
        """Return the daemon's state as JSON-able values."""
        return self._one(_ops.status())

    def drain(self, *, timeout: Duration = 600) -> DrainResult:
        """Hand all records over to other holders, before this node leaves for good."""
        return self._one(_ops.drain(timeout=timeout))

    def close(self) -> None:
        """Close the idle connections; the client can still be used afterwards."""
        self._pool.close()

    def __reduce__(self) -> tuple[type[Client], tuple[str]]:
        """Pickle the address only: a spawned process opens connections of its own."""
        return type(self), (self.control,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _one(self, call: Call[T]) -> T:
        items = list(self._each(call))
        if not items:
            raise DaemonUnavailable("the daemon sent no result; is it of another version?")
        return items[-1]

    def _each(self, call: Call[T]) -> Iterator[T]:
        connection, frame = self._begin(call)
        try:
            while True:
                yield from call.on_frame(frame)
                if call.finished:
                    break
                frame = connection.receive(call.timeout_s)
        finally:
            # Unread responses would answer the next call.
            if call.finished and not connection.broken:
                self._pool.give_back(connection)
            else:
                connection.close()

    def _begin(self, call: Call[T]) -> tuple[_Connection, bytes]:
        """Send the request and return its first response.

        A connection of the pool may belong to a daemon that is gone: it is tried once, then a new
        one. Every request may be sent twice, for all operations are idempotent.
        """
        idle = self._pool.take()
        if idle is not None:
            try:
                return idle, idle.exchange(call)
            except DaemonUnavailable:
                idle.close()
            except BaseException:
                idle.close()
                raise
        connection = _Connection(self._addr)
        try:
            return connection, connection.exchange(call)
        except BaseException:
            connection.close()
            raise


class _Connection:
    """One socket to the daemon. Used by one call at a time."""

    def __init__(self, addr: ControlAddr) -> None:
        self._reader = FrameReader(CONTROL_RESPONSE_BYTES_MAX)
        self._addr = addr
        self.broken = False
        self._socket = _open_socket(addr)

    def exchange(self, call: Call[Any]) -> bytes:
        try:
            self._socket.settimeout(call.timeout_s)
            self._socket.sendall(call.request)
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon at {self._addr} takes no requests") from None
        except OSError as error:
            # A daemon that refuses a request may close before it has read all; its answer tells why.
            if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
                self.broken = True
                raise DaemonUnavailable(f"the daemon at {self._addr} went away: {error.strerror}") from None
        return self.receive(call.timeout_s)

    def receive(self, timeout_s: float) -> bytes:
        """Return the next frame."""
        deadline = time.monotonic() + timeout_s
        try:
            while (frame := self._reader.next_frame()) is None:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(_RECEIVE_BYTES)
                if not data:
                    self.broken = True
                    raise DaemonUnavailable(f"the daemon at {self._addr} went away before it answered")
                self._reader.feed(data)
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon did not answer within {timeout_s:g} s") from None
        except OSError as error:
            self.broken = True
            raise DaemonUnavailable(f"the daemon at {self._addr} went away: {error.strerror}") from None
        except ProtocolViolation:
            self.broken = True
            raise DaemonUnavailable(f"what answers at {self._addr} is no PrimeDHT daemon") from None
        return frame

    def close(self) -> None:
        self._socket.close()


class _Pool:
    """Idle connections of this process."""

    _process_id: int
    _lock: threading.Lock
    _idle: list[_Connection]

    def __init__(self) -> None:
        self._renew()

    def take(self) -> _Connection | None:
        self._check_process()
        with self._lock:
            return self._idle.pop() if self._idle else None

    def give_back(self, connection: _Connection) -> None:
        self._check_process()
        with self._lock:
            if len(self._idle) < _IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        self._check_process()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _check_process(self) -> None:
        # After a fork the parent's sockets are its own, and its lock may be held by a lost thread.
        if self._process_id != os.getpid():
            self._renew()

    def _renew(self) -> None:
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._idle = []


def _open_socket(addr: ControlAddr) -> socket.socket:
    family = socket.AF_UNIX if isinstance(addr, UnixAddr) else _family(addr.host)
    target = addr.path if isinstance(addr, UnixAddr) else (addr.host, addr.port)
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(_CONNECT_TIMEOUT_S)
        opened.connect(target)
    except OSError as error:
        opened.close()
        reason = error.strerror or str(error)
        if isinstance(error, PermissionError):
            raise DaemonUnavailable(
                f"{addr}: {reason}; ask the daemon's user to widen control.mode or control.group"
            ) from None
        raise DaemonUnavailable(
            f"no daemon answers at {addr} ({reason}); start one with `primedht run`, or give --control"
        ) from None
    return opened


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
