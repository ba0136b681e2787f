"""What hostile peers may try with the engine costs them more than us."""

import math
import os

import pytest
import trio
from engine_lab import LINKS, found_value, put_value, small

from primedht import limits
from primedht.dht.ports import Requester
from primedht.dht.sealed import seal
from primedht.dht.value_codec import decode_meta, meta_name
from primedht.errors import InvalidArgument, PrimeDhtError, StoreCorrupt
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.key import key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.pb import kad_pb2, store_pb2
from primedht.records.keys import KeyClass
from primedht.records.record import Content, ValidRecord
from primedht.sim.addresses import host_addr
from primedht.sim.peer import answering, resetting, silent
from primedht.sim.world import SimWorld


def somebody() -> PeerId:
    return PeerId(b"\x12\x20" + os.urandom(32))


def nobodies(count: int) -> list[PeerInfo]:
    """Peers that do not exist, at an address where nobody answers."""
    return [PeerInfo(somebody(), (host_addr("10.9.9.9"),)) for _ in range(count)]


# --- messages ---------------------------------------------------------------------------------------


def test_a_peer_entry_of_megabytes_is_not_remembered():
    """Decoding once kept the untrimmed entry in a cache: 8192 times 4 MiB."""
    entry = kad_pb2.Message.Peer(id=somebody(), addrs=[bytes(4 << 20), b"\x04abcd"])
    decoded = codec.decode(kad_pb2.Message(type=4, key=b"k", closer_peers=[entry]).SerializeToString())
    assert decoded.closer_peers[0].addrs == (b"\x04abcd",)
    assert len(codec.encode(Message(MessageType.FIND_NODE, closer_peers=decoded.closer_peers))) < 100
    assert len(decoded.closer_peers[0].encoded) < 100


@pytest.mark.parametrize("field", [b"\x42\x00", b"\x4a\x00"], ids=["closer", "provider"])
def test_senseless_entries_count(field):
    """A message of 4 MiB holds two million of them, which took seconds to go through."""
    seen = 0

    class Counted(list):
        def __iter__(self):
            nonlocal seen
            for entry in super().__iter__():
                seen += 1
                yield entry

    wire = kad_pb2.Message.FromString(field * 50_000)
    assert codec._peers_from_wire(Counted(wire.closer_peers or wire.provider_peers), 256) == ()
    assert seen <= 257


async def test_nothing_that_parses_raises_what_the_host_does_not_expect(autojump_clock):
    """Whatever a handler raises must be a `PrimeDhtError`: all else ends in the log with a traceback."""
    strange_keys = (b"", b"\x00", b"/pk/", b"/pk/\x00", b"/ipns/" + b"\xff" * 40, b"/prime/", b"/prime/a/b/c",
                    b"/prime/\xff\xfe/x/y", b"/" * 1024, b"\xff" * 1024, bytes(somebody()))  # fmt: skip
    numbers = (0, 1, 2**31, 2**32 - 1)
    async with SimWorld(1, 2, links=LINKS, config=small()) as world:
        await world.settle()
        (node, _), handle = world.nodes, world.nodes[0].dht.mode.handler
        requester = Requester(somebody(), "not an ip", limits.SMALL_REPLY_BYTES_MAX)
        for kind in MessageType:
            for key in strange_keys:
                for number in numbers:
                    wire = kad_pb2.Message(type=int(kind), key=key)
                    wire.record.key = key
                    wire.record.value = bytes(number % 70_000)
                    wire.record.time_received = "9999-99-99T99:99:99Z"
                    wire.record.ttl = number
                    wire.record.writer_unix_ms = number * 2**32
                    wire.record.tombstone = bool(number & 1)
                    wire.provider_peers.add(id=requester.peer, addrs=[b"\xff" * 600, b"", b"\x04"])
                    try:
                        reply = await handle(requester, codec.decode(wire.SerializeToString()))
                    except PrimeDhtError:
                        continue
                    if reply is not None:
                        codec.decode(codec.encode(reply))
        assert await node.dht.put_value(b"honest", b"value")


# --- the routing table --------------------------------------------------------------------------------


async def test_names_of_nobody_do_not_hold_up_the_connected(autojump_clock):
    """A queue full of peers that take their time to fail: who connects is verified all the same."""
    async with SimWorld(2, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        dead = await world.add_peer(silent)
        for number in range(2 * limits.ADMISSION_QUEUE_MAX):
            keys = world.keypair(5_000_000 + number)
            node.host.address_book.add(keys.peer, dead.info.addrs, ttl_s=600)
            node.dht.peers.consider(keys.peer)
        honest = await world.add_peer(answering())
        await world.meet(honest, [node])
        await world.until(lambda: honest.peer in node.dht.routing_table, limit_s=3)


async def test_names_of_nobody_do_not_make_a_node_forget_lost_members(autojump_clock):
    async with SimWorld(3, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        member = await world.add_peer(answering())
        await world.meet(member, [node])
        await world.until(lambda: member.peer in node.dht.routing_table)
        member.host.crash()
        await world.until(lambda: member.peer not in node.dht.routing_table, limit_s=300)
        departed = node.dht.peers._departed
        for info in nobodies(3 * limits.DEPARTED_PEERS_MAX):
            departed.note_failure(info.id, trio.current_time(), was_member=False)
        assert len(departed) == limits.DEPARTED_PEERS_MAX
        assert member.peer in departed


async def test_a_stranger_that_fails_is_left_alone_soon(autojump_clock):
    """One reply must not make this node knock at somebody's door for hours."""
    async with SimWorld(4, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        stranger = await world.add_peer(resetting)
        node.dht.peers.hear([stranger.info])
        await trio.sleep(3600)
        assert 1 <= len(stranger.received) <= 2 + limits.STRANGER_ATTEMPTS_MAX  # identify is a sign of life
        assert stranger.peer not in node.dht.peers._departed


async def test_a_reply_names_no_more_peers_than_a_lookup_uses(autojump_clock):
    """Each may cost a dial, and pushes others out of the address book."""
    async with SimWorld(5, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        liar = await world.add_peer(answering(closer=nobodies(limits.CLOSER_PEERS_MAX)))
        await world.meet(liar, [node])
        await world.until(lambda: liar.peer in node.dht.routing_table)
        await node.dht.closest_peers(b"key", timeout_s=60)
        twice_k = limits.QUERY_PEERS_PER_REPLY_FACTOR * node.config.k_bucket_size
        assert len(node.dht.peers.found) <= 1 + twice_k


async def test_peers_met_later_are_found_too(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "FOUND_PEERS_MAX", 8)
    async with SimWorld(6, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        for info in nobodies(20):
            node.dht.peers.note_found(info.id, "lookup")
        honest = somebody()
        node.dht.peers.note_found(honest, "connect")
        assert node.dht.peers.found[honest] == "connect"
        assert len(node.dht.peers.found) == 8


async def test_late_strangers_near_a_key_hold_up_no_lookup(autojump_clock):
    """Forty names of peers that accept and never answer, all nearer to the key than anybody else."""
    async with SimWorld(7, 8, links=LINKS) as world:
        await world.settle()
        writer, reader = world.nodes[0], world.nodes[7]
        await writer.dht.put_value(b"key", b"value")
        slow = [await world.add_peer(silent) for _ in range(40)]
        liar = await world.add_peer(answering(closer=[peer.info for peer in slow]))
        await world.meet(liar, [reader])
        await world.until(lambda: liar.peer in reader.dht.routing_table)
        began = trio.current_time()
        assert (await reader.dht.get_value(b"key")).value == b"value"
        assert trio.current_time() - began < 30


# --- values -------------------------------------------------------------------------------------------


async def test_correcting_stale_peers_ends(autojump_clock):
    """Each of many peers returns an old record, and then never answers the put that corrects it."""
    old = found_value(b"key", b"old", written_s_ago=1000)

    async def stale(requester, message):
        if message.type is MessageType.PUT_VALUE:
            await trio.sleep_forever()
        return old if message.type is MessageType.GET_VALUE else Message(message.type, key=message.key)

    async with SimWorld(8, 4, links=LINKS, config=small(k_bucket_size=20)) as world:
        await world.settle()
        reader = world.nodes[0]
        await reader.dht.put_value(b"key", b"new")
        for _ in range(12):
            await world.meet(await world.add_peer(stale), [reader])
        await trio.sleep(5)
        for _ in range(3):
            assert (await reader.dht.get_value(b"key")).value == b"new"
        assert reader.dht.values._corrections
        await trio.sleep(limits.CORRECTION_TIMEOUT_S + limits.REQUEST_TIMEOUT_S)
        assert not reader.dht.values._corrections


@pytest.mark.parametrize("ttl_s", [math.nan, -1.0, 0.0, -math.inf])
async def test_a_life_that_is_none_is_refused(autojump_clock, ttl_s):
    """Stored, a NaN ended the node with each repair, and after each restart again."""
    async with SimWorld(10, 2, links=LINKS) as world:
        await world.settle()
        with pytest.raises(InvalidArgument):
            await world.nodes[0].dht.put_value(b"key", b"value", ttl_s=ttl_s)
        assert len(world.nodes[0].dht.storage) == 0


def test_a_stored_time_that_is_none_is_corrupt():
    for field in ("received_unix_s", "expires_unix_s", "republish_unix_s", "ttl_s"):
        meta = store_pb2.RecordMeta(key=b"k", **{field: math.nan})
        with pytest.raises(StoreCorrupt):
            decode_meta(meta_name(key_of(b"k")), seal(meta))


async def test_records_come_and_gone_leave_nothing_in_repair(autojump_clock):
    """Short lives under ever new keys, in a network whose tables do not change."""
    async with SimWorld(11, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        flooder = await world.add_peer(answering(), serves=False)
        for round_number in range(4):
            for number in range(300):
                key = b"%d/%d" % (round_number, number)
                await flooder.request(node.peer, put_value(key, b"v", ttl_s=30))
            await trio.sleep(60)
            await node.dht.storage.cleanup_expired()
        await flooder.request(node.peer, put_value(b"last", b"v"))
        await trio.sleep(60)
        assert len(node.dht.repair._holders) <= 2 * len(node.dht.storage) + limits.REPAIR_SCAN_SLICE
        assert len(node.dht.repair._due) == len(node.dht.repair._holders)


async def test_an_owner_that_equivocates_without_end_fills_no_log(autojump_clock, monkeypatch):
    def signed(key: bytes, digest: bytes) -> ValidRecord:
        return ValidRecord(
            key, KeyClass.PRIME, b"v", b"v", Content.VALUE, (1, 1, digest), digest, True, sequence=1
        )  # fmt: skip

    async with SimWorld(12, 1, links=LINKS, config=small()) as world:
        copies = world.nodes[0].dht.copies
        lines = []
        monkeypatch.setattr(
            "primedht.dht.copies.log.warning", lambda event, **_: lines.append(event), raising=False
        )
        for _ in range(100):
            copies.report_equivocation(signed(b"k", b"a"), signed(b"k", b"b"))
        assert lines == ["equivocation"]
        for number in range(2 * limits.EQUIVOCATIONS_MAX):
            key = b"%d" % number
            copies.report_equivocation(signed(key, b"a"), signed(key, b"b"))
        assert len(copies._equivocations) <= limits.EQUIVOCATIONS_MAX


# --- providers ------------------------------------------------------------------------------------------


async def test_providers_without_addresses_take_no_longer_than_the_search_may(autojump_clock):
    """Each was looked up for as long again as the whole search."""
    fakes = [PeerInfo(somebody()) for _ in range(20)]
    async with SimWorld(13, 4, links=LINKS, config=small()) as world:
        await world.settle()
        slow = [await world.add_peer(silent) for _ in range(20)]
        liar = await world.add_peer(answering(closer=[peer.info for peer in slow], providers=fakes))
        await world.meet(liar, world.nodes)
        await trio.sleep(5)
        began = trio.current_time()
        found = [
            info async for info in world.nodes[0].dht.find_providers(b"\x12\x20" + bytes(32), timeout_s=20)
        ]
        assert trio.current_time() - began <= 21
        assert len(found) <= 20


async def test_a_holder_that_takes_its_time_delays_no_put(autojump_clock):
    """Whoever answers lookups and is silent on PUT_VALUE loses its place to the next closest."""
    async with SimWorld(77, 6, links=LINKS, config=small(k_bucket_size=20)) as world:
        await world.settle()
        answer = answering()

        async def slow_holder(requester: Requester, message: Message) -> Message | None:
            if message.type is MessageType.PUT_VALUE:
                await trio.sleep(9)
            return await answer(requester, message)

        slow = [await world.add_peer(slow_holder) for _ in range(2)]
        for peer in slow:
            await world.meet(peer, world.nodes)
        for number in range(10):
            began = trio.current_time()
            result = await world.nodes[0].dht.put_value(b"key %d" % number, b"value")
            assert trio.current_time() - began < 3
            assert len(result.holders) == 3
            assert not {peer.peer for peer in slow} & set(result.holders)
        assert any(peer.received_of(MessageType.PUT_VALUE) for peer in slow)
