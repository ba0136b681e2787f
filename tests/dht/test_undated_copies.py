"""Open values beside js peers, which drop the writer's time from the copies that they keep and serve
them with their own time of receipt: always a little later than the original."""

from __future__ import annotations

import pytest
import trio
from engine_lab import LINKS, get_value, put_value

from primedht.errors import ProtocolViolation, QuorumNotReached, StoreUnavailable
from primedht.kad.messages import Message, MessageType, Record
from primedht.records import rfc3339
from primedht.sim.clock import true_unix_now
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld


def js_like():
    """A script that stores and serves records as js-libp2p does: key, value and time of receipt."""
    held: dict[bytes, Record] = {}
    others = answering()

    async def script(requester, message):
        if message.type is MessageType.PUT_VALUE:
            stamp = rfc3339.format_unix_ns(int((true_unix_now() + 0.005) * 1e9))
            held[message.key] = Record(message.key, message.record.value, time_received=stamp)
            return Message(MessageType.PUT_VALUE, message.key, held[message.key])
        if message.type is MessageType.GET_VALUE:
            return Message(MessageType.GET_VALUE, message.key, held.get(message.key))
        return await others(requester, message)

    return script


async def js_beside(world, *, count=1):
    peers = [await world.add_peer(js_like()) for _ in range(count)]
    for peer in peers:
        await world.meet(peer, world.nodes)
    await world.until(lambda: all(peer.peer in world.nodes[0].dht.routing_table for peer in peers))
    return peers


async def test_copies_that_say_the_same_agree_and_are_not_corrected(autojump_clock):
    async with SimWorld(1, 1, links=LINKS) as world:
        (node,) = world.nodes
        peers = await js_beside(world, count=2)
        await node.dht.put_value(b"key", b"value")
        await trio.sleep(30)
        puts = [len(peer.received_of(MessageType.PUT_VALUE)) for peer in peers]
        for _ in range(3):
            found = await node.dht.get_value(b"key", quorum=3)
            assert set(found.sources) == {node.peer, *(peer.peer for peer in peers)}
            await trio.sleep(5)
        assert [len(peer.received_of(MessageType.PUT_VALUE)) for peer in peers] == puts


async def test_a_copy_lengthens_no_life_and_does_not_stop_its_publisher(autojump_clock):
    async with SimWorld(2, 1, links=LINKS) as world:
        (node,) = world.nodes
        await js_beside(world)
        result = await node.dht.put_value(b"key", b"value", ttl_s=7200)
        await trio.sleep(3000)  # repair has asked the other holder by now
        await node.dht.get_value(b"key")
        held = await node.dht.storage.get(b"key")
        assert held is not None
        assert held.own
        assert held.expires_unix_s == pytest.approx(result.expires_unix_s)
        assert await node.dht.values.republish(b"key")
        held = await node.dht.storage.get(b"key")
        assert held is not None
        assert held.expires_unix_s == pytest.approx(true_unix_now() + 7200, abs=10)


async def test_an_original_tells_that_a_later_copy_of_it_is_no_newer_write(autojump_clock):
    """An old value that reached a js peer late does not come back, as long as anybody dates it."""
    async with SimWorld(3, 2, links=LINKS) as world:
        await world.settle()
        node, other = world.nodes
        (js,) = await js_beside(world)
        client = await world.add_peer(answering(), serves=False)
        old = put_value(b"key", b"old", written_s_ago=100)
        await client.request(other.peer, old)
        await client.request(node.peer, put_value(b"key", b"new", written_s_ago=50))
        await js.script(None, old)
        found = await node.dht.get_value(b"key")
        assert found.value == b"new"


async def test_the_same_value_put_by_another_stays_our_own(autojump_clock):
    """js readers put what they found to those that lack it, without ttl and publisher: as writers do."""
    async with SimWorld(4, 1, links=LINKS) as world:
        (node,) = world.nodes
        (js,) = await js_beside(world)
        await node.dht.put_value(b"key", b"value")
        await trio.sleep(1)
        echoed = await js.request(node.peer, Message(MessageType.PUT_VALUE, b"key", Record(b"key", b"value")))
        assert echoed.record.value == b"value"
        assert (await node.dht.storage.own_record(b"key")) is not None
        assert await node.dht.values.republish(b"key")

        await trio.sleep(1)
        await js.request(node.peer, Message(MessageType.PUT_VALUE, b"key", Record(b"key", b"another")))
        assert await node.dht.storage.own_record(b"key") is None
        with pytest.raises(ProtocolViolation):
            await js.request(node.peer, put_value(b"key", b"value", written_s_ago=60))
        reply = await js.request(node.peer, get_value(b"key"))
        assert reply.record.value == b"another"


async def test_other_values_do_not_count_for_a_quorum(autojump_clock):
    async with SimWorld(5, 1, links=LINKS) as world:
        (node,) = world.nodes
        (js,) = await js_beside(world)
        await js.script(None, put_value(b"key", b"old"))
        await trio.sleep(10)
        client = await world.add_peer(answering(), serves=False)
        await client.request(node.peer, put_value(b"key", b"new"))
        with pytest.raises(QuorumNotReached):
            await node.dht.get_value(b"key", quorum=2)
        await trio.sleep(5)
        assert (await node.dht.get_value(b"key", quorum=2)).value == b"new", "it was corrected"


async def test_an_undated_copy_that_comes_while_the_store_is_away_ends_no_repair(autojump_clock, monkeypatch):
    """Repair asks in the engine's own nursery: what that raises ends the node."""
    async with SimWorld(8, 1, links=LINKS) as world:
        (node,) = world.nodes
        (js,) = await js_beside(world)
        await node.dht.put_value(b"key", b"value")

        async def away(key):
            raise StoreUnavailable("lost the Redis server")

        copies, repair = node.dht.copies, node.dht.repair
        monkeypatch.setattr(copies.store, "get", away)
        assert await repair._ensure(copies.store.entry(b"key"), js.peer) == "failed"
