"""The asynchronous client: anyio, so that it runs on trio and on asyncio.

The same calls as `primedht.client.Client`. Connections belong to the event loop that opened them, so
use one client per loop; its tasks may call it side by side.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import ByteStream

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
_LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class AsyncClient:
    """Talks to the daemon of this machine. Arguments, results and errors are those of `Client`.

    Methods that yield are asynchronous generators: end them early with `contextlib.aclosing`.
    """

    def __init__(self, control: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._addr = locate(control, data_dir)
        self._idle: list[_Connection] = []

    @property
    def control(self) -> str:
        """The multiaddr of the control socket in use."""
        return str(self._addr)

    async def put(
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
        return await self._one(call)

    async def get(self, key: bytes | str, *, quorum: int = 1, timeout: Duration = 60) -> bytes | None:
        """Return the value of `key`, or None if nobody has one."""
        try:
            return (await self.get_record(key, quorum=quorum, timeout=timeout)).payload
        except ValueNotFound:
            return None

    async def get_record(
        self, key: bytes | str, *, quorum: int = 1, timeout: Duration = 60, want_trace: bool = False
    ) -> FoundValue:
        """Return the value of `key` and what is known about it. Raises `ValueNotFound`."""
        return await self._one(_ops.get_record(key, quorum=quorum, timeout=timeout, want_trace=want_trace))

    async def delete(self, key: bytes | str, *, timeout: Duration = 60) -> PutResult:
        """Replace the value by a tombstone, and stop republishing it."""
        return await self._one(_ops.delete(key, timeout=timeout))

    def put_many(
        self, items: Sequence[PutItem], *, timeout: Duration = 60
    ) -> AsyncGenerator[ItemResult[PutResult], None]:
        """Store many values; yields each outcome as it is known, in any order."""
        return self._each(_ops.put_many(items, timeout=timeout))

    def get_many(
        self, keys: Sequence[bytes | str], *, quorum: int = 1, timeout: Duration = 60
    ) -> AsyncGenerator[ItemResult[FoundValue], None]:
        """Get many values; yields each outcome as it is known, in any order."""
        return self._each(_ops.get_many(keys, quorum=quorum, timeout=timeout))

    async def provide(self, cid: bytes, *, timeout: Duration = 60, want_trace: bool = False) -> ProvideResult:
        """Announce that this node has the content of a binary CID, now and until `stop_providing`."""
        return await self._one(_ops.provide(cid, timeout=timeout, want_trace=want_trace))

    async def stop_providing(self, cid: bytes) -> bool:
        """Announce it no longer; returns whether it was announced."""
        return await self._one(_ops.stop_providing(cid))

    def find_providers(
        self, cid: bytes, *, limit: int = 20, timeout: Duration = 60
    ) -> AsyncGenerator[PeerAddrs, None]:
        """Yield providers of the content as they are found."""
        return self._each(_ops.find_providers(cid, limit=limit, timeout=timeout))

    async def find_peer(self, peer: PeerId | bytes | str, *, timeout: Duration = 60) -> PeerAddrs:
        """Return the peer's addresses. Raises `PeerNotFound`."""
        return await self._one(_ops.find_peer(peer, timeout=timeout))

    async def closest_peers(self, key: bytes | str, *, timeout: Duration = 60) -> list[PeerAddrs]:
        """Return the k reachable peers closest to `key`, nearest first."""
        return await self._all(_ops.closest_peers(key, timeout=timeout))

    async def publish_name(
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
        return await self._one(call)

    async def resolve_name(
        self, name: PeerId | bytes | str, *, quorum: int = 1, timeout: Duration = 60
    ) -> NameRecord:
        """Return what an IPNS name points at, one step. Raises `ValueNotFound`."""
        return await self._one(_ops.resolve_name(name, quorum=quorum, timeout=timeout))

    async def trace_lookup(self, key: bytes | str, *, timeout: Duration = 60) -> Trace:
        """Look the peers closest to `key` up, and return how that went."""
        return await self._one(_ops.trace_lookup(key, timeout=timeout))

    async def peers(self) -> list[DiscoveredPeer]:
        """Return the peers that the node knows, and how it came to know each."""
        return await self._all(_ops.discovered_peers())

    async def connect(self, addr: str, *, timeout: Duration = 60) -> PeerAddrs:
        """Connect to a multiaddr (with or without `/p2p`) or HOST:PORT; returns who is there."""
        return await self._one(_ops.connect(addr, timeout=timeout))

    async def disconnect(self, peer: PeerId | bytes | str) -> None:
        """Close all connections to a peer."""
        await self._one(_ops.disconnect(peer))

    async def ping(self, peer: PeerId | bytes | str, *, timeout: Duration = 60) -> float:
        """Return the round-trip time in seconds."""
        return await self._one(_ops.ping(peer, timeout=timeout))

    async def identify(self) -> Identity:
        """Return the daemon's peer id and addresses."""
        return await self._one(_ops.identify())

    async def status(self) -> dict[str, Any]:
        """Return the daemon's state as JSON-able values."""
        return await self._one(_ops.status())

    async def drain(self, *, timeout: Duration = 600) -> DrainResult:
        """Hand all records over to other holders, before this node leaves for good."""
        return await self._one(_ops.drain(timeout=timeout))

    async def aclose(self) -> None:
        """Close the idle connections; the client can still be used afterwards."""
        while self._idle:
            await self._idle.pop().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _one(self, call: Call[T]) -> T:
        items = await self._all(call)
        if not items:
            raise DaemonUnavailable("the daemon sent no result; is it of another version?")
        return items[-1]

    async def _all(self, call: Call[T]) -> list[T]:
        async with aclosing(self._each(call)) as items:
            return [item async for item in items]

    async def _each(self, call: Call[T]) -> AsyncGenerator[T, None]:
        async with AsyncExitStack() as stack:
            connection, frame = await self._begin(call)
            stack.push_async_callback(self._settle, connection, call)
            while True:
                for item in call.on_frame(frame):
                    yield item
                if call.finished:
                    return
                frame = await connection.receive(call.timeout_s)

    async def _settle(self, connection: _Connection, call: Call[Any]) -> None:
        """Keep a connection for the next call, unless unread responses would answer that."""
        if call.finished and not connection.broken and len(self._idle) < _IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            await connection.aclose()

    async def _begin(self, call: Call[Any]) -> tuple[_Connection, bytes]:
        """Send the request and return its first response; an idle connection may be dead by now.

        Every request may be sent twice, for all operations are idempotent.
        """
        if self._idle:
            connection = self._idle.pop()
            try:
                return connection, await connection.exchange(call)
            except DaemonUnavailable:
                await connection.aclose()
            except BaseException:
                await connection.aclose()
                raise
        connection = _Connection(await _open_stream(self._addr), self._addr)
        try:
            return connection, await connection.exchange(call)
        except BaseException:
            await connection.aclose()
            raise


class _Connection:
    """One connection to the daemon. Used by one call at a time."""

    def __init__(self, stream: ByteStream, addr: ControlAddr) -> None:
        self.broken = False
        self._stream = stream
        self._addr = addr
        self._reader = FrameReader(CONTROL_RESPONSE_BYTES_MAX)

    async def exchange(self, call: Call[Any]) -> bytes:
        try:
            with anyio.fail_after(call.timeout_s):
                await self._stream.send(call.request)
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon at {self._addr} takes no requests") from None
        except _LOST:
            pass  # it may have refused the request and closed before it had read all: its answer tells
        return await self.receive(call.timeout_s)

    async def receive(self, timeout_s: float) -> bytes:
        """Return the next frame."""
        try:
            with anyio.fail_after(timeout_s):
                while (frame := self._reader.next_frame()) is None:
                    self._reader.feed(await self._stream.receive(_RECEIVE_BYTES))
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon did not answer within {timeout_s:g} s") from None
        except _LOST:
            self.broken = True
            raise DaemonUnavailable(f"the daemon at {self._addr} went away before it answered") from None
        except ProtocolViolation:
            self.broken = True
            raise DaemonUnavailable(f"what answers at {self._addr} is no PrimeDHT daemon") from None
        return frame

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)


async def _open_stream(addr: ControlAddr) -> ByteStream:
    try:
        with anyio.fail_after(_CONNECT_TIMEOUT_S):
            if isinstance(addr, UnixAddr):
                return await anyio.connect_unix(addr.path)
            return await anyio.connect_tcp(addr.host, addr.port)
    except PermissionError as error:
        raise DaemonUnavailable(
            f"{addr}: {error.strerror}; ask the daemon's user to widen control.mode or control.group"
        ) from None
    except OSError as error:  # TimeoutError is one too
        raise DaemonUnavailable(
            f"no daemon answers at {addr} ({error.strerror or error}); "
            "start one with `primedht run`, or give --control"
        ) from None
