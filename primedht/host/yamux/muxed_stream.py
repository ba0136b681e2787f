"""A stream of a `YamuxConnection`, as py-libp2p's muxed stream: where tasks wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from primedht.host.yamux.stream import Stream

if TYPE_CHECKING:
    from primedht.host.yamux.connection import YamuxConnection


class YamuxStream(IMuxedStream):
    """A stream. One task may read and one may write.

    recv_closed, closed: as py-libp2p's; the peer has finished, or both sides have. when_over: called
    once that is so for both, or the stream was reset; set it while `closed` is false.
    """

    __slots__ = (
        "_connection",
        "_outbox",
        "_reader",
        "_reading",
        "_state",
        "_writer",
        "muxed_conn",
        "stream_id",
        "when_over",
    )

    def __init__(self, connection: YamuxConnection, state: Stream) -> None:
        self.muxed_conn = connection
        self.stream_id = state.id
        self._connection = connection
        self._outbox = connection.session.outbox
        self._reading = connection.reading
        self._state = state
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None
        self.when_over: Callable[[], None] | None = None
        state.owner = self

    @property
    def is_initiator(self) -> bool:
        return not self._state.inbound

    @property
    def recv_closed(self) -> bool:
        return self._state.peer_finished

    @property
    def closed(self) -> bool:
        return not self._state.is_open

    # --- reading --------------------------------------------------------------------------------

    async def read(self, n: int | None = None) -> bytes:
        """Return at least one byte, at most `n`; without `n`, a good deal of what has arrived.

        Raises `MuxedStreamEOF` once the peer has finished, and `MuxedStreamReset` when the stream was
        reset or its connection lost. Does not wait, or look for cancellation, if there is something.
        """
        if n == 0:
            return b""
        state, data = self._state, None
        size_max = None if n is None or n < 0 else n
        while not state.incoming.size:
            if state.peer_finished:
                raise MuxedStreamEOF("the peer has finished")
            if state.failure is not None:
                raise MuxedStreamReset(state.failure)
            reading = self._reading
            if reading.leader is state and not reading.is_led and self._reader is None:
                data = await reading.lead(state, size_max)
                if data is not None:
                    break
            else:
                self._begin_reading()
                await trio.lowlevel.wait_task_rescheduled(self._stop_reading)
        if data is None:
            data = state.receive(size_max)
        if self._outbox.has_output:
            self._connection.flush_soon()
        return data

    def read_nowait(self) -> bytes:
        """Return a good deal of what has arrived, b"" if nothing has."""
        return self._state.receive() if self._state.incoming.size else b""

    def _begin_reading(self) -> None:
        if self._reader is not None or self._reading.leader is self._state:
            raise trio.BusyResourceError("another task is reading")
        self._state.show()
        self._connection.flush_soon()
        self._reader = trio.lowlevel.current_task()

    def _stop_reading(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    # --- writing --------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Queue all of `data`, once there is room for it: it is never queued in part.

        Raises `MuxedStreamReset`, or `MuxedStreamClosed` after `close_write`. Waits as long as the
        peer does not take what was queued before.
        """
        state, connection = self._state, self._connection
        while state.failure is None and not state.finished:
            unsent = state.outgoing.size
            if not unsent or unsent <= connection.queue_bytes_max():
                if data:
                    connection.send(state, data if type(data) is bytes else bytes(data))
                return
            await self._wait_writable()
        if state.failure is not None:
            raise MuxedStreamReset(state.failure)
        raise MuxedStreamClosed("the stream is closed for writing")

    async def _wait_writable(self) -> None:
        if self._writer is not None:
            raise trio.BusyResourceError("another task is writing")
        self._writer = trio.lowlevel.current_task()
        self._state.wants_room = True

        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer = None
            self._state.wants_room = False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # --- ends -----------------------------------------------------------------------------------

    async def close_write(self) -> None:
        """Finish once everything written has been sent. Does not wait for that; idempotent."""
        self._state.finish()
        self._connection.flush_soon()

    async def close(self) -> None:
        """As `close_write`: what the peer still sends can be read."""
        await self.close_write()

    async def reset(self) -> None:
        """End the stream in both directions, dropping what is unsent or unread. Idempotent."""
        self._state.reset()
        self._connection.on_changed()

    # --- waking ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """The session has changed something: let the tasks that wait go on if they can."""
        state, reader, writer = self._state, self._reader, self._writer
        if reader is not None and (state.incoming.size or state.is_readable):
            self._reader = None
            trio.lowlevel.reschedule(reader)
        elif self._reading.leader is state and self._reading.is_led and state.is_readable:
            self._reading.interrupt()
        if writer is not None and (
            state.failure is not None or state.unsent_bytes <= self._connection.queue_bytes_max()
        ):
            self._writer = None
            state.wants_room = False
            trio.lowlevel.reschedule(writer)

    # --- the rest of py-libp2p's interface ------------------------------------------------------

    def set_deadline(self, ttl: int) -> None:
        """Not supported: use a trio cancel scope."""
        raise NotImplementedError("use a cancel scope around the operation")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._connection.get_remote_address()

    async def __aenter__(self) -> Self:
        return self
