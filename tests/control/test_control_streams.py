"""STREAM_OPEN and STREAM_HANDLER: bytes both ways, half-closing, and who may have what delivered where."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest
import trio
from control_lab import LOOPBACK, ControlLab, RawClient, open_lab, until
from fake_host import FakeStream
from fake_node import ADDR, FakeNode, peer

from primedht import limits
from primedht.control.targets import parse_target
from primedht.control_addr import TcpAddr, UnixAddr
from primedht.errors import InvalidArgument, NotPermitted, PrimeDhtError
from primedht.pb import p2pd_pb2 as pb
from primedht.wire import addrs, varint
from primedht.wire.frames import encode_frame

IDENTIFY = pb.Request(type=pb.Request.IDENTIFY)
ECHO = "/test/echo/1.0.0"


def unix(path: Path | str) -> bytes:
    """Return `/unix/PATH` in binary, as go writes it."""
    raw = os.fsencode(path)
    return varint.encode(400) + varint.encode(len(raw)) + raw


def opening(*protocols: str, to: int = 1) -> pb.Request:
    request = pb.StreamOpenRequest(peer=bytes(peer(to)), proto=protocols, timeout=5)
    return pb.Request(type=pb.Request.STREAM_OPEN, streamOpen=request)


def registration(addr: bytes, *protocols: str) -> pb.Request:
    request = pb.StreamHandlerRequest(addr=addr, proto=protocols)
    return pb.Request(type=pb.Request.STREAM_HANDLER, streamHandler=request)


async def rest_of(stream: trio.SocketStream) -> bytes:
    out = b""
    while data := await stream.receive_some(4096):
        out += data
    return out


class Listener:
    """A client's socket for inbound streams."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = trio.socket.socket(socket.AF_UNIX)

    @asynccontextmanager
    async def accepted(self) -> AsyncIterator[tuple[RawClient, pb.StreamInfo]]:
        taken, _ = await self._socket.accept()
        async with trio.SocketStream(taken) as stream:
            client = RawClient(stream)
            frame = await client.frame()
            assert frame is not None
            yield client, pb.StreamInfo.FromString(frame)

    async def __aenter__(self) -> Self:
        await self._socket.bind(str(self.path))
        self._socket.listen()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._socket.close()
        self.path.unlink()


@asynccontextmanager
async def inbound(lab: ControlLab, protocol: str = ECHO) -> AsyncIterator[FakeStream]:
    """Let a peer open a stream to us; a failing handler resets it, as the host's supervisor does."""
    theirs, serving = await lab.node.host.inbound(peer(1), protocol)

    async def serve(serving: Awaitable[None]) -> None:
        try:
            await serving
        except PrimeDhtError:
            await theirs.other.reset()
        else:
            await theirs.other.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, serving)
        yield theirs


# --- STREAM_OPEN -----------------------------------------------------------------------------------


async def test_an_opened_stream_carries_bytes_both_ways_and_both_half_closes(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(opening("/other", ECHO))
        info = response.streamInfo
        assert (info.peer, info.addr, info.proto) == (bytes(peer(1)), ADDR, ECHO)
        remote = lab.node.host.remotes[0]
        await client.stream.send_all(b"question")
        await client.stream.send_eof()
        assert await remote.rest() == b"question", "our half-close reaches the peer"
        await remote.send(b"answer after it")
        await remote.finish()
        assert await rest_of(client.stream) == b"answer after it"
    await until(lambda: remote.other.was_closed)
    assert not remote.other.was_reset


async def test_the_peers_half_close_leaves_our_half_open(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(opening(ECHO))
        remote = lab.node.host.remotes[0]
        await remote.send(b"first word")
        await remote.finish()
        assert await rest_of(client.stream) == b"first word"
        await client.stream.send_all(b"last word")
        await client.stream.send_eof()
        assert await remote.rest() == b"last word"


async def test_bytes_sent_right_behind_the_request_are_the_streams(lab: ControlLab) -> None:
    async with lab.client() as client:
        request = encode_frame(opening(ECHO).SerializeToString())
        await client.stream.send_all(request + b"\x05early")
        await client.response()
        remote = lab.node.host.remotes[0]
        assert await remote.receive() == b"\x05early"


async def test_not_one_byte_too_many_follows_the_response(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.send(opening(ECHO))
        await until(lambda: lab.node.host.remotes)
        await lab.node.host.remotes[0].send(b"\x00raw")
        assert (await client.response()).type == pb.Response.OK
        rest = client._reader._buffer or await client.stream.receive_some(100)
        assert bytes(rest) == b"\x00raw"


async def test_a_large_transfer_arrives_whole(lab: ControlLab) -> None:
    payload = os.urandom(1 << 20)
    async with lab.client() as client:
        await client.ask(opening(ECHO))
        remote = lab.node.host.remotes[0]

        async def send() -> None:
            await client.stream.send_all(payload)
            await client.stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await remote.rest() == payload


@pytest.mark.parametrize("protocols", [(), ("",), ("ls",), ("a\nb",), ("x" * 300,), ("/a",) * 33])
async def test_what_cannot_be_a_protocol_is_refused(lab: ControlLab, protocols: tuple[str, ...]) -> None:
    async with lab.client() as client:
        assert (await client.ask(opening(*protocols))).error.code == "invalid_argument"
        assert (await client.ask(registration(unix("/x"), *protocols))).error.code == "invalid_argument"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_a_stream_that_the_peer_refuses_is_an_error_on_a_usable_connection(lab: ControlLab) -> None:
    async with lab.client() as client:
        assert (await client.ask(opening("/refused"))).error.code == "protocol_violation"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_a_peer_that_is_not_connected_is_connected_first(lab: ControlLab) -> None:
    async with lab.client() as client:
        assert (await client.ask(opening(ECHO, to=8))).type == pb.Response.OK
    assert lab.node.connected[0].id == peer(8)


async def test_a_reset_by_the_peer_ends_the_clients_connection(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(opening(ECHO))
        remote = lab.node.host.remotes[0]
        await remote.reset()
        assert await rest_of(client.stream) == b""
    assert remote.other.was_reset


async def test_a_client_that_dies_in_the_middle_resets_the_stream(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(opening(ECHO))
        remote = lab.node.host.remotes[0]
    with pytest.raises(Exception, match="reset"):
        while True:
            await remote.send(bytes(1000))
    assert remote.other.was_reset


async def test_a_client_may_say_its_say_and_leave(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(opening(ECHO))
        remote = lab.node.host.remotes[0]
        await client.stream.send_all(b"a note")
    assert await remote.rest() == b"a note"
    await remote.finish()
    await until(lambda: remote.other.was_closed)
    assert not remote.other.was_reset


async def test_an_open_stream_does_not_hold_up_the_end_of_the_server(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(opening(ECHO))
        await lab.server.finish()
        assert await rest_of(client.stream) == b""
    assert lab.node.host.remotes[0].other.was_reset


# --- STREAM_HANDLER --------------------------------------------------------------------------------


async def test_a_peers_stream_reaches_the_registered_socket(lab: ControlLab, tmp_path: Path) -> None:
    async with Listener(tmp_path / "h") as listener:
        async with lab.client() as client:
            assert (await client.ask(registration(unix(listener.path), ECHO))).type == pb.Response.OK
        # The registration outlives the connection that made it.
        async with inbound(lab) as remote, listener.accepted() as (client, info):
            assert (info.peer, info.addr, info.proto) == (bytes(peer(1)), ADDR, ECHO)
            await remote.send(b"question")
            await remote.finish()
            assert await rest_of(client.stream) == b"question"
            await client.stream.send_all(b"answer")
            await client.stream.send_eof()
            assert await remote.rest() == b"answer"
            await until(lambda: remote.other.was_closed)


async def test_a_loopback_port_is_a_target_too(lab: ControlLab) -> None:
    with trio.socket.socket() as listening:
        await listening.bind(("127.0.0.1", 0))
        listening.listen()
        addr = addrs.parse(f"/ip4/127.0.0.1/tcp/{listening.getsockname()[1]}")
        async with lab.client() as client:
            assert (await client.ask(registration(addr, ECHO))).type == pb.Response.OK
        async with inbound(lab) as remote:
            taken, _ = await listening.accept()
            async with trio.SocketStream(taken) as stream:
                assert await RawClient(stream).frame() is not None
                await stream.send_all(b"hello")
                assert await remote.receive() == b"hello"
                await remote.reset()


async def test_a_later_registration_replaces_an_earlier_one(lab: ControlLab, tmp_path: Path) -> None:
    async with Listener(tmp_path / "a") as first, Listener(tmp_path / "b") as second, lab.client() as client:
        for listener in (first, second):
            await client.ask(registration(unix(listener.path), ECHO))
        async with inbound(lab) as remote, second.accepted() as (_, info):
            assert info.proto == ECHO
            await remote.reset()


@pytest.mark.parametrize("protocol", ["/ipfs/id/1.0.0", "/test/kad/1.0.0"])
async def test_the_nodes_own_protocols_are_refused(lab: ControlLab, protocol: str) -> None:
    """The DHT's own even while it is not served, in client mode."""
    async with lab.client() as client:
        response = await client.ask(registration(unix("/x"), "/free", protocol))
        assert response.error.code == "not_permitted"
        assert "/free" not in lab.node.host.handlers, "all or none"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_a_target_that_is_gone_resets_the_stream_only(lab: ControlLab, tmp_path: Path) -> None:
    async with lab.client() as client:
        await client.ask(registration(unix(tmp_path / "absent"), ECHO))
        async with inbound(lab) as remote:
            with pytest.raises(Exception, match="reset"):
                await remote.receive()
        async with Listener(tmp_path / "absent") as listener, inbound(lab) as remote, listener.accepted():
            await remote.reset()


async def test_another_users_socket_is_no_target(
    lab: ControlLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Listener(tmp_path / "h") as listener, lab.client() as client:
        assert (await client.ask(registration(unix(listener.path), ECHO))).type == pb.Response.OK
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
        assert (await client.ask(registration(unix(listener.path), ECHO))).error.code == "not_permitted"
        async with inbound(lab) as remote:  # registered before it became another's
            with pytest.raises(Exception, match="reset"):
                await remote.receive()


async def test_a_file_is_no_target(lab: ControlLab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with lab.client() as client:
        response = await client.ask(registration(unix(tmp_path / "file"), ECHO))
        assert response.error.code == "not_permitted"


async def test_protocols_have_a_limit(lab: ControlLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_HANDLERS_MAX", 2)
    async with lab.client() as client:
        assert (await client.ask(registration(unix("/x"), "/a", "/b"))).type == pb.Response.OK
        assert (await client.ask(registration(unix("/x"), "/c"))).error.code == "too_busy"
        assert (await client.ask(registration(unix("/y"), "/a"))).type == pb.Response.OK


async def test_streams_with_handlers_have_a_limit(
    lab: ControlLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTROL_HANDLER_STREAMS_MAX", 1)
    async with Listener(tmp_path / "h") as listener, lab.client() as client:
        await client.ask(registration(unix(listener.path), ECHO))
        async with inbound(lab) as first, listener.accepted():
            async with inbound(lab) as second:
                with pytest.raises(Exception, match="reset"):
                    await second.receive()
            await first.reset()
        async with inbound(lab) as third, listener.accepted():
            await third.reset()


async def test_over_tcp_only_loopback_ports_and_nobody_elses_protocol(tmp_path: Path) -> None:
    port = addrs.parse("/ip4/127.0.0.1/tcp/4444")
    async with open_lab(FakeNode(), tmp_path, addr=LOOPBACK) as lab, lab.client() as client:
        assert (await client.ask(registration(unix(tmp_path / "h"), ECHO))).error.code == "not_permitted"
        assert (await client.ask(registration(port, ECHO))).type == pb.Response.OK
        assert (await client.ask(registration(port, ECHO))).type == pb.Response.OK
        trusted = registration(unix(tmp_path / "h"), "/mine").streamHandler
        lab.server._streams.register(trusted, trusted=True)
        assert (await client.ask(registration(port, "/mine"))).error.code == "not_permitted"


async def test_nothing_stays_served_after_the_end(tmp_path: Path) -> None:
    node = FakeNode()
    async with open_lab(node, tmp_path) as lab, lab.client() as client:
        await client.ask(registration(unix("/x"), ECHO))
        assert ECHO in node.host.handlers
    assert ECHO not in node.host.handlers


@pytest.mark.parametrize(
    ("addr", "target"),
    [
        (unix("/tmp/x"), UnixAddr("/tmp/x")),
        (unix("tmp/x"), UnixAddr("/tmp/x")),  # py-multiaddr
        (unix("%2Ftmp%2Fx"), UnixAddr("/tmp/x")),  # js
        (addrs.parse("/ip6/::1/tcp/9"), TcpAddr("::1", 9)),
    ],
)
def test_targets(addr: bytes, target: UnixAddr | TcpAddr) -> None:
    assert parse_target(addr) == target


@pytest.mark.parametrize(
    "addr",
    [
        b"",
        b"\x90\x03",
        unix("/tmp/x")[:-1],
        unix("/tmp/x") + b"\x06\x00\x01",
        unix(""),
        unix("/a\0b"),
        unix("/" + "x" * 107),
        addrs.parse("/ip4/127.0.0.1/udp/9"),
        addrs.parse("/dns4/localhost/tcp/9"),
        addrs.parse("/ip4/127.0.0.1/tcp/0"),
        b"\xff" * 11,
    ],
)
def test_malformed_targets(addr: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_target(addr)


def test_other_machines_are_no_targets() -> None:
    with pytest.raises(NotPermitted, match="not a loopback address"):
        parse_target(addrs.parse("/ip4/192.0.2.1/tcp/9"))
