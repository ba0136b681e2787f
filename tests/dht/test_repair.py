"""Repair keeps every value on its R closest peers, whoever put it there, and asks no more than it must."""

import pytest
import trio
from engine_lab import LINKS, put_value, small

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.kad.messages import Message, MessageType
from primedht.sim.checkers import holders
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld

KEY = b"key"


async def test_who_sent_a_record_is_not_taken_for_a_holder(autojump_clock):
    """The heir of the only holder is the writer, who kept nothing: it must get the value all the same."""
    async with SimWorld(60, 6, links=LINKS, config=small(replication_factor=1)) as world:
        await world.settle()
        holder, heir = world.closest(KEY, 2)
        result = await heir.dht.put_value(KEY, b"value", keep=False)
        assert result.holders == (holder.peer,)
        assert await holders(world, KEY) == [holder]
        assert await holder.dht.hand_over(budget_s=10) == (1, 0)
        assert set(await holders(world, KEY)) == {holder, heir}


async def test_a_refused_hand_over_is_left_over(autojump_clock):
    """A drain that says "safe" must mean it: whoever resets has not taken the record."""
    async with SimWorld(61, 1, links=LINKS, config=small(replication_factor=1)) as world:
        (node,) = world.nodes
        answer = answering()

        async def refuse_values(requester, message):
            if message.type is MessageType.PUT_VALUE:
                raise ProtocolViolation("refused")
            return await answer(requester, message)

        refuses = await world.add_peer(refuse_values)
        await world.meet(refuses, [node])
        await world.until(lambda: refuses.peer in node.dht.routing_table)
        await node.dht.put_value(KEY, b"value", min_holders=1)
        assert await node.dht.hand_over(budget_s=10) == (0, 1)


async def test_a_put_that_reached_one_holder_reaches_all(autojump_clock):
    """The writer died half-way: whichever holder has the record, the R closest have it within seconds."""
    config = small(replication_factor=5)
    async with SimWorld(62, 8, links=LINKS, config=config) as world:
        await world.settle()
        client = await world.add_peer(answering(), serves=False)
        for rank in range(5):
            key = b"key %d" % rank
            closest = world.closest(key, 5)
            await client.request(closest[rank].peer, put_value(key, b"value"))
            waited_s = await world.until(lambda key=key: len(_holding(world, key)) >= 5, limit_s=30)
            assert waited_s < 10
            assert set(_holding(world, key)) >= set(closest)


async def test_after_a_put_the_holders_ask_each_other_little(autojump_clock):
    """Twice R questions, not R times R: the closest asks all others, and those the closest."""
    config = small(k_bucket_size=12, replication_factor=6)
    async with SimWorld(63, 12, links=LINKS, config=config) as world:
        await world.settle()
        for number in range(10):
            before = world.network.traffic.sent[MessageType.GET_VALUE]
            key = b"key %d" % number
            await world.nodes[number].dht.put_value(key, b"value", keep=False)
            await trio.sleep(2 * 6 * limits.REPAIR_TURN_S)
            questions = (
                world.network.traffic.sent[MessageType.GET_VALUE] - before
            ) / 2  # and as many answers
            assert questions <= 2 * 6
            assert set(_holding(world, key)) == set(world.closest(key, 6))


async def test_after_a_restart_of_all_the_holders_ask_each_other_little(autojump_clock):
    """Nobody knows any more who holds what: that too is twice R questions a value, spread over seconds."""
    config = small(k_bucket_size=12, replication_factor=6)
    async with SimWorld(65, 12, links=LINKS, config=config) as world:
        await world.settle()
        keys = [b"key %d" % number for number in range(20)]
        for key in keys:
            await world.nodes[3].dht.put_value(key, b"value", keep=False)
        await trio.sleep(60)
        for node in world.nodes:
            await node.crash()
        for node in world.nodes:
            await node.start()
        before = world.network.traffic.sent[MessageType.GET_VALUE]
        await world.settle()
        await trio.sleep(60)
        questions = (world.network.traffic.sent[MessageType.GET_VALUE] - before) / 2
        assert questions <= 2 * 6 * len(keys)
        for key in keys:
            assert set(_holding(world, key)) == set(world.closest(key, 6))


async def test_a_copy_lost_while_all_were_down_is_made_again(autojump_clock):
    """A holder comes back with an empty disk: the others find out without being asked for the value."""
    async with SimWorld(66, 8, links=LINKS, config=small(k_bucket_size=8)) as world:
        await world.settle()
        await world.nodes[0].dht.put_value(KEY, b"value", keep=False)
        victims = world.closest(KEY, 3)
        for node in world.nodes:
            await node.crash()
        for node in world.nodes:
            await node.restart(keep_store=node is not victims[1])
        await world.until(lambda: set(_holding(world, KEY)) == set(victims), limit_s=60)


@pytest.mark.parametrize("dies", [0, 2])
async def test_a_holder_that_dies_is_replaced(autojump_clock, dies):
    """Nobody was told anything: the others notice and fill the next closest."""
    async with SimWorld(64, 10, links=LINKS, config=small(k_bucket_size=10)) as world:
        await world.settle()
        await world.nodes[0].dht.put_value(KEY, b"value", keep=False)
        await world.closest(KEY, 3)[dies].crash()
        await world.until(lambda: set(_holding(world, KEY)) >= set(world.closest(KEY, 3)), limit_s=60)


async def test_holders_that_all_die_at_once_are_replaced_by_those_behind_them(autojump_clock):
    async with SimWorld(70, 14, links=LINKS, config=small(k_bucket_size=14, replication_factor=6)) as world:
        await world.settle()
        await world.nodes[0].dht.put_value(KEY, b"value", keep=False)
        await trio.sleep(60)
        for holder in world.closest(KEY, 3):
            await holder.crash(silent=True)
        await world.until(lambda: set(_holding(world, KEY)) >= set(world.closest(KEY, 6)), limit_s=900)


async def test_a_copy_of_what_is_held_already_sets_off_no_questions(autojump_clock):
    """A newcomer is sent each record by all its holders, and asked the same again for each."""
    async with SimWorld(69, 8, links=LINKS, config=small(replication_factor=5)) as world:
        await world.settle()
        client = await world.add_peer(answering(), serves=False)
        await world.nodes[0].dht.put_value(KEY, b"value", keep=False)
        await trio.sleep(60)
        first, second = world.closest(KEY, 2)
        held = await client.request(second.peer, Message(MessageType.GET_VALUE, KEY))
        before = world.network.traffic.sent[MessageType.GET_VALUE]
        for holder in (first, second):
            await client.request(holder.peer, Message(MessageType.PUT_VALUE, KEY, held.record))
        await trio.sleep(60)
        assert held.record.ttl_s
        assert world.network.traffic.sent[MessageType.GET_VALUE] == before


def _holding(world, key):
    return [node for node in world.running() if node.dht.storage.entry(key) is not None]


@pytest.mark.parametrize("silent", [False, True])
async def test_a_holder_that_starts_anew_at_once_is_filled_again(autojump_clock, silent):
    """It is back before anybody missed it, its store is empty, and it never left a table."""
    async with SimWorld(67, 8, links=LINKS, config=small(replication_factor=3)) as world:
        await world.settle()
        await world.nodes[0].dht.put_value(KEY, b"value", keep=False)
        await trio.sleep(60)  # by now they have asked each other
        holder = world.closest(KEY, 3)[1]
        await holder.crash(silent=silent)
        await holder.restart(keep_store=False)
        assert holder not in _holding(world, KEY)
        waited_s = await world.until(lambda: holder in _holding(world, KEY), limit_s=60)
        assert waited_s < limits.REPAIR_RETRY_S + 10, "asked again if it was not ready yet"


async def test_a_holder_that_is_missed_and_back_before_it_is_replaced_is_filled_again(autojump_clock):
    """It left tables and entered them again while its place was being given to one that does not answer."""
    async with SimWorld(68, 8, links=LINKS, config=small(replication_factor=3)) as world:
        await world.settle()
        await world.nodes[0].dht.put_value(KEY, b"value", keep=False)
        await trio.sleep(60)
        closest, holder, _, heir = world.closest(KEY, 4)
        world.network.faults.blackhole(heir.peer)
        missed = trio.Event()
        closest.dht.peers.watch(left=lambda peer: missed.set() if peer == holder.peer else None)
        await holder.crash()
        with trio.fail_after(60):
            await missed.wait()
        await holder.restart(keep_store=False)
        await world.until(lambda: holder in _holding(world, KEY), limit_s=60)
