"""A stock py-libp2p host at the other end, in both directions."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from host_helpers import KAD, addr_text, echo, eventually, running_host
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.ping import PingService
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from primedht.errors import ProtocolViolation
from primedht.host import generate_private_key
from primedht.host.keys import load_key_pair
from primedht.host.multistream import Responder, negotiate
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType
from primedht.wire.frames import encode_frame

FIND = Message(MessageType.FIND_NODE, key=b"k")


@asynccontextmanager
async def stock_host(**options):
    listen = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    host = new_host(listen_addrs=listen, **options)
    async with host.run(listen_addrs=listen):
        yield host


def peer_of(host) -> PeerId:
    return PeerId(host.get_id().to_bytes())


async def test_we_connect_to_a_stock_host_and_it_is_identified_and_answers_pings():
    async with stock_host() as stock, running_host() as ours:
        peer = await ours.connect_addr(str(stock.get_addrs()[0]))
        assert peer == peer_of(stock)
        assert "/ipfs/ping/1.0.0" in ours.connections.facts(peer).protocols
        assert await ours.connections.ping(peer, timeout_s=10) > 0


async def test_a_stock_host_connects_to_us_pings_and_asks():
    async with stock_host() as stock, running_host() as ours:
        await ours.connections.serve_kad(echo)
        await stock.connect(info_from_p2p_addr(Multiaddr(addr_text(ours))))
        our_id = ID(bytes(ours.peer_id))
        assert (await PingService(stock).ping(our_id))[0] >= 0  # whole milliseconds
        stream = await stock.new_stream(our_id, [TProtocol("/not/served"), TProtocol(KAD)])
        frame = encode_frame(codec.encode(FIND))
        for _ in range(3):
            await stream.write(frame)
            with trio.fail_after(10):
                assert await stream.read(len(frame)) == frame
        await eventually(lambda: ours.connections.serves_kad(peer_of(stock)) is False)


async def test_our_requests_are_answered_by_a_stock_stream_handler():
    async def answer(stream):
        while True:
            await stream.write(await stream.read(65536))

    async with stock_host() as stock, running_host() as ours:
        stock.set_stream_handler(TProtocol(KAD), answer)
        peer = await ours.connect_addr(str(stock.get_addrs()[0]))
        for _ in range(5):
            assert await ours.rpc.request(peer, FIND, timeout_s=10) == FIND


async def test_a_stock_host_that_offers_only_plaintext_does_not_get_in():
    key_pair = load_key_pair(generate_private_key())
    plaintext = {TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(key_pair)}
    async with stock_host(key_pair=key_pair, sec_opt=plaintext) as stock, running_host() as ours:
        with trio.fail_after(60), pytest.raises(SwarmException):
            await stock.connect(info_from_p2p_addr(Multiaddr(addr_text(ours))))
        assert ours.connections.connected() == ()


async def test_a_stock_attacker_cannot_kill_us_with_an_invalid_name():
    """B1, with the bytes that kill py-libp2p."""
    async with stock_host() as stock, running_host() as ours:
        our_id = ID(bytes(ours.peer_id))
        await stock.connect(PeerInfo(our_id, [Multiaddr(ours.listen_addrs[0])]))
        stream = await stock.get_network().new_stream(our_id)
        await stream.write(b"\x13/multistream/1.0.0\n\x05\xff\xfe\xfd\xfc\n")
        async with running_host() as newcomer:
            await newcomer.connect_addr(addr_text(ours))
            assert await newcomer.connections.ping(ours.peer_id, timeout_s=10) > 0


@pytest.mark.xfail(strict=True, reason="B15 of docs/py-libp2p.md, which ours does not share")
async def test_b15_a_stock_handler_that_forgets_its_stream_leaks_nothing():
    async def forgetful(stream):
        await stream.read(1)

    async with stock_host() as stock, running_host() as ours:
        stock.set_stream_handler(TProtocol("/forget/1"), forgetful)
        peer = await ours.connect_addr(str(stock.get_addrs()[0]))
        for _ in range(20):
            stream = await ours.streams.open(peer, ("/forget/1",), timeout_s=10)
            await stream.send(b"x")
            await stream.close()
        connection = stock.get_network().connections[ID(bytes(ours.peer_id))][0]
        await eventually(lambda: not connection.muxed_conn.streams, timeout_s=1)


class EndlessLine:
    """A connection whose next line is 1 GiB long; counts what is taken of it."""

    def __init__(self) -> None:
        self.head = bytearray(b"\x80\x80\x80\x80\x04")
        self.taken_bytes = 0

    async def read(self, n=None):
        size = 1 if self.head else min(n or 1, 1 << 16)
        self.taken_bytes += size
        if self.taken_bytes > 1 << 20:
            raise AssertionError("a megabyte was taken of one line")
        return bytes((self.head.pop(0),)) if self.head else bytes(size)

    async def write(self, data):
        pass


@pytest.mark.parametrize(
    "whose",
    ["ours", pytest.param("stock", marks=pytest.mark.xfail(strict=True, reason="gathers it all"))],
)
async def test_b21_a_line_without_an_end_is_refused(whose):
    conn = EndlessLine()
    if whose == "ours":
        with pytest.raises(ProtocolViolation):
            await negotiate(conn, Responder(lambda name: True))
        assert conn.taken_bytes < 10
    else:
        with pytest.raises(BaseLibp2pError):
            await MultiselectCommunicator(conn).read()
