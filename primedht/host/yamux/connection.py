"""A yamux session over a secure connection, as py-libp2p's muxed connection.

One task reads (or another in its place, see `reading`), one writes, one keeps the time. Streams are used
by any task, without locks: what a stream does takes effect in the session at once, and the writer sends
it in the next turn of the event loop, together with everything else that came up in this one. Tasks wait
by being suspended and are woken by being rescheduled, which is all that an event or a lock would do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import trio
from libp2p.abc import IMuxedConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from multiaddr import Multiaddr

from primedht import limits
from primedht.host.yamux.budget import MemoryBudget
from primedht.host.yamux.frames import NORMAL, YamuxViolation
from primedht.host.yamux.muxed_stream import YamuxStream
from primedht.host.yamux.reading import LONE_BYTES, LOST, MessageSource, Reading
from primedht.host.yamux.session import Session, SessionEnded, SessionLimits
from primedht.host.yamux.stream import Stream

_FLUSH_BYTES = 256 << 10  # what one turn sends at most: a message queued behind it waits that long
_BLOCKED_FLUSH_BYTES = 64 << 10  # likewise, when the network is slower than we are


class MessageConnection(MessageSource, Protocol):
    """What is needed of the connection below: `noise.SecureConnection` has it.

    Its methods raise what is in `LOST`.
    """

    is_initiator: bool

    def send_nowait(self, messages: Sequence[bytes]) -> int: ...

    def send_one_nowait(self, message: bytes) -> int: ...

    @property
    def backlog_bytes(self) -> int: ...

    async def flush(self) -> None: ...

    async def close(self) -> None: ...


class YamuxConnection(IMuxedConn):
    """Streams over one secure connection. `start` runs it; see py-libp2p's `IMuxedConn`.

    event_shutting_down: set as soon as no stream can be opened any more, also when the peer has said
    goodbye and its last streams go on.
    """

    def __init__(
        self,
        conn: MessageConnection,
        peer_id: ID,
        budget: MemoryBudget | None = None,
        session_limits: SessionLimits | None = None,
    ) -> None:
        self.peer_id = peer_id
        self.secured_conn: Any = conn  # a py-libp2p `ISecureConn` too
        self.event_started = trio.Event()
        self.event_shutting_down = trio.Event()
        self.event_closed = trio.Event()
        self.session = Session(
            is_client=conn.is_initiator,
            now=trio.current_time(),
            budget=budget,
            session_limits=SessionLimits() if session_limits is None else session_limits,
        )
        self._conn = conn
        self._outbox = self.session.outbox
        self.reading = Reading(conn, self.session, self.on_changed, self._lose)
        self._writer: trio.lowlevel.Task | None = None
        self._acceptor: trio.lowlevel.Task | None = None
        self._serve: Callable[[YamuxStream], None] | None = None
        self._openers: list[trio.lowlevel.Task] = []
        self._scope = trio.CancelScope()
        self._goodbye: int | None = None
        self._problem: Exception | None = None

    # --- streams --------------------------------------------------------------------------------

    async def open_stream(self) -> YamuxStream:
        """Open a stream. Raises `MuxedConnUnavailable`.

        Waits only while the peer has left `limits.YAMUX_ACK_BACKLOG` others unacknowledged.
        """
        session = self.session
        while not session.can_open and not session.is_over:
            await self._wait_for_acknowledgement()
        try:
            return YamuxStream(self, session.open())
        except SessionEnded as error:
            raise MuxedConnUnavailable(str(error)) from error

    async def _wait_for_acknowledgement(self) -> None:
        task = trio.lowlevel.current_task()
        self._openers.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._openers.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def serve_streams(self, serve: Callable[[YamuxStream], None]) -> None:
        """Pass every stream that the peer opens to `serve`, in place of `accept_stream`.

        `serve` is called as the stream comes in, which spares a task and a turn of the event loop.
        """
        self._serve = serve

    async def accept_stream(self) -> YamuxStream:
        """Return the next stream that the peer opens. Raises `MuxedConnUnavailable` at the end."""
        while True:
            state = self.session.accept()
            if state is not None:
                return YamuxStream(self, state)
            if self.session.is_over:
                raise MuxedConnUnavailable("the connection is closed")
            await self._wait_for_stream()

    async def _wait_for_stream(self) -> None:
        if self._acceptor is not None:
            raise trio.BusyResourceError("another task is accepting")
        self._acceptor = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._acceptor = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def queue_bytes_max(self) -> int:
        """Return how much a stream may have queued when it queues more."""
        if self.session.queued_bytes > limits.YAMUX_QUEUE_BYTES:
            return 0
        return limits.YAMUX_STREAM_QUEUE_BYTES

    # --- running --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Run the connection until either side ends it.

        Raises why it ended, unless that was by `close` or by the peer at its leisure.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._run, self._read)
                    nursery.start_soon(self._run, self._write)
                    self.event_started.set()
                    await self._run(self._keep_time)
        finally:
            deadline = trio.current_time() + limits.CONNECTION_CLOSE_TIMEOUT_S
            with trio.CancelScope(shield=True, deadline=deadline):
                await self._finish()
            self.event_closed.set()
        if self._problem is not None:
            raise self._problem

    async def _run(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run one part of the connection; with it all of them end."""
        try:
            await part()
        except LOST as error:
            self._lose(error)
        self._scope.cancel()

    def _lose(self, error: Exception) -> None:
        """The connection is at its end because of `error`, unless it was so before."""
        if isinstance(error, YamuxViolation) or not self.session.is_over:
            self._problem = error
        self._scope.cancel()  # before waking: what is left to say is said at the very end
        self._end(f"the connection is lost: {error}")

    async def _read(self) -> None:
        await self.reading.run()
        if self.session.goodbye is None or self.session.stream_count:
            self._end("the connection is lost: the peer has closed it")

    async def _write(self) -> None:
        conn, session = self._conn, self.session
        flush_bytes = _FLUSH_BYTES
        while self._goodbye is None:
            if not (session.has_output or conn.backlog_bytes):
                await self._wait_for_output()
            if session.has_output:
                conn.send_nowait(session.take(flush_bytes))
                self._wake_streams()
            if conn.backlog_bytes:
                flush_bytes = _BLOCKED_FLUSH_BYTES
                await conn.flush()
            else:
                flush_bytes = _FLUSH_BYTES
                if session.has_output:
                    await trio.lowlevel.checkpoint()
        self._say_goodbye()
        await conn.flush()

    async def _wait_for_output(self) -> None:
        self._writer = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _keep_time(self) -> None:
        while True:
            due = self.session.tick(trio.current_time())
            self.flush_soon()
            await trio.sleep_until(due)

    def flush_soon(self) -> None:
        """Let the writer send what the session has for it, if anything."""
        if self._writer is not None and self._outbox.has_output:
            self._wake_writer()

    def send(self, state: Stream, data: bytes) -> None:
        """Send `data`: soon, or at once where hardly anything else can come up to be sent along.

        With a single busy stream there is nothing to batch, and a request saves a turn of the event loop.
        """
        session = self.session
        message = None
        if (
            self._writer is not None
            and len(data) <= LONE_BYTES
            and (self.reading.leader is state or session.stream_count == 1)
        ):
            message = session.take_alone(state, data)
        if message is None:
            state.send(data)
            self.flush_soon()
            return
        try:
            backlog_bytes = self._conn.send_one_nowait(message)
        except LOST as error:
            self._lose(error)
            return
        if backlog_bytes:
            self._wake_writer()

    def _wake_writer(self) -> None:
        writer = self._writer
        if writer is not None:
            self._writer = None
            trio.lowlevel.reschedule(writer)

    def on_changed(self) -> Stream | None:
        """The session has taken something in: wake everybody whom that concerns.

        Return the stream that has changed, if that is all that there is to it.
        """
        changed = self._wake_streams()
        session = self.session
        if session.waiting and self._serve is not None:
            while (state := session.accept()) is not None:
                self._serve(YamuxStream(self, state))
        acceptor = self._acceptor
        if acceptor is not None and (session.waiting or session.is_over):
            self._acceptor = None
            trio.lowlevel.reschedule(acceptor)
        if session.goodbye is not None or session.is_over:
            self.event_shutting_down.set()
        if self._openers and (session.can_open or session.is_over):
            openers, self._openers = self._openers, []
            for opener in openers:
                trio.lowlevel.reschedule(opener)
        if self._outbox.has_output:
            self.flush_soon()
        return changed[0] if len(changed) == 1 else None

    def _wake_streams(self) -> Sequence[Stream]:
        changed = self.session.pop_changed()
        for state in changed:
            owner = state.owner
            if isinstance(owner, YamuxStream):
                owner.wake()
                if not state.is_open:
                    state.owner = None  # nobody waits for it any more; and no reference cycle is left
                    if owner.when_over is not None:
                        owner.when_over()
        return changed

    # --- the end --------------------------------------------------------------------------------

    async def close(self, error_code: int = NORMAL) -> None:
        """Send what is queued, say goodbye and end. Idempotent; waits a moment for a slow network."""
        if self._goodbye is None:
            self._goodbye = error_code
        if self.event_started.is_set() and not self.event_closed.is_set():
            self._wake_writer()
            with trio.move_on_after(limits.CONNECTION_CLOSE_TIMEOUT_S):
                await self.event_closed.wait()
            self._scope.cancel()
        await self._finish()
        self.event_closed.set()

    def _say_goodbye(self) -> None:
        session, conn = self.session, self._conn
        if session.has_output and not session.is_over:
            conn.send_nowait(session.take(_FLUSH_BYTES))
        session.close(NORMAL if self._goodbye is None else self._goodbye)
        if session.has_output:
            conn.send_nowait(session.take(_FLUSH_BYTES))

    async def _finish(self) -> None:
        """End the session, with a goodbye if there is still one to say and room for it."""
        conn = self._conn
        with suppress(*LOST):  # what is lost needs no goodbye
            if not conn.backlog_bytes:
                self._say_goodbye()
                await conn.flush()
        self._end("the connection is closed")
        with suppress(*LOST):
            await conn.close()

    def _end(self, failure: str) -> None:
        if not self.session.is_over:
            self.session.end(failure)
        self.on_changed()

    # --- the rest of py-libp2p's interface ------------------------------------------------------

    @property
    def is_initiator(self) -> bool:
        return self._conn.is_initiator

    @property
    def is_established(self) -> bool:
        return self.event_started.is_set() and not self.event_shutting_down.is_set()

    @property
    def is_closed(self) -> bool:
        return self.event_closed.is_set()

    def rtt(self) -> float:
        """Return the smoothed round-trip time in seconds, 0 before it is measured."""
        return self.session.rtt_s or 0.0

    def get_remote_address(self) -> tuple[str, int] | None:
        address: tuple[str, int] | None = self.secured_conn.get_remote_address()
        return address

    def get_transport_addresses(self) -> list[Multiaddr]:
        addresses: list[Multiaddr] = self.secured_conn.get_transport_addresses()
        return addresses

    def get_connection_type(self) -> ConnectionType:
        kind: ConnectionType = self.secured_conn.get_connection_type()
        return kind
