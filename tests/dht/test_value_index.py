"""The index of held values: order by distance, usage by group, what a full store gives up."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from primedht.dht.config import Quotas
from primedht.dht.schedule import Schedule
from primedht.dht.value_index import IndexEntry, PointSet, ValueIndex, namespace_of, quota_block
from primedht.errors import StoreFull
from primedht.kad.key import Key, distance

POINTS = st.integers(0, 2**256 - 1) | st.integers(0, 15) | st.integers(2**256 - 16, 2**256 - 1)


@given(points=st.sets(POINTS), removed=st.sets(POINTS), target=POINTS)
def test_points_are_walked_in_order_of_distance(points, removed, target) -> None:
    """Oracle: sorting by distance."""
    kept = PointSet(Key(p) for p in list(points)[::2])
    for p in list(points)[1::2]:
        kept.add(Key(p))
    for p in removed & points:
        kept.remove(Key(p))
    expected = sorted(points - removed, key=lambda p: p ^ target)
    assert list(kept.nearest(Key(target))) == expected
    assert list(kept.farthest(Key(target))) == expected[::-1]
    assert len(kept) == len(expected)


@pytest.mark.parametrize(
    ("key", "namespace"),
    [
        (b"/pk/x", "pk"),
        (b"/ipns/x", "ipns"),
        (b"/prime/v/o/p", "prime"),
        (b"/primes/x", "open"),
        (b"/pk", "open"),
        (b"", "open"),
    ],
)
def test_namespaces(key, namespace) -> None:
    assert namespace_of(key) == namespace


@pytest.mark.parametrize(
    ("ip", "block"),
    [
        ("8.8.8.8", "8.8.8.0/24"),
        ("::ffff:8.8.8.8", "8.8.8.0/24"),
        ("2001:4860:4860::8888", "2001:4860:4860::/48"),
        ("192.168.1.7", ""),
        ("127.0.0.1", ""),
        ("fe80::1%eth0", ""),
        ("fd00::1", ""),
        ("", ""),
        ("not an ip", ""),
    ],
)
def test_only_public_addresses_are_charged_to_a_block(ip, block) -> None:
    assert quota_block(ip) == block


SELF = Key(0)


def entry(point: int, size_bytes: int = 1, **fields) -> IndexEntry:
    return IndexEntry(
        key=fields.pop("key", b"key"), point=Key(point), received_unix_s=0, seen_unix_s=0, expires_unix_s=1,
        size_bytes=size_bytes, value_bytes=0, value_crc32=0, **fields,
    )  # fmt: skip


ENTRIES = st.builds(
    entry,
    point=st.integers(0, 63),
    size_bytes=st.integers(1, 30),
    key=st.sampled_from([b"open", b"/pk/x", b"/prime/x"]),
    source=st.sampled_from([b"", b"a", b"b"]),
    ip_block=st.sampled_from(["", "1.2.3.0/24"]),
    own=st.sampled_from([False, False, False, True]),
    pinned=st.sampled_from([False, False, False, True]),
)
SHARES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
QUOTAS = st.builds(
    Quotas, records_bytes_max=st.integers(0, 200), records_max=st.integers(0, 20),
    namespace_share=SHARES, peer_share=SHARES, ip_block_share=SHARES,
)  # fmt: skip


@given(offers=st.lists(st.tuples(ENTRIES, st.booleans()), max_size=60), quotas=QUOTAS)
def test_no_quota_is_ever_exceeded_and_nobody_suffers_for_others(offers, quotas) -> None:
    """Whatever is offered and removed; and reloading gives the same index."""
    index = ValueIndex(SELF, quotas)
    for offered, remove in offers:
        before = {e.point: e for e in index.entries()}
        try:
            victims = index.room_for(offered, busy=())
        except StoreFull:
            assert {e.point: e for e in index.entries()} == before
            continue
        for victim in victims:
            assert victim.evictable
            assert victim.point != offered.point
            if offered.evictable:
                assert distance(victim.point, SELF) > distance(offered.point, SELF)
            index.remove(victim.point)
        index.add(offered)
        if remove:
            index.remove(offered.point)
        held = index.entries()
        check(held, quotas)
        assert index.bytes_used == sum(e.size_bytes for e in held)
        assert len(index) == len(held)
    reloaded = ValueIndex(SELF, quotas, index.entries())
    assert list(reloaded.nearest(SELF)) == list(index.nearest(SELF))
    assert {name: group.size_bytes for name, group in reloaded._groups.items()} == {
        name: group.size_bytes for name, group in index._groups.items()
    }
    for entry_ in index.entries():
        index.remove(entry_.point)
    assert index._groups == {}
    assert len(index.own) == 0


def check(held: list[IndexEntry], quotas: Quotas) -> None:
    groups: dict[tuple[str, object], list[IndexEntry]] = {}
    for e in held:
        groups.setdefault(("all", ""), []).append(e)
        groups.setdefault(("namespace", namespace_of(e.key)), []).append(e)
        if e.source:
            groups.setdefault(("peer", e.source), []).append(e)
            if e.ip_block:
                groups.setdefault(("block", e.ip_block), []).append(e)
    shares = {
        "all": 1.0, "namespace": quotas.namespace_share, "peer": quotas.peer_share,
        "block": quotas.ip_block_share,
    }  # fmt: skip
    for (kind, _), members in groups.items():
        if not shares[kind]:
            continue
        if quotas.records_max:
            assert len(members) <= shares[kind] * quotas.records_max
        if quotas.records_bytes_max:
            assert sum(e.size_bytes for e in members) <= shares[kind] * quotas.records_bytes_max


def test_busy_records_are_left_alone() -> None:
    index = ValueIndex(SELF, Quotas(records_max=2, namespace_share=0), [entry(9), entry(8)])
    assert [victim.point for victim in index.room_for(entry(1), busy=())] == [9]
    assert [victim.point for victim in index.room_for(entry(1), busy={9})] == [8]
    with pytest.raises(StoreFull):
        index.room_for(entry(1), busy={8, 9})


@given(steps=st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 50))), now=st.integers(0, 50))
def test_a_schedule_behaves_as_a_dict_of_times(steps, now) -> None:
    """Any order of setting and discarding, however often the heap is rebuilt."""
    schedule: Schedule[int] = Schedule()
    oracle: dict[int, float] = {}
    for item, due in steps * 20:
        if due is None:
            schedule.discard(item)
            oracle.pop(item, None)
        else:
            schedule.set(item, due)
            oracle[item] = due
        assert schedule.next_due_unix_s() == min(oracle.values(), default=None)
    expected = sorted(item for item, due in oracle.items() if due <= now)
    assert sorted(schedule.due(now, limit=100)) == expected
    assert sorted(schedule.due(now, limit=100)) == expected
    first = schedule.due(now, limit=2)
    assert [oracle[item] for item in first] == sorted(oracle[item] for item in expected)[:2]
    assert sorted(schedule.items()) == sorted(oracle)
    assert len(schedule) == len(oracle)
