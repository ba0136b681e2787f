"""STREAM_OPEN and STREAM_HANDLER: streams of a client's own protocols, as bytes over local sockets.

Source: go-libp2p-daemon, conn.go and stream.go. As there, a registration outlives the connection
that made it and ends with the daemon; a later one for the same protocol takes its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from primedht import limits
from primedht.control.session import Session
from primedht.control.targets import check_owner, dial, parse_target
from primedht.control_addr import ControlAddr, UnixAddr
from primedht.errors import (
    DaemonUnavailable,
    InvalidArgument,
    NotPermitted,
    PeerUnreachable,
    PrimeDhtError,
    TooBusy,
)
from primedht.ids import PeerId
from primedht.pb import p2pd_pb2 as pb
from primedht.wire.frames import encode_frame

if TYPE_CHECKING:
    from primedht.host.streams import Stream
    from primedht.node import Node

log = structlog.get_logger(__name__)

_PIECE_BYTES = 64 << 10
_NEGOTIATION = frozenset({"/multistream/1.0.0", "ls", "na"})  # multistream-select's own words
_LOCAL_FAULTS = (trio.BrokenResourceError, trio.ClosedResourceError)


class ByteStream(Protocol):
    """What is asked of a stream to a peer, so that tests need no host."""

    async def receive(self) -> bytes: ...

    async def send(self, data: bytes) -> None: ...

    async def finish(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Handler:
    """Where streams of a protocol go. trusted: who said so may administrate."""

    target: ControlAddr
    trusted: bool


class ClientStreams:
    """The streams of all clients of one node, and the protocols that they registered."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._handlers: dict[str, _Handler] = {}
        self._inbound = 0
        self._closed = False

    # --- outbound -------------------------------------------------------------------------------

    async def open(self, request: pb.StreamOpenRequest, session: Session, *, timeout_s: float) -> None:
        """Answer STREAM_OPEN, then pipe until both ends have finished; the session ends with it.

        Raises what opening raises; nothing that happens later.
        """
        peer = PeerId(request.peer)
        protocols = _checked(request.proto)
        stream = await self._opened(peer, protocols, timeout_s)
        async with AsyncExitStack() as unless_finished:
            unless_finished.push_async_callback(stream.reset)
            info = pb.StreamInfo(
                peer=request.peer, addr=stream.connection.addr, proto=str(stream.protocol_id)
            )
            response = pb.Response(type=pb.Response.OK, streamInfo=info)
            unread, local = session.detach()
            try:
                await pipe(stream, local, unread, greeting=encode_frame(response.SerializeToString()))
            except PrimeDhtError as error:
                log.debug("control_stream_ended", peer=str(peer), code=error.code)
                return
            unless_finished.pop_all()
        await stream.close()

    async def _opened(self, peer: PeerId, protocols: Sequence[str], timeout_s: float) -> Stream:
        if peer not in self._node.host.connections.connected():
            await self._node.connect_peer(peer, timeout=timeout_s)
        stream = await self._node.host.streams.open(peer, protocols, timeout_s=timeout_s)
        if self._closed:
            await stream.reset()
            raise DaemonUnavailable("the daemon is stopping")
        return stream

    # --- inbound --------------------------------------------------------------------------------

    def register(self, request: pb.StreamHandlerRequest, *, trusted: bool) -> None:
        """Deliver streams of the protocols at the address from now on; all of them or none.

        Raises `InvalidArgument`, `NotPermitted` for protocols that the node itself serves and for
        targets that are not the daemon's user's own, `TooBusy`, and `DaemonUnavailable` at its end.
        """
        if self._closed:
            raise DaemonUnavailable("the daemon is stopping")
        target = parse_target(request.addr)
        check_owner(target)
        if not trusted and isinstance(target, UnixAddr):
            raise NotPermitted("over TCP only loopback ports may be named; use the Unix socket")
        protocols = _checked(request.proto)
        for protocol in protocols:
            self._check_free(protocol, trusted=trusted)
        if len(self._handlers.keys() | set(protocols)) > limits.CONTROL_HANDLERS_MAX:
            raise TooBusy(f"more than {limits.CONTROL_HANDLERS_MAX} protocols; restart to drop old ones")
        for protocol in protocols:
            is_new = protocol not in self._handlers
            self._handlers[protocol] = _Handler(target, trusted)
            if is_new:
                self._node.host.streams.serve(protocol, self._server(protocol))

    def _check_free(self, protocol: str, *, trusted: bool) -> None:
        registered = self._handlers.get(protocol)
        if registered is not None:
            if registered.trusted and not trusted:
                raise NotPermitted(f"{protocol} was registered over the Unix socket; replace it there")
            return
        # The DHT's own is not served in client mode, and may be again at any time.
        if protocol == self._node.dht.config.network_id or protocol in self._node.host.streams.protocols():
            raise NotPermitted(f"{protocol} is served by the node itself")

    def close(self) -> None:
        """Serve no registered protocol any more, and open no stream; those that are open go on."""
        self._closed = True
        for protocol in self._handlers:
            self._node.host.streams.serve(protocol, None)
        self._handlers.clear()

    def _server(self, protocol: str) -> Callable[[Stream], Awaitable[None]]:
        async def serve(stream: Stream) -> None:
            handler = self._handlers.get(protocol)
            if handler is None:
                raise PeerUnreachable(f"{protocol} is not served any more")
            if self._inbound >= limits.CONTROL_HANDLER_STREAMS_MAX:
                raise TooBusy(f"{self._inbound} streams are with their handlers already")
            self._inbound += 1
            try:
                await _deliver(stream, protocol, handler.target)
            finally:
                self._inbound -= 1

        return serve


async def _deliver(stream: Stream, protocol: str, target: ControlAddr) -> None:
    """Pipe an inbound stream to its handler. Raises what resets it."""
    try:
        local = await dial(target)
    except PrimeDhtError as error:
        log.info("stream_handler_unreachable", protocol=protocol, target=str(target), reason=str(error))
        raise
    info = pb.StreamInfo(peer=bytes(stream.peer), addr=stream.connection.addr, proto=protocol)
    async with local:
        await pipe(stream, local, b"", greeting=encode_frame(info.SerializeToString()))


async def pipe(stream: ByteStream, local: trio.SocketStream, unread: bytes, *, greeting: bytes = b"") -> None:
    """Copy bytes both ways until both sides have finished, each end of a half passed on as such.

    unread: what `local` sent and was read already. greeting: what it gets before anything else.
    Each direction goes at the pace of its reader and holds one piece. Raises the stream's error, or
    `PeerUnreachable` when the local side is gone.
    """
    failures: list[PrimeDhtError] = []

    async def to_peer() -> None:
        data = unread or await local.receive_some(_PIECE_BYTES)
        while data:
            await stream.send(data)
            data = await local.receive_some(_PIECE_BYTES)
        await stream.finish()

    async def to_local() -> None:
        data = greeting or await stream.receive()
        while data:
            await local.send_all(data)
            data = await stream.receive()
        with suppress(*_LOCAL_FAULTS):  # a client that has left may have said all that it had to
            await local.send_eof()

    async def guarded(copy: Callable[[], Awaitable[None]]) -> None:
        try:
            await copy()
        except PrimeDhtError as error:
            failures.append(error)
            both.cancel_scope.cancel()
        except _LOCAL_FAULTS:
            failures.append(PeerUnreachable("the client closed its end"))
            both.cancel_scope.cancel()

    async with trio.open_nursery() as both:
        both.start_soon(guarded, to_peer)
        both.start_soon(guarded, to_local)
    if failures:
        raise failures[0]


def _checked(protocols: Sequence[str]) -> list[str]:
    """Return the protocols without doubles. Raises `InvalidArgument`."""
    if not 0 < len(protocols) <= limits.MULTISTREAM_PROPOSALS_MAX:
        raise InvalidArgument(
            f"{len(protocols)} protocols; give one to {limits.MULTISTREAM_PROPOSALS_MAX} of them"
        )
    for protocol in protocols:
        if (
            not 0 < len(protocol.encode()) <= limits.IDENTIFY_PROTOCOL_CHARS_MAX
            or not protocol.isprintable()
            or protocol in _NEGOTIATION
        ):
            raise InvalidArgument(f"{protocol[:100]!r} cannot be a protocol's name")
    return list(dict.fromkeys(protocols))
