"""The session frame by frame: the specification's text, then what hostile peers send."""

from __future__ import annotations

import os

import pytest
from yamux_lab import ALL, End, Frame, data, decode, go_away, make_ends, ping, window, wire

from primedht import limits
from primedht.host.yamux import MemoryBudget, PeerSilent, SessionEnded, YamuxViolation
from primedht.host.yamux.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER_BYTES,
    INITIAL_WINDOW_BYTES,
    MESSAGE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
)
from primedht.host.yamux.stream import Stream
from primedht.host.yamux.stream_ids import RemoteIds

WINDOW = INITIAL_WINDOW_BYTES


# --- opening ----------------------------------------------------------------------------------------


def test_the_first_frame_opens_a_stream_and_the_first_answer_acknowledges_it():
    client, server = make_ends()
    stream = client.session.open()
    assert not client.session.has_output  # nothing is said before there is something to say
    stream.send(b"hello")
    (frame,) = client.out()
    assert frame == data(1, b"hello", SYN)
    server.feed(frame)
    inbound = server.accept()
    assert inbound.receive() == b"hello"
    inbound.send(b"hi")
    assert server.out() == [data(1, b"hi", ACK)]
    stream.send(b"more")
    assert client.out() == [data(1, b"more")]


def test_the_client_opens_odd_ids_and_the_server_even_ones():
    client, server = make_ends()
    assert [client.session.open().id for _ in range(3)] == [1, 3, 5]
    assert [server.session.open().id for _ in range(3)] == [2, 4, 6]


def test_a_stream_shows_itself_before_it_waits():
    """A side that only reads must open, and acknowledge, all the same."""
    client, server = make_ends()
    stream = client.session.open()
    stream.show()
    stream.show()
    assert client.out() == [window(1, 0, SYN)]
    server.feed(window(1, 0, SYN))
    inbound = server.accept()
    inbound.show()
    assert server.out() == [window(1, 0, ACK)]


def test_a_stream_that_was_never_shown_is_dropped_without_a_word():
    client, _ = make_ends()
    client.session.open().reset()
    assert client.out() == []
    assert client.session.stream_count == 0


def test_a_syn_may_carry_credit_and_data():
    server = End()
    server.feed(window(1, 1000, SYN), data(3, b"x", SYN))
    assert server.accept().credit == WINDOW + 1000
    assert server.accept().receive() == b"x"
    assert server.session.accept() is None


def test_at_most_256_streams_stay_unacknowledged():
    """yamux/README.md, "ACK backlog"; docs/py-libp2p.md, B13: acknowledged ones do not count."""
    client, _ = make_ends()
    streams = [client.session.open() for _ in range(limits.YAMUX_ACK_BACKLOG)]
    assert not client.session.can_open
    for stream in streams:
        stream.show()
    client.out()
    client.feed(window(1, 0, ACK))
    assert client.session.can_open
    client.session.open()
    assert not client.session.can_open
    client.feed(window(3, 0, RST))
    assert client.session.can_open
    streams[2].reset()
    assert client.session.stream_count == limits.YAMUX_ACK_BACKLOG - 1


# --- ends -------------------------------------------------------------------------------------------


def test_a_half_closed_stream_goes_on_in_the_other_direction():
    client, server = make_ends()
    stream = client.session.open()
    stream.send(b"question")
    stream.finish()
    wire(client, server)
    inbound = server.accept()
    assert inbound.receive() == b"question"
    assert inbound.peer_finished
    assert inbound.failure is None
    inbound.send(b"answer")
    inbound.finish()
    wire(client, server)
    assert stream.receive() == b"answer"
    assert stream.peer_finished
    assert client.session.stream_count == server.session.stream_count == 0


def test_a_fin_travels_alone_behind_the_data():
    """go-yamux's reader takes a FIN beside data for the end, py-libp2p overlooks one beside an ACK."""
    client, server = make_ends()
    stream = client.session.open()
    stream.send(b"x")
    stream.finish()
    assert client.out() == [data(1, b"x", SYN), window(1, 0, FIN)]
    server.feed(data(1, b"x", SYN), window(1, 0, FIN))
    server.accept().finish()
    assert server.out() == [window(1, 0, ACK), window(1, 0, FIN)]


def test_finishing_at_once_opens_and_finishes():
    client, server = make_ends()
    client.session.open().finish()
    wire(client, server)
    assert server.accept().peer_finished


def test_a_fin_on_data_counts_once_the_payload_is_complete():
    server = End()
    raw = data(1, b"0123456789", SYN | FIN).encode()
    server.feed(raw[:17])
    stream = server.accept()
    assert not stream.peer_finished
    server.feed(raw[17:])
    assert stream.peer_finished
    assert stream.receive() == b"0123456789"


def test_reset_is_not_an_end():
    """docs/py-libp2p.md, B9: on the stock stack a reset reads as a clean end."""
    client, server = make_ends()
    stream = client.session.open()
    stream.send(b"part")
    wire(client, server)
    inbound = server.accept()
    stream.reset()
    wire(client, server)
    assert inbound.failure == "reset by the peer"
    assert not inbound.peer_finished
    assert inbound.receive() == b""
    assert server.session.stream_count == 0


def test_a_reset_behind_a_fin_leaves_the_complete_half_readable():
    _client, server = make_ends()
    server.feed(data(1, b"whole", SYN), window(1, 0, FIN), window(1, 0, RST))
    stream = server.accept()
    assert stream.receive() == b"whole"
    assert stream.peer_finished
    assert stream.failure == "reset by the peer"


def test_our_reset_drops_everything_and_what_is_still_under_way_is_ignored():
    client, server = make_ends()
    stream = client.session.open()
    stream.send(bytes(10_000))
    wire(client, server)
    inbound = server.accept()
    inbound.send(b"never sent")
    inbound.reset()
    assert server.out() == [window(1, 0, RST)]
    assert inbound.receive() == b""
    assert server.session.unread_bytes == server.session.queued_bytes == 0
    server.feed(data(1, b"late"), window(1, 100), window(1, 0, FIN))
    assert server.out() == []
    inbound.reset()
    inbound.finish()
    assert server.out() == []


def test_a_lost_connection_fails_every_stream_but_keeps_what_has_arrived():
    _client, server = make_ends()
    server.feed(data(1, b"arrived", SYN), data(3, b"complete", SYN | FIN))
    first, second = server.accept(), server.accept()
    server.session.end("the connection is lost")
    assert first.receive() == b"arrived"
    assert (first.failure, first.peer_finished) == ("the connection is lost", False)
    assert second.receive() == b"complete"
    assert second.peer_finished
    assert server.session.unread_bytes == 0
    with pytest.raises(SessionEnded):
        server.session.open()


# --- flow control -----------------------------------------------------------------------------------


def test_we_never_send_beyond_the_peers_window():
    client, _server = make_ends()
    stream = client.session.open()
    stream.send(bytes(WINDOW + 1000))
    assert sum(frame.length for frame in client.out()) == WINDOW
    assert client.out() == []
    client.feed(window(1, 600, ACK))
    assert client.out() == [data(1, bytes(600))]
    client.feed(window(1, 10_000))
    assert client.out() == [data(1, bytes(400))]


def test_credit_comes_back_once_half_the_window_is_read():
    client, server = make_ends()
    stream = client.session.open()
    stream.send(bytes(WINDOW))
    wire(client, server)
    inbound = server.accept()
    read = len(inbound.receive(WINDOW // 2 - 1))
    while read < WINDOW // 2 - 1:
        read += len(inbound.receive(WINDOW // 2 - 1 - read))
    assert server.out() == []
    inbound.receive(1)
    credit = [frame for frame in server.out() if frame.kind == WINDOW_UPDATE]
    assert credit == [window(1, WINDOW // 2, ACK)]


def test_reading_in_tiny_pieces_does_not_widen_the_window():
    """docs/py-libp2p.md, B11."""
    client, server = make_ends()
    stream = client.session.open()
    inbound = None
    for _ in range(40):
        stream.send(bytes(WINDOW // 4))
        client.now += 1.0
        server.now += 1.0
        wire(client, server)
        inbound = inbound or server.accept()
        while inbound.receive(10):
            pass
        wire(client, server)
    assert server.session.rtt_s is not None
    assert inbound.window.size == WINDOW


def transfer(rtt_s: float, seconds: float, rate: float, **options) -> tuple[End, int]:
    """Have a client send as fast as it may through a link; return the server and its window."""
    client, server = make_ends(**options)
    stream = client.session.open()
    inbound = None
    steps = int(seconds / rtt_s)
    for _ in range(steps):
        stream.send(bytes(max(0, int(rate * rtt_s) - stream.unsent_bytes)))
        for message in client.session.take(ALL):
            server.session.receive(message, server.now)
        inbound = inbound or server.accept()
        while inbound.receive():
            pass
        client.now += rtt_s
        server.now += rtt_s
        for message in server.session.take(ALL):
            client.session.receive(message, client.now)
        for message in client.session.take(ALL):  # the pong
            server.session.receive(message, server.now)
    return server, inbound.window.size


def test_the_window_grows_to_the_bandwidth_delay_product():
    """100 ms and 40 MB/s: 4 MB must be in flight."""
    _, size = transfer(0.1, 5.0, 40e6)
    assert 4e6 < size <= limits.YAMUX_WINDOW_BYTES_MAX


def test_a_slow_transfer_keeps_the_initial_window():
    _, size = transfer(0.02, 3.0, 1e6)
    assert size == WINDOW


def test_growth_stays_within_the_connections_and_the_nodes_budget():
    server, size = transfer(0.1, 5.0, 40e6, window_growth_bytes_max=1 << 20)
    assert size == WINDOW + (1 << 20)
    budget = MemoryBudget(2 << 20)
    server, size = transfer(0.1, 5.0, 40e6, budget=budget)
    assert size == WINDOW + (1 << 20)
    assert budget.growth_bytes == 1 << 20
    server.session.end("over")
    assert budget.growth_bytes == budget.unread_bytes == 0


# --- what is sent, and in which order ---------------------------------------------------------------


def test_messages_fit_one_noise_frame_and_full_frames_fill_one():
    client, _ = make_ends()
    stream = client.session.open()
    stream.send(bytes(WINDOW))
    messages = client.session.take(ALL)
    assert [len(message) for message in messages[:-1]] == [MESSAGE_BYTES_MAX] * (len(messages) - 1)
    assert all(len(decode(message)) == 1 for message in messages)
    assert PAYLOAD_BYTES_MAX + HEADER_BYTES == MESSAGE_BYTES_MAX == 65_519


def test_small_frames_of_many_streams_travel_in_one_message():
    client, _ = make_ends()
    for number in range(50):
        stream = client.session.open()
        stream.send(b"a")
        stream.send(b"%d" % number)
    (message,) = client.session.take(ALL)
    assert [frame.payload for frame in decode(message)] == [b"a%d" % number for number in range(50)]


def test_a_message_that_is_taken_alone_is_the_one_that_queueing_it_would_give():
    client, _ = make_ends()
    stream = client.session.open()
    assert client.session.take_alone(stream, b"hello") == data(1, b"hello", SYN).encode()
    assert client.session.take_alone(stream, b"again") == data(1, b"again").encode()
    assert stream.credit == WINDOW - 10
    assert not client.session.has_output


def test_nothing_is_taken_alone_beyond_the_window_or_past_what_waits():
    client, _ = make_ends()
    stream, other = client.session.open(), client.session.open()
    other.show()  # a control frame
    assert client.session.take_alone(stream, b"a") is None
    client.out()
    other.send(b"b")
    assert client.session.take_alone(stream, b"a") is None
    client.out()
    stream.send(bytes(WINDOW))
    client.out()
    assert client.session.take_alone(stream, b"a") is None  # without credit
    stream.send(b"a")
    assert not client.session.has_output
    client.feed(window(1, 100))
    assert client.session.take_alone(stream, b"b") is None  # behind what is queued
    assert client.out() == [data(1, b"a")]
    assert client.session.take_alone(stream, bytes(100)) is None
    assert client.session.take_alone(stream, bytes(99)) == data(1, bytes(99)).encode()
    assert stream.credit == 0


def make_pair() -> tuple[End, End, Stream, Stream]:
    """Return both ends, and a stream of the client's that the server has acknowledged."""
    client, server = make_ends()
    stream = client.session.open()
    stream.send(b"first")
    server.feed(*client.out())
    inbound = server.accept()
    assert inbound.receive() == b"first"
    inbound.show()
    client.feed(*server.out())
    client.session.pop_changed()
    return client, server, stream, inbound


def test_a_message_that_is_received_alone_is_as_if_received_and_read():
    (client, _, alone, _), (other, _, queued, _) = make_pair(), make_pair()
    for size in (1, 1000, 4000) * 50:  # beyond half the window: both grant the same credit at the same time
        message = data(1, bytes(size)).encode()
        assert client.session.receive_alone(alone, message, 101.0, None) == bytes(size)
        other.session.receive(message, 101.0)
        assert queued.receive() == bytes(size)
        assert client.out() == other.out()
        assert alone.window.left == queued.window.left
        assert client.session.unread_bytes == other.session.unread_bytes == 0
    assert not client.session.pop_changed()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        data(1, b"a").encode()[:-1],
        data(1, b"a").encode() + b"b",
        data(1, b"a").encode() * 2,
        data(1).encode(),
        data(1, b"a", FIN).encode(),
        data(1, b"a", ACK).encode(),
        data(3, b"a").encode(),
        window(1, 1).encode() + b"a",
        b"\x01" + data(1, b"a").encode()[1:],
        data(1, bytes(101)).encode(),
    ],
)
def test_only_one_plain_whole_frame_of_the_stream_is_received_alone(raw: bytes):
    client, _, stream, _ = make_pair()
    client.session.open()
    assert client.session.receive_alone(stream, raw, 101.0, 100) is None
    assert stream.window.left == WINDOW
    assert not client.session.has_output


def test_nothing_is_received_alone_where_more_is_to_be_looked_at():
    message = data(1, b"a").encode()

    def refuses(client: End, stream: Stream) -> bool:
        return client.session.receive_alone(stream, message, 101.0, None) is None

    client, _, stream, _ = make_pair()
    assert not refuses(client, stream)
    client.session.receive(window(1).encode()[:5], 101.0)  # a part of a frame came before
    assert refuses(client, stream)
    client, _, stream, _ = make_pair()
    client.session.receive(data(1, b"abc").encode()[:-1], 101.0)  # likewise, of a payload
    assert refuses(client, stream)
    client, server, stream, _ = make_pair()
    client.feed(ping(7, SYN))  # a reply is due
    assert refuses(client, stream)
    client, server, stream, inbound = make_pair()
    inbound.finish()
    client.feed(*server.out())
    assert refuses(client, stream)
    client, _, stream, _ = make_pair()
    stream.reset()
    client.out()
    assert refuses(client, stream)
    client, _ = make_ends()
    unacknowledged = client.session.open()
    unacknowledged.show()
    client.out()
    assert refuses(client, unacknowledged)
    client, _, stream, _ = make_pair()
    stream.window.left = 0  # the peer sends beyond it
    assert refuses(client, stream)
    with pytest.raises(YamuxViolation):
        client.feed(data(1, b"a"))


def test_a_small_message_overtakes_bulk_and_bulk_streams_take_turns():
    client, _ = make_ends()
    bulk = [client.session.open() for _ in range(3)]
    for stream in bulk:
        stream.send(bytes(WINDOW))
    assert [frame.stream for frame in decode(b"".join(client.session.take(1)))] == [1]
    small = client.session.open()
    small.send(b"urgent")
    frames = decode(b"".join(client.session.take(200_000)))
    assert [frame.stream for frame in frames[:4]] == [small.id, 3, 5, 1]


def test_bulk_gets_its_turn_however_many_small_messages_there_are():
    client, _ = make_ends()
    bulk = client.session.open()
    bulk.send(bytes(WINDOW))
    streams = [client.session.open() for _ in range(100)]
    for _ in range(3):
        for stream in streams:
            stream.send(bytes(1000))
        frames = decode(b"".join(client.session.take(10_000)))
        assert bulk.id in [frame.stream for frame in frames]


def test_take_is_bounded():
    client, _ = make_ends()
    for _ in range(100):
        client.session.open().send(bytes(100_000))
    for _ in range(5):
        size = sum(map(len, client.session.take(100_000)))
        assert 100_000 <= size <= 100_000 + MESSAGE_BYTES_MAX


# --- pings and goodbyes -----------------------------------------------------------------------------


def test_a_ping_is_echoed_with_its_value():
    server = End()
    server.feed(ping(0xDEADBEEF, SYN))
    assert server.out() == [ping(0xDEADBEEF, ACK)]


def test_a_keep_alive_measures_the_round_trip_time():
    client, server = make_ends()
    due = client.session.tick(client.now)
    assert due == client.now + limits.YAMUX_KEEPALIVE_S
    client.now = due
    client.session.tick(client.now)
    (frame,) = client.out()
    assert (frame.kind, frame.flags) == (PING, SYN)
    server.feed(frame)
    client.now += 0.2
    client.feed(*server.out())
    assert client.session.rtt_s == pytest.approx(0.2)
    assert client.session.tick(client.now) == pytest.approx(client.now + limits.YAMUX_KEEPALIVE_S)


def test_an_active_connection_is_not_pinged():
    client, _ = make_ends()
    for _ in range(20):
        client.now += limits.YAMUX_KEEPALIVE_S / 2
        client.feed(ping(1, SYN))
        client.session.tick(client.now)
        assert [frame.flags for frame in client.out()] == [ACK]


def test_a_silent_peer_is_found_dead():
    """docs/py-libp2p.md, B17."""
    client, _ = make_ends()
    client.now = client.session.tick(client.now)
    due = client.session.tick(client.now)
    assert due == client.now + limits.YAMUX_PING_TIMEOUT_S
    client.session.tick(due - 0.1)
    with pytest.raises(PeerSilent):
        client.session.tick(due)


def test_a_peer_that_sends_lives_though_its_pong_is_lost():
    """go-yamux drops pongs when it is busy."""
    client, _ = make_ends()
    client.now = client.session.tick(client.now)
    client.now = client.session.tick(client.now)
    client.session.receive(window(0).encode()[:4], client.now - 1)
    due = client.session.tick(client.now)
    assert due > client.now
    client.session.tick(due)
    assert ping(2, SYN) in client.out()


def test_after_goodbye_the_streams_there_are_go_on_and_no_new_ones_come():
    client, server = make_ends()
    stream = client.session.open()
    stream.send(b"x")
    wire(client, server)
    client.feed(go_away())
    assert client.session.goodbye == 0
    with pytest.raises(SessionEnded):
        client.session.open()
    client.feed(data(1, b"answer", ACK | FIN))
    assert stream.receive() == b"answer"
    assert not client.session.is_over


@pytest.mark.parametrize("code", [1, 2, 77])
def test_a_goodbye_with_an_error_is_the_end(code):
    client, _ = make_ends()
    stream = client.session.open()
    client.feed(go_away(code))
    assert client.session.is_over
    assert f"code {code}" in stream.failure


def test_closing_says_goodbye_once():
    client, _ = make_ends()
    stream = client.session.open()
    stream.send(b"lost")
    client.session.close()
    client.session.close()
    assert client.out() == [go_away()]
    assert stream.failure == "the connection is closed"
    client.feed(b"ignored from now on")
    assert client.out() == []


# --- hostile peers ----------------------------------------------------------------------------------

STREAM = data(1, b"", SYN)
VIOLATIONS = {
    "B20 version": Frame(DATA, 0, 1, 0).encode().replace(b"\0", b"\x09", 1),
    "B20 type": Frame(77, 0, 0, 0),
    "B20 zero stream id, data": data(0, b"x"),
    "B20 zero stream id, SYN": data(0, b"x", SYN),
    "B20 zero stream id, window": window(0, 1),
    "B20 wrong parity": data(2, b"", SYN),
    "never opened, theirs": data(3, b"x"),
    "never opened, theirs, far": window(0xFFFFFFFF, 1),
    "never opened, ours": window(2, 1, ACK),
    "never opened, ours, far": data(0xFFFFFFFE, b"x"),
    "opened twice": STREAM,
    "SYN and ACK": data(3, b"", SYN | ACK),
    "unknown flag": window(1, 0, 0x10),
    "unknown flags": window(1, 0, 0xFFF0),
    "ping for a stream": Frame(PING, SYN, 1, 0),
    "ping without flags": ping(0, 0),
    "ping with both flags": ping(0, SYN | ACK),
    "ping with FIN": ping(0, FIN),
    "go away for a stream": Frame(GO_AWAY, 0, 1, 0),
    "go away with flags": Frame(GO_AWAY, SYN, 0, 0),
    "B10 beyond the window": Frame(DATA, 0, 1, WINDOW + 1),
    "B10 beyond the window at once": Frame(DATA, SYN, 3, WINDOW + 1),
    "oversized": Frame(DATA, 0, 1, 0xFFFFFFFF),
    "send window overflow": window(1, 0xFFFFFFFF),
}


@pytest.mark.parametrize("frame", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_ends_the_session_with_a_protocol_error(frame):
    server = End()
    server.feed(STREAM)
    stream = server.accept()
    server.out()
    with pytest.raises(YamuxViolation):
        server.feed(frame)
    assert server.session.is_over
    assert server.out() == [go_away(1)]
    assert stream.failure is not None


def test_b10_more_than_the_window_in_several_frames_is_a_violation():
    """docs/py-libp2p.md, B10: the stock stack logs a warning and buffers 200 MB."""
    server = End()
    server.feed(STREAM, *[data(1, bytes(1 << 14))] * 16)
    assert server.session.unread_bytes == WINDOW
    with pytest.raises(YamuxViolation, match="window of 0"):
        server.feed(data(1, b"x"))


def test_data_behind_a_fin_is_a_violation_and_a_second_fin_is_not():
    server = End()
    server.feed(data(1, b"x", SYN | FIN), window(1, 0, FIN))
    with pytest.raises(YamuxViolation, match="behind a FIN"):
        server.feed(data(1, b"y"))


def test_a_frame_for_our_stream_that_the_peer_cannot_know_is_a_violation():
    client, _ = make_ends()
    client.session.open()
    with pytest.raises(YamuxViolation, match="not opened yet"):
        client.feed(data(1, b"x"))


def test_an_id_is_never_used_twice_but_may_come_out_of_order():
    """go-yamux sends the first frames of concurrent streams in any order."""
    server = End()
    server.feed(data(5, b"", SYN), data(1, b"", SYN), data(3, b"", SYN))
    assert [server.accept().id for _ in range(3)] == [5, 1, 3]
    server.feed(window(3, 0, RST))
    with pytest.raises(YamuxViolation, match="second time"):
        server.feed(data(3, b"", SYN))


def test_ids_passed_over_are_remembered_within_bounds():
    ids = RemoteIds(peer_is_client=True)
    assert ids.open(0xFFFFFFFF)
    assert len(ids._skipped) == limits.YAMUX_SKIPPED_IDS_MAX
    assert not ids.open(1)
    assert ids.open(0xFFFFFFFD)
    assert not ids.open(0xFFFFFFFD)
    assert not ids.was_opened(0xFFFFFFFB)
    assert ids.was_opened(0xFFFFFFFF)


def test_streams_beyond_the_backlog_are_reset_and_the_rest_live():
    server = End(accept_backlog=4)
    server.feed(*[data(number, b"", SYN) for number in range(1, 21, 2)])
    refused = server.out()
    assert [frame.stream for frame in refused] == list(range(9, 21, 2))
    assert {frame.flags for frame in refused} == {RST}
    assert [server.accept().id for _ in range(4)] == [1, 3, 5, 7]
    server.feed(data(9, b"late data of a refused stream"))
    assert server.session.stream_count == 4


def test_streams_beyond_the_limit_are_reset_until_others_end():
    server = End(inbound_streams_max=2)
    server.feed(data(1, b"", SYN), data(3, b"", SYN), data(5, b"", SYN))
    assert server.out() == [window(5, 0, RST)]
    server.accept().reset()
    server.feed(data(7, b"", SYN))
    assert server.out() == [window(1, 0, RST)]
    assert server.session.stream_count == 2


def feed_each(end: End, frames) -> None:
    """Feed `frames` one by one, reading what comes out."""
    for frame in frames:
        end.feed(frame)
        end.session.accept()
        end.out()


def test_streams_opened_without_end_cost_the_peer_its_connection():
    server = End(inbound_streams_max=2)
    with pytest.raises(YamuxViolation, match="too many streams"):
        feed_each(server, (data(number, b"", SYN) for number in range(1, 4 * limits.YAMUX_CHURN_BURST, 2)))


def test_streams_opened_and_reset_without_end_do_too():
    server = End()
    frames = [data(number, b"", SYN | RST) for number in range(1, 6 * limits.YAMUX_CHURN_BURST, 2)]
    feed_each(server, frames[: limits.YAMUX_CHURN_BURST])
    with pytest.raises(YamuxViolation, match="too many streams"):
        feed_each(server, frames[limits.YAMUX_CHURN_BURST :])


@pytest.mark.parametrize(
    "frame",
    [ping(7, SYN), ping(7, ACK), data(1), window(1)],
    ids=["pings", "pongs", "empty data", "empty window updates"],
)
def test_a_flood_of_frames_without_effect_costs_the_peer_its_connection(frame):
    server = End()
    server.feed(STREAM)
    with pytest.raises(YamuxViolation, match="flood"):
        feed_each(server, [frame] * 2 * limits.YAMUX_IDLE_FRAMES_BURST)


def test_pings_at_an_honest_pace_go_on_for_ever():
    server = End()
    for value in range(5000):
        server.now += 0.1
        server.feed(ping(value, SYN))
        assert server.out() == [ping(value, ACK)]


def test_a_peer_that_asks_and_never_reads_costs_no_memory():
    server = End(inbound_streams_max=1)
    fed = 0

    def open_slowly_and_never_read() -> None:
        nonlocal fed
        for fed in range(1, 10**6, 2):
            server.now += 1.0  # slow enough for every allowance
            server.feed(data(fed, b"", SYN))

    with pytest.raises(YamuxViolation, match="does not read"):
        open_slowly_and_never_read()
    assert fed < limits.YAMUX_CONTROL_BYTES_MAX


def test_a_window_sent_in_single_bytes_takes_little_memory():
    server = End()
    server.feed(STREAM)
    payload = os.urandom(WINDOW)
    for start in range(0, WINDOW, 2):
        server.feed(data(1, payload[start : start + 2]))
    stream = server.accept()
    assert len(stream.incoming._pieces) < 20
    received = b""
    while piece := stream.receive():
        received += piece
    assert received == payload


def test_unread_data_beyond_the_budget_resets_the_stream_that_holds_most():
    server = End(unread_bytes_max=WINDOW)
    server.feed(data(1, bytes(150_000), SYN), data(3, bytes(100), SYN))
    first, second = server.accept(), server.accept()
    server.feed(data(5, bytes(120_000), SYN))
    assert first.failure is not None
    assert second.failure is None
    assert server.session.unread_bytes == 120_100
    assert window(1, 0, RST) in server.out()


def test_a_nodes_budget_is_shared_and_binds_those_who_hold_most():
    budget = MemoryBudget(3 << 20)
    modest, greedy = End(budget=budget), End(budget=budget)
    modest.feed(*[data(number, bytes(200_000), SYN) for number in (1, 3, 5)])
    for number in range(1, 41, 2):
        greedy.feed(data(number, bytes(200_000), SYN))
        modest.feed(data(1, b"."))
    assert modest.session.unread_bytes == 600_020
    assert budget.unread_bytes <= 3 << 20
    assert greedy.session.stream_count < 20
    modest.session.end("over")
    greedy.session.end("over")
    assert budget.unread_bytes == 0


def test_refused_and_abandoned_payload_is_not_kept():
    server = End(inbound_streams_max=0)
    frame = Frame(DATA, SYN, 1, 200_000)
    server.feed(frame.encode())
    for _ in range(20):
        server.feed(bytes(10_000))
    assert server.session.unread_bytes == 0
    server.feed(ping(1, SYN))
    assert server.out() == [window(1, 0, RST), ping(1, ACK)]
