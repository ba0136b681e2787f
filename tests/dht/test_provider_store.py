"""The provider store: lifetimes, bounds, random order, write-behind, and what we provide ourselves."""

from __future__ import annotations

import random
from collections.abc import Mapping
from hashlib import sha256

import pytest
import trio
import trio.testing

from primedht import limits
from primedht.dht.config import Quotas
from primedht.dht.provider_store import OwnProvide, open_provider_store
from primedht.errors import InvalidKey, StoreUnavailable
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.stores.memory import MemoryKeyValue

START = 1_700_000_000.0
HOUR_S = 3600.0
KEY = b"\x12\x20" + bytes(32)


class Clock:
    now = START

    def unix_now(self) -> float:
        return self.now


class FlakyKeyValue(MemoryKeyValue):
    """Counts puts, and refuses them while it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.away = False

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.puts += 1
        if self.away:
            raise StoreUnavailable("away")
        await super().put(changes)


def peer(n: int) -> PeerId:
    return PeerId(b"\x12\x20" + sha256(b"peer-%d" % n).digest())


def info(n: int, *addrs: bytes) -> PeerInfo:
    return PeerInfo(peer(n), addrs or (b"addr-of-%d" % n,))


ME = peer(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kv() -> FlakyKeyValue:
    return FlakyKeyValue()


@pytest.fixture
def opened(kv, clock):
    def open_(quotas: Quotas = Quotas(), seed: int = 1):  # noqa: B008
        return open_provider_store(kv, clock, random.Random(seed), own_peer=ME, quotas=quotas)

    return open_


@pytest.fixture
async def store(opened):
    async with opened() as store:
        yield store


def ids(found: list[PeerInfo]) -> list[PeerId]:
    return [provider.id for provider in found]


# --- lifetimes ------------------------------------------------------------------------------------


async def test_providers_expire(store, clock, kv) -> None:
    """behaviour 11: gone after 48 hours, though nothing has swept yet; then the sweep frees the room."""
    store.add(KEY, info(1))
    clock.now += limits.PROVIDER_RECORD_TTL_S - 1
    assert ids(store.providers(KEY)) == [peer(1)]
    clock.now += 1
    assert store.providers(KEY) == []
    await store.flush()
    assert len(await kv.scan(b"p/")) == 1
    assert await store.cleanup_expired() == 1
    assert (len(store), store.bytes_used) == (0, 0)
    await store.flush()
    assert await kv.scan(b"p/") == []


async def test_addresses_live_a_day_then_the_id_alone_is_given(store, clock) -> None:
    """docs/protocol.md, rule 20."""
    store.add(KEY, info(1))
    clock.now += limits.PROVIDER_ADDRS_TTL_S - 1
    assert store.providers(KEY) == [info(1)]
    clock.now += 1
    assert store.providers(KEY) == [PeerInfo(peer(1))]


async def test_announcing_again_renews(store, clock) -> None:
    store.add(KEY, info(1, b"old"))
    clock.now += 40 * HOUR_S
    store.add(KEY, info(1, b"new"))
    clock.now += 20 * HOUR_S
    assert store.providers(KEY) == [info(1, b"new")]
    assert len(store) == 1


async def test_announcing_without_addresses_keeps_the_known_ones_for_their_time(store, clock) -> None:
    store.add(KEY, info(1))
    clock.now += 20 * HOUR_S
    store.add(KEY, PeerInfo(peer(1)))
    assert store.providers(KEY) == [info(1)]
    clock.now += 4 * HOUR_S
    assert store.providers(KEY) == [PeerInfo(peer(1))]


# --- answers --------------------------------------------------------------------------------------


async def test_thirty_providers_of_one_key_are_all_kept(store) -> None:
    """Extra: 30 providers on one key."""
    for n in range(1, 31):
        store.add(KEY, info(n))
    assert sorted(ids(store.providers(KEY))) == sorted(peer(n) for n in range(1, 31))


async def test_answers_are_shuffled_and_hold_nobody_twice(store) -> None:
    """behaviour 14"""
    for n in (*range(1, 11), *range(1, 11)):
        store.add(KEY, info(n))
    orders = {tuple(ids(store.providers(KEY))) for _ in range(20)}
    assert len(orders) > 10
    assert {len(order) for order in orders} == {10}


async def test_we_are_among_the_providers_of_what_we_provide(store) -> None:
    await store.provide(KEY)
    store.add(KEY, info(1))
    assert sorted(ids(store.providers(KEY))) == sorted([ME, peer(1)])
    assert store.is_providing(KEY)
    assert not store.add(KEY, PeerInfo(ME, (b"forged",)))
    await store.stop_providing(KEY)
    assert ids(store.providers(KEY)) == [peer(1)]


async def test_the_same_seed_gives_the_same_answers(opened, kv) -> None:
    """The simulator replays a run from its seed."""
    answers = []
    for _ in range(2):
        async with opened(Quotas(providers_per_key_max=5), seed=3) as store:
            for n in range(1, 50):
                store.add(b"k%d" % n, info(n))
                store.add(KEY, info(n))
            answers.append([store.providers(KEY) for _ in range(3)])
        await kv.put({name: None for name, _ in await kv.scan(b"")})
    assert answers[0] == answers[1]


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"", bytes(81)])
async def test_keys_have_1_to_80_bytes(store, key) -> None:
    with pytest.raises(InvalidKey):
        store.add(key, info(1))
    with pytest.raises(InvalidKey):
        await store.provide(key)


async def test_any_multihash_of_1_to_80_bytes_is_kept(opened) -> None:
    keys = [b"\x00", bytes(80), b"\xff" * 80, b"/" * 34]
    async with opened() as store:
        for key in keys:
            store.add(key, info(1))
            await store.provide(key)
    async with opened() as store:
        for key in keys:
            assert sorted(ids(store.providers(key))) == sorted([ME, peer(1)])


async def test_addresses_taken_in_are_bounded(store) -> None:
    """behaviour 16: 8 KiB of one peer, and no single one that is absurd."""
    store.add(KEY, info(1, *(bytes(400) + b"%d" % i for i in range(100)), b"short"))
    addrs = store.providers(KEY)[0].addrs
    assert 15 < len(addrs) <= limits.PEER_ADDRS_MAX
    assert sum(map(len, addrs)) <= limits.PEER_ADDRS_BYTES_MAX
    store.add(KEY, info(2, bytes(5000), b"ok"))
    assert info(2, b"ok") in store.providers(KEY)
    store.add(KEY, info(3, *(b"%d" % i for i in range(1000))))
    assert max(len(provider.addrs) for provider in store.providers(KEY)) == limits.PEER_ADDRS_MAX


async def test_a_key_with_too_many_providers_gives_up_random_ones(opened) -> None:
    """Never first come: early and late providers are equally likely to be there."""
    kept: list[int] = []
    for seed in range(20):
        async with opened(Quotas(providers_per_key_max=20), seed=seed) as store:
            for n in range(1, 61):
                store.add(KEY, info(n))
            held = set(ids(store.providers(KEY)))
            assert len(held) == 20
            assert peer(60) in held
            kept += [n for n in range(1, 61) if peer(n) in held]
    for first in (1, 21, 41):
        assert sum(first <= n < first + 20 for n in kept) >= 40


async def test_a_full_store_gives_up_random_records_never_our_own(opened) -> None:
    quotas = Quotas(provider_bytes_max=68_000, peer_share=0, ip_block_share=0)
    async with opened(quotas) as store:
        await store.provide(KEY)
        for n in range(1, 500):
            store.add(b"key-%d" % n, info(n))
            assert store.bytes_used <= 68_000
        assert 50 < len(store) < 150
        assert store.providers(b"key-499") != []
        assert ids(store.providers(KEY)) == [ME]
        assert store.stats().evicted > 300


async def test_one_peer_and_one_ip_block_fill_only_their_share(opened, clock) -> None:
    quotas = Quotas(provider_bytes_max=340_000, peer_share=0.1, ip_block_share=0.2)
    async with opened(quotas) as store:
        stored = sum(store.add(b"flood-%d" % n, info(1)) for n in range(1000))
        assert 20 < stored < 100
        assert store.add(b"flood-1", info(1))  # what it has may be renewed
        assert store.add(b"other", info(2))
        stored = sum(store.add(b"sybil-%d" % n, info(100 + n), ip=f"1.2.3.{n % 250}") for n in range(1000))
        assert 50 < stored < 200
        assert not store.add(b"sybil", info(3), ip="1.2.3.4")
        assert store.add(b"sybil", info(3), ip="1.2.4.4")
        assert all(store.add(b"lan-%d" % n, info(2000 + n), ip="192.168.1.1") for n in range(200))
        assert store.stats().refused > 1500
        clock.now += limits.PROVIDER_RECORD_TTL_S
        await store.cleanup_expired()
        assert (store.bytes_used, store._charged, store._last_addrs) == (0, {}, {})
        assert store.add(b"flood-2000", info(1))


async def test_thousands_of_providers_and_keys(store) -> None:
    """behaviours 12, 13"""
    for n in range(1, 1001):
        store.add(KEY, info(n))
    for n in range(3000):
        store.add(sha256(b"%d" % n).digest(), info(n % 50 + 1))
    assert len(store.providers(KEY)) == 1000
    assert (store.stats().keys, len(store)) == (3001, 4000)


# --- the disk -------------------------------------------------------------------------------------


async def test_restart_keeps_providers(opened, kv, clock) -> None:
    """Extra: restart keeps providers; what was not written yet is written on closing."""
    async with opened() as store:
        for n in range(1, 1500):
            store.add(b"key-%d" % (n % 7), info(n), ip="8.8.8.8")
        used = store.bytes_used
        held = {key: sorted(ids(store.providers(key))) for key in (b"key-%d" % n for n in range(7))}
        assert kv.puts == 0
    assert kv.puts == 2
    clock.now += 60
    async with opened() as store:
        assert store.bytes_used == used
        assert {key: sorted(ids(store.providers(key))) for key in held} == held
        assert store.providers(b"key-0")[0].addrs != ()


async def test_what_expired_while_we_were_down_is_not_loaded(opened, kv, clock) -> None:
    async with opened() as store:
        store.add(KEY, info(1))
    clock.now += limits.PROVIDER_RECORD_TTL_S
    async with opened() as store:
        assert len(store) == 0
        assert await kv.scan(b"p/") == []


async def test_announcements_are_written_together_within_a_second_or_so(opened, kv, autojump_clock) -> None:
    async with opened() as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.serve_flush)
        for n in range(1, 301):
            store.add(b"key-%d" % n, info(n))
        await trio.sleep(limits.PROVIDER_FLUSH_S + 0.1)
        assert kv.puts == 1
        assert len(await kv.scan(b"p/r/")) == 300
        await trio.sleep(100)
        assert kv.puts == 1
        nursery.cancel_scope.cancel()


async def test_a_store_that_was_away_gets_everything_later(opened, kv, autojump_clock) -> None:
    async with opened() as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.serve_flush)
        kv.away = True
        store.add(KEY, info(1))
        await trio.sleep(10)
        assert store.stats().unflushed == 1
        store.add(KEY, info(2))
        kv.away = False
        await trio.sleep(3)
        assert store.stats().unflushed == 0
        assert len(await kv.scan(b"p/r/")) == 2
        nursery.cancel_scope.cancel()


async def test_what_waits_for_an_absent_store_is_bounded(opened, kv, monkeypatch) -> None:
    monkeypatch.setattr(limits, "PROVIDERS_UNFLUSHED_MAX", 10)
    async with opened() as store:
        assert sum(store.add(b"%d" % n, info(n + 1)) for n in range(20)) == 10
        await store.flush()
        assert store.add(b"later", info(1))


async def test_closing_while_the_store_is_away_ends(opened, kv) -> None:
    async with opened() as store:
        store.add(KEY, info(1))
        kv.away = True


async def test_corrupt_entries_are_skipped_and_counted(opened, kv) -> None:
    async with opened() as store:
        for n in range(1, 4):
            store.add(KEY, info(n))
        await store.provide(b"mine")
    entries = dict(await kv.scan(b"p/"))
    first, *_ = sorted(name for name in entries if name.startswith(b"p/r/"))
    await kv.put(
        {
            first: entries[first][:-1] + b"\x00",
            b"p/r/": b"",
            b"p/r/\x05key": b"",
            b"p/r/\x03keynot-a-peer": entries[first],
            b"p/o/mine": b"garbage",
            b"p/o/" + bytes(100): b"",
        }
    )
    async with opened() as store:
        assert store.stats().corrupt == 6
        assert len(store) == 2
        assert store.own_provides() == [OwnProvide(b"mine")]  # it is announced anew, not forgotten
    async with opened() as store:
        assert store.stats().corrupt == 0
        assert store.own_provides() == [OwnProvide(b"mine")]


async def test_a_clock_set_back_makes_nothing_immortal(opened, clock) -> None:
    clock.now = START + 1e9
    async with opened() as store:
        store.add(KEY, info(1))
    clock.now = START
    async with opened() as store:
        clock.now += limits.PROVIDER_RECORD_TTL_S
        assert store.providers(KEY) == []


# --- ourselves ------------------------------------------------------------------------------------


async def test_own_provides_are_durable_on_return_and_stay_until_stopped(opened, kv, clock) -> None:
    """behaviour 49: what we provide, and when it was last announced, survives a restart."""
    async with opened() as store:
        await store.provide(b"a")
        await store.provide(b"b", local_only=True)
        await store.provide(b"c")
        await store.mark_provided(b"a", START + 5)
        assert await store.stop_providing(b"c")
        assert not await store.stop_providing(b"c")
        await store.mark_provided(b"c", START + 5)
        assert len(await kv.scan(b"p/o/")) == 2
        own = [OwnProvide(b"a", START + 5), OwnProvide(b"b", None, local_only=True)]
        assert store.own_provides() == own
    clock.now += 100 * 86400
    async with opened() as store:
        await store.cleanup_expired()
        assert store.own_provides() == own
        await store.provide(b"a")  # again: keeps when it was announced
        assert store.own_provides() == own
        assert ids(store.providers(b"b")) == [ME]


async def test_a_provide_that_could_not_be_written_is_not_there(opened, kv) -> None:
    async with opened() as store:
        kv.away = True
        with pytest.raises(StoreUnavailable):
            await store.provide(KEY)
        assert not store.is_providing(KEY)
        kv.away = False
        await store.provide(KEY)
        kv.away = True
        with pytest.raises(StoreUnavailable):
            await store.stop_providing(KEY)
        assert store.is_providing(KEY)
        kv.away = False


async def test_the_last_of_concurrent_calls_counts(store, kv) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(store.provide, KEY)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.mark_provided, KEY, START)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(store.stop_providing, KEY)
    assert store.own_provides() == []
    assert await kv.scan(b"p/o/") == []
    assert len(store._own_locks) == 0
