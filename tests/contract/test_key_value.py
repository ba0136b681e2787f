"""What every `KeyValue` does, whoever wrote it: one suite on all backends."""

from __future__ import annotations

import os
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import pytest
import trio

from primedht import limits
from primedht.clock import SystemClock
from primedht.dht.config import Quotas
from primedht.dht.value_store import StoredRecord, open_value_store
from primedht.errors import InvalidArgument, StoreUnavailable
from primedht.kad.key import key_of
from primedht.stores.kv import KeyValue, scan_all


async def everything(store: KeyValue) -> list[tuple[bytes, bytes]]:
    return [entry async for entry in scan_all(store, b"")]


async def test_it_is_a_key_value(store) -> None:
    assert isinstance(store, KeyValue)


async def test_absent_keys_are_none(store) -> None:
    assert await store.get(b"nothing") is None
    assert await store.scan(b"nothing") == []
    assert await store.scan(b"") == []


async def test_values_come_back_as_they_were_put(store) -> None:
    """Keys and values are any bytes: NUL, 0xff, not UTF-8; the longest of each, and empty values."""
    changes = {
        b"\x00": b"",
        b"\xff" * limits.STORE_KEY_BYTES_MAX: b"\xff",
        b"a\r\nb\x00c": bytes(range(256)),
        b"big": os.urandom(limits.STORE_VALUE_BYTES_MAX),
    }
    await store.put(changes)
    for key, value in changes.items():
        assert await store.get(key) == value
    assert await everything(store) == sorted(changes.items())


async def test_put_replaces_and_none_deletes(store) -> None:
    await store.put({b"a": b"1", b"b": b"2"})
    await store.put({b"a": b"3", b"b": None, b"never": None})
    assert await everything(store) == [(b"a", b"3")]
    await store.put({b"a": None})
    assert await everything(store) == []


async def test_no_changes_are_no_change(store) -> None:
    await store.put({})
    assert await everything(store) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {b"": b"x"},
        {b"k" * (limits.STORE_KEY_BYTES_MAX + 1): b"x"},
        {b"k": bytes(limits.STORE_VALUE_BYTES_MAX + 1)},
    ],
)
async def test_what_the_port_does_not_allow_is_refused_whole(store, wrong) -> None:
    with pytest.raises(InvalidArgument):
        await store.put({b"good": b"x"} | wrong)
    assert await everything(store) == []
    for key in wrong:
        assert await store.get(key) is None


async def test_scan_keeps_to_prefix_order_and_limit(store) -> None:
    keys = [b"a", b"b", b"b\x00", b"b/1", b"b/2", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]
    await store.put({key: b"=" + key for key in reversed(keys)})
    assert await store.scan(b"") == [(key, b"=" + key) for key in sorted(keys)]
    assert [k for k, _ in await store.scan(b"b")] == [b"b", b"b\x00", b"b/1", b"b/2", b"b\xff", b"b\xff\xff"]
    assert [k for k, _ in await store.scan(b"b/")] == [b"b/1", b"b/2"]
    assert [k for k, _ in await store.scan(b"\xff")] == [b"\xff", b"\xff\xff"]
    assert [k for k, _ in await store.scan(b"b", limit=2)] == [b"b", b"b\x00"]
    assert [k for k, _ in await store.scan(b"b", after=b"b\x00", limit=2)] == [b"b/1", b"b/2"]
    assert [k for k, _ in await store.scan(b"b", after=b"b/1x", limit=1)] == [b"b/2"]
    assert [k for k, _ in await store.scan(b"b", after=b"a")][:1] == [b"b"]
    assert await store.scan(b"b", after=b"c") == []
    assert await store.scan(b"b", after=b"b\xff\xff") == []
    assert [k for k, _ in await store.scan(b"", after=b"c")] == [b"\xff", b"\xff\xff"]


async def test_pages_add_up_while_others_write(store) -> None:
    """Entries that stay are each seen once, in order, whatever is put and deleted between pages."""
    stay = {b"k%03d" % i: b"v" for i in range(0, 100, 2)}
    await store.put(stay | {b"k%03d" % i: b"v" for i in range(1, 100, 2)})
    seen: list[bytes] = []
    after = b""
    while page := await store.scan(b"k", after=after, limit=7):
        seen += [key for key, _ in page]
        after = page[-1][0]
        await store.put(
            {b"k%03d" % i: None for i in range(1, 100, 2)} | {after[:4] + b"+": b"new", b"a": b"new"}
        )
    assert [key for key in seen if key in stay] == sorted(stay)
    assert seen == sorted(seen)


async def test_concurrent_puts_all_land(store) -> None:
    async with trio.open_nursery() as nursery:
        for i in range(200):
            nursery.start_soon(store.put, {b"k%d" % i: b"v%d" % i, b"same": b"%d" % i})
    assert len(await everything(store)) == 201
    for i in range(200):
        assert await store.get(b"k%d" % i) == b"v%d" % i


async def test_puts_of_one_task_land_in_order(store) -> None:
    for i in range(30):
        await store.put({b"k": b"%d" % i})
        assert await store.get(b"k") == b"%d" % i


async def test_readers_see_all_of_a_put_or_nothing(store) -> None:
    keys = [b"k%d" % i for i in range(10)]
    await store.put(dict.fromkeys(keys, b"0"))
    torn = []

    async def read(cancel_scope: trio.CancelScope) -> None:
        for _ in range(50):
            page = await store.scan(b"k")
            if len({value for _, value in page}) != 1:
                torn.append(page)
        cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, nursery.cancel_scope)
        for i in range(1, 10_000):
            await store.put(dict.fromkeys(keys, b"%d" % i))
    assert torn == []


async def test_a_cancelled_put_is_applied_whole_or_not_at_all(open_store) -> None:
    """And what it was is settled by then: nothing lands after it was cancelled."""
    async with open_store() as store:
        outcomes = []
        for i in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(store.put, {b"%d-%d" % (i, j): b"x" * 1000 for j in range(10)})
                    for _ in range(i % 5):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            outcomes.append(len(await store.scan(b"%d-" % i)))
        assert set(outcomes) <= {0, 10}
        await store.put({b"later": b"x"})
        assert [len(await store.scan(b"%d-" % i)) for i in range(20)] == outcomes
        assert await store.get(b"later") == b"x"


async def test_a_cancelled_caller_leaves_the_store_usable(store) -> None:
    for use in (store.get(b"k"), store.scan(b""), store.put({b"k": b"v"})):
        with trio.CancelScope() as scope:
            scope.cancel()
            await use
        assert scope.cancelled_caught
    assert await store.get(b"k") is None
    await store.put({b"k": b"w"})
    assert await store.get(b"k") == b"w"


async def test_a_closed_store_says_so(open_store) -> None:
    async with open_store() as store:
        await store.put({b"k": b"v"})
        await store.aclose()
        for use in (store.get(b"k"), store.scan(b""), store.put({b"k": b"v"})):
            with pytest.raises(StoreUnavailable):
                await use
        await store.aclose()


async def test_an_error_of_the_user_passes_through_as_it_is(open_own_store) -> None:
    """Not wrapped in groups by what a backend runs in the background."""

    async def use() -> None:
        async with open_own_store() as store:
            await store.put({b"k": b"v"})
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await use()


async def test_what_was_put_is_there_after_reopening(open_durable_store) -> None:
    async with open_durable_store() as store:
        await store.put({b"a": b"1", b"b": b"2", b"c": b"3"})
        await store.put({b"b": None})
    async with open_durable_store() as store:
        assert await everything(store) == [(b"a", b"1"), (b"c", b"3")]


async def test_the_value_store_runs_on_it(open_durable_store) -> None:
    """Extra: restart keeps values."""
    now = SystemClock().unix_now()
    record = StoredRecord(b"\xff\x00", b"value", now, now + 60)
    async with (
        open_durable_store() as kv,
        open_value_store(kv, SystemClock(), key_of(b""), Quotas()) as values,
    ):
        await values.put_if_better(record, lambda held: held is None)
        await values.put_if_better(replace(record, key=b"other"), lambda held: held is None)
        assert await values.remove(b"other")
    async with (
        open_durable_store() as kv,
        open_value_store(kv, SystemClock(), key_of(b""), Quotas()) as values,
    ):
        assert await values.get(b"\xff\x00") == record
        assert len(values) == 1


KEYS = st.binary(min_size=1, max_size=3)
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=8), max_size=6)


@hypothesis.given(
    steps=st.lists(st.tuples(CHANGES, st.binary(max_size=2), st.binary(max_size=3), st.integers(1, 5)))
)
@hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
async def test_it_behaves_as_a_sorted_dict(open_store, steps) -> None:
    """Any sequence of puts and scans, against a dict as the oracle."""
    oracle: dict[bytes, bytes] = {}
    async with open_store() as store:
        await store.put({key: None for key, _ in await everything(store)})
        for changes, prefix, after, limit in steps:
            await store.put(changes)
            for key, value in changes.items():
                oracle.pop(key, None)
                if value is not None:
                    oracle[key] = value
            expected = sorted(e for e in oracle.items() if e[0].startswith(prefix) and e[0] > after)
            assert await store.scan(prefix, after=after, limit=limit) == expected[:limit]
        assert await everything(store) == sorted(oracle.items())
