"""What a holder does with a record that comes in: the one rule of writing, and how long records live.

Everything here goes through a real node. No way of arriving may bring an old value back or lengthen a
life, whatever the peers on the way forget to pass on.
"""

import contextlib
import random
from dataclasses import replace
from itertools import combinations

import pytest
import structlog.testing
import trio
import trio.testing
from engine_lab import LINKS, pk_key, put_value, small
from hypothesis import given, settings
from hypothesis import strategies as st
from inbound_lab import (
    DAY_S,
    KEY,
    PRIME_KEY,
    ends_in_s,
    held,
    lone_node,
    open_record,
    prime_record,
    put,
    served,
    tombstone,
)

from primedht import limits
from primedht.dht.ports import Requester
from primedht.errors import InvalidRecord, StaleRecord, ValueNotFound
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, Record
from primedht.records import rfc3339
from primedht.records.open import UNKNOWN_WRITER_UNIX_MS
from primedht.records.record import Content
from primedht.sim.clock import true_unix_now
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld

TTL_S = DAY_S

# --- better and worse ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["open", "prime"])
async def test_the_better_of_two_records_is_kept_in_either_order(autojump_clock, kind):
    """Behaviour 25: the newer of two puts is selected, whichever comes first; the worse one is reset."""
    async with lone_node() as (_, node, client, other):
        if kind == "open":
            old, new = open_record(b"old", written_s_ago=1), open_record(b"new")
        else:
            old, new = prime_record(1, b"old"), prime_record(2, b"new")
        assert await put(client, node, old) == "stored"
        assert await put(other, node, new) == "stored"
        assert await put(client, node, old) == StaleRecord.code
        assert (await served(client, node, new.key)).value == new.value


async def test_of_writes_in_the_same_millisecond_the_digest_decides(autojump_clock):
    """Every holder must come to the same: the order of arrival says nothing."""
    async with lone_node() as (world, node, client, _):
        second = await world.add_node(bootstrap=())
        client.host.address_book.add(second.peer, second.addrs, ttl_s=60)
        a, b = open_record(b"a"), open_record(b"b")
        assert a.writer_unix_ms == b.writer_unix_ms
        for holder, order in ((node, (a, b)), (second, (b, a))):
            outcomes = [await put(client, holder, record) for record in order]
            assert outcomes in (["stored", "stored"], ["stored", StaleRecord.code])
        assert (await held(node)).value == (await held(second)).value


async def test_what_has_ended_is_refused_and_replaced(autojump_clock):
    async with lone_node() as (_, node, client, _):
        ended = prime_record(5, life_s=60, issued_s_ago=61)
        assert await put(client, node, ended) == InvalidRecord.code
        assert await put(client, node, prime_record(5, b"a", life_s=60)) == "stored"
        await trio.sleep(61)
        assert await served(client, node, PRIME_KEY) is None
        assert await put(client, node, prime_record(6, b"b")) == "stored"


async def test_the_same_value_with_an_older_or_lost_writer_time_is_acknowledged(autojump_clock):
    """A rust replica drops the writer time: to refuse its copy of what is held would help nobody."""
    async with lone_node() as (_, node, client, _):
        record = open_record(b"v", ttl_s=600)
        assert await put(client, node, record) == "stored"
        before = await held(node)
        lost = Record(KEY, b"v", ttl_s=500)
        assert await put(client, node, lost) == "stored"
        assert await put(client, node, replace(record, writer_unix_ms=record.writer_unix_ms - 5)) == "stored"
        assert await held(node) == before, "and changes nothing"
        assert await put(client, node, replace(lost, value=b"w")) == StaleRecord.code


async def test_a_copy_without_writer_time_is_no_new_write_whatever_time_it_is_stamped_with(autojump_clock):
    """docs/protocol.md, rule 12: what a sender says of the time of receipt is advisory."""
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, open_record(b"new")) == "stored"
        stamp = rfc3339.format_unix_ns(int((true_unix_now() + 30) * 1e9))
        copy = Record(KEY, b"old", time_received=stamp, ttl_s=600)
        assert await put(client, node, copy) == StaleRecord.code


async def test_equivocation_is_logged_whichever_record_wins(autojump_clock):
    """Two records of one sequence: one stays, and the owner's breach of the rules is reported."""
    async with lone_node() as (_, node, client, _):
        a, b = prime_record(3, b"a"), prime_record(3, b"b")
        with structlog.testing.capture_logs() as logs:
            outcomes = [await put(client, node, record) for record in (a, b, a)]
        assert sorted(outcomes) == [StaleRecord.code, "stored", "stored"]
        evidence = [line for line in logs if line["event"] == "equivocation"]
        assert evidence
        assert {(line["key"], line["sequence"]) for line in evidence} == {(PRIME_KEY.hex(), 3)}


# --- tombstones -----------------------------------------------------------------------------------------


async def test_tombstones_bury_older_values_and_are_buried_by_newer_ones(autojump_clock):
    """Of an open key: by writer time; of one and the same moment the deletion wins."""
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, open_record(b"v", written_s_ago=2)) == "stored"
        deletion = tombstone(written_s_ago=1)
        assert await put(client, node, deletion) == "stored"
        reply = await served(client, node)
        assert (reply.tombstone, reply.value) == (True, b"")
        with pytest.raises(ValueNotFound):
            await node.dht.get_value(KEY)
        assert await put(client, node, open_record(b"v", written_s_ago=2)) == StaleRecord.code
        at_once = Record(KEY, b"v", writer_unix_ms=deletion.writer_unix_ms)
        assert await put(client, node, at_once) == StaleRecord.code
        assert await put(client, node, open_record(b"again")) == "stored"
        assert (await node.dht.get_value(KEY)).value == b"again"


async def test_signed_tombstones_obey_the_sequence(autojump_clock):
    async with lone_node() as (_, node, client, _):
        deletion = prime_record(5, b"", content=Content.TOMBSTONE)
        for record, outcome in (
            (prime_record(4), "stored"),
            (deletion, "stored"),
            (prime_record(4), StaleRecord.code),
            (prime_record(6, b"again"), "stored"),
            (deletion, StaleRecord.code),
        ):
            assert await put(client, node, record) == outcome


async def test_a_tombstone_needs_its_time_and_no_value(autojump_clock):
    async with lone_node() as (_, node, client, _):
        for bad in (
            Record(KEY, b"", tombstone=True),
            replace(tombstone(), value=b"v"),
            replace(prime_record(1), tombstone=True),
        ):
            assert await put(client, node, bad) == InvalidRecord.code
        assert len(node.dht.storage) == 0


async def test_a_deletion_that_lost_its_flag_on_the_way_revives_nothing(autojump_clock):
    """rust and js peers keep an empty value in the place of a tombstone: a copy of that, no new value."""
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, tombstone(written_s_ago=60)) == "stored"
        assert await put(client, node, Record(KEY, b"", ttl_s=600)) == StaleRecord.code
        for stamp in ("", rfc3339.format_unix_ns(int((true_unix_now() - 1) * 1e9))):
            assert await node.dht.copies.merge(Record(KEY, b"", time_received=stamp))
            assert (await held(node)).tombstone


async def test_readers_take_an_empty_copy_for_the_tombstone_that_it_was(autojump_clock):
    """The reader that asks a js peer and one of ours gets "deleted", in whichever order they answer."""
    async with SimWorld(2, 1, links=LINKS, config=small()) as world:
        (node,) = world.nodes
        stamp = rfc3339.format_unix_ns(int((true_unix_now() - 1) * 1e9))
        deleted = Message(MessageType.GET_VALUE, KEY, tombstone(written_s_ago=60, ttl_s=600))
        emptied = Message(MessageType.GET_VALUE, KEY, Record(KEY, b"", time_received=stamp))
        for reply, delay_s in ((deleted, 0.1), (emptied, 0.0), (emptied, 0.2)):
            peer = await world.add_peer(answering(replies=[reply], delay_s=delay_s))
            await world.meet(peer, [node])
        await world.until(lambda: len(node.dht.routing_table) == 3)
        with pytest.raises(ValueNotFound, match="deleted"):
            await node.dht.get_value(KEY)


# --- lives ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["open", "pk"])
async def test_an_equal_put_of_the_writer_renews_and_a_copy_does_not(autojump_clock, kind):
    """Extra: an equal re-put refreshes the expiry, if it has no 777 or names its sender as publisher."""
    async with lone_node() as (world, node, client, other):
        record = open_record(b"v") if kind == "open" else None
        if record is None:
            owner = world.keypair(77)
            record = Record(pk_key(owner), owner.public_key)
        life_s = TTL_S if kind == "open" else limits.RECORD_AGE_S_MAX
        publisher = bytes(client.peer)
        assert await put(client, node, replace(record, publisher=publisher, ttl_s=2**31)) == "stored"
        assert await ends_in_s(node, record.key) == pytest.approx(life_s, abs=1)
        await trio.sleep(1000)
        copies = (
            replace(record, ttl_s=2**31),
            replace(record, ttl_s=2**31, publisher=publisher),  # though its publisher is somebody else
            replace(record, ttl_s=5, publisher=publisher),
        )
        for copy in copies:
            assert await put(other, node, copy) == "stored"
            assert await ends_in_s(node, record.key) == pytest.approx(life_s - 1000, abs=2)
        assert await put(client, node, replace(record, publisher=publisher, ttl_s=50)) == "stored"
        assert await ends_in_s(node, record.key) == pytest.approx(life_s - 1000, abs=3), "nor shortens it"
        assert await put(client, node, replace(record, publisher=publisher, ttl_s=2**31)) == "stored"
        assert await ends_in_s(node, record.key) == pytest.approx(life_s, abs=1)
        await trio.sleep(1000)
        assert await put(other, node, record) == "stored"
        assert await ends_in_s(node, record.key) == pytest.approx(life_s, abs=1)


async def test_a_holder_takes_the_shorter_of_its_own_ttl_and_the_one_it_is_sent(autojump_clock):
    async with lone_node(ttl=600) as (_, node, client, _):
        for number, (sent_s, life_s) in enumerate(((0, 600), (100, 100), (601, 600), (2**32 - 1, 600))):
            record = open_record(b"v", key=b"key %d" % number, ttl_s=sent_s)
            assert await put(client, node, record) == "stored"
            assert await ends_in_s(node, record.key) == pytest.approx(life_s, abs=1)
            reply = await served(client, node, record.key)
            assert life_s - 3 <= reply.ttl_s < life_s, "and passes on what is left"


async def test_prime_records_live_to_their_signed_end_whatever_ttl_says(autojump_clock):
    async with lone_node(ttl=60) as (_, node, client, _):
        assert await put(client, node, prime_record(1, life_s=20 * DAY_S, ttl_s=5)) == "stored"
        assert await ends_in_s(node, PRIME_KEY) == pytest.approx(20 * DAY_S, abs=1)
        assert await put(client, node, prime_record(2, life_s=30, ttl_s=2**31)) == "stored"
        assert await ends_in_s(node, PRIME_KEY) == pytest.approx(30, abs=1)
        await trio.sleep(31)
        assert await served(client, node, PRIME_KEY) is None


async def test_a_writer_time_far_ahead_is_the_time_of_receipt(autojump_clock):
    """Else the fastest clock would own every open key."""
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, open_record(b"ahead", written_s_ago=-59)) == "stored"
        assert (await held(node)).writer_unix_ms == pytest.approx((true_unix_now() + 59) * 1000, abs=200)
        far = open_record(b"far", key=b"far", written_s_ago=-61)
        assert await put(client, node, far) == "stored"
        assert (await held(node, b"far")).writer_unix_ms == pytest.approx(true_unix_now() * 1000, abs=200)
        await trio.sleep(1)
        assert await put(client, node, open_record(b"next", key=b"far")) == "stored"


async def test_prime_records_that_no_holder_takes_are_refused(autojump_clock):
    """Issued too far ahead, for too long, for another network, or by somebody else."""
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, prime_record(1, issued_s_ago=-119)) == "stored"
        foreign = prime_record(9, key=PRIME_KEY)
        elsewhere = bytes(PRIME_KEY).replace(b"/model/", b"/other/")
        for bad in (
            prime_record(2, issued_s_ago=-121),
            prime_record(2, network_id="/other/kad/1.0.0"),
            replace(foreign, key=elsewhere),
            replace(foreign, value=foreign.value[:-1]),
            replace(foreign, value=b""),
        ):
            assert await put(client, node, bad) == InvalidRecord.code
        assert (await held(node, PRIME_KEY)).sequence == 1


async def test_a_lifetime_over_thirty_days_is_refused(autojump_clock, monkeypatch):
    """Our own signer refuses to make one, so its limit is lifted for the signing only."""
    async with lone_node() as (_, node, client, _):
        monkeypatch.setattr(limits, "SIGNED_LIFETIME_S_MAX", 365 * DAY_S)
        long = prime_record(2, life_s=30 * DAY_S + 1)
        monkeypatch.undo()
        assert await put(client, node, long) == InvalidRecord.code
        assert await put(client, node, prime_record(2, life_s=30 * DAY_S)) == "stored"


async def test_the_publishers_republish_renews_on_every_holder(autojump_clock):
    """Three holders, one of them the publisher: the value outlives its ttl many times, and then ends."""
    async with SimWorld(3, 3, links=LINKS, config=small(ttl=200)) as world:
        await world.settle()
        publisher = world.nodes[1]
        await publisher.dht.put_value(KEY, b"v")
        written = (await held(publisher)).writer_unix_ms
        for _ in range(6):
            await trio.sleep(200)
            for node in world.nodes:
                assert await ends_in_s(node) > 100
                assert (await held(node)).writer_unix_ms == written, "a republish is no new write"
        await publisher.crash()
        await trio.sleep(201)
        for node in (world.nodes[0], world.nodes[2]):
            assert await held(node) is None, "copies that holders send each other renew nothing"


async def test_holders_that_keep_repairing_each_other_keep_nothing_alive(autojump_clock, monkeypatch):
    """Repair, entry correction and caching all send what is left."""
    monkeypatch.setattr(limits, "REPAIR_INTERVAL_S", 60)
    async with SimWorld(4, 4, links=LINKS, config=small(ttl=600)) as world:
        await world.settle()
        client = await world.add_peer(answering(), serves=False)
        await client.request(world.nodes[0].peer, put_value(KEY, b"v"))
        ends_at_s, ends_unix_s = trio.current_time() + 600, true_unix_now() + 600
        for turn in range(4):
            await trio.sleep(120)
            assert (await world.nodes[turn].dht.get_value(KEY)).value == b"v"
            for node in world.nodes:
                record = await held(node)
                assert record is None or record.expires_unix_s <= ends_unix_s
        assert sum([await held(node) is not None for node in world.nodes]) >= 3
        await trio.sleep_until(ends_at_s)
        for node in world.nodes:
            with pytest.raises(ValueNotFound):
                await node.dht.get_value(KEY)


# --- what may never come back ---------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("kind", ["open", "prime", "deleted"])
async def test_an_old_replica_does_not_come_back_when_a_newer_one_has_ended(
    autojump_clock, kind, restarted, swept
):
    """Nothing can be rolled back by waiting until the newer record has expired; a restart forgets nothing."""
    async with lone_node() as (_, node, client, _):
        if kind == "prime":
            old, new = prime_record(1, life_s=7 * DAY_S), prime_record(2, life_s=60)
        elif kind == "open":
            old, new = open_record(b"old", written_s_ago=5), open_record(b"new", ttl_s=60)
        else:
            old, new = open_record(b"old", written_s_ago=5), tombstone(ttl_s=60)
        assert await put(client, node, old) == "stored"
        assert await put(client, node, new) == "stored"
        await trio.sleep(61)
        if swept:
            assert await node.dht.storage.cleanup_expired() == 1
        if restarted:
            await node.restart()
        assert await served(client, node, old.key) is None
        for copy in (old, replace(old, ttl_s=3600), replace(old, ttl_s=3600, writer_unix_ms=0)):
            assert await put(client, node, copy) == StaleRecord.code
        assert not await node.dht.copies.merge(replace(old, ttl_s=3600))
        assert await held(node, old.key) is None
        following = prime_record(3) if kind == "prime" else open_record(b"next")
        assert await put(client, node, following) == "stored"


async def test_an_evicted_version_is_not_rolled_back(autojump_clock):
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, open_record(b"new")) == "stored"
        assert await node.dht.storage.remove(KEY)
        assert await put(client, node, open_record(b"old", written_s_ago=5)) == StaleRecord.code


async def test_versions_are_forgotten_once_nothing_older_can_live(autojump_clock):
    """An open record lives for the ttl at most, a signed one for 30 days from its issue."""
    async with lone_node(ttl=3600) as (_, node, client, _):
        assert await put(client, node, open_record(b"new", ttl_s=60)) == "stored"
        assert await put(client, node, prime_record(7, life_s=60)) == "stored"
        storage = node.dht.storage
        for later_s, known in ((3590, [True, True]), (20, [False, True]), (30 * DAY_S, [False, False])):
            node.clock.skew_s += later_s
            await storage.cleanup_expired()
            assert [storage.version_floor(key) is not None for key in (KEY, PRIME_KEY)] == known
        assert storage.stats().floors == 0


async def test_our_own_put_comes_after_a_deletion_from_a_faster_clock(autojump_clock):
    """Deleted half a minute ahead of our clock, and swept: what we write next must not be "older"."""
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, tombstone(written_s_ago=-30, ttl_s=5)) == "stored"
        await trio.sleep(6)
        await node.dht.storage.cleanup_expired()
        await node.dht.put_value(KEY, b"next")
        assert (await node.dht.get_value(KEY)).value == b"next"


# --- many holders, any order ------------------------------------------------------------------------------

TINY_TTL_S = 100.0
WRITES = st.tuples(st.floats(0, 50), st.booleans(), st.integers(0, 200))  # wait, delete, ttl


def simulated(scenario):
    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


class Holder:
    """A node that nobody else knows, its handler called as its host would."""

    def __init__(self, node):
        self.node = node
        self.seen = []

    @property
    def handle(self):
        return self.node.host.handler_for(self.node.config.network_id)

    async def put(self, record, sender):
        message = codec.decode(codec.encode(Message(MessageType.PUT_VALUE, KEY, record)))
        with contextlib.suppress(StaleRecord, InvalidRecord):
            await self.handle(Requester(sender, "", limits.MESSAGE_BYTES_MAX), message)
        await self.note()

    async def merge(self, record):
        await self.node.dht.copies.merge(record)
        await self.note()

    async def copy(self):
        reply = await self.handle(
            Requester(self.node.peer, "", limits.MESSAGE_BYTES_MAX), Message(MessageType.GET_VALUE, KEY)
        )
        return reply.record

    async def note(self):
        record = await held(self.node)
        if record is not None:
            self.seen.append(record)


async def holders_of(world):
    return [Holder(await world.add_node(bootstrap=())) for _ in range(5)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), writes=st.lists(WRITES, min_size=1, max_size=4), rounds=st.integers(3, 8))
def test_rounds_of_replication_lengthen_no_life_and_bring_nothing_back(seed, writes, rounds):
    """Any order, any delays, peers that lose writer time and flags, short lives, deletions and restarts.

    No holder has a write longer than its first holders could. Once a holder has had a write with its
    writer time it never again holds an older one, though that may have lost its own.
    """

    async def scenario():
        rng = random.Random(seed)
        ends, written_ms = {}, {}
        async with SimWorld(1, 0, links=LINKS, config=small(ttl=TINY_TTL_S)) as world:
            holders = await holders_of(world)
            stranger = world.keypair(99).peer
            for number, (wait_s, deletes, life_s) in enumerate(writes):
                await trio.sleep(wait_s)
                now = true_unix_now()
                value = b"" if deletes else b"value %d" % number
                written_ms[value] = int(now * 1000) + number
                record = Record(
                    KEY, value, ttl_s=life_s, publisher=bytes(stranger), writer_unix_ms=written_ms[value],
                    tombstone=deletes,
                )  # fmt: skip
                for holder in rng.sample(holders, 2):
                    await holder.put(record, stranger)
                ends[value] = max(now + min(life_s or TINY_TTL_S, TINY_TTL_S), ends.get(value, 0.0))
                for _ in range(rounds):
                    await trio.sleep(rng.uniform(0, 12))
                    await replicate(rng, holders)
        for holder in holders:
            for record in holder.seen:
                assert record.expires_unix_s <= ends[record.value] + 1e-6
            for earlier, later in combinations(holder.seen, 2):
                if earlier.writer_unix_ms != UNKNOWN_WRITER_UNIX_MS and later.value:
                    assert written_ms[later.value] >= earlier.writer_unix_ms

    async def replicate(rng, holders):
        for holder in rng.sample(holders, len(holders)):
            if rng.random() < 0.1:
                await holder.node.dht.storage.cleanup_expired()
            if rng.random() < 0.02:
                await holder.node.restart()
            copied = await holder.copy()
            if copied is None:
                continue
            lossy = rng.random() < 0.1
            if lossy:
                copied = replace(copied, writer_unix_ms=0, tombstone=False)
            for other in rng.sample(holders, 2):
                await trio.sleep(rng.uniform(0, 0.5))
                if rng.random() < 0.7:
                    await other.put(copied, holder.node.peer)
                else:
                    await other.merge(replace(copied, time_received="") if lossy else copied)

    simulated(scenario)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 5))
def test_the_order_of_arrival_does_not_matter(seed, count):
    async def scenario():
        rng = random.Random(seed)
        async with SimWorld(1, 0, links=LINKS, config=small()) as world:
            holders = await holders_of(world)
            now_ms = int(true_unix_now() * 1000)
            records = [
                Record(
                    KEY,
                    b"" if deletes else b"v%d" % number,
                    writer_unix_ms=now_ms + rng.randrange(2),
                    tombstone=deletes,
                    ttl_s=600,
                )
                for number in range(count)
                for deletes in (rng.random() < 0.3,)
            ]
            for holder in holders:
                rng.shuffle(records)
                for record in records:
                    await holder.put(record, world.keypair(99).peer)
            assert len({holder.seen[-1].value for holder in holders}) == 1
            assert len({holder.seen[-1].writer_unix_ms for holder in holders}) == 1

    simulated(scenario)
