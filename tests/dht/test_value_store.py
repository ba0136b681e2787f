"""The value store: what is kept, for how long, what may replace it, what a full one gives up."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
import trio
import trio.testing

from primedht import limits
from primedht.dht.config import Quotas
from primedht.dht.value_codec import data_name, meta_name
from primedht.dht.value_store import StoredRecord, ValueStore, open_value_store
from primedht.errors import InvalidRecord, StaleRecord, StoreFull, StoreUnavailable
from primedht.kad.key import Key, distance, key_of
from primedht.stores.memory import MemoryKeyValue

SELF = key_of(b"this node")
START = 1_700_000_000.0
DAY_S = 86400.0


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def unix_now(self) -> float:
        return self.now


class CountingKeyValue(MemoryKeyValue):
    """Counts calls; fails or stalls the next puts on request."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = self.gets = 0
        self.failures: list[tuple[Exception, bool]] = []  # (error, applied all the same)
        self.gate: trio.Event | None = None

    async def get(self, key: bytes) -> bytes | None:
        self.gets += 1
        return await super().get(key)

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.puts += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            error, applied = self.failures.pop(0)
            if applied:
                await super().put(changes)
            raise error
        await super().put(changes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kv() -> CountingKeyValue:
    return CountingKeyValue()


@pytest.fixture
async def store(kv, clock):
    async with open_value_store(kv, clock, SELF, Quotas()) as opened:
        yield opened


def record(key: bytes = b"k", value: bytes = b"v", *, ttl_s: float = DAY_S, **fields) -> StoredRecord:
    received = fields.pop("received_unix_s", START)
    return StoredRecord(key, value, received, received + ttl_s, **fields)


def newer(offered: StoredRecord):
    """The rule of open keys: the newest writer time wins."""

    def better(held: StoredRecord | None) -> bool:
        return held is None or (offered.writer_unix_ms or 0) > (held.writer_unix_ms or 0)

    return better


def higher(offered: StoredRecord):
    """The rule of /prime keys: the highest sequence wins."""

    def better(held: StoredRecord | None) -> bool:
        return held is None or (offered.sequence or 0) > (held.sequence or 0)

    return better


async def put(store: ValueStore, offered: StoredRecord, **options) -> StoredRecord:
    rule = higher if offered.sequence is not None else newer
    return await store.put_if_better(offered, rule(offered), **options)


def keys_far_to_near(count: int, prefix: bytes = b"key-") -> list[bytes]:
    keys = [prefix + str(i).encode() for i in range(count)]
    return sorted(keys, key=lambda key: distance(key_of(key), SELF), reverse=True)


# --- lifetime ------------------------------------------------------------------------------------------


async def test_a_record_comes_back_as_it_was_put(store) -> None:
    full = record(
        b"\x00\xffbinary", b"value" * 100, writer_unix_ms=123, publisher=b"pub", tombstone=False,
        source=b"peer", ip_block="1.2.3.0/24", pinned=True,
    )  # fmt: skip
    await put(store, full)
    assert await store.get(full.key) == full
    assert len(store) == 1
    assert store.bytes_used > 500


async def test_an_expired_record_is_not_served_and_is_swept_away(store, clock, kv) -> None:
    """behaviours 27, 28"""
    await put(store, record(b"short", ttl_s=60))
    await put(store, record(b"long", ttl_s=600))
    clock.now += 60
    assert await store.get(b"short") is None
    assert store.keys_by_distance(SELF, 10) == [b"long"]
    assert len(store) == 2
    assert await store.cleanup_expired() == 1
    assert len(store) == 1
    assert await kv.scan(b"v/d/") == [(data_name(key_of(b"long")), b"v")]
    clock.now += 10_000
    assert await store.cleanup_expired() == 1
    assert (len(store), store.bytes_used) == (0, 0)
    assert await kv.scan(b"") == []


async def test_a_sweep_of_many_is_batched(store, clock, kv) -> None:
    for i in range(1000):
        await put(store, record(str(i).encode(), ttl_s=60))
    clock.now += 61
    kv.puts = 0
    assert await store.cleanup_expired() == 1000
    assert kv.puts == 4
    assert await store.cleanup_expired() == 0


async def test_an_already_expired_record_is_refused(store, clock) -> None:
    with pytest.raises(InvalidRecord):
        await put(store, record(ttl_s=0))
    assert len(store) == 0


async def test_a_tombstone_is_returned_as_such(store) -> None:
    await put(store, record(value=b"x", writer_unix_ms=1))
    await put(store, record(value=b"", writer_unix_ms=2, tombstone=True))
    held = await store.get(b"k")
    assert held is not None
    assert held.tombstone
    with pytest.raises(StaleRecord):
        await put(store, record(value=b"x", writer_unix_ms=1))


async def test_an_equal_reput_refreshes_the_expiry(store, clock) -> None:
    """Extra: equal re-put refreshes expiry (and go's rule on ties, docs/protocol.md, rule 12)."""
    await put(store, record(writer_unix_ms=5))
    clock.now += 3600
    await put(store, record(writer_unix_ms=5, received_unix_s=clock.now))
    held = await store.get(b"k")
    assert (held.received_unix_s, held.expires_unix_s) == (clock.now, clock.now + DAY_S)


async def test_an_equal_reput_never_shortens_a_life(store, clock) -> None:
    await put(store, record())
    await put(store, record(ttl_s=1))
    assert (await store.get(b"k")).expires_unix_s == START + DAY_S


async def test_a_copy_never_lengthens_a_life_and_writes_nothing(store, clock, kv) -> None:
    """Replication, caching and entry correction carry `Record.ttl`; rounds of them add no second."""
    await put(store, record(writer_unix_ms=5))
    clock.now += 3600
    kv.puts = 0
    await put(store, record(writer_unix_ms=5, received_unix_s=clock.now), renews=False)
    assert (await store.get(b"k")).expires_unix_s == START + DAY_S
    assert kv.puts == 0
    entry = store.entry(b"k")
    assert (entry.received_unix_s, entry.seen_unix_s) == (START, clock.now)  # repair skips what was just seen


async def test_a_copy_may_bring_a_record_that_is_not_held(store) -> None:
    await put(store, record(ttl_s=100), renews=False)
    assert (await store.get(b"k")).expires_unix_s == START + 100


# --- which record wins ----------------------------------------------------------------------------------


async def test_put_select(store) -> None:
    """behaviour 25: a better record replaces, a worse one is refused."""
    await put(store, record(value=b"2", writer_unix_ms=2))
    with pytest.raises(StaleRecord):
        await put(store, record(value=b"1", writer_unix_ms=1))
    await put(store, record(value=b"3", writer_unix_ms=3))
    assert (await store.get(b"k")).value == b"3"


@pytest.mark.parametrize("then", ["put", "remove", "put elsewhere"])
async def test_a_read_that_is_overtaken_by_a_write_sees_its_outcome(store, kv, then) -> None:
    """The bytes that it has in hand by then are those of what is gone."""
    await put(store, record(value=b"old", writer_unix_ms=1))
    plain_get, writes = kv.get, []

    async def overtaken_get(name: bytes) -> bytes | None:
        value = await plain_get(name)
        kv.get = plain_get
        if then == "remove":
            writes.append(await store.remove(b"k"))
        else:
            key = b"k" if then == "put" else b"other"
            writes.append(await put(store, record(key, b"new", writer_unix_ms=2)))
        return value

    kv.get = overtaken_get
    found = await store.get(b"k")
    assert len(writes) == 1
    assert (found and found.value) == {"put": b"new", "remove": None, "put elsewhere": b"old"}[then]


async def test_readers_of_one_key_do_not_queue(store, kv) -> None:
    await put(store, record())
    plain_get, reading, gate = kv.get, [], trio.Event()

    async def slow_get(name: bytes) -> bytes | None:
        reading.append(name)
        await gate.wait()
        return await plain_get(name)

    kv.get = slow_get
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(store.get, b"k")
        await trio.testing.wait_all_tasks_blocked()
        assert len(reading) == 5
        gate.set()


async def test_concurrent_puts_keep_the_best(store, kv) -> None:
    """behaviour 24: whatever the order in which they run, the best record stays."""
    refused = 0

    async def offer(offered: StoredRecord) -> None:
        nonlocal refused
        try:
            await put(store, offered)
        except StaleRecord:
            refused += 1

    async with trio.open_nursery() as nursery:
        for i in range(50):
            offered = record(value=str(i).encode(), writer_unix_ms=(i * 37) % 50)
            nursery.start_soon(offer, offered)
    held = await store.get(b"k")
    assert held.writer_unix_ms == 49
    assert (await kv.get(data_name(key_of(b"k")))) == held.value
    assert refused + kv.puts == 50
    assert len(store._locks) == 0


async def test_a_reader_never_sees_half_of_a_put(store, kv) -> None:
    """A get during a put waits for its outcome: meta and value always belong together."""
    await put(store, record(value=b"old", writer_unix_ms=1))
    kv.gate = trio.Event()
    seen = []

    async def read() -> None:
        seen.append(await store.get(b"k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, store, record(value=b"new", writer_unix_ms=2))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        kv.gate.set()
    assert [(r.value, r.writer_unix_ms) for r in seen] == [(b"new", 2)]


async def test_a_slow_put_does_not_hold_up_other_keys(store, kv) -> None:
    await put(store, record(b"other"))
    kv.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, store, record(b"slow"))
        await trio.testing.wait_all_tasks_blocked()
        assert (await store.get(b"other")) is not None
        kv.gate.set()


# --- sequences cannot be rolled back ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["expired", "removed", "evicted"])
async def test_a_lower_sequence_stays_refused_when_the_record_is_gone(kv, clock, how) -> None:
    """docs/design.md: a holder remembers the highest sequence until any lower record must have expired."""
    key = b"/prime/value/owner/x"
    quotas = Quotas(records_max=2, namespace_share=1, peer_share=1) if how == "evicted" else Quotas()
    async with open_value_store(kv, clock, key_of(b"%"), quotas) as store:
        await put(store, record(key, b"seven", sequence=7, ttl_s=60))
        if how == "expired":
            clock.now += 61
            await store.cleanup_expired()
        elif how == "removed":
            assert await store.remove(key)
            assert not await store.remove(key)
        else:
            for i in range(3):
                await put(
                    store, record(str(i).encode(), own=True, received_unix_s=clock.now)
                ) if i < 2 else None
        assert store.entry(key) is None
        assert store.version_floor(key) == 7
    async with open_value_store(kv, clock, key_of(b"%"), Quotas()) as store:
        assert store.version_floor(key) == 7
        with pytest.raises(StaleRecord):
            await put(store, record(key, b"six", sequence=6, received_unix_s=clock.now))
        await put(store, record(key, b"seven", sequence=7, received_unix_s=clock.now))
        await put(store, record(key, b"eight", sequence=8, received_unix_s=clock.now))


async def test_sequences_are_forgotten_when_no_lower_record_can_be_alive(store, clock, kv) -> None:
    key = b"/prime/value/owner/x"
    await put(store, record(key, sequence=7, ttl_s=60))
    await store.remove(key)
    clock.now += limits.SIGNED_LIFETIME_S_MAX + limits.SIGNED_ISSUED_AHEAD_S_MAX - 1
    await store.cleanup_expired()
    assert store.version_floor(key) == 7
    clock.now += 2
    assert store.version_floor(key) is None
    await store.cleanup_expired()
    assert await kv.scan(b"") == []


async def test_remembered_sequences_are_bounded(store, kv, monkeypatch) -> None:
    """The farthest from us go first, as with records."""
    monkeypatch.setattr(limits, "VERSION_FLOORS_MAX", 3)
    keys = keys_far_to_near(8, b"/prime/v/o/")
    for key in keys:
        await put(store, record(key, sequence=1))
        await store.remove(key)
    assert store.stats().floors == 3
    assert [store.version_floor(key) for key in keys[-3:]] == [1, 1, 1]
    assert len(await kv.scan(b"v/f/")) == 3


# --- quotas ------------------------------------------------------------------------------------------------


def quotas(**fields) -> Quotas:
    return Quotas(**({"namespace_share": 1.0, "peer_share": 1.0, "ip_block_share": 1.0} | fields))


async def test_a_full_store_evicts_the_farthest_from_us(kv, clock) -> None:
    keys = keys_far_to_near(12)
    async with open_value_store(kv, clock, SELF, quotas(records_max=10)) as store:
        for key in (*keys[:5], *keys[6:11]):
            await put(store, record(key))
        await put(store, record(keys[11]))
        assert await store.get(keys[0]) is None
        assert await kv.get(meta_name(key_of(keys[0]))) is None
        assert len(store) == 10
        await put(store, record(keys[5]))
        assert await store.get(keys[1]) is None
        with pytest.raises(StoreFull):  # it is itself the farthest
            await put(store, record(keys[1]))
        assert (store.stats().evicted, store.stats().refused) == (2, 1)


async def test_own_and_pinned_records_are_never_evicted(kv, clock) -> None:
    keys = keys_far_to_near(6)
    async with open_value_store(kv, clock, SELF, quotas(records_max=4)) as store:
        await put(store, record(keys[0], own=True))
        await put(store, record(keys[1], pinned=True))
        await put(store, record(keys[2]))
        await put(store, record(keys[3]))
        await put(store, record(keys[4]))
        assert [await store.get(key) is not None for key in keys[:5]] == [True, True, False, True, True]
        far = keys_far_to_near(200)[0]
        await put(store, record(far, own=True))  # our own goes before others' however far it is
        assert await store.get(keys[3]) is None
        await store.set_pinned(keys[4], True)
        with pytest.raises(StoreFull):  # all that is left must stay
            await put(store, record(b"more", own=True))
        await store.disown(far)
        await put(store, record(b"more", own=True))
        assert await store.get(far) is None


async def test_bytes_are_limited_in_total(kv, clock) -> None:
    keys = keys_far_to_near(20)
    async with open_value_store(kv, clock, SELF, quotas(records_bytes_max=10_000)) as store:
        for key in keys:
            await put(store, record(key, bytes(1000)))
            assert store.bytes_used <= 10_000
        assert 5 < len(store) < 10
        assert await store.get(keys[-1]) is not None
        with pytest.raises(StoreFull):
            await put(store, record(b"big", bytes(20_000)))


async def test_a_bigger_value_in_place_of_a_smaller_one_counts_the_difference(kv, clock) -> None:
    async with open_value_store(kv, clock, SELF, quotas(records_bytes_max=4000)) as store:
        await put(store, record(value=bytes(2000), writer_unix_ms=1))
        await put(store, record(value=bytes(3000), writer_unix_ms=2))
        assert len(store) == 1
        used = store.bytes_used
        await put(store, record(value=bytes(3000), writer_unix_ms=2))
        assert store.bytes_used == used


@pytest.mark.parametrize(
    ("fields", "share"),
    [
        ({"source": b"flooder"}, {"peer_share": 0.25}),
        ({"source": b"flooder", "ip_block": "1.2.3.0/24"}, {"ip_block_share": 0.25}),
    ],
)
async def test_one_party_fills_only_its_share(kv, clock, fields, share) -> None:
    """A flood from one peer, or one IP block, costs that party's own records only."""
    others = keys_far_to_near(10, b"other-")
    async with open_value_store(kv, clock, SELF, quotas(records_max=40, **share)) as store:
        for i, key in enumerate(others):
            await put(store, record(key, source=str(i).encode()))
        stored = 0
        for i in range(100):
            flood = dict(fields)
            if "ip_block" in fields:
                flood["source"] = b"sybil-%d" % i
            try:
                await put(store, record(b"flood-%d" % i, **flood))
                stored += 1
            except StoreFull:
                continue
        assert stored >= 10
        assert len(store) == 20
        assert all([await store.get(key) for key in others])


async def test_one_namespace_fills_only_its_share(kv, clock) -> None:
    async with open_value_store(kv, clock, SELF, quotas(records_max=10, namespace_share=0.5)) as store:
        for key in reversed(keys_far_to_near(20)):
            with contextlib.suppress(StoreFull):
                await put(store, record(key))
        assert store.stats().by_namespace == {"pk": 0, "ipns": 0, "prime": 0, "open": 5}
        for i in range(5):
            await put(store, record(b"/pk/%d" % i))
        assert len(store) == 10


async def test_zero_means_no_limit(kv, clock) -> None:
    async with open_value_store(kv, clock, SELF, Quotas(records_bytes_max=0, records_max=0)) as store:
        for i in range(50):
            await put(store, record(b"%d" % i, bytes(10_000), source=b"one"))
        assert len(store) == 50


async def test_concurrent_puts_do_not_overfill_nor_evict_each_other_twice(kv, clock) -> None:
    async with open_value_store(kv, clock, SELF, quotas(records_max=20)) as store:

        async def offer(key: bytes) -> None:
            with contextlib.suppress(StoreFull):
                await put(store, record(key))

        async with trio.open_nursery() as nursery:
            for i in range(200):
                nursery.start_soon(offer, b"%d" % i)
        assert len(store) <= 20
        held = sorted(entry.key for entry in store.entries())
        on_disk = {name.removeprefix(b"v/m/") for name, _ in await kv.scan(b"v/m/")}
        assert on_disk == {key_of(key).to_bytes(32, "big") for key in held}
        assert len(store._locks) == 0


# --- our own records ------------------------------------------------------------------------------------


async def test_own_records_and_their_schedule_survive_a_restart(kv, clock) -> None:
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        for i in range(3):
            key = b"own-%d" % i
            await put(store, record(key, own=True, ttl_s=100, republish_unix_s=START + 45 + i))
        await put(store, record(b"foreign"))
        await store.schedule_republish(b"own-1", START + 10)
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        assert store.next_republish_unix_s() == START + 10
        assert store.own_due(START + 45.5) == [b"own-1", b"own-0"]
        assert store.own_due(START + 100, limit=2) == [b"own-1", b"own-0"]
        assert {entry.key for entry in store.own_entries()} == {b"own-0", b"own-1", b"own-2"}
        assert (await store.own_record(b"own-1")).own
        assert await store.own_record(b"foreign") is None
        await store.disown(b"own-1")
        assert store.next_republish_unix_s() == START + 45
        assert (await store.get(b"own-1")).own is False


async def test_an_own_record_outlives_its_expiry_unserved_until_it_is_renewed(store, clock) -> None:
    """A publisher that was down for longer than the ttl still republishes; nobody reads it meanwhile."""
    mine = record(own=True, ttl_s=100, writer_unix_ms=9)
    await put(store, mine)
    clock.now += 1000
    assert await store.get(b"k") is None
    assert await store.cleanup_expired() == 0
    with pytest.raises(StaleRecord):  # and an old replica does not take its place
        await put(store, record(value=b"old", writer_unix_ms=3, received_unix_s=clock.now))
    again = await store.own_record(b"k")
    await put(store, replace(again, received_unix_s=clock.now, expires_unix_s=clock.now + 100))
    assert (await store.get(b"k")).expires_unix_s == clock.now + 100


async def test_our_own_record_coming_back_as_a_copy_stays_our_own(store) -> None:
    await put(store, replace(record(own=True, republish_unix_s=START + 5), ttl_s=9.0))
    await put(store, record(source=b"other"), renews=False)
    held = await store.get(b"k")
    assert (held.own, held.republish_unix_s, held.ttl_s, held.source) == (True, START + 5, 9, b"")


async def test_a_newer_value_of_another_ends_our_ownership(store) -> None:
    await put(store, record(own=True, writer_unix_ms=1, republish_unix_s=START + 5))
    await put(store, record(value=b"new", writer_unix_ms=2, source=b"other"))
    assert await store.own_record(b"k") is None
    assert store.own_due(START + 1000) == []
    assert store.next_republish_unix_s() is None


# --- restarts, failures, damage -----------------------------------------------------------------------------


async def test_restart_keeps_values_and_reads_none_of_them(kv, clock) -> None:
    """Extra: restart keeps values. Opening reads metas only, in bounded pages."""
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        for i in range(2500):
            await put(store, record(b"%d" % i, b"value-%d" % i, writer_unix_ms=i or None))
        before = sorted(store.entries(), key=lambda e: e.point)
        used = store.bytes_used
    kv.gets = 0
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        assert kv.gets == 0
        assert sorted(store.entries(), key=lambda e: e.point) == before
        assert store.bytes_used == used
        assert (await store.get(b"1234")).value == b"value-1234"


async def test_index_questions_touch_no_disk(store, kv) -> None:
    keys = keys_far_to_near(100)
    for key in keys:
        await put(store, record(key))
    kv.gets = 0
    assert store.keys_by_distance(SELF, 7) == keys[-1:-8:-1]
    target = key_of(b"elsewhere")
    expected = sorted(keys, key=lambda key: distance(key_of(key), target))
    assert store.keys_by_distance(target, 100) == expected
    assert store.keys_by_distance(target, 1000) == expected
    assert len(store.entries()) == 100
    assert kv.gets == 0


@pytest.mark.parametrize("applied", [False, True])
async def test_a_failed_write_leaves_index_and_store_in_step(kv, clock, applied) -> None:
    """Also where the failure was only in the answer: the store is asked before the key is used again."""
    async with open_value_store(kv, clock, SELF, quotas(records_max=1)) as store:
        far, near = keys_far_to_near(2)
        await put(store, record(far))
        kv.failures.append((StoreUnavailable("gone"), applied))
        with pytest.raises(StoreUnavailable):
            await put(store, record(near))
        assert (await store.get(far) is None) == applied
        assert (await store.get(near) is not None) == applied
        assert len(store) == 1
        await put(store, record(near))
        assert (await store.get(near)) is not None
        assert len(store) == 1


async def test_a_cancelled_put_leaves_what_was_there(store, kv) -> None:
    await put(store, record(value=b"old", writer_unix_ms=1))
    kv.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, store, record(value=b"new", writer_unix_ms=2))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    kv.gate = None
    assert (await store.get(b"k")).value == b"old"
    assert len(store._locks) == 0


async def test_corrupt_entries_are_skipped_counted_and_cleared(kv, clock) -> None:
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        for i in range(4):
            await put(store, record(b"%d" % i, b"value", sequence=i if i == 3 else None))
        await store.remove(b"3")
    meta = bytearray(await kv.get(meta_name(key_of(b"0"))))
    meta[10] ^= 1
    await kv.put(
        {
            meta_name(key_of(b"0")): bytes(meta),
            data_name(key_of(b"1")): b"valuE",
            meta_name(key_of(b"9")): await kv.get(meta_name(key_of(b"2"))),
            b"v/m/short": b"",
            b"v/f/" + key_of(b"3").to_bytes(32, "big"): b"\xff\xff",
        }
    )
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        assert store.stats().corrupt == 4
        assert await store.get(b"0") is None
        assert await store.get(b"1") is None
        assert store.stats().corrupt == 5
        assert (await store.get(b"2")).value == b"value"
        assert len(store) == 1
        assert len(await kv.scan(b"")) == 2
    async with open_value_store(kv, clock, SELF, Quotas()) as store:
        assert store.stats().corrupt == 0


async def test_keys_that_no_longer_answer_do_not_pile_up(store, kv) -> None:
    """While the store is down, what must be looked at again is bounded."""
    for i in range(limits.STORE_CHANGES_MAX + 50):
        kv.failures = [(StoreUnavailable("down"), False)]
        with pytest.raises(StoreUnavailable):
            await put(store, record(b"%d" % i))
    assert len(store._unsure) <= limits.STORE_CHANGES_MAX + 1
    await store.cleanup_expired()
    assert store._unsure == set()


def test_nearest_is_exact_for_keys_that_share_long_prefixes() -> None:
    from primedht.dht.value_index import PointSet

    points = [Key(n) for n in (0, 1, 2, 3, 2**255, 2**255 + 1, 2**256 - 1, 5 << 100, (5 << 100) + 7)]
    shuffled = PointSet(points[::-1])
    for target in (*points, Key(2**254), Key(6 << 100)):
        assert list(shuffled.nearest(target)) == sorted(points, key=lambda p: p ^ target)
        assert list(shuffled.farthest(target)) == sorted(points, key=lambda p: p ^ target, reverse=True)
