"""Kad streams between our node and real go and js peers: order, half-closing, load and bad input."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
from ours import IPFS, OurPeer, ask, digest_of, open_star
from peers import Peer, in_table

from primedht import limits
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.records.keys import pk_key
from primedht.wire import addrs as wire
from primedht.wire import varint

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

either_kind = pytest.mark.parametrize("kind", ["go", "js"])
FIND_NODE = Message(MessageType.FIND_NODE, b"key")
PORT = wire.parse("/ip4/127.0.0.1/tcp/4001")
AT_ONCE = 30


@either_kind
async def test_many_requests_on_one_stream_in_order_and_before_a_half_close(
    kind: Literal["go", "js"],
) -> None:
    """Extra: two requests on one stream; half-close before the reply. 100 bytes of key are fine."""
    async with open_star(kind) as (ours, peer):
        await ours.call("put", key=b"/test/k", value=b"value")
        requests = [
            Message(MessageType.FIND_NODE, bytes(range(100))),
            Message(MessageType.GET_VALUE, b"/test/k"),
            Message(MessageType.PING),
            Message(MessageType.GET_PROVIDERS, digest_of("nobody has this")),
            Message(MessageType.GET_VALUE, b"/test/missing"),
        ]
        for half_close in (False, True):
            reply = await ask(peer, ours, *requests, half_close=half_close)
            answers = [codec.decode(frame) for frame in reply["frames_b64"]]
            assert [answer.type for answer in answers] == [request.type for request in requests]
            record = answers[1].record
            assert record is not None
            assert (record.key, record.value) == (b"/test/k", b"value")
            assert record.time_received.endswith("Z")
            assert answers[4].record is None
            assert reply["end"] == "open"
        # After the half-close and the last answer we end the stream too.
        reply = await ask(peer, ours, FIND_NODE, half_close=True, read_frames=2)
        assert (len(reply["frames_b64"]), reply["end"]) == (1, "eof")


@either_kind
async def test_add_provider_has_no_answer_and_put_value_echoes_the_record(kind: Literal["go", "js"]) -> None:
    async with open_star(kind) as (ours, peer):
        own = PeerInfo(PeerId.from_text(peer.peer_id), (PORT,))
        record = Record(b"/test/\xff\x00", b"value")
        reply = await ask(
            peer,
            ours,
            Message(MessageType.ADD_PROVIDER, digest_of("content"), provider_peers=(own,)),
            Message(MessageType.PUT_VALUE, record.key, record),
            Message(MessageType.GET_PROVIDERS, digest_of("content")),
            read_frames=3,
            timeout_s=1,
        )
        put, providers = (codec.decode(frame) for frame in reply["frames_b64"])
        assert reply["end"] == "timeout"
        assert put.type is MessageType.PUT_VALUE
        assert put.record is not None
        assert (put.record.key, put.record.value) == (record.key, record.value)
        assert [info.id for info in providers.provider_peers] == [own.id]


BAD: list[tuple[str, bytes | Message]] = [
    ("not protobuf", b"\xff\xff\xff"),
    ("an unknown type", bytes([0x08, 99, 0x12, 1, 97])),
    ("GET_VALUE without a key", Message(MessageType.GET_VALUE)),
    ("FIND_NODE without a key", Message(MessageType.FIND_NODE)),
    ("a key that is too long", Message(MessageType.GET_VALUE, bytes(limits.RECORD_KEY_BYTES_MAX + 1))),
    ("PUT_VALUE without a record", Message(MessageType.PUT_VALUE, b"/pk/x")),
    ("PUT_VALUE under another key", Message(MessageType.PUT_VALUE, b"/pk/x", Record(b"/pk/y", b"value"))),
    ("a /pk of another key", Message(MessageType.PUT_VALUE, b"/pk/x", Record(b"/pk/x", b"value"))),
    ("a forged /ipns", Message(MessageType.PUT_VALUE, b"/ipns/x", Record(b"/ipns/x", b"value"))),
    ("GET_PROVIDERS without a key", Message(MessageType.GET_PROVIDERS)),
    ("GET_PROVIDERS of 81 bytes", Message(MessageType.GET_PROVIDERS, bytes(81))),
    ("ADD_PROVIDER of nobody", Message(MessageType.ADD_PROVIDER, digest_of("content"))),
    (
        "ADD_PROVIDER of another peer",
        Message(
            MessageType.ADD_PROVIDER,
            digest_of("content"),
            provider_peers=(PeerInfo(PeerId(b"\x12\x20" + bytes(32)), (PORT,)),),
        ),
    ),
]  # fmt: skip
BAD_RAW: list[tuple[str, bytes]] = [
    ("a frame of over 4 MiB", varint.encode(limits.MESSAGE_BYTES_MAX + 1) + b"x"),
    ("a length that never ends", b"\xff" * 16),
    ("half a frame and the end", varint.encode(100) + bytes(50)),
]


@either_kind
async def test_bad_input_resets_its_stream_and_nothing_else(kind: Literal["go", "js"]) -> None:
    """Behaviours 20 and 21, and docs/protocol.md, rule 10."""
    async with open_star(kind, prefix=IPFS) as (ours, peer):
        for what, bad in BAD:
            # What comes after it on its stream is not answered. (go drops what it has not yet read
            # when a reset comes, so a request before it would not always be seen answered.)
            reply = await ask(peer, ours, bad, FIND_NODE)
            assert (reply["frames_b64"], reply["end"]) == ([], "reset"), what
        for what, raw in BAD_RAW:
            reply = await ask(peer, ours, read_frames=1, raw_b64=raw, half_close=what.endswith("the end"))
            assert (reply["frames_b64"], reply["end"]) == ([], "reset"), what

        mismatch = Message(
            MessageType.PUT_VALUE,
            pk_key(PeerId.from_text(peer.peer_id)),
            Record(pk_key(PeerId.from_text(peer.peer_id)), b"not its key"),
        )
        assert (await ask(peer, ours, mismatch))["end"] == "reset"
        junk = await peer.call(
            "raw_request",
            peer=ours.peer_id,
            protocol="/ipfs/ping/1.0.0",
            raw_b64=bytes(100),
            half_close=True,
            read_frames=1,
            timeout_s=2,
        )
        assert junk["end"] in ("reset", "eof", "open")
        if kind == "go":
            with pytest.raises(Exception, match="protocol"):
                await peer.call("raw_request", peer=ours.peer_id, protocol="/no/such/1.0.0", read_frames=1)

        # The connection is still the one it was, and both are in the other's table.
        published = await peer.call("publish_pk")
        assert (await ours.call("local_record", key=published["key"]))["value"] == published["value"]
        assert ours.knows(peer)
        assert (await peer.call("peers"))["table"] == [ours.peer_id]
        assert ours.node.host.stats()["connections"] == 1
        assert (await peer.call("ping", peer=ours.peer_id))["rtt_ms"] >= 0


@either_kind
async def test_thirty_requests_at_once_from_one_peer(kind: Literal["go", "js"]) -> None:
    async with open_star(kind) as (ours, peer):
        keys = [b"/test/%d" % number for number in range(AT_ONCE)]
        for key in keys[::2]:
            await ours.call("put", key=key, value=b"value of " + key)
        found: dict[bytes, bytes | None] = {}

        async def get(key: bytes) -> None:
            found[key] = (await peer.call("get", key=key))["value"]

        async def put(key: bytes) -> None:
            await peer.call("put", key=key + b"put", value=b"value")

        async def find(key: bytes) -> None:
            assert (await ask(peer, ours, Message(MessageType.FIND_NODE, key)))["end"] == "open"

        for operation in (get, put, find):
            async with trio.open_nursery() as nursery:
                for key in keys:
                    nursery.start_soon(operation, key)
        assert found == {key: b"value of " + key if key in keys[::2] else None for key in keys}
        for key in keys:
            assert (await ours.call("local_record", key=key + b"put"))["value"] == b"value"


@either_kind
async def test_we_send_thirty_requests_at_once_to_one_peer(kind: Literal["go", "js"]) -> None:
    """js takes 32 streams of one peer, so ours must wait for each other."""
    async with open_star(kind) as (ours, peer):
        refused = []

        async def put(number: int) -> None:
            key = b"/test/%d" % number
            result = await ours.node.dht.put_value(key, b"value")
            refused.extend(result.refused)
            assert (await ours.node.dht.get_value(key, quorum=2)).value == b"value"
            await ours.node.dht.provide(digest_of(f"{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(AT_ONCE):
                nursery.start_soon(put, number)
        assert refused == []
        for number in range(AT_ONCE):
            assert (await peer.call("local_record", key=b"/test/%d" % number))["value"] == b"value"
            providers = (await peer.call("local_providers", multihash=digest_of(f"{number}")))["providers"]
            assert [provider["id"] for provider in providers] == [ours.peer_id]


async def test_twelve_go_peers_hold_streams_while_a_thirteenth_is_served() -> None:
    """Extra: idle kad streams lock nobody out. All thirteen are in our table, as we are in theirs."""
    async with open_star(*["go"] * 13) as (ours, *peers):
        *holders, last = peers
        async with trio.open_nursery() as nursery:
            for holder in holders:
                nursery.start_soon(hold, holder, ours)
        await last.call("put", key=b"/test/served", value=b"value")
        assert (await ours.call("local_record", key=b"/test/served"))["value"] == b"value"
        assert ours.peer_id in (await last.call("closest_peers", key=b"anything"))["peers"]
        await in_table(ours, *peers)
        for holder in holders:
            assert (await holder.call("get", key=b"/test/served"))["value"] == b"value"


async def hold(peer: Peer, ours: OurPeer) -> None:
    for _ in range(2):
        await peer.call("hold_stream", peer=ours.peer_id, protocol="/test/kad/1.0.0")
