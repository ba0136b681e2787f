"""Values: put, get, search, expiry. The numbers are those of the other implementations' tests that
define a behaviour; every test here runs the engine in the simulator."""

import pytest
import trio
from engine_lab import (
    LINKS,
    ROUND_TRIP_S,
    find_node,
    found_value,
    get_value,
    pk_key,
    put_value,
    rsa_public_key,
    small,
)

from primedht import limits
from primedht.dht.value_store import StoredRecord
from primedht.errors import InvalidKey, InvalidRecord, ProtocolViolation, QuorumNotReached, ValueNotFound
from primedht.ids import PeerId
from primedht.kad.messages import Message, MessageType, Record
from primedht.sim.checkers import holders
from primedht.sim.clock import true_unix_now
from primedht.sim.faults import ConstantLatency, Links
from primedht.sim.peer import answering, silent
from primedht.sim.world import SimWorld


async def test_a_value_put_on_one_node_is_read_from_another(autojump_clock):
    """Behaviour 1: put on A, get on B, with two nodes and nobody else."""
    async with SimWorld(1, 2, links=LINKS) as world:
        await world.settle()
        a, b = world.nodes
        result = await a.dht.put_value(b"key", b"value")
        assert set(result.holders) == {a.peer, b.peer}
        assert result.degraded, "R is 3 and there are two"
        found = await b.dht.get_value(b"key")
        assert found.value == b"value"
        assert not found.authenticated


async def test_a_worse_or_invalid_put_is_refused_and_a_better_one_accepted(autojump_clock):
    """Behaviour 2: a holder keeps the best valid record, whatever comes in which order."""
    async with SimWorld(2, 2, links=LINKS) as world:
        await world.settle()
        node = world.nodes[0]
        client = await world.add_peer(answering(), serves=False)
        await client.request(node.peer, put_value(b"key", b"now"))
        with pytest.raises(ProtocolViolation):
            await client.request(node.peer, put_value(b"key", b"older", written_s_ago=10))
        assert (await client.request(node.peer, get_value(b"key"))).record.value == b"now"
        await trio.sleep(1)
        reply = await client.request(node.peer, put_value(b"key", b"newer"))
        assert reply.record.value == b"newer", "an accepted record is echoed"
        assert (await client.request(node.peer, get_value(b"key"))).record.value == b"newer"
        forged = Message(MessageType.PUT_VALUE, pk_key(client.keys), Record(pk_key(client.keys), b"junk"))
        with pytest.raises(ProtocolViolation):
            await client.request(node.peer, forged)


async def test_invalid_records_of_peers_are_not_returned(autojump_clock):
    """Behaviour 3: a record that does not validate counts as none."""
    async with SimWorld(3, 1, links=LINKS) as world:
        (node,) = world.nodes
        key = pk_key(world.keypair(77))
        liar = await world.add_peer(answering(replies=[found_value(key, b"junk")]))
        await world.meet(liar, [node])
        await world.until(lambda: liar.peer in node.dht.routing_table)
        with pytest.raises(ValueNotFound):
            await node.dht.get_value(key)
        assert len(liar.received_of(MessageType.GET_VALUE)) == 1


async def test_a_search_streams_ever_better_values(autojump_clock):
    """Behaviour 4: a stream only improves, and ends with the best."""
    async with SimWorld(4, 1, links=LINKS) as world:
        (node,) = world.nodes
        for delay_s, age_s in ((0.1, 30), (0.3, 50), (0.5, 10), (0.7, 20)):
            reply = found_value(b"key", b"%d s old" % age_s, written_s_ago=age_s)
            peer = await world.add_peer(answering(replies=[reply], delay_s=delay_s))
            await world.meet(peer, [node])
        await world.until(lambda: len(node.dht.routing_table) == 4)
        stream = [found async for found in node.dht.search_value(b"key")]
        assert [found.value for found in stream[:-1]] == [b"30 s old", b"10 s old"]
        assert stream[-1].value == b"10 s old", "the end of the stream is what get_value returns"
        assert len(stream[-1].trace.asked) == 4


async def test_an_invalid_record_in_our_own_store_is_not_returned(autojump_clock):
    """Behaviour 5: what the store holds is validated like anything else."""
    async with SimWorld(5, 2, links=LINKS) as world:
        await world.settle()
        a, b = world.nodes
        key = pk_key(world.keypair(77))
        now = true_unix_now()
        junk = StoredRecord(key, b"junk", received_unix_s=now, expires_unix_s=now + 3600)
        await a.dht.storage.put_if_better(junk, lambda held: True)
        with pytest.raises(ValueNotFound):
            await a.dht.get_value(key)
        reply = await b.host.request(a.peer, get_value(key), timeout_s=10)
        assert reply.record is None, "it is not served either"


async def test_a_liar_does_not_win(autojump_clock):
    """Behaviour 6: an invalid record, even of the closest peer, does not hide a valid one."""
    async with SimWorld(6, 1, links=LINKS) as world:
        (node,) = world.nodes
        owner = world.keypair(77)
        key = pk_key(owner)
        liars = [
            await world.add_peer(answering(replies=[found_value(key, b"junk %d" % i)])) for i in range(3)
        ]
        honest = Message(MessageType.GET_VALUE, key, Record(key, owner.public_key))
        truth = await world.add_peer(answering(replies=[honest], delay_s=0.5))
        for peer in (*liars, truth):
            await world.meet(peer, [node])
        await world.until(lambda: len(node.dht.routing_table) == 4)
        found = await node.dht.get_value(key)
        assert found.value == owner.public_key
        assert found.authenticated
        assert found.sources == (truth.peer,)


async def test_a_value_is_found_over_several_hops(autojump_clock):
    """Behaviour 7: the asker need not know a holder, nor anybody who does."""
    async with SimWorld(7, 120, links=LINKS, start="prefilled", config=small()) as world:
        result = await world.nodes[0].dht.put_value(b"key", b"value")
        assert set(result.holders) == {node.peer for node in world.closest(b"key", 3)}
        asker = world.closest(b"key", 120)[-1]
        found = await asker.dht.get_value(b"key")
        assert found.value == b"value"
        assert found.trace.hops >= 2
        by_peer = {ask.peer: ask for ask in found.trace.asked}
        for ask in found.trace.asked:  # who named it was asked before it, one hop nearer to us, and answered
            if ask.heard_from is None:
                assert ask.hop == 1
            else:
                teller = by_peer[ask.heard_from]
                assert (teller.hop, teller.outcome) == (ask.hop - 1, "answered")
                assert teller.started_s + teller.took_s <= ask.started_s


async def test_a_get_that_fails_tells_whom_it_asked(autojump_clock):
    """Beside behaviour 7: absent, deleted and too few all carry their lookup's trace."""
    async with SimWorld(8, 4, links=LINKS) as world:
        await world.settle()
        asker, *others = world.nodes
        with pytest.raises(ValueNotFound) as absent:
            await asker.dht.get_value(b"absent")
        assert {ask.peer for ask in absent.value.trace.asked} == {node.peer for node in others}
        await asker.dht.put_value(b"key", b"value")
        with pytest.raises(QuorumNotReached) as few:
            await asker.dht.get_value(b"key", quorum=9)
        assert any(ask.has_value for ask in few.value.trace.asked)
        await asker.dht.delete_value(b"key")
        with pytest.raises(ValueNotFound, match="deleted") as deleted:
            await asker.dht.get_value(b"key")
        assert deleted.value.trace.target == b"key"
        with pytest.raises(QuorumNotReached) as unplaced:
            await asker.dht.put_value(b"other", b"value", min_holders=9)
        assert unplaced.value.trace.asked


async def test_an_invalid_key_is_refused_before_anything_is_sent(autojump_clock):
    """Behaviour 22: empty and over-long keys are local errors."""
    async with SimWorld(22, 2, links=LINKS) as world:
        await world.settle()
        dht = world.nodes[0].dht
        before = world.network.traffic.sent.copy()
        for key in (b"", bytes(1025)):
            with pytest.raises(InvalidKey):
                await dht.put_value(key, b"value")
            with pytest.raises(InvalidKey):
                await dht.get_value(key)
            with pytest.raises(InvalidKey):
                [_ async for _ in dht.search_value(key)]
        for key in (b"", bytes(81)):
            with pytest.raises(InvalidKey):
                await dht.provide(key)
            with pytest.raises(InvalidKey):
                [_ async for _ in dht.find_providers(key)]
        for asked in (MessageType.PUT_VALUE, MessageType.GET_VALUE, MessageType.GET_PROVIDERS):
            assert world.network.traffic.sent[asked] == before[asked]


async def test_a_first_read_waits_for_a_silent_holder_no_longer_than_for_others(autojump_clock):
    """What its own answers took tells when a holder is late; and then it is over, without another answer."""
    async with SimWorld(63, 30, links=LINKS, start="prefilled") as world:
        reader, writer = world.closest(b"key", 30)[-2:]
        await writer.dht.put_value(b"key", b"value", keep=False)
        for node in world.nodes:
            if node is not reader:
                await reader.host.connect(node.peer, timeout_s=10)
        await world.closest(b"key", 2)[1].crash(silent=True)
        began = trio.current_time()
        assert (await reader.dht.get_value(b"key")).value == b"value"
        assert trio.current_time() - began < limits.SLOW_AFTER_S / 2


async def test_a_silent_server_does_not_stall(autojump_clock):
    """Behaviour 23: peers that take requests and never answer cost less than their time limit."""
    async with SimWorld(23, 6, links=LINKS) as world:
        await world.settle()
        mute = [await world.add_peer(silent) for _ in range(3)]
        node = world.nodes[0]
        world.prefill(node, [peer.info for peer in mute])
        started = trio.current_time()
        await node.dht.put_value(b"key", b"value")
        assert (await node.dht.get_value(b"key")).value == b"value"
        assert trio.current_time() - started < 8, "a request's time limit alone is 10 s"


async def test_a_read_finds_nothing_only_when_the_closest_have_answered_or_failed(autojump_clock):
    """Right after a cut has healed, dials that began before still hang; whoever holds the value is there."""
    async with SimWorld(25, 40, links=LINKS, start="prefilled", config=small(k_bucket_size=8)) as world:
        *closest, reader = world.closest(b"key", 20)
        holders = closest[:3]
        await closest[0].dht.put_value(b"key", b"value")
        await reader.dht.closest_peers(b"key")  # the reader knows where they are
        for holder in holders:
            reader.host.disconnect(holder.peer)
        cuts = world.network.faults.partition([reader.peer], [holder.peer for holder in holders])
        for holder in holders:
            world.nursery.start_soon(reader.dht.peers.verify, holder.peer)
        await trio.sleep(4)
        world.network.faults.heal(cuts)
        assert (await reader.dht.get_value(b"key")).value == b"value"


async def test_the_best_of_concurrent_puts_is_kept(autojump_clock):
    """Behaviour 24: concurrent puts to one holder leave the best, in whatever order they come."""
    async with SimWorld(24, 1, links=LINKS) as world:
        (node,) = world.nodes
        clients = [await world.add_peer(answering(), serves=False) for _ in range(10)]

        async def put(client, age_s):
            try:
                await client.request(node.peer, put_value(b"key", b"%d" % age_s, written_s_ago=age_s))
            except ProtocolViolation:
                assert age_s, "the best one is never refused"

        async with trio.open_nursery() as nursery:
            for age_s, client in enumerate(clients):
                nursery.start_soon(put, client, age_s)
        assert (await node.dht.storage.get(b"key")).value == b"0"


async def test_the_receiver_stamps_the_time_of_receipt(autojump_clock):
    """Behaviour 26: what the sender says of the time of receipt is ignored."""
    async with SimWorld(26, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        await client.request(node.peer, put_value(b"key", b"v", time_received="1999-01-01T00:00:00Z"))
        reply = await client.request(node.peer, get_value(b"key"))
        assert reply.record.time_received.startswith("2025-06-")
        assert reply.record.time_received.endswith("Z")


async def test_an_expired_record_is_not_served(autojump_clock):
    """Behaviour 27: neither to the local caller nor to peers, before any sweep has run."""
    async with SimWorld(27, 2, links=LINKS) as world:
        await world.settle()
        a, b = world.nodes
        await a.dht.put_value(b"key", b"value", ttl_s=60, keep=False)
        assert (await b.dht.get_value(b"key")).value == b"value"
        await trio.sleep(61)
        for node in (a, b):
            with pytest.raises(ValueNotFound):
                await node.dht.get_value(b"key")
        reply = await a.host.request(b.peer, get_value(b"key"), timeout_s=10)
        assert reply.record is None


async def test_expired_records_are_removed(autojump_clock):
    """Behaviour 28: the sweep frees the room of what has expired."""
    async with SimWorld(28, 2, links=LINKS) as world:
        await world.settle()
        a, b = world.nodes
        await a.dht.put_value(b"key", b"value", ttl_s=60, keep=False)
        assert len(b.dht.storage) == 1
        await trio.sleep(1300)
        assert len(a.dht.storage) == len(b.dht.storage) == 0
        assert b.dht.storage.bytes_used == 0


async def test_a_put_reaches_the_r_closest_and_reports_them(autojump_clock):
    """Behaviour 50: replication to exactly the R closest, and a quorum that was asked for."""
    async with SimWorld(50, 30, links=LINKS, config=small()) as world:
        await world.settle()
        result = await world.nodes[7].dht.put_value(b"key", b"value", keep=False)
        assert list(result.holders) == [node.peer for node in world.closest(b"key", 3)]
        assert not result.degraded
        assert {node.peer for node in await holders(world, b"key")} == set(result.holders)
        wider = await world.nodes[8].dht.put_value(b"other", b"value", min_holders=5)
        assert len(wider.holders) == 5
        with pytest.raises(QuorumNotReached) as caught:
            await world.nodes[9].dht.put_value(b"third", b"value", min_holders=6)
        assert (caught.value.found, caught.value.wanted) == (5, 6), "k is 5: no more are asked"
        found = await world.nodes[10].dht.get_value(b"key", quorum=3)
        assert set(found.sources) == set(result.holders)
        with pytest.raises(QuorumNotReached):
            await world.nodes[11].dht.get_value(b"key", quorum=6)


async def test_a_peer_that_refuses_a_put_is_replaced_by_the_next_closest(autojump_clock):
    """Behaviour 50: a refusal, a reset or silence costs no holder."""
    async with SimWorld(51, 30, links=LINKS, config=small()) as world:
        await world.settle()
        first, second, third, fourth, fifth = world.closest(b"key", 5)
        first.store_faults.full = True
        world.network.faults.blackhole(second.peer)
        putter = world.closest(b"key", 30)[-1]
        result = await putter.dht.put_value(b"key", b"value")
        assert set(result.holders) == {third.peer, fourth.peer, fifth.peer}
        assert {refusal.peer for refusal in result.refused} <= {first.peer, second.peer}
        assert first.peer in {refusal.peer for refusal in result.refused}


async def test_a_peer_that_dies_between_lookup_and_copy_is_no_holder_that_is_missed(autojump_clock):
    """Three nodes, R = 3: one dies as the copies are sent. Two hold the value, and two are all there are."""
    async with SimWorld(28, 3, links=LINKS) as world:
        await world.settle()
        writer, dying, other = world.nodes
        lookups = writer.dht.lookups
        look_up = lookups.closest_peers

        async def then_die(*args, **options):
            found = await look_up(*args, **options)
            await dying.crash()
            return found

        lookups.closest_peers = then_die
        result = await writer.dht.put_value(b"key", b"value")
        assert set(result.holders) == {writer.peer, other.peer}
        assert [refusal.peer for refusal in result.refused] == [dying.peer]
        assert (result.wanted, result.degraded) == (2, True)
        with pytest.raises(QuorumNotReached):
            await writer.dht.put_value(b"another", b"value", min_holders=3)


async def test_a_writer_that_is_cut_off_between_lookup_and_copy_misses_its_holders(autojump_clock):
    """That nobody can be reached any more says that the value is in danger, not that one copy is enough."""
    async with SimWorld(29, 6, links=LINKS) as world:
        await world.settle()
        writer, *others = world.nodes
        lookups = writer.dht.lookups
        look_up = lookups.closest_peers

        async def then_part(*args, **options):
            found = await look_up(*args, **options)
            world.network.faults.partition([writer.peer], [node.peer for node in others])
            return found

        lookups.closest_peers = then_part
        with pytest.raises(QuorumNotReached):
            await writer.dht.put_value(b"key", b"value")


async def test_a_record_under_another_key_is_rejected(autojump_clock):
    """Behaviour 59: a reply's record must be of the key that was asked for."""
    async with SimWorld(59, 1, links=LINKS) as world:
        (node,) = world.nodes
        other = found_value(b"other", b"misleading")
        confused = await world.add_peer(
            answering(replies=[Message(MessageType.GET_VALUE, b"key", other.record)])
        )
        await world.meet(confused, [node])
        await world.until(lambda: confused.peer in node.dht.routing_table)
        with pytest.raises(ValueNotFound):
            await node.dht.get_value(b"key")
        client = await world.add_peer(answering(), serves=False)
        with pytest.raises(ProtocolViolation):
            await client.request(node.peer, Message(MessageType.PUT_VALUE, b"key", other.record))


async def test_an_equal_record_put_again_starts_a_new_life(autojump_clock):
    """Extra: an equal re-put of the publisher refreshes the expiry, everywhere."""
    async with SimWorld(61, 3, links=LINKS, config=small(ttl=600)) as world:
        await world.settle()
        client = await world.add_peer(answering(), serves=False)
        node = world.nodes[0]
        put = put_value(b"key", b"value")
        await client.request(node.peer, put)
        before = (await node.dht.storage.get(b"key")).expires_unix_s
        await trio.sleep(400)
        await client.request(node.peer, put)
        after = (await node.dht.storage.get(b"key")).expires_unix_s
        assert after - before == pytest.approx(400, abs=2)
        await trio.sleep(400)
        assert (await node.dht.get_value(b"key")).value == b"value"


async def test_a_copy_starts_no_new_life(autojump_clock):
    """Extra: an equal record with seconds left, as repair sends it, lengthens nothing."""
    async with SimWorld(62, 1, links=LINKS, config=small(ttl=600)) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        put = put_value(b"key", b"value", ttl_s=100, publisher=bytes(world.keypair(9).peer))
        await client.request(node.peer, put)
        before = (await node.dht.storage.get(b"key")).expires_unix_s
        assert before - true_unix_now() <= 100
        await trio.sleep(50)
        await client.request(node.peer, put)
        assert (await node.dht.storage.get(b"key")).expires_unix_s == before


async def test_a_copy_lives_no_longer_by_what_a_dial_takes(autojump_clock):
    """Extra: the seconds left are those of when it leaves; 200 nodes in churn lengthened lives by 3.5 s."""
    links = Links(ConstantLatency(0.5), handshake_round_trips=6)
    async with SimWorld(64, 1, links=links, config=small(ttl=600)) as world:
        (node,) = world.nodes
        peer = await world.add_peer(answering())
        node.host.address_book.add(peer.peer, peer.host.address_book.own_addrs(), ttl_s=600)
        now = true_unix_now()
        stored = StoredRecord(b"key", b"value", received_unix_s=now, expires_unix_s=now + 100)
        await node.dht.values.send(peer.peer, stored)
        assert true_unix_now() - now > 6
        (received,) = peer.received_of(MessageType.PUT_VALUE)
        assert received.message.record.ttl_s <= 100 - 6


async def test_reading_corrects_and_caches_in_the_background(autojump_clock):
    """Beside behaviour 60: whoever among the closest lacks the best record gets it."""
    async with SimWorld(63, 20, links=LINKS, config=small()) as world:
        await world.settle()
        first, second, third = world.closest(b"key", 3)
        client = await world.add_peer(answering(), serves=False)
        await client.request(first.peer, put_value(b"key", b"old", written_s_ago=30))
        await client.request(second.peer, put_value(b"key", b"new"))
        found = await world.closest(b"key", 20)[-1].dht.get_value(b"key")
        assert found.value == b"new"
        await trio.sleep(20 * ROUND_TRIP_S)
        for node in (first, second, third):
            assert (await node.dht.storage.get(b"key")).value == b"new"


async def test_empty_requests_are_reset(autojump_clock):
    """Behaviour 20: messages without a key or a record are violations."""
    async with SimWorld(20, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        bad = (
            get_value(b""),
            find_node(b""),
            Message(MessageType.PUT_VALUE, b"key"),
            Message(MessageType.PUT_VALUE, b"", Record(b"", b"v")),
            Message(MessageType.GET_PROVIDERS),
            Message(MessageType.GET_PROVIDERS, bytes(81)),
        )
        for message in bad:
            with pytest.raises(ProtocolViolation):
                await client.request(node.peer, message)
        assert await client.request(node.peer, find_node(b"fine")), "the node is well"


async def test_a_put_selects_between_old_and_new(autojump_clock):
    """Behaviour 25: by writer time for open keys, whichever arrives last."""
    async with SimWorld(25, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        old, new = put_value(b"a", b"old", written_s_ago=60), put_value(b"a", b"new")
        await client.request(node.peer, old)
        await client.request(node.peer, new)
        with pytest.raises(ProtocolViolation):
            await client.request(node.peer, old)
        assert (await node.dht.storage.get(b"a")).value == b"new"


async def test_a_public_key_is_accepted_only_under_its_own_hash(autojump_clock):
    """Behaviour 46: /pk of an id that is a hash of its key (RSA); another key under it is refused."""
    async with SimWorld(46, 4, links=LINKS) as world:
        await world.settle()
        public_key = rsa_public_key()
        key = b"/pk/" + bytes(PeerId.from_public_key(public_key))
        await world.nodes[1].dht.put_value(key, public_key)
        found = await world.nodes[3].dht.get_value(key)
        assert (found.value, found.authenticated) == (public_key, True)
        other = b"/pk/" + bytes(world.keypair(5).peer)
        with pytest.raises(InvalidRecord):
            await world.nodes[1].dht.put_value(other, public_key)
        client = await world.add_peer(answering(), serves=False)
        with pytest.raises(ProtocolViolation):
            await client.request(
                world.nodes[0].peer, Message(MessageType.PUT_VALUE, other, Record(other, public_key))
            )


async def test_a_ping_is_answered_without_what_was_stuffed_into_it(autojump_clock):
    """Behaviour 19: an echo carries no junk."""
    async with SimWorld(19, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        stuffed = Message(
            MessageType.PING, b"key", Record(b"key", bytes(1000)), (client.info,) * 5, (client.info,) * 5
        )
        assert await client.request(node.peer, stuffed) == Message(MessageType.PING)
