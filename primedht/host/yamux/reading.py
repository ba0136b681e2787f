"""Who reads a connection: a task of its own, or the very task that waits for what is to come.

Usually a task of the connection, the pump, waits for its socket, takes in what arrives and wakes those
whom that concerns; they run in the next turn of the event loop. On a stream that carries one request
after the other that turn, and the switch between two tasks, is a fifth of what a request costs. So where
one stream alone has been busy for a while, and its reader back each time before the next message came,
the pump lends its place: that reader, the leader, waits for the socket itself and goes on in the same
turn, while the pump sleeps.

The pump has its place back
- at once, when the leader is cancelled or interrupted, or gets anything but one small message for its
  own stream. It does not lose anything: cancellation comes while it waits, before any byte is taken, and
  whatever takes more than one step to deal with is passed on to the pump as a whole (`_left_over`).
- within `_WATCH_S`, when the leader does not come back, because what it has read keeps it busy
  elsewhere. Until then nobody reads; so the pump looks now and then, as long as the leader gets
  something. While it waits in peace the pump sleeps without a timer, and its next message wakes the pump.

So exactly one of the two waits for the socket or is about to: the pump never while there is a `leader`,
and the leader only while it is that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import trio
from libp2p.io.exceptions import IOException

from primedht import limits
from primedht.errors import PrimeDhtError
from primedht.host.yamux.session import Session
from primedht.host.yamux.stream import Stream

LONE_BYTES = 4 << 10  # a message this small is soon dealt with
LOST = (PrimeDhtError, IOException, OSError, trio.ClosedResourceError, trio.BrokenResourceError)

_TURN_S = 0.005
_BACKLOG_YIELD = limits.YAMUX_ACCEPT_BACKLOG // 2
_STREAK = 8  # messages in a row for one stream, and it is lent the pump's place
_WATCH_S = 0.005  # how long nobody reads when a leader does not come back


class Waiter(Protocol):
    """What waits for bytes and can be told to stop: a `noise.wire.InterruptibleWire`.

    received_at: `trio.current_time()` when bytes last came in.
    """

    @property
    def received_at(self) -> float: ...

    async def wait_readable(self) -> None: ...

    def interrupt(self) -> None: ...


class MessageSource(Protocol):
    """What is read. Its methods raise what is in `LOST`.

    waiter: waits until `receive_nowait` may return something; None if nothing can wait in `receive`'s
    stead.
    """

    waiter: Waiter | None

    async def receive(self) -> Sequence[bytes]: ...

    def receive_nowait(self) -> Sequence[bytes] | None: ...


class Reading:
    """Reads `source` into `session`: in `run`, or in the `lead` of a task that waits for `leader`.

    on_changed: wakes everybody concerned, and returns the stream that has changed if it was just one.
    lose: ends the connection because of an error.
    """

    def __init__(
        self,
        source: MessageSource,
        session: Session,
        on_changed: Callable[[], Stream | None],
        lose: Callable[[Exception], None],
    ) -> None:
        self.leader: Stream | None = None
        self.is_led = False  # the leader waits at this moment
        self._source = source
        self._session = session
        self._on_changed = on_changed
        self._lose = lose
        self._left_over: Sequence[bytes] = ()
        self._pump: trio.lowlevel.Task | None = None  # while it sleeps
        self._sleeps_in_peace = False
        self._busy_id = 0
        self._streak = 0
        self._waits = 0

    # --- the pump -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until the peer has ended the connection, or has said goodbye and no stream is left."""
        source, session = self._source, self._session
        while session.goodbye is None or session.stream_count:
            messages = self._left_over or await source.receive()
            self._left_over = ()
            if not messages:
                return
            now = trio.current_time()
            for message in messages:
                session.receive(message, now)
                # Streams that an honest peer opens all at once are accepted, not refused; and frames
                # of a few bytes each, which take long to look at, do not keep the others waiting.
                # One small message is soon dealt with, and to receive the next gives up the turn.
                if (len(message) > LONE_BYTES or len(messages) > 1) and (
                    len(session.waiting) >= _BACKLOG_YIELD or trio.current_time() - now > _TURN_S
                ):
                    self._on_changed()
                    await trio.lowlevel.checkpoint()
                    now = trio.current_time()
            changed = self._on_changed()
            if self._is_busy_alone(changed, messages):
                await self._lend(changed)

    def _is_busy_alone(self, stream: Stream | None, messages: Sequence[bytes]) -> bool:
        """Whether `stream` has had `_STREAK` small messages, one by one, and read all before the last."""
        size = len(messages[0])
        if stream is None or len(messages) > 1 or size > LONE_BYTES or stream.incoming.size >= size:
            self._streak = 0
            return False
        if stream.id != self._busy_id:
            self._busy_id = stream.id
            self._streak = 0
        self._streak += 1
        return self._streak >= _STREAK and self._source.waiter is not None and _goes_on(stream)

    async def _lend(self, stream: Stream | None) -> None:
        """Sleep while the one who waits for `stream` reads."""
        self.leader = stream
        self._streak = 0
        self._sleeps_in_peace = False
        while self.leader is not None:
            waits = self._waits
            patience_s = math.inf if self._sleeps_in_peace else _WATCH_S
            with trio.CancelScope(deadline=trio.current_time() + patience_s):
                await self._sleep()
            if self.is_led:
                self._sleeps_in_peace = self._waits == waits
            else:
                self.leader = None

    async def _sleep(self) -> None:
        self._pump = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._pump = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_pump(self) -> None:
        pump = self._pump
        if pump is not None:
            self._pump = None
            trio.lowlevel.reschedule(pump)

    # --- the leader -----------------------------------------------------------------------------

    async def lead(self, stream: Stream, size_max: int | None) -> bytes | None:
        """Wait for the socket, in the task that waits for `stream`, the leader; take in what has come.

        Return it if that is one small message for the stream, of at most `size_max` bytes, and nothing
        else. None otherwise: the stream may have changed, and need not be the leader any more; or neither.
        """
        source = self._source
        waiter = source.waiter
        assert waiter is not None
        self.is_led = True
        self._waits += 1
        try:
            await waiter.wait_readable()
        except BaseException:
            self.is_led = False
            self._return()
            raise
        self.is_led = False
        if self.leader is not stream:
            return None
        if self._sleeps_in_peace:
            self._wake_pump()
        try:
            messages = source.receive_nowait()
            if messages is None:
                return None
            if len(messages) != 1 or len(messages[0]) > LONE_BYTES:
                self._left_over = messages
                self._return()
                return None
            data = self._session.receive_alone(stream, messages[0], waiter.received_at, size_max)
            if data is not None:
                return data
            self._session.receive(messages[0], waiter.received_at)
        except LOST as error:
            self._return()
            self._lose(error)
            return None
        if self._on_changed() is not stream or not _goes_on(stream):
            self._return()
        return None

    def interrupt(self) -> None:
        """Let the leader, which waits, look at its stream, and the pump go on."""
        self._return()
        if self._source.waiter is not None:
            self._source.waiter.interrupt()

    def _return(self) -> None:
        self.leader = None
        self._wake_pump()


def _goes_on(stream: Stream) -> bool:
    return stream.is_open and not stream.peer_finished
