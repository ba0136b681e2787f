"""Two sessions wired back to back, with any cut of the bytes, and one session fed with anything."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from yamux_lab import End, Frame, decode

from primedht import limits
from primedht.host.yamux import MemoryBudget, YamuxViolation
from primedht.host.yamux.buffers import ReceiveBuffer, SendQueue
from primedht.host.yamux.frames import INITIAL_WINDOW_BYTES

SIZES = st.one_of(st.integers(1, 300), st.integers(1, 200_000))


class Half:
    """What one side has sent on a stream, and what the other has read of it."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.read = bytearray()
        self.finished = False
        self.reset = False


class TwoSessions(RuleBasedStateMachine):
    """Bytes arrive in order and complete unless somebody resets; windows hold; everything ends."""

    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.budget = MemoryBudget()
        self.ends = [
            End(is_client=True, budget=self.budget),
            End(is_client=False, budget=self.budget),
        ]
        self.pipes = [bytearray(), bytearray()]  # what end 0, and end 1, has sent
        self.halves: dict[tuple[int, int], Half] = {}  # by (stream id, sender)
        self.known: dict[tuple[int, int], object] = {}  # (stream id, end) -> stream
        self.counter = 0

    def _payload(self, size: int) -> bytes:
        self.counter += 1
        return (self.counter % 251).to_bytes(1, "big") * size

    @rule(target=streams, end=st.integers(0, 1))
    def open(self, end: int):
        if not self.ends[end].session.can_open:
            return None
        stream = self.ends[end].session.open()
        self.known[stream.id, end] = stream
        self.halves[stream.id, 0] = Half()
        self.halves[stream.id, 1] = Half()
        return stream.id

    @rule(stream_id=streams, end=st.integers(0, 1), size=SIZES)
    def send(self, stream_id, end: int, size: int) -> None:
        stream = self.known.get((stream_id, end))
        if stream is not None and not stream.finished and stream.failure is None:
            payload = self._payload(size)
            stream.send(payload)
            self.halves[stream_id, end].sent += payload

    @rule(stream_id=streams, end=st.integers(0, 1), size=st.one_of(st.none(), SIZES))
    def read(self, stream_id, end: int, size: int | None) -> None:
        stream = self.known.get((stream_id, end))
        if stream is not None:
            piece = stream.receive(size)
            assert size is None or len(piece) <= size
            self.halves[stream_id, 1 - end].read += piece

    @rule(stream_id=streams, end=st.integers(0, 1))
    def finish(self, stream_id, end: int) -> None:
        stream = self.known.get((stream_id, end))
        if stream is not None:
            stream.finish()
            self.halves[stream_id, end].finished |= stream.finished

    @rule(stream_id=streams, end=st.integers(0, 1))
    def show(self, stream_id, end: int) -> None:
        stream = self.known.get((stream_id, end))
        if stream is not None:
            stream.show()

    @rule(stream_id=consumes(streams), end=st.integers(0, 1))
    def reset(self, stream_id, end: int) -> None:
        stream = self.known.get((stream_id, end))
        if stream is not None:
            stream.reset()
            for sender in (0, 1):
                self.halves[stream_id, sender].reset = True

    @rule(end=st.integers(0, 1), size=SIZES)
    def take(self, end: int, size: int) -> None:
        for message in self.ends[end].session.take(size):
            self.pipes[end] += message

    @rule(end=st.integers(0, 1), size=SIZES)
    def deliver(self, end: int, size: int) -> None:
        """Carry up to `size` bytes of what the other end has sent."""
        pipe = self.pipes[1 - end]
        receiver = self.ends[end]
        receiver.now += 0.01
        receiver.session.receive(bytes(pipe[:size]), receiver.now)
        del pipe[:size]
        while (stream := receiver.session.accept()) is not None:
            self.known[stream.id, end] = stream

    @invariant()
    def what_was_read_is_a_prefix_of_what_was_sent(self) -> None:
        for half in self.halves.values():
            assert half.sent.startswith(half.read)

    @invariant()
    def windows_and_counters_are_never_negative(self) -> None:
        unread = 0
        for end in self.ends:
            session = end.session
            open_streams = list(session.streams.values())
            for stream in open_streams:
                assert stream.credit >= 0
                assert 0 <= stream.window.left <= stream.window.size
                assert stream.incoming.size + stream.window.left <= stream.window.size
            assert session.unread_bytes == sum(stream.incoming.size for stream in open_streams)
            assert session.queued_bytes == sum(stream.outgoing.size for stream in open_streams)
            assert session._growth_bytes == sum(stream.window.growth for stream in open_streams)
            assert session._inbound_count == sum(stream.inbound for stream in open_streams)
            assert session._unacknowledged == sum(not stream.is_acknowledged for stream in open_streams)
            unread += session.unread_bytes
        assert self.budget.unread_bytes == unread
        assert self.budget.growth_bytes == sum(end.session._growth_bytes for end in self.ends)

    def teardown(self) -> None:
        """Let everybody finish and read everything: all bytes arrive, nothing is left behind."""
        for stream_id, sender in self.halves:
            self.finish(stream_id, sender)
        for _ in range(2000):
            for end in (0, 1):
                self.take(end, 1 << 20)
                self.deliver(end, 1 << 30)
                for stream_id, receiver in list(self.known):
                    if receiver == end:
                        self.finish(stream_id, end)
                        self.read(stream_id, end, None)
            if not (
                any(self.pipes)
                or any(end.session.has_output or end.session.stream_count for end in self.ends)
                or any(stream.incoming.size for stream in self.known.values())
            ):
                break
        else:
            raise AssertionError("the streams do not end")
        for (stream_id, _), half in self.halves.items():
            if not half.reset:
                assert half.read == half.sent, stream_id


TwoSessions.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTwoSessions = TwoSessions.TestCase

frames = st.builds(
    Frame,
    kind=st.integers(0, 4),
    flags=st.sampled_from([0, 0, 1, 1, 2, 4, 8, 3, 5, 9, 16]),
    stream=st.sampled_from([0, 1, 1, 2, 3, 3, 5, 7, 0xFFFFFFFF]),
    length=st.sampled_from([0, 1, 5, 100, INITIAL_WINDOW_BYTES, INITIAL_WINDOW_BYTES + 1, 0xFFFFFFFF]),
    payload=st.sampled_from([b"", b"12345", bytes(100)]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(frames, st.binary(max_size=40)), max_size=40), st.integers(1, 64))
def test_any_bytes_are_taken_in_or_end_the_session(items, cut):
    """No other exception, one goodbye at most, and memory within the budgets."""
    server = End(unread_bytes_max=1 << 20)
    raw = b"".join(item.encode() if isinstance(item, Frame) else item for item in items)
    with suppress(YamuxViolation):
        for start in range(0, len(raw), cut):
            server.feed(raw[start : start + cut])
            while (stream := server.session.accept()) is not None:
                stream.receive(7)
    decode(b"".join(server.session.take(1 << 30)))
    assert server.session.unread_bytes <= 1 << 20
    assert len(server.session._reader._partial_header) < 12
    assert not server.session.has_output
    assert server.session.stream_count <= limits.INBOUND_STREAMS_MAX


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3000), max_size=40),
    st.lists(st.one_of(st.none(), st.integers(1, 5000)), max_size=80),
)
def test_a_receive_buffer_gives_back_what_was_put_in(pieces, reads):
    buffer, expected, taken = ReceiveBuffer(), b"", b""
    for index, piece in enumerate(pieces):
        buffer.put(b"<" + piece + b">", 1, 1 + len(piece))
        expected += piece
        if index < len(reads):
            taken += buffer.take(reads[index])
        assert buffer.size == len(expected) - len(taken)
    while piece := buffer.take(777):
        assert len(piece) <= 777
        taken += piece
    assert taken == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(1, 500), max_size=60))
def test_a_send_queue_gives_back_what_was_put_in(pieces, sizes):
    queue, parts = SendQueue(), []
    for piece in pieces:
        queue.put(piece)
    for size in [*sizes, 1 << 20]:
        queue.take_into(parts, min(size, queue.size))
    assert b"".join(parts) == b"".join(pieces)
    assert queue.size == 0
