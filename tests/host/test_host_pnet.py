"""Hosts under a pre-shared key, over real sockets: who gets in, who does not, and what each is told."""

from __future__ import annotations

import os

import pytest
import structlog
import trio
from host_helpers import addr_text, connect, echo, endpoint, eventually, running_host

from primedht import limits
from primedht.errors import PeerUnreachable, PskMismatch, RemoteError
from primedht.host.multistream import GREETING, encode_line
from primedht.host.pnet.session import PskSession
from primedht.host.pnet.xsalsa20 import NONCE_BYTES
from primedht.kad.messages import Message, MessageType, Record
from primedht.psk import Psk

KEY, OTHER = Psk.generate(), Psk.generate()
TRANSPORTS = ("primedht", "libp2p")
PAIRINGS = [(a, b) for a in TRANSPORTS for b in TRANSPORTS]
FIND = Message(MessageType.FIND_NODE, key=b"k")


class Outsider:
    """A bare socket to a host under `KEY`, with a session that has `psk`."""

    def __init__(self, stream: trio.SocketStream, psk: Psk) -> None:
        self.stream = stream
        self.session = PskSession(psk, os.urandom(NONCE_BYTES))

    async def receive(self, size: int) -> bytes:
        """Return `size` bytes, fewer if the other side ends the connection."""
        received = b""
        with trio.fail_after(15):
            while len(received) < size:
                try:
                    data = await self.stream.receive_some(size - len(received))
                except trio.BrokenResourceError:
                    break
                if not data:
                    break
                received += data
        return received

    async def send_sealed(self, data: bytes) -> None:
        out = bytearray(len(data))
        self.session.seal(data, memoryview(out))
        await self.stream.send_all(bytes(out))

    async def is_dropped(self) -> bool:
        return await self.receive(1 << 20) == b""


async def outsider(host, psk: Psk = KEY) -> Outsider:
    return Outsider(await trio.open_tcp_stream(*endpoint(host)), psk)


@pytest.mark.parametrize(("dialer", "listener"), PAIRINGS)
async def test_members_talk_as_ever(dialer, listener):
    async with (
        running_host(psk=KEY, transport=dialer) as a,
        running_host(psk=KEY, transport=listener) as b,
    ):
        await a.connections.serve_kad(echo)
        await b.connections.serve_kad(echo)
        await connect(a, b)
        for size in (0, 1000, 60_000):
            request = Message(MessageType.FIND_NODE, record=Record(key=b"k", value=os.urandom(size)))
            assert await a.rpc.request(b.peer_id, request, timeout_s=20) == request
            assert await b.rpc.request(a.peer_id, request, timeout_s=20) == request
        assert a.stats()["psk_mismatches"] == b.stats()["psk_mismatches"] == 0


@pytest.mark.parametrize(("dialer", "listener"), PAIRINGS)
async def test_members_send_bulk_both_ways(dialer, listener):
    size = 4 << 20

    async def send_back(stream):
        while data := await stream.receive():
            await stream.send(data)
        await stream.finish()

    async with (
        running_host(psk=KEY, transport=dialer) as a,
        running_host(psk=KEY, transport=listener) as b,
    ):
        b.streams.serve("/back", send_back)
        await connect(a, b)
        stream = await a.streams.open(b.peer_id, ("/back",), timeout_s=10)
        sent, received = os.urandom(size), bytearray()

        async def send():
            await stream.send(sent)
            await stream.finish()

        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while data := await stream.receive():
                    received += data
        assert received == sent


@pytest.mark.parametrize(("dialer", "listener"), PAIRINGS)
@pytest.mark.parametrize(
    ("dialers", "listeners"), [(KEY, OTHER), (KEY, None), (None, KEY)], ids=["other key", "none", "we none"]
)
async def test_others_do_not_connect_whoever_dials(dialer, listener, dialers, listeners):
    async with (
        running_host(psk=dialers, transport=dialer) as a,
        running_host(psk=listeners, transport=listener) as b,
    ):
        with pytest.raises(PeerUnreachable) as caught:
            await connect(a, b)
        await eventually(lambda: not b.swarm.handshakes)
        assert not a.swarm.by_peer
        assert not b.swarm.by_peer
        if dialers is None:
            assert "network.psk_file" in str(caught.value)
        if dialers and listeners:
            assert caught.value.code == "psk_mismatch"
        if listeners:
            assert b.stats()["psk_mismatches"] == 1


async def test_a_strange_dialler_is_told_apart_and_logged_once_a_minute():
    with structlog.testing.capture_logs() as logs:
        async with running_host(psk=KEY) as host:
            for psk in (OTHER, None, None):
                async with running_host(psk=psk) as stranger:
                    with pytest.raises(RemoteError):
                        await connect(stranger, host)
            await eventually(lambda: host.stats()["psk_mismatches"] == 3)
    reports = [
        entry for entry in logs if entry["event"] == "psk_mismatch" and entry["own_key"] == KEY.fingerprint
    ]
    assert [(entry["log_level"], entry["dialled"], entry["count"]) for entry in reports] == [
        ("warning", False, 1)
    ]
    assert KEY.data.hex() not in str(logs)


async def test_a_listener_with_another_key_has_a_code_of_its_own_through_every_way_of_dialling():
    async with running_host(psk=KEY) as host, running_host(psk=OTHER) as stranger:
        with pytest.raises(PskMismatch, match="pre-shared key"):
            await host.connect_addr(stranger.listen_addrs[0])  # its id to be learnt
        with pytest.raises(PskMismatch):
            await host.connect_addr(addr_text(stranger))
        host.address_book.add(stranger.peer_id, stranger.address_book.own_addrs(), ttl_s=60)
        host.swarm.dialer.forget_backoff(stranger.peer_id)
        with pytest.raises(PskMismatch):
            await host.rpc.request(stranger.peer_id, FIND, timeout_s=10)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stranger_gets_a_nonce_and_not_one_byte_more(transport):
    async with running_host(psk=KEY, transport=transport) as host:
        plain = await outsider(host)
        await plain.stream.send_all(GREETING + encode_line("/noise"))
        assert len(await plain.receive(1 << 20)) == NONCE_BYTES
        foreign = await outsider(host, OTHER)
        await foreign.stream.send_all(foreign.session.nonce)
        await foreign.send_sealed(GREETING + encode_line("/noise"))
        assert len(await foreign.receive(1 << 20)) == NONCE_BYTES
        await eventually(lambda: host.stats()["psk_mismatches"] == 2)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_member_in_single_bytes_gets_through_the_negotiation(transport):
    async with running_host(psk=KEY, transport=transport) as host:
        peer = await outsider(host)
        for byte in peer.session.nonce:
            await peer.stream.send_all(bytes([byte]))
        for byte in GREETING + encode_line("/noise"):
            await peer.send_sealed(bytes([byte]))
        nonce = await peer.receive(NONCE_BYTES)
        while wanted := peer.session.wanted_bytes:
            peer.session.feed(nonce[:wanted])
            nonce = nonce[wanted:]
        answer = bytearray(await peer.receive(len(GREETING + encode_line("/noise"))))
        peer.session.open(memoryview(answer))
        assert answer == GREETING + encode_line("/noise")


@pytest.mark.parametrize("sent", [b"short", b"x" * NONCE_BYTES], ids=["part", "all"])
async def test_a_nonce_and_what_follows_it_must_come_in_time(sent, monkeypatch):
    monkeypatch.setattr(limits, "PSK_PROOF_TIMEOUT_S", 0.2)
    async with running_host(psk=KEY) as host:
        slow = await outsider(host)
        await slow.stream.send_all(sent)
        assert len(await slow.receive(1 << 20)) == NONCE_BYTES
        await eventually(lambda: host.stats()["psk_mismatches"] == 1)


async def test_dribbling_does_not_stretch_the_time(monkeypatch):
    monkeypatch.setattr(limits, "PSK_PROOF_TIMEOUT_S", 0.2)
    async with running_host(psk=KEY) as host:
        slow = await outsider(host)
        with trio.fail_after(10):
            try:
                while True:
                    await slow.stream.send_all(b"\x00")
                    await trio.sleep(0.05)
            except trio.BrokenResourceError:
                pass


@pytest.mark.parametrize("sent", [b"short", b"x" * NONCE_BYTES])
async def test_an_end_in_the_middle_is_a_mismatch(sent):
    async with running_host(psk=KEY) as host:
        peer = await outsider(host)
        await peer.stream.send_all(sent)
        await peer.receive(NONCE_BYTES)  # or closing would be a reset, which overtakes what was sent
        await peer.stream.aclose()
        await eventually(lambda: host.stats()["psk_mismatches"] == 1)
        assert not len(host.swarm.handshakes)


async def test_garbage_inside_the_key_ends_that_connection_alone():
    async with running_host(psk=KEY) as host, running_host(psk=KEY) as member:
        peer = await outsider(host)
        await peer.stream.send_all(peer.session.nonce)
        await peer.send_sealed(GREETING + encode_line("/noise"))
        await peer.receive(NONCE_BYTES + len(GREETING + encode_line("/noise")))
        await peer.send_sealed(b"\x00\x05wrong")  # no Noise handshake begins so
        assert await peer.is_dropped()
        await connect(member, host)
        assert host.stats()["psk_mismatches"] == 0  # the key was right


async def test_an_echo_is_no_peer():
    async with trio.open_nursery() as nursery, running_host(psk=KEY) as host:

        async def return_all(stream):
            async for data in stream:
                await stream.send_all(data)

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, return_all, listeners)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PskMismatch, match="returns what it is sent"):
            await host.connect_addr(f"/ip4/127.0.0.1/tcp/{port}")
        nursery.cancel_scope.cancel()


async def test_the_peer_that_ends_before_its_nonce_may_only_be_full():
    async with trio.open_nursery() as nursery, running_host(psk=KEY) as host:

        async def hang_up(stream):
            await stream.receive_some(NONCE_BYTES)
            await stream.aclose()

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PeerUnreachable, match="without a word") as caught:
            await host.connect_addr(f"/ip4/127.0.0.1/tcp/{port}")
        assert caught.value.code == "peer_unreachable"
        nursery.cancel_scope.cancel()
