"""One yamux connection: frames in, streams, frames out. Sans-IO.

Theory of operation. The owner passes what it receives to `receive` and sends what `take` returns;
`pop_changed` then says which streams may have become readable, writable or over, `accept` yields
those that the peer has opened, and `tick` is called at the time that it last returned. Streams act on
the session at once; their frames wait in the outbox for the next `take`.

Strict: what the specification forbids, and what exceeds a limit of ours that no honest peer reaches,
raises `YamuxViolation` and ends the session with GO_AWAY. A stream too many is reset, no more.

Flow control binds both ways. We never send beyond the peer's credit. The peer may not send beyond
ours, and what it may send is bounded: initial windows by the number of streams, growth by a budget,
and unread data by a budget of its own, beyond which the stream that holds most of it is reset.

Source: libp2p specs, yamux/README.md; where it is silent, go-yamux.
"""

from __future__ import annotations

from dataclasses import dataclass

from primedht import limits
from primedht.errors import PeerUnreachable
from primedht.host.yamux.budget import MemoryBudget
from primedht.host.yamux.flood import Allowance
from primedht.host.yamux.frame_reader import ENDS, FrameReader
from primedht.host.yamux.frames import (
    ACK,
    DATA,
    FIN,
    FLAGS,
    GO_AWAY,
    HEADER_BYTES,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SESSION_ID,
    STREAM_ID_MAX,
    SYN,
    WINDOW_BYTES_LIMIT,
    WINDOW_UPDATE,
    YamuxViolation,
    encode_header,
    unpack_header_from,
)
from primedht.host.yamux.outbox import Outbox
from primedht.host.yamux.pulse import Pulse
from primedht.host.yamux.stream import Stream
from primedht.host.yamux.stream_ids import RemoteIds


class SessionEnded(PeerUnreachable):
    """The session takes no new streams: it is over, or the peer has said goodbye."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of one session; see `primedht.limits` for each."""

    inbound_streams_max: int = limits.INBOUND_STREAMS_MAX
    accept_backlog: int = limits.YAMUX_ACCEPT_BACKLOG
    window_growth_bytes_max: int = limits.YAMUX_WINDOW_GROWTH_BYTES_MAX
    unread_bytes_max: int = limits.YAMUX_UNREAD_BYTES_MAX
    keepalive_s: float = limits.YAMUX_KEEPALIVE_S
    ping_timeout_s: float = limits.YAMUX_PING_TIMEOUT_S


_DEFAULT_LIMITS = SessionLimits()


class Session:
    """A session, as client (the side that opened the connection) or server.

    Times are monotonic seconds. goodbye: the code of the peer's GO_AWAY, None before that. unread_bytes:
    of all streams. is_over: nothing comes or goes any more. outbox: what waits for `take`. streams: those
    that are open, by id. waiting: streams of the peer that `accept` has not returned yet.
    """

    __slots__ = (
        "_budget",
        "_changed",
        "_churn",
        "_growth_bytes",
        "_idle_frames",
        "_inbound_count",
        "_limits",
        "_next_id",
        "_now",
        "_pulse",
        "_reader",
        "_remote_ids",
        "_unacknowledged",
        "_unread_bytes_fair",
        "goodbye",
        "is_over",
        "outbox",
        "streams",
        "unread_bytes",
        "waiting",
    )

    def __init__(
        self,
        *,
        is_client: bool,
        now: float,
        budget: MemoryBudget | None = None,
        session_limits: SessionLimits = _DEFAULT_LIMITS,
    ) -> None:
        self.goodbye: int | None = None
        self.unread_bytes = 0
        self._limits = session_limits
        self._unread_bytes_fair = min(limits.YAMUX_MEMORY_BYTES_FAIR, session_limits.unread_bytes_max)
        self._budget = MemoryBudget() if budget is None else budget
        self._growth_bytes = 0
        self.streams: dict[int, Stream] = {}
        self._changed: list[Stream] = []
        self.waiting: list[Stream] = []
        self.outbox = Outbox()
        self._next_id = 1 if is_client else 2
        self._remote_ids = RemoteIds(peer_is_client=not is_client)
        self._inbound_count = 0
        self._unacknowledged = 0
        self.is_over = False
        self._reader = FrameReader(self)
        self._now = now
        self._pulse = Pulse(
            now, keepalive_s=session_limits.keepalive_s, ping_timeout_s=session_limits.ping_timeout_s
        )
        self._idle_frames = Allowance(limits.YAMUX_IDLE_FRAMES_BURST, limits.YAMUX_IDLE_FRAMES_PER_S)
        self._churn = Allowance(limits.YAMUX_CHURN_BURST, limits.YAMUX_CHURN_PER_S)

    # --- streams --------------------------------------------------------------------------------

    @property
    def rtt_s(self) -> float | None:
        """Smoothed round-trip time, None before data flows, or else the first keep-alive is answered."""
        return self._pulse.rtt_s

    @property
    def stream_count(self) -> int:
        return len(self.streams)

    @property
    def can_open(self) -> bool:
        """Whether `open` would exceed the number of streams that the peer has not acknowledged."""
        return self._unacknowledged < limits.YAMUX_ACK_BACKLOG

    def open(self) -> Stream:
        """Return a new stream; the peer hears of it with its first frame. Raises `SessionEnded`."""
        if self.is_over or self.goodbye is not None:
            raise SessionEnded("the connection takes no new streams")
        if self._next_id > STREAM_ID_MAX:
            raise SessionEnded("all stream ids are used up")
        stream = Stream(self, self._next_id, inbound=False, now=self._now)
        self.streams[stream.id] = stream
        self._next_id += 2
        self._unacknowledged += 1
        return stream

    def accept(self) -> Stream | None:
        """Return the next stream that the peer has opened, None if there is none."""
        while self.waiting:
            stream = self.waiting.pop(0)
            if stream.failure is None or stream.incoming.size:
                return stream
        return None

    def pop_changed(self) -> list[Stream]:
        """Return, once, the streams whose state the last calls may have changed; some repeatedly."""
        changed, self._changed = self._changed, []
        return changed

    # --- output ---------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        return self.outbox.has_output

    @property
    def queued_bytes(self) -> int:
        """Data of all streams that has not been taken."""
        return self.outbox.queued_bytes

    def take(self, size_max: int) -> list[bytes]:
        """Return messages to send now, together about `size_max` bytes; see `Outbox.take`."""
        messages, finished = self.outbox.take(size_max, self._changed)
        for stream in finished:
            if stream.peer_finished:
                self._forget(stream)
        return messages

    def take_alone(self, stream: Stream, data: bytes) -> bytes | None:
        """Return the message that sends all of `data` for `stream`, as if queued and taken.

        None if it has to be queued: the stream lacks credit, or something else is to be sent first.
        """
        size = len(data)
        if size > stream.credit or stream.outgoing.size or self.outbox.has_output:
            return None
        stream.credit -= size
        return encode_header(DATA, stream.take_flag(), stream.id, size) + data

    def receive_alone(self, stream: Stream, message: bytes, now: float, size_max: int | None) -> bytes | None:
        """Return the data in `message`, as if received and read at once by `stream`, which has none unread.

        None, with nothing done, unless `message` is one plain frame of `stream`, with at most `size_max`
        bytes of data, and nothing else is to be done.
        """
        size = len(message) - HEADER_BYTES
        window = stream.window
        if (
            size <= 0
            or unpack_header_from(message) != (0, DATA, 0, stream.id, size)
            or size > window.left
            or (size_max is not None and size > size_max)
            or self._reader.is_inside_frame
            or self.outbox.control_bytes
            or not (stream.is_open and stream.is_acknowledged)
            or stream.peer_finished
        ):
            return None
        self._now = self._pulse.heard_at = now
        window.left -= size
        if window.consume(size):
            self._grant(stream)
        return message[HEADER_BYTES:]

    # --- what streams do ------------------------------------------------------------------------

    def on_queued(self, stream: Stream, size: int) -> None:
        outbox = self.outbox
        outbox.queued_bytes += size
        if stream.credit > 0 and stream.outgoing.size:
            outbox.schedule(stream)

    def on_read(self, stream: Stream, size: int) -> None:
        if not stream.is_open:
            return
        self.unread_bytes -= size
        self._budget.unread_bytes -= size
        if stream.window.consume(size) and not stream.peer_finished:
            self._grant(stream)

    def _grant(self, stream: Stream) -> None:
        growth_max = min(self._limits.window_growth_bytes_max - self._growth_bytes, self._budget.growth_left)
        before = stream.window.size
        credit = stream.window.grant(self._now, self._pulse.rtt_s, growth_max)
        growth = stream.window.size - before
        self._growth_bytes += growth
        self._budget.growth_bytes += growth
        self._send_control(WINDOW_UPDATE, stream.take_flag(), stream.id, credit)
        if self._pulse.is_measure_due(self._now):
            self._ping()

    def on_finished(self, stream: Stream) -> None:
        if not stream.outgoing.size:
            self._send_fin(stream)

    def _send_fin(self, stream: Stream) -> None:
        flag = stream.take_flag()
        if flag == ACK:  # py-libp2p overlooks a FIN beside an ACK
            self._send_control(WINDOW_UPDATE, ACK, stream.id, 0)
            flag = 0
        self._send_control(WINDOW_UPDATE, FIN | flag, stream.id, 0)
        stream.fin_sent = True
        if stream.peer_finished:
            self._forget(stream)

    def on_reset(self, stream: Stream) -> None:
        if not stream.is_hidden:
            self._send_control(WINDOW_UPDATE, RST, stream.id, 0)
        self._fail(stream, "reset by this node")

    def on_shown(self, stream: Stream) -> None:
        self._send_control(WINDOW_UPDATE, stream.take_flag(), stream.id, 0)

    def _send_control(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self.outbox.put_control(encode_header(kind, flags, stream_id, length))

    # --- ends of streams ------------------------------------------------------------------------

    def _fail(self, stream: Stream, failure: str, *, keep_unread: bool = False) -> None:
        stream.failure = failure
        self.outbox.drop(stream)
        self._forget(stream)
        if not keep_unread:
            stream.incoming.clear()
            stream.peer_finished = False  # what has been read is not known to be everything

    def _forget(self, stream: Stream) -> None:
        """`stream` is over between us and the peer; what it has not read yet is the application's."""
        if not stream.is_open:
            return
        stream.is_open = False
        self._changed.append(stream)
        del self.streams[stream.id]
        self.unread_bytes -= stream.incoming.size
        self._budget.unread_bytes -= stream.incoming.size
        growth = stream.window.growth
        self._growth_bytes -= growth
        self._budget.growth_bytes -= growth
        if stream.inbound:
            self._inbound_count -= 1
        elif not stream.is_acknowledged:
            self._unacknowledged -= 1

    def _acknowledge(self, stream: Stream) -> None:
        """The peer has sent a first frame for a stream of ours."""
        if stream.is_hidden:
            raise YamuxViolation(f"a frame for stream {stream.id}, which was not opened yet")
        stream.is_acknowledged = True
        self._unacknowledged -= 1

    # --- input ----------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take in what has arrived, cut anywhere. Raises `YamuxViolation`, which ends the session."""
        self._now = self._pulse.heard_at = now
        if self.is_over:
            return
        try:
            self._reader.feed(data)
            if self.unread_bytes > self._unread_bytes_fair or self.outbox.control_bytes:
                self._check_budgets()
        except YamuxViolation:
            self.close(PROTOCOL_ERROR)
            raise

    # What follows is for `FrameReader`.

    def check_stream(self, stream: Stream | None, flags: int, stream_id: int) -> Stream | None:
        """Return the stream of a frame with `flags`, None if the frame is to be ignored."""
        if flags & ~FLAGS:
            raise YamuxViolation(f"unknown flags {flags:#x}")
        if flags & SYN:
            if flags & ACK:
                raise YamuxViolation("SYN and ACK in one frame")
            return self._on_syn(stream_id)
        if stream is None:
            own = stream_id & 1 == self._next_id & 1
            was_opened = stream_id < self._next_id if own else self._remote_ids.was_opened(stream_id)
            if stream_id == SESSION_ID or not was_opened:
                raise YamuxViolation(f"a frame for stream {stream_id}, which was never opened")
            return None
        return stream

    def _on_syn(self, stream_id: int) -> Stream | None:
        if not self._remote_ids.belongs(stream_id):
            raise YamuxViolation(f"the peer may not open stream {stream_id}")
        if not self._remote_ids.open(stream_id):
            raise YamuxViolation(f"stream {stream_id} is opened a second time")
        if (
            self._inbound_count >= self._limits.inbound_streams_max
            or len(self.waiting) >= self._limits.accept_backlog
        ):
            self._note_churn()
            self._send_control(WINDOW_UPDATE, RST, stream_id, 0)
            return None
        stream = Stream(self, stream_id, inbound=True, now=self._now)
        self.streams[stream_id] = stream
        self._inbound_count += 1
        self.waiting.append(stream)
        return stream

    def on_window_update(self, stream: Stream, flags: int, increment: int) -> None:
        if not stream.is_acknowledged:
            self._acknowledge(stream)
        if not (flags or increment):
            self._note_idle_frame()
        stream.credit += increment
        if stream.credit > WINDOW_BYTES_LIMIT:
            raise YamuxViolation(f"a send window of {stream.credit} bytes")
        if stream.outgoing.size and stream.credit:
            self.outbox.schedule(stream)
        if flags & ENDS:
            self.on_ends(stream, flags)

    def on_data(self, stream: Stream, flags: int, length: int, data: bytes, start: int, end: int) -> None:
        if not stream.is_acknowledged:
            self._acknowledge(stream)
        window = stream.window
        if length > window.left:
            raise YamuxViolation(f"{length} bytes on a window of {window.left}")
        if not length:
            if not flags:
                self._note_idle_frame()
            return
        if stream.peer_finished:
            raise YamuxViolation("data behind a FIN")
        window.left -= length
        self.on_payload(stream, data, start, end)

    def on_payload(self, stream: Stream, data: bytes, start: int, end: int) -> None:
        # A stream that was reset since the frame began takes nothing more.
        if start < end and stream.is_open:
            stream.incoming.put(data, start, end)
            self.unread_bytes += end - start
            self._budget.unread_bytes += end - start
            self._changed.append(stream)

    def on_ends(self, stream: Stream, flags: int) -> None:
        """Act on the FIN or RST of a frame, once its payload is complete."""
        if not stream.is_open:
            return
        if flags & RST:
            self._note_churn()
            self._fail(stream, "reset by the peer", keep_unread=stream.peer_finished)
        elif flags & FIN:
            stream.peer_finished = True
            self._changed.append(stream)
            if stream.fin_sent:
                self._forget(stream)

    def on_session_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if stream_id != SESSION_ID:
            raise YamuxViolation(f"a frame of type {kind} for stream {stream_id}")
        if kind == PING and flags == SYN:
            self._note_idle_frame()
            self._send_control(PING, ACK, SESSION_ID, length)
        elif kind == PING and flags == ACK:
            if not self._pulse.take_pong(length, self._now):
                self._note_idle_frame()
        elif kind == GO_AWAY and not flags:
            self._on_go_away(length)
        else:
            raise YamuxViolation(f"a frame of type {kind} with flags {flags:#x}")

    def _on_go_away(self, code: int) -> None:
        self.goodbye = code
        if code != NORMAL:
            self.end(f"the peer has ended the connection with code {code}")

    # --- limits ---------------------------------------------------------------------------------

    def _check_budgets(self) -> None:
        if self.outbox.control_bytes > limits.YAMUX_CONTROL_BYTES_MAX:
            raise YamuxViolation("the peer asks for replies and does not read them")
        while self.unread_bytes > self._limits.unread_bytes_max or (
            self.unread_bytes > limits.YAMUX_MEMORY_BYTES_FAIR and self._budget.is_exceeded
        ):
            greediest = max(self.streams.values(), key=lambda stream: stream.incoming.size, default=None)
            if greediest is None:
                return
            self._note_churn()
            self.on_reset(greediest)

    def _note_idle_frame(self) -> None:
        if not self._idle_frames.spend(self._now):
            raise YamuxViolation("a flood of pings or of frames without effect")

    def _note_churn(self) -> None:
        if not self._churn.spend(self._now):
            raise YamuxViolation("too many streams opened or reset")

    # --- time -----------------------------------------------------------------------------------

    def tick(self, now: float) -> float:
        """Do what is due at `now`; return when to call again. Raises `PeerSilent`."""
        self._now = now
        due = self._pulse.check(now)
        if now < due:
            return due
        self._ping()
        return now + self._limits.ping_timeout_s

    def _ping(self) -> None:
        value = self._pulse.ping(self._now)
        if value is not None:
            self._send_control(PING, SYN, SESSION_ID, value)

    # --- the end --------------------------------------------------------------------------------

    def close(self, code: int = NORMAL) -> None:
        """End the session; what is left to `take` is the GO_AWAY that says so. Idempotent."""
        if not self.is_over:
            self.end("the connection is closed")
            self._send_control(GO_AWAY, 0, SESSION_ID, code)

    def end(self, failure: str) -> None:
        """The connection is lost: every stream fails, though what has arrived can still be read."""
        self.is_over = True
        for stream in list(self.streams.values()):
            self._fail(stream, failure, keep_unread=True)
        self.outbox.clear()
