"""One authenticated, multiplexed connection to a peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from libp2p.connection_types import ConnectionType
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.rcmgr import Direction
from libp2p.stream_muxer.exceptions import MuxedConnError
from multiaddr import Multiaddr

from primedht import limits
from primedht.errors import PeerUnreachable
from primedht.host.sockets import TcpStream
from primedht.host.streams import Stream
from primedht.host.supervise import PEER_FAULTS, supervised
from primedht.host.yamux import YamuxConnection, YamuxStream
from primedht.ids import PeerId

if TYPE_CHECKING:
    from primedht.host.swarm import PeerSwarm


class Connection(SwarmConn):
    """A py-libp2p connection that accepts streams without locks, and closes without waiting.

    addr: the peer's end as a binary multiaddr; for an outbound connection the address dialled.
    protocols: what identify lists, None until it is done. identified: set when identify has ended,
    well or not.
    """

    swarm: PeerSwarm

    def __init__(
        self,
        muxed_conn: Any,
        swarm: PeerSwarm,
        *,
        peer: PeerId,
        socket: TcpStream,
        addr: bytes,
        inbound: bool,
    ) -> None:
        # Not super().__init__: it hooks into the muxer, and its call of logging.debug() makes the
        # standard library install a handler on the root logger of the whole program.
        self.muxed_conn = muxed_conn
        self.swarm = swarm
        self.streams = set()
        self.event_closed = trio.Event()
        self.event_started = trio.Event()
        self._direction = Direction.INBOUND if inbound else Direction.OUTBOUND
        self._resource_scope = None
        self._negotiated_security_protocol = None
        self._negotiated_muxer_protocol = None
        self.peer = peer
        self.socket = socket
        self.addr = addr
        self.inbound = inbound
        self.opened_at = trio.current_time()
        self.protocols: frozenset[str] | None = None
        self.agent_version = ""
        self.observed_addr = b""  # our own, as the peer sees it
        self.identified = trio.Event()
        self.told_generation = -1  # of our own identify message that the peer last got
        self._streams_in = 0
        self._streams_out = 0
        self._lingering: dict[Stream, float] = {}  # by when we ended them, oldest first
        is_ours = isinstance(muxed_conn, YamuxConnection)
        self._streams_out_max = limits.OUTBOUND_STREAMS_MAX if is_ours else limits.LIBP2P_OUTBOUND_STREAMS_MAX
        self._scope = trio.CancelScope()
        self.set_transport_info([Multiaddr(addr)], ConnectionType.DIRECT)

    @property
    def ip(self) -> str:
        """The peer's IP address as text."""
        return self.socket.remote[0]

    @property
    def last_active_at(self) -> float:
        """`trio.current_time()` when the peer was last heard."""
        return max(self.socket.received_at, self.opened_at)

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be said over it any more; its streams may notice that later."""
        muxer: Any = self.muxed_conn  # it knows first when the peer has said goodbye
        return self.is_closed or self.socket.is_closed or muxer.event_shutting_down.is_set()

    # --- life -----------------------------------------------------------------------------------

    async def run(self, serve: Callable[[Stream], Awaitable[None]]) -> None:
        """Serve the connection until either side ends it. Handlers get a moment to end after it."""
        try:
            with self._scope:
                async with trio.open_nursery() as handlers:

                    def serve_one(muxed_stream: Any) -> None:
                        self._take(muxed_stream, handlers, serve)

                    await self._run_muxer(serve_one)
                    self._mark_closed()
                    handlers.cancel_scope.deadline = trio.current_time() + limits.HANDLER_GRACE_S
        finally:
            self._mark_closed()
            with trio.CancelScope(
                shield=True, deadline=trio.current_time() + limits.CONNECTION_CLOSE_TIMEOUT_S
            ):
                await supervised("connection_close_failed", self.muxed_conn.close, self)
            self.socket.abort()

    async def _run_muxer(self, serve_one: Callable[[Any], None]) -> None:
        """Run the muxer to its end, passing every stream that the peer opens to `serve_one`."""
        muxer: Any = self.muxed_conn
        self.event_started.set()
        if isinstance(muxer, YamuxConnection):
            muxer.serve_streams(serve_one)
            await supervised("connection_failed", muxer.start, self)
            return

        async def accept() -> None:
            with suppress(MuxedConnError):
                while True:
                    serve_one(await muxer.accept_stream())

        async with trio.open_nursery() as pumps:
            pumps.start_soon(accept)
            await supervised("connection_failed", muxer.start, self)
            pumps.cancel_scope.cancel()

    def _take(
        self, muxed_stream: Any, handlers: trio.Nursery, serve: Callable[[Stream], Awaitable[None]]
    ) -> None:
        stream = Stream(muxed_stream, self, inbound=True)
        if self._streams_in >= limits.INBOUND_STREAMS_MAX:
            handlers.start_soon(stream.reset)
            return
        self._streams_in += 1
        self.streams.add(stream)
        handlers.start_soon(self._serve, stream, serve)

    async def _serve(self, stream: Stream, serve: Callable[[Stream], Awaitable[None]]) -> None:
        problem: str | None = "cancelled"
        try:
            problem = await supervised("stream_handler_failed", lambda: serve(stream), stream)
        finally:
            self._streams_in -= 1
            # Nothing here waits, so that cancelling it cannot cut it short.
            if self.is_lost:
                self.forget(stream)  # the end of the connection tells the peer, and tells it why
            elif problem is None:
                await stream.close()
            else:
                await stream.reset()

    async def close(self) -> None:
        """Begin to close; the peer is told. Returns at once (docs/py-libp2p.md, B16)."""
        self.shut()

    def shut(self) -> None:
        """As `close`, from code that cannot wait."""
        self._mark_closed()
        self._scope.cancel()

    def _mark_closed(self) -> None:
        if not self.event_closed.is_set():
            self.event_closed.set()
            self.identified.set()
            self.swarm.remove_conn(self)

    # --- streams --------------------------------------------------------------------------------

    async def new_stream(self) -> Stream:
        """Open a stream, not yet negotiated. Raises `PeerUnreachable`."""
        if self.is_closed:
            raise PeerUnreachable(f"the connection to {self.peer} is closed")
        if self._streams_out >= self._streams_out_max:
            raise PeerUnreachable(f"{self._streams_out} streams to {self.peer} are open already")
        if not self.event_started.is_set():
            await self.event_started.wait()
        self._streams_out += 1
        try:
            muxed_stream = await self._open_muxed()
        except PEER_FAULTS as error:
            self._streams_out -= 1
            raise PeerUnreachable(f"the connection to {self.peer} is lost: {error}") from error
        except BaseException:
            self._streams_out -= 1
            raise
        stream = Stream(muxed_stream, self, inbound=False)
        self.streams.add(stream)
        return stream

    async def _open_muxed(self) -> Any:
        if isinstance(self.muxed_conn, YamuxConnection):
            return await self.muxed_conn.open_stream()
        with trio.CancelScope(shield=True):  # py-libp2p's never waits; cut short it would leak the stream
            return await self.muxed_conn.open_stream()

    def forget(self, stream: Stream) -> None:
        """`stream` has ended."""
        self._lingering.pop(stream, None)
        if stream in self.streams:
            self.streams.discard(stream)
            if not stream.inbound:
                self._streams_out -= 1

    def linger(self, stream: Stream) -> None:
        """Our half of `stream` has ended; see to it that it does not stay for ever."""
        if stream.peer_has_finished:
            self.forget(stream)
            return
        self._lingering[stream] = trio.current_time()
        if isinstance(stream.muxed_stream, YamuxStream):
            stream.muxed_stream.when_over = lambda: self.forget(stream)

    async def sweep(self, now: float) -> None:
        """Forget the streams that both sides have ended; reset those that only we did, in time."""
        for stream, since in list(self._lingering.items()):
            if stream.peer_has_finished:
                self.forget(stream)
            elif now - since >= limits.STREAM_LINGER_S:
                await stream.reset()

    def remove_stream(self, stream: Any) -> None:
        self.forget(stream)

    def __str__(self) -> str:
        return f"{self.peer} at {self.ip}"
