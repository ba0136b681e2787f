"""A whole node on loopback, spoken to in bytes: what no simulated peer can send."""

from contextlib import asynccontextmanager

import pytest
import trio
from engine_lab import multihash

from primedht import limits, open_node
from primedht.config import Config, NodeConfig
from primedht.errors import PeerUnreachable
from primedht.host import HostConfig, generate_private_key, open_host
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.wire.addrs import parse
from primedht.wire.frames import FrameReader, encode_frame

KAD = "/ipfs/kad/1.0.0"
LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
FIND = Message(MessageType.FIND_NODE, b"key")
GET = Message(MessageType.GET_VALUE, b"key")
PUT = Message(MessageType.PUT_VALUE, b"key", Record(b"key", b"value"))


def frame(*messages):
    return b"".join(encode_frame(codec.encode(message)) for message in messages)


class Raw:
    """A kad stream as bytes."""

    def __init__(self, stream):
        self.stream = stream
        self._reader = FrameReader(limits.MESSAGE_BYTES_MAX)

    async def reply(self):
        """Return the next reply, or None at the end of the stream."""
        with trio.fail_after(10):
            data = await self.stream.receive_frame(self._reader)
        return None if data is None else codec.decode(data)


@asynccontextmanager
async def node_and_stranger():
    """Run a node, and a bare host that is connected to it."""
    async with (
        open_node(Config(node=NodeConfig(listen=LOOPBACK))) as node,
        open_host(generate_private_key(), HostConfig(listen=(), kad_protocol=KAD)) as host,
    ):
        await host.connect_addr(node.addrs[0])
        yield node, host


async def stream_to(node, host):
    return Raw(await host.streams.open(node.peer_id, (KAD,), timeout_s=10))


BAD = {
    "not protobuf": encode_frame(b"\xff\xff\xff"),
    "an unknown type": encode_frame(bytes((0x08, 99, 0x12, 1, 97))),
    "a negative type": encode_frame(b"\x08" + b"\xff" * 9 + b"\x01"),
    "a truncated field": encode_frame(b"\x12\x7fkey"),
    "a record that is no record": encode_frame(b"\x08\x00\x12\x01k\x1a\x03\xff\xff\xff"),
    "a key as a number": encode_frame(b"\x08\x04\x10\x05"),
    "an empty message": encode_frame(b""),
    "a frame of over 4 MiB": b"\x81\x80\x80\x02" + bytes(100),
    "a length without end": b"\xff" * 16,
    "a key of 1025 bytes": frame(Message(MessageType.FIND_NODE, bytes(1025))),
    "no key": frame(Message(MessageType.FIND_NODE)),
}


async def test_what_is_no_message_resets_its_stream_and_nothing_else():
    """Behaviour 20: unknown, empty and unreadable messages; the same connection is served on."""
    async with node_and_stranger() as (node, host):
        for what, data in BAD.items():
            raw = await stream_to(node, host)
            await raw.stream.send(data + frame(FIND))
            with pytest.raises(PeerUnreachable):
                assert await raw.reply() is None, what
            assert (await host.rpc.request(node.peer_id, FIND, timeout_s=10)).type is FIND.type, what
        assert node.host.stats()["connections"] == 1
        assert len(node.dht.storage) == 0


async def test_senseless_entries_cost_only_themselves():
    """Behaviour 21: ids and addresses of no known kind among good ones, and fields of other protocols."""
    async with node_and_stranger() as (node, host):
        own = PeerInfo(host.peer_id, (parse("/ip4/127.0.0.1/tcp/4001"), b"\xff\xfe", b""))
        key = multihash(b"content")
        add = codec.encode(Message(MessageType.ADD_PROVIDER, key, provider_peers=(own,)))
        senseless = b"\x4a\x04\x0a\x02hi" + b"\x4a\x00" + b"\x42\x03\x0a\x01x"  # peers without a proper id
        unknown = b"\x50\x05" + b"\x5a\x03abc" + b"\xca\x3e\x01z"  # fields 10, 11 and 1001
        raw = await stream_to(node, host)
        ask = Message(MessageType.GET_PROVIDERS, key)
        await raw.stream.send(encode_frame(senseless + add + unknown) + frame(ask))
        reply = await raw.reply()
        (info,) = reply.provider_peers
        assert info.id == host.peer_id
        assert parse("/ip4/127.0.0.1/tcp/4001") in info.addrs


async def test_requests_in_a_row_on_one_stream():
    """Extra: two requests on one stream, or many, are answered in order; ADD_PROVIDER has no answer."""
    async with node_and_stranger() as (node, host):
        own = PeerInfo(host.peer_id, (parse("/ip4/127.0.0.1/tcp/4001"),))
        add = Message(MessageType.ADD_PROVIDER, multihash(b"content"), provider_peers=(own,))
        ask = Message(MessageType.GET_PROVIDERS, multihash(b"content"))
        raw = await stream_to(node, host)
        await raw.stream.send(frame(FIND, GET, PUT, add, GET, ask, Message(MessageType.PING)))
        replies = [await raw.reply() for _ in range(6)]
        assert [reply.type for reply in replies] == [
            MessageType.FIND_NODE,
            MessageType.GET_VALUE,
            MessageType.PUT_VALUE,
            MessageType.GET_VALUE,
            MessageType.GET_PROVIDERS,
            MessageType.PING,
        ]
        assert replies[1].record is None
        assert replies[2] == PUT, "the record is echoed as it was"
        assert replies[3].record.value == b"value"
        assert [info.id for info in replies[4].provider_peers] == [host.peer_id]
        await raw.stream.send(frame(GET))
        assert (await raw.reply()).record.value == b"value"


async def test_half_closing_before_the_reply():
    """Extra: half-close before reply, as rust does: the reply comes, of 16 KiB at most, then the end."""
    async with node_and_stranger() as (node, host):
        addr = parse("/ip4/10.0.0.1/tcp/1")
        for number in range(1000):
            provider = PeerInfo(host.peer_id.from_public_key(b"%d" % number * 20), (addr,))
            node.dht.providers.store.add(multihash(b"content"), provider)
        ask = Message(MessageType.GET_PROVIDERS, multihash(b"content"))
        raw = await stream_to(node, host)
        await raw.stream.send(frame(ask))
        await raw.stream.finish()
        reply = await raw.reply()
        assert 100 < len(reply.provider_peers) < 1000
        assert len(codec.encode(reply)) <= limits.SMALL_REPLY_BYTES_MAX
        assert await raw.reply() is None
        raw = await stream_to(node, host)
        await raw.stream.send(frame(ask))
        assert len((await raw.reply()).provider_peers) == 1000


async def test_idle_streams_lock_nobody_out():
    """Extra: 13 idle kad streams: py-libp2p serves twelve at once in all."""
    async with node_and_stranger() as (node, host):
        idle = [await stream_to(node, host) for _ in range(20)]
        for raw in idle[:13]:
            await raw.stream.send(frame(FIND))
            assert (await raw.reply()).type is MessageType.FIND_NODE
        last = await stream_to(node, host)
        await last.stream.send(frame(PUT))
        assert await last.reply() == PUT
        for raw in idle:
            await raw.stream.send(frame(GET))
            assert (await raw.reply()).record.value == b"value"
