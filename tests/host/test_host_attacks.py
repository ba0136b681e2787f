"""What a hostile peer may do costs that peer alone (docs/py-libp2p.md)."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import socket
from contextlib import suppress
from functools import partial

import pytest
import trio
from host_helpers import (
    addr_text,
    connect,
    echo,
    endpoint,
    eventually,
    muxed_stream_count,
    running_host,
    stop_reading,
)
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.mplex.mplex import MPLEX_PROTOCOL_ID, Mplex

from primedht import limits
from primedht.errors import InvalidRecord, PeerUnreachable, ProtocolViolation
from primedht.host import ConnectionLimits, generate_private_key, listener
from primedht.host.keys import load_key_pair
from primedht.host.listener import Handshakes
from primedht.host.multistream import MULTISTREAM, encode_line
from primedht.host.sockets import listen_tcp
from primedht.host.upgrade import YAMUX, Upgrader
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, Record
from primedht.wire.frames import encode_frame

FIND = Message(MessageType.FIND_NODE, key=b"k")


async def still_works(host) -> None:
    """A newcomer can connect, and is answered."""
    async with running_host() as newcomer:
        await connect(newcomer, host)
        assert await newcomer.connections.ping(host.peer_id, timeout_s=10) > 0


async def read_to_end(stream) -> None:
    with trio.fail_after(15):
        while await stream.receive():
            pass


async def negotiate_raw(host, *names: str) -> bytes:
    """Propose `names` on a fresh TCP connection and return everything that comes back."""
    stream = await trio.open_tcp_stream(*endpoint(host))
    async with stream:
        await stream.send_all(encode_line(MULTISTREAM) + b"".join(map(encode_line, names)))
        received = b""
        while received.count(b"\n") < 1 + len(names):
            with trio.fail_after(10):
                data = await stream.receive_some()
            if not data:
                break
            received += data
        return received


@pytest.mark.parametrize(
    "name",
    ["/plaintext/2.0.0", "/plaintext/1.0.0", "/secio/1.0.0", "/tls/1.0.0", "/mplex/6.7.0", "/yamux/1.0.0"],
)
async def test_no_security_but_noise_can_be_negotiated(name):
    async with running_host() as host:
        assert await negotiate_raw(host, name) == encode_line(MULTISTREAM) + encode_line("na")
        assert await negotiate_raw(host, name, "/noise") == (
            encode_line(MULTISTREAM) + encode_line("na") + encode_line("/noise")
        )


async def test_no_muxer_but_yamux_can_be_negotiated():
    """The peer has proved its identity; mplex is refused all the same."""
    async with running_host() as host, running_host() as attacker:
        key_pair = load_key_pair(generate_private_key())
        noise = NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)
        only_mplex = Upgrader({TProtocol("/noise"): noise}, {MPLEX_PROTOCOL_ID: Mplex})
        attacker.swarm.upgrader = only_mplex
        with pytest.raises(PeerUnreachable, match="refuses /mplex"):
            await attacker.connect_addr(addr_text(host))
        assert host.connections.connected() == ()
        assert tuple(host.swarm.upgrader.muxer_multistream.transports) == (YAMUX,)


@pytest.mark.parametrize(
    "opening",
    [
        encode_line(MULTISTREAM) + b"\x05\xff\xfe\xfd\xfc\n",
        b"\x05\xff\xfe\xfd\xfc\n",
        encode_line(MULTISTREAM) + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
        encode_line(MULTISTREAM) + b"\xff\xff\x7f" + bytes(2000),
        encode_line(MULTISTREAM) + b"\x00",
        encode_line(MULTISTREAM) + b"\x03abc",
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_nothing_said_on_a_stream_kills_the_node(opening):
    """B1: invalid UTF-8 as a protocol name, and its like (B21)."""
    async with running_host() as host, running_host() as attacker:
        await connect(attacker, host)
        stream = await attacker.swarm.connection_to(host.peer_id).new_stream()
        if opening:
            await stream.send(opening)
        await stream.finish()
        with suppress(PeerUnreachable):
            await read_to_end(stream)
        assert await attacker.connections.ping(host.peer_id, timeout_s=10) > 0
        await still_works(host)


async def test_endless_proposals_end():
    async with running_host() as host, running_host() as attacker:
        await connect(attacker, host)
        stream = await attacker.swarm.connection_to(host.peer_id).new_stream()
        await stream.send(encode_line(MULTISTREAM) + encode_line("/x/1") * 100)
        with pytest.raises(PeerUnreachable):
            await read_to_end(stream)
        await still_works(host)


@pytest.mark.parametrize("error", [ValueError("a bug"), RecursionError(), InvalidRecord("no"), EOFError()])
async def test_an_exception_in_a_handler_resets_its_stream_and_nothing_else(error):
    """B2."""

    async def broken(requester, message):
        raise error

    async with running_host() as host, running_host() as peer:
        await host.connections.serve_kad(broken)
        await connect(peer, host)
        with pytest.raises(ProtocolViolation):
            await peer.rpc.request(host.peer_id, FIND, timeout_s=10)
        assert peer.connections.connected() == (host.peer_id,)
        await host.connections.serve_kad(echo)
        assert await peer.rpc.request(host.peer_id, FIND, timeout_s=10) == FIND
        await still_works(host)


async def test_a_handler_that_forgets_its_stream_leaks_nothing():
    """B15."""

    async def forgetful(stream):
        await stream.receive()

    async with running_host() as host, running_host() as peer:
        host.streams.serve("/forget/1", forgetful)
        await connect(peer, host)
        for _ in range(20):
            stream = await peer.streams.open(host.peer_id, ("/forget/1",), timeout_s=10)
            await stream.send(b"x")
            assert await stream.receive() == b""
            await stream.close()
        connection = host.swarm.connection_to(peer.peer_id)
        await eventually(lambda: not connection.streams)
        await eventually(lambda: not muxed_stream_count(connection))


async def test_a_stream_that_the_peer_never_ends_is_reset_after_a_while(monkeypatch):
    monkeypatch.setattr(limits, "STREAM_LINGER_S", 0.2)

    async def done_at_once(stream):
        await stream.receive()

    async with running_host() as host, running_host() as peer:
        host.streams.serve("/done/1", done_at_once)
        await connect(peer, host)
        stream = await peer.streams.open(host.peer_id, ("/done/1",), timeout_s=10)
        await stream.send(b"x")
        assert await stream.receive() == b""
        connection = host.swarm.connection_to(peer.peer_id)
        await eventually(lambda: not connection.streams and not muxed_stream_count(connection))


async def test_three_hundred_short_connections_in_a_row_leave_room():
    """Extra: 300 short inbound connections (B4): inbound slots are given back."""
    few = ConnectionLimits(low=20, high=20, max=25, grace_s=0)
    async with running_host(connections=few) as host:
        for _ in range(300):
            stream = await trio.open_tcp_stream(*endpoint(host))
            await stream.send_all(b"x")
            await stream.aclose()
        async with running_host() as peer:
            for _ in range(30):
                await connect(peer, host)
                await peer.connections.disconnect(host.peer_id)
            await eventually(lambda: host.swarm.connection_count == 0)
        await still_works(host)
        await eventually(lambda: len(host.swarm.handshakes) == 0)


async def test_two_hundred_and_fifty_silent_sockets_leave_room():
    """B8."""
    async with running_host() as host:
        silent = [await trio.open_tcp_stream(*endpoint(host)) for _ in range(250)]
        started = trio.current_time()
        await still_works(host)
        assert trio.current_time() - started < limits.HANDSHAKE_TIMEOUT_S
        assert len(host.swarm.handshakes) <= limits.HANDSHAKES_MAX
        for stream in silent:
            await stream.aclose()


async def test_a_half_open_handshake_ends(monkeypatch):
    """A peer that falls silent after /noise, inbound: its time is limited."""
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.3)
    async with running_host() as host:
        stream = await trio.open_tcp_stream(*endpoint(host))
        await stream.send_all(encode_line(MULTISTREAM) + encode_line("/noise") + b"\x00\x20")
        received = b""
        with trio.fail_after(15):
            while data := await stream.receive_some():
                received += data
        assert received == encode_line(MULTISTREAM) + encode_line("/noise")
        await eventually(lambda: len(host.swarm.handshakes) == 0)


@pytest.mark.parametrize("says_noise", [False, True])
async def test_dialling_a_silent_peer_ends(monkeypatch, says_noise):
    """B7: a peer that accepts and says nothing, or nothing after /noise."""
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.3)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]

    async def silent(stream):
        if says_noise:
            await stream.send_all(encode_line(MULTISTREAM) + encode_line("/noise"))
        await trio.sleep_forever()

    async with running_host() as host, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, silent, [listener])
        port = listener.socket.getsockname()[1]
        with trio.fail_after(15), pytest.raises(PeerUnreachable):
            await host.connect_addr(f"/ip4/127.0.0.1/tcp/{port}")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("garbage", [bytes(range(256)) * 40, b"\x00" * 5000, b"\xff" * 5000])
async def test_garbage_before_and_after_negotiation_is_dropped(monkeypatch, garbage):
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.5)
    async with running_host() as host:
        for prefix in (b"", encode_line(MULTISTREAM), encode_line(MULTISTREAM) + encode_line("/noise")):
            stream = await trio.open_tcp_stream(*endpoint(host))
            try:
                await stream.send_all(prefix + garbage)
                with trio.fail_after(15):
                    while await stream.receive_some():
                        pass
            except trio.BrokenResourceError:
                pass  # reset: it was dropped
            await stream.aclose()
        await still_works(host)


async def test_garbage_after_the_handshake_costs_that_connection_only():
    """Bytes that do not decrypt."""
    async with running_host() as host, running_host() as attacker, running_host() as other:
        await connect(attacker, host)
        await connect(other, host)
        await attacker.swarm.connection_to(host.peer_id).socket.write(b"\x01\x00" + bytes(256))
        await eventually(lambda: host.connections.connected() == (other.peer_id,))
        await still_works(host)


async def dribble(source, sink, piece_bytes: int) -> None:
    """Forward bytes in small pieces, each of them a segment of its own."""
    while True:
        data = await source.receive_some(65536)
        if not data:
            return
        for start in range(0, len(data), piece_bytes):
            await sink.send_all(data[start : start + piece_bytes])
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("piece_bytes", [1, 7, 400])
async def test_frames_in_hundreds_of_pieces_arrive(piece_bytes):
    """B14: py-libp2p drops a connection whose frame comes in more than 100 pieces."""
    value = bytes(range(256)) * (16 if piece_bytes == 1 else 240)

    async def serve(requester, message):
        return Message(
            MessageType.FIND_NODE, key=b"", closer_peers=message.closer_peers, record=message.record
        )

    async with running_host() as host, running_host() as peer, trio.open_nursery() as nursery:
        await host.connections.serve_kad(serve)

        async def proxy(stream):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            onward = await trio.open_tcp_stream(*endpoint(host))
            async with trio.open_nursery() as both:
                both.start_soon(dribble, stream, onward, piece_bytes)
                both.start_soon(dribble, onward, stream, piece_bytes)

        listeners = await nursery.start(trio.serve_tcp, proxy, 0)
        port = listeners[0].socket.getsockname()[1]
        await peer.connect_addr(f"/ip4/127.0.0.1/tcp/{port}/p2p/{host.peer_id}", timeout_s=60)
        request = Message(MessageType.FIND_NODE, record=Record(key=b"k", value=value))
        reply = await peer.rpc.request(host.peer_id, request, timeout_s=60)
        assert reply.record.value == value
        assert peer.connections.connected() == (host.peer_id,)
        nursery.cancel_scope.cancel()


async def test_a_peer_that_does_not_read_blocks_nobody_and_is_dropped(monkeypatch):
    """Its replies pile up to a limit; then its connection ends, and no other is held up."""
    monkeypatch.setattr(limits, "WRITE_STALL_TIMEOUT_S", 0.5)
    big = Message(MessageType.GET_VALUE, record=Record(key=b"k", value=bytes(60_000)))

    async def serve(requester, message):
        return big

    async with running_host() as host, running_host() as glutton, running_host() as other:
        await host.connections.serve_kad(serve)
        await connect(glutton, host)
        await connect(other, host)
        connection = glutton.swarm.connection_to(host.peer_id)
        stop_reading(connection)
        frame = encode_frame(codec.encode(Message(MessageType.GET_VALUE, key=b"k")))
        for _ in range(60):
            stream = await connection.new_stream()
            stream.propose("/test/kad/1.0.0")
            await stream.send(frame * 4)
        for _ in range(20):
            await other.connections.ping(host.peer_id, timeout_s=20)
        await eventually(lambda: host.connections.connected() == (other.peer_id,), timeout_s=60)


async def test_running_out_of_descriptors_pauses_accepting(monkeypatch):
    """EMFILE from accept() must not end the listener."""
    monkeypatch.setattr(listener, "_RESOURCES_PAUSE_S", 0.01)
    real = listen_tcp(ipaddress.ip_address("127.0.0.1"), 0)
    failures = iter([errno.EMFILE, errno.ENFILE, errno.ECONNABORTED])

    class Failing:
        def fileno(self):
            return real.fileno()

        def accept(self):
            code = next(failures, None)
            if code is not None:
                raise OSError(code, os.strerror(code))
            return real.accept()

    upgraded = trio.Event()

    async def upgrade(stream):
        upgraded.set()

    handshakes = Handshakes(handshakes_max=9, per_ip_max=9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve_listener, Failing(), nursery, handshakes, upgrade)
        async with await trio.open_tcp_stream(*real.getsockname()) as stream:
            await stream.send_all(b"x")
            with trio.fail_after(15):
                await upgraded.wait()
        nursery.cancel_scope.cancel()
    real.close()


class FakeStream:
    def __init__(self, ip, spoke):
        self.remote = (ip, 1)
        self.received_at = 1.0 if spoke else -math.inf


async def test_the_busiest_ip_yields_its_silent_and_oldest_first():
    ended = []
    handshakes = Handshakes(handshakes_max=4, per_ip_max=2)

    async def handshake(name, ip, spoke, task_status):
        with handshakes.admitted(FakeStream(ip, spoke)):
            task_status.started()
            await trio.sleep_forever()
        ended.append(name)

    async with trio.open_nursery() as nursery:
        start = partial(nursery.start, handshake)
        await start("a", "10.0.0.1", True)
        await start("b", "10.0.0.1", False)
        await start("c", "10.0.0.1", True)
        await start("d", "10.0.0.2", False)
        await start("e", "10.0.0.2", True)  # five are too many; 10.0.0.1 has most, b is silent
        await eventually(lambda: ended == ["b"])
        await start("f", "8.8.8.8", True)  # five again: a is the oldest of the busiest
        await eventually(lambda: ended == ["b", "d"] or ended == ["b", "a"])
        del ended[:]
        await start("g", "8.8.8.8", True)
        await start("h", "8.8.8.8", True)  # more than two of a public IP: its own oldest yields
        await eventually(lambda: "f" in ended)
        nursery.cancel_scope.cancel()
