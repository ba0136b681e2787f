"""kad requests out and in: pooling, order, half-close, limits, errors (docs/protocol.md, rules 6, 7, 10)."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import pytest
import trio
from host_helpers import (
    KAD,
    TRANSPORT,
    connect,
    echo,
    eventually,
    running_host,
    stop_reading,
    stop_writing,
)

from primedht import limits
from primedht.errors import (
    InvalidRecord,
    PeerTimeout,
    PeerUnreachable,
    ProtocolViolation,
    RemoteError,
    StoreUnavailable,
)
from primedht.host.multistream import MULTISTREAM, encode_line
from primedht.host.streams import Stream
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.wire.frames import FrameReader, encode_frame

FIND = Message(MessageType.FIND_NODE, key=b"k")
ADD = Message(MessageType.ADD_PROVIDER, key=b"k")


def frame(message: Message) -> bytes:
    return encode_frame(codec.encode(message))


@asynccontextmanager
async def pair(handler=echo):
    """Two connected hosts (a, b); b serves kad with `handler`."""
    async with running_host() as a, running_host() as b:
        if handler is not None:
            await b.connections.serve_kad(handler)
        await connect(a, b)
        yield a, b


@asynccontextmanager
async def pair_with_raw_server(serve):
    """Two connected hosts (a, b); `serve(stream)` answers kad streams at b, byte by byte if it likes."""
    async with running_host() as a, running_host() as b:
        b.streams.serve(KAD, serve)
        await connect(a, b)
        yield a, b


async def kad_streams_seen(serve_one):
    """Make a raw server that counts its streams."""
    seen: list[Stream] = []

    async def serve(stream):
        seen.append(stream)
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        while (data := await stream.receive_frame(reader)) is not None:
            await serve_one(stream, codec.decode(data), len(seen))

    return seen, serve


async def reply_with_itself(stream, message, number) -> None:
    await stream.send(frame(message))


# --- outbound ---------------------------------------------------------------------------------------


async def test_one_stream_is_reused_for_requests_in_a_row():
    seen, serve = await kad_streams_seen(reply_with_itself)
    async with pair_with_raw_server(serve) as (a, b):
        for number in range(20):
            request = Message(MessageType.FIND_NODE, key=b"%d" % number)
            assert await a.rpc.request(b.peer_id, request, timeout_s=10) == request
        assert len(seen) == 1


async def test_concurrent_requests_do_not_queue_behind_a_slow_one():
    async def handler(requester, message):
        if message.key == b"slow":
            await trio.sleep_forever()
        return message

    async with pair(handler) as (a, b), trio.open_nursery() as nursery:
        slow = Message(MessageType.FIND_NODE, key=b"slow")

        async def ask_slowly():
            with suppress(RemoteError):
                await a.rpc.request(b.peer_id, slow, timeout_s=60)

        for _ in range(limits.KAD_STREAMS_OUT_MAX - 1):
            nursery.start_soon(ask_slowly)
        await eventually(lambda: b.stats()["served"].get("find_node") == limits.KAD_STREAMS_OUT_MAX - 1)
        for _ in range(5):
            assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        nursery.cancel_scope.cancel()


async def test_a_hundred_concurrent_requests_use_few_streams_and_all_get_their_own_answer():
    seen, serve = await kad_streams_seen(reply_with_itself)
    async with pair_with_raw_server(serve) as (a, b):

        async def ask(number):
            request = Message(MessageType.FIND_NODE, key=b"%d" % number)
            assert await a.rpc.request(b.peer_id, request, timeout_s=30) == request

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
        open_now = [stream for stream in a.swarm.connection_to(b.peer_id).streams if stream.is_usable]
        assert len(open_now) <= limits.KAD_STREAMS_IDLE_MAX
        assert len(seen) <= 100


async def test_a_dead_reused_stream_is_no_failure_of_the_peer():
    """The server ends the stream after every answer, or resets it: the next request uses a fresh one."""

    async def once(stream):
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        await stream.send(frame(codec.decode(await stream.receive_frame(reader))))

    async def once_then_reset(stream):
        await once(stream)
        await stream.receive()
        raise InvalidRecord("reset")

    for serve in (once, once_then_reset):
        async with pair_with_raw_server(serve) as (a, b):
            for _ in range(5):
                assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND


async def test_a_connection_that_was_lost_is_dialled_again_for_the_request():
    async with pair() as (a, b):
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        for connection in b.swarm.all_connections():
            connection.socket.abort()
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND


async def test_idle_streams_are_closed_before_js_aborts_them(monkeypatch):
    monkeypatch.setattr(limits, "KAD_STREAM_IDLE_S", 0.1)
    async with pair() as (a, b):
        await a.rpc.request(b.peer_id, FIND, timeout_s=10)
        connection = b.swarm.connection_to(a.peer_id)
        await eventually(lambda: not connection.streams)
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND


async def test_a_reset_in_place_of_an_answer_is_a_violation():
    async def refuse(requester, message):
        raise InvalidRecord("no")

    async with pair(refuse) as (a, b):
        with pytest.raises(ProtocolViolation, match="reset the stream"):
            await a.rpc.request(b.peer_id, FIND, timeout_s=10)
        assert a.connections.connected() == (b.peer_id,)


async def test_a_peer_that_does_not_serve_kad_is_a_violation():
    async with pair(handler=None) as (a, b):
        with pytest.raises(ProtocolViolation):
            await a.rpc.request(b.peer_id, FIND, timeout_s=10)
        with pytest.raises(ProtocolViolation):
            await a.rpc.notify(b.peer_id, ADD, timeout_s=10)


@pytest.mark.parametrize(
    "reply",
    [
        frame(Message(MessageType.PING)),
        encode_frame(b"\xff\xff\xff"),
        encode_frame(b"\x08\x63"),
        b"\xff\xff\xff\xff\x0f",
        b"\x81\x00",
        b"\x05\x08\x04",
    ],
    ids=["wrong type", "no protobuf", "unknown type", "oversized", "bad varint", "cut short"],
)
async def test_bad_answers_are_violations(reply):
    async def serve_one(stream, message, number):
        await stream.send(reply)
        await stream.finish()

    _, serve = await kad_streams_seen(serve_one)
    async with pair_with_raw_server(serve) as (a, b):
        with pytest.raises(ProtocolViolation):
            await a.rpc.request(b.peer_id, FIND, timeout_s=10)


async def test_an_answer_of_four_megabytes_less_a_little_is_taken():
    addr = bytes([4, 10, 0, 0, 1, 6, 1, 1]) * 50
    peers = tuple(PeerInfo(peer_id(number), (addr,)) for number in range(9000))
    big = Message(MessageType.GET_PROVIDERS, key=b"k", provider_peers=peers)
    assert 3_900_000 < len(codec.encode(big)) < limits.MESSAGE_BYTES_MAX

    async def handler(requester, message):
        return big

    async with pair(handler) as (a, b):
        request = Message(MessageType.GET_PROVIDERS, key=b"k")
        reply = await a.rpc.request(b.peer_id, request, timeout_s=60)
        assert len(reply.provider_peers) == 9000


def peer_id(number: int):
    from primedht.ids import PeerId

    return PeerId(b"\x12\x20" + number.to_bytes(32, "big"))


async def test_a_slow_peer_is_a_timeout_and_the_connection_stays_while_it_answers_pings():
    """behaviour 23, the host's part."""

    async def handler(requester, message):
        await trio.sleep_forever()

    async with pair(handler) as (a, b):
        with pytest.raises(PeerTimeout):
            await a.rpc.request(b.peer_id, FIND, timeout_s=0.2)
        assert await a.connections.ping(b.peer_id, timeout_s=10) > 0
        assert a.connections.connected() == (b.peer_id,)


async def test_a_dead_peer_that_sends_no_reset_is_disconnected(monkeypatch):
    """B17: it holds a request for its time limit, and later ones not at all."""
    monkeypatch.setattr(limits, "PING_TIMEOUT_S", 0.2)
    async with pair() as (a, b):
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        dead = b.swarm.connection_to(a.peer_id)
        stop_reading(dead)
        stop_writing(dead)
        with suppress(PeerTimeout):  # ends the read that is under way
            await a.connections.ping(b.peer_id, timeout_s=0.3)
        with pytest.raises(PeerTimeout):
            await a.rpc.request(b.peer_id, FIND, timeout_s=0.3)
        await eventually(lambda: not a.connections.connected())
        assert a.stats()["rpc"]["dead_connections"] == 1


async def test_a_request_to_nobody_is_unreachable():
    async with running_host() as a:
        with pytest.raises(PeerUnreachable):
            await a.rpc.request(peer_id(1), FIND, timeout_s=10)


async def test_requests_fail_as_ports_allow_when_the_peer_goes_away():
    async def handler(requester, message):
        await trio.sleep_forever()

    async with pair(handler) as (a, b), trio.open_nursery() as nursery:

        async def ask():
            with pytest.raises(PeerUnreachable):
                await a.rpc.request(b.peer_id, FIND, timeout_s=20)

        nursery.start_soon(ask)
        await eventually(lambda: b.stats()["served"])
        await b.close()


async def test_a_cancelled_request_leaves_the_connection_sound():
    async def handler(requester, message):
        if message.key == b"slow":
            await trio.sleep(0.01)
        return message

    async with pair(handler) as (a, b):
        slow = Message(MessageType.FIND_NODE, key=b"slow")
        for number in range(100):
            with trio.move_on_after(number * 0.00005):
                await a.rpc.request(b.peer_id, slow, timeout_s=10)
        for _ in range(300):  # more than yamux has streams: none was leaked
            with trio.move_on_after(0):
                await a.rpc.request(b.peer_id, slow, timeout_s=10)
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        assert a.stats()["swarm"] == {"opened_outbound": 1}


async def test_notify_reads_nothing_and_the_stream_is_used_again():
    got = []

    async def serve_one(stream, message, number):
        got.append(message.type)
        if message.type is not MessageType.ADD_PROVIDER:
            await stream.send(frame(message))

    seen, serve = await kad_streams_seen(serve_one)
    async with pair_with_raw_server(serve) as (a, b):
        for _ in range(3):
            await a.rpc.notify(b.peer_id, ADD, timeout_s=10)
            assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        assert len(seen) == 1
        assert got == [MessageType.ADD_PROVIDER, MessageType.FIND_NODE] * 3


async def test_an_echo_of_add_provider_shifts_no_later_answer():
    """docs/protocol.md, rule 8: py-libp2p answers ADD_PROVIDER, which nobody should."""
    _, serve = await kad_streams_seen(reply_with_itself)
    async with pair_with_raw_server(serve) as (a, b):
        for number in range(5):
            await a.rpc.notify(b.peer_id, ADD, timeout_s=10)
            request = Message(MessageType.FIND_NODE, key=b"%d" % number)
            assert await a.rpc.request(b.peer_id, request, timeout_s=10) == request


# --- inbound ----------------------------------------------------------------------------------------


async def open_kad(a, b) -> Stream:
    return await a.streams.open(b.peer_id, (KAD,), timeout_s=10)


async def receive_message(stream, reader) -> Message | None:
    with trio.fail_after(10):
        data = await stream.receive_frame(reader)
    return None if data is None else codec.decode(data)


async def test_many_requests_on_one_stream_are_answered_in_order():
    """docs/protocol.md, extra (two requests on one stream) and rule 6; here pipelined in one write."""
    async with pair() as (a, b):
        stream = await open_kad(a, b)
        requests = [Message(MessageType.FIND_NODE, key=b"%d" % number) for number in range(50)]
        await stream.send(b"".join(map(frame, requests)))
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        assert [await receive_message(stream, reader) for _ in requests] == requests


async def test_half_close_before_the_reply_is_answered_and_its_size_is_small():
    """docs/protocol.md, extra; rust half-closes first, and takes 16 KiB."""
    sizes = []

    async def handler(requester, message):
        sizes.append(requester.reply_bytes_max)
        return message

    async with pair(handler) as (a, b):
        stream = await open_kad(a, b)
        request = Message(MessageType.GET_PROVIDERS, key=b"k")  # only its reply may be larger than that
        await stream.send(frame(request))
        await stream.finish()
        reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        assert await receive_message(stream, reader) == request
        assert await receive_message(stream, reader) is None
        await a.rpc.request(b.peer_id, FIND, timeout_s=10)
        assert sizes == [limits.SMALL_REPLY_BYTES_MAX, limits.MESSAGE_BYTES_MAX]


async def test_the_agreement_on_a_protocol_goes_out_with_the_first_reply():
    """A peer that sends its request along with the proposal does not wait for it."""
    opening = encode_line(MULTISTREAM) + encode_line(KAD)
    async with pair(echo) as (a, b):
        connection = a.swarm.connection_to(b.peer_id)
        together = await connection.new_stream()
        await together.send(opening + frame(FIND))
        if TRANSPORT == "primedht":
            assert await together.receive() == opening + frame(FIND)
        one_by_one = await connection.new_stream()
        await one_by_one.send(opening)
        with trio.fail_after(10):
            assert await one_by_one.receive() == opening
            await one_by_one.send(frame(FIND))
            assert await one_by_one.receive() == frame(FIND)


async def test_a_rust_agent_gets_small_replies():
    sizes = []

    async def handler(requester, message):
        sizes.append(requester.reply_bytes_max)
        return message

    async with running_host(agent_version="rust-libp2p/0.56.0") as a, running_host() as b:
        await b.connections.serve_kad(handler)
        await connect(a, b)
        await eventually(lambda: b.connections.serves_kad(a.peer_id) is not None)
        await a.rpc.request(b.peer_id, FIND, timeout_s=10)
        assert sizes == [limits.SMALL_REPLY_BYTES_MAX]


async def test_no_answer_to_add_provider():
    """docs/protocol.md, rule 8."""

    async def handler(requester, message):
        return None if message.type is MessageType.ADD_PROVIDER else message

    async with pair(handler) as (a, b):
        stream = await open_kad(a, b)
        await stream.send(frame(ADD) + frame(FIND))
        assert await receive_message(stream, FrameReader(limits.MESSAGE_BYTES_MAX)) == FIND


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\x0f",
        encode_frame(b"\xff\xff\xff"),
        encode_frame(b"\x08\x63"),
        b"\x80" * 12,
        encode_frame(b"\x12\x84\x10" + bytes(2052)),
    ],
    ids=["oversized", "no protobuf", "unknown type", "bad varint", "long key"],
)
async def test_bad_requests_reset_the_stream(data):
    """behaviours 20 and 21, the host's part."""
    async with pair() as (a, b):
        stream = await open_kad(a, b)
        await stream.send(data)
        with trio.fail_after(10), pytest.raises(PeerUnreachable):
            assert await stream.receive() != b""
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND


@pytest.mark.parametrize("error", [StoreUnavailable("full"), InvalidRecord("no"), ZeroDivisionError()])
async def test_errors_of_the_engine_reset_the_stream(error):
    async def handler(requester, message):
        raise error

    async with pair(handler) as (a, b):
        stream = await open_kad(a, b)
        await stream.send(frame(FIND))
        with trio.fail_after(10), pytest.raises(PeerUnreachable):
            await stream.receive()


async def test_idle_streams_of_peers_end(monkeypatch):
    monkeypatch.setattr(limits, "STREAM_IDLE_S", 0.2)
    async with pair() as (a, b):
        stream = await open_kad(a, b)
        with trio.fail_after(10), pytest.raises(PeerUnreachable):
            await stream.receive()


async def test_twelve_peers_that_each_hold_a_stream_keep_nobody_out():
    """docs/protocol.md, extra (13 idle kad streams): py-libp2p has 12 handlers in all."""
    async with running_host() as hub:
        await hub.connections.serve_kad(echo)
        async with trio.open_nursery() as nursery:

            async def holder(task_status):
                async with running_host(listen=()) as host:
                    await connect(host, hub)
                    stream = await open_kad(host, hub)
                    await stream.send(frame(FIND))
                    await stream.receive()
                    task_status.started()
                    await trio.sleep_forever()

            for _ in range(13):
                await nursery.start(holder)
            async with running_host() as newcomer:
                await connect(newcomer, hub)
                assert await newcomer.rpc.request(hub.peer_id, FIND, timeout_s=10) == FIND
            nursery.cancel_scope.cancel()


async def test_sixty_four_streams_of_one_peer_are_served_and_no_more():
    async with pair() as (a, b):
        streams = [await open_kad(a, b) for _ in range(limits.KAD_STREAMS_IN_MAX)]
        for stream in streams:
            await stream.send(frame(FIND))
            assert await receive_message(stream, FrameReader(limits.MESSAGE_BYTES_MAX)) == FIND
        with trio.fail_after(10), pytest.raises(PeerUnreachable):  # before or behind the agreement
            await (await open_kad(a, b)).receive()
        await streams[0].close()
        await eventually(lambda: b.streams._open[(a.peer_id, KAD)] < limits.KAD_STREAMS_IN_MAX)
        stream = await open_kad(a, b)
        await stream.send(frame(FIND))
        assert await receive_message(stream, FrameReader(limits.MESSAGE_BYTES_MAX)) == FIND


async def test_thirty_requests_at_once_from_one_peer_are_all_answered():
    """py-libp2p resets 18 of 30."""
    async with pair() as (a, b), trio.open_nursery() as nursery:

        async def ask():
            stream = await open_kad(a, b)
            await stream.send(frame(FIND))
            assert await receive_message(stream, FrameReader(limits.MESSAGE_BYTES_MAX)) == FIND

        for _ in range(30):
            nursery.start_soon(ask)


async def test_requests_being_answered_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "KAD_REQUESTS_IN_MAX", 3)
    running = most = 0

    async def handler(requester, message):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.01)
        running -= 1
        return message

    async with pair(handler) as (a, b), trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(lambda: a.rpc.request(b.peer_id, FIND, timeout_s=20))
    assert most == 3


async def test_what_one_peer_holds_in_memory_is_bounded(monkeypatch):
    """Streams that each begin a large message and never end it."""
    monkeypatch.setattr(limits, "KAD_IN_BYTES_PER_PEER_MAX", 1 << 20)
    async with pair() as (a, b):
        begun = b"\x80\x80\x80\x01" + bytes(200_000)  # of 2 MiB
        streams = [await open_kad(a, b) for _ in range(10)]
        for stream in streams:
            with suppress(PeerUnreachable):
                await stream.send(begun)
        ended = []

        async def watch(stream):
            with suppress(PeerUnreachable):
                await stream.receive()
            ended.append(stream)

        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(watch, stream)
            await eventually(lambda: len(ended) >= 5)
            for stream in streams:
                await stream.reset()
            nursery.cancel_scope.cancel()
        await eventually(lambda: not b.streams._open[(a.peer_id, KAD)])
        assert await a.rpc.request(b.peer_id, FIND, timeout_s=10) == FIND
        assert b.connections.kad_server._memory._total_bytes == 0


async def test_networks_with_other_prefixes_do_not_mix():
    """behaviour 33."""
    async with running_host(kad_protocol="/one/kad/1.0.0") as a, running_host() as b:
        await b.connections.serve_kad(echo)
        await a.connections.serve_kad(echo)
        await connect(a, b)
        assert a.connections.serves_kad(b.peer_id) is False
        with pytest.raises(ProtocolViolation):
            await a.rpc.request(b.peer_id, FIND, timeout_s=10)


async def test_records_and_binary_keys_travel_unchanged():
    key = b"/pk/" + bytes(range(256))[:34]
    record = Record(key=key, value=bytes(60_000), ttl_s=7, writer_unix_ms=9)
    async with pair() as (a, b):
        request = Message(MessageType.PUT_VALUE, key=key, record=record)
        assert await a.rpc.request(b.peer_id, request, timeout_s=20) == request
