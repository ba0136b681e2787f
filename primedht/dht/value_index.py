"""What is known of every held record without touching the disk, and which one a full store gives up.

Pure: no I/O, no clock. `value_store` keeps it in step with what is on disk.

Quotas are kept per group (all records, one namespace, one source peer, one IP block). A group over
its quota gives up its own records farthest from us in XOR distance, never our own or pinned ones,
and refuses a newcomer that is itself the farthest. So what one party fills costs that party only,
and what stays is what lookups will look for here.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from primedht.dht.config import Quotas
from primedht.dht.schedule import Schedule
from primedht.errors import StoreFull
from primedht.kad.key import KEY_BITS, Key, distance

_ALL_ONES = (1 << KEY_BITS) - 1
_IPV4_BLOCK_BITS, _IPV6_BLOCK_BITS = 24, 48  # docs/design.md, "A full store"

_GroupName = tuple[str, bytes | str]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Everything known of a held record but its value. Fields as in `value_store.StoredRecord`.

    seen_unix_s: when any peer last gave us this very record, a copy included (not kept on disk).
    size_bytes: what the record takes in the store, value and bookkeeping.
    """

    key: bytes
    point: Key
    received_unix_s: float
    seen_unix_s: float
    expires_unix_s: float
    size_bytes: int
    value_bytes: int
    value_crc32: int
    writer_unix_ms: int | None = None
    sequence: int | None = None
    publisher: bytes = b""
    tombstone: bool = False
    source: bytes = b""
    ip_block: str = ""
    own: bool = False
    pinned: bool = False
    republish_unix_s: float = 0.0
    ttl_s: float = 0.0

    @property
    def version(self) -> int | None:
        """As `StoredRecord.version`."""
        return self.writer_unix_ms if self.sequence is None else self.sequence

    @property
    def evictable(self) -> bool:
        """Whether a full store may give this record up."""
        return not (self.own or self.pinned)


def namespace_of(key: bytes) -> str:
    """Return the key's class for quotas: `pk`, `ipns`, `prime` or `open`."""
    for name in ("pk", "ipns", "prime"):
        if key.startswith(b"/" + name.encode() + b"/"):
            return name
    return "open"


def quota_block(ip: str) -> str:
    """Return the /24 or /48 that `ip` is charged to; "" for addresses that are not public.

    Hosts of one private network share a block without being one party, so they are not charged.
    """
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global:
        return ""
    bits = _IPV4_BLOCK_BITS if address.version == 4 else _IPV6_BLOCK_BITS
    return str(ipaddress.ip_network((address, bits), strict=False))


class PointSet:
    """A set of keyspace points that can be walked in order of XOR distance from any target.

    A sorted list read as a binary trie: one bisection per branch, nothing hashed or sorted per walk.
    """

    def __init__(self, points: Iterable[Key] = ()) -> None:
        self._points = sorted(points)

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: Key) -> None:
        """Add a point that is not in the set."""
        insort(self._points, point)

    def remove(self, point: Key) -> None:
        """Remove a point that is in the set."""
        del self._points[bisect_left(self._points, point)]

    def nearest(self, target: Key) -> Iterator[Key]:
        """Yield all points, nearest to `target` first. The set may not change meanwhile."""
        points = self._points
        ranges = [(0, len(points))]
        while ranges:
            low, high = ranges.pop()
            if high - low <= 1:
                yield from points[low:high]
                continue
            bit = (points[low] ^ points[high - 1]).bit_length() - 1  # the first that differs within
            middle = bisect_left(points, Key(((points[low] >> bit) | 1) << bit), low, high)
            zeros, ones = (low, middle), (middle, high)
            ranges += (zeros, ones) if target >> bit & 1 else (ones, zeros)

    def farthest(self, target: Key) -> Iterator[Key]:
        """Yield all points, farthest from `target` first."""
        return self.nearest(Key(target ^ _ALL_ONES))


class _Group:
    """Usage of one group, and those of its records that may be given up."""

    __slots__ = ("evictable", "records", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.records = 0
        self.evictable = PointSet()


class ValueIndex:
    """The entries by keyspace point, their order around any point, usage per group, own schedule."""

    def __init__(self, self_key: Key, quotas: Quotas, entries: Iterable[IndexEntry] = ()) -> None:
        self._self_key = self_key
        self._quotas = quotas
        self._entries: dict[Key, IndexEntry] = {entry.point: entry for entry in entries}
        self._points = PointSet(self._entries)
        self._groups: dict[_GroupName, _Group] = {}
        self.own: Schedule[Key] = Schedule()
        evictable: dict[_GroupName, list[Key]] = {}
        for entry in self._entries.values():
            for name in self._group_names(entry):
                self._charge(name, entry)
                if entry.evictable:
                    evictable.setdefault(name, []).append(entry.point)
            if entry.own:
                self.own.set(entry.point, entry.republish_unix_s)
        for name, points in evictable.items():
            self._groups[name].evictable = PointSet(points)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_used(self) -> int:
        group = self._groups.get(("all", ""))
        return group.size_bytes if group else 0

    def records_in(self, namespace: str) -> int:
        """Return how many records of one key class are held."""
        group = self._groups.get(("namespace", namespace))
        return group.records if group else 0

    def get(self, point: Key) -> IndexEntry | None:
        return self._entries.get(point)

    def entries(self) -> list[IndexEntry]:
        return list(self._entries.values())

    def nearest(self, target: Key) -> Iterator[IndexEntry]:
        """Yield all entries, nearest to `target` first. The index may not change meanwhile."""
        return (self._entries[point] for point in self._points.nearest(target))

    def add(self, entry: IndexEntry) -> None:
        """Add `entry` in place of what is held under its point."""
        self.remove(entry.point)
        self._entries[entry.point] = entry
        self._points.add(entry.point)
        for name in self._group_names(entry):
            self._charge(name, entry)
            if entry.evictable:
                self._groups[name].evictable.add(entry.point)
        if entry.own:
            self.own.set(entry.point, entry.republish_unix_s)

    def remove(self, point: Key) -> IndexEntry | None:
        """Remove and return what is held under `point`."""
        entry = self._entries.pop(point, None)
        if entry is None:
            return None
        self._points.remove(point)
        self.own.discard(point)
        for name in self._group_names(entry):
            group = self._groups[name]
            group.size_bytes -= entry.size_bytes
            group.records -= 1
            if entry.evictable:
                group.evictable.remove(point)
            if not group.records:
                del self._groups[name]
        return entry

    def room_for(self, entry: IndexEntry, *, busy: Container[Key]) -> list[IndexEntry]:
        """Return what must go so that `entry` fits. Nothing changes yet; `busy` points are left alone.

        Raises `StoreFull` if it cannot fit, or if every record that could go is nearer to us than it.
        """
        old = self._entries.get(entry.point)
        old_names = self._group_names(old) if old is not None else ()
        own_distance = distance(entry.point, self._self_key)
        victims: dict[Key, IndexEntry] = {}
        for name in self._group_names(entry):
            bytes_max, records_max = self._limits(name)
            group = self._groups.get(name)
            size_bytes, records = entry.size_bytes, 1
            if group is not None:
                size_bytes, records = size_bytes + group.size_bytes, records + group.records
            for leaving in victims.values():
                if name in self._group_names(leaving):
                    size_bytes, records = size_bytes - leaving.size_bytes, records - 1
            if old is not None and name in old_names:
                size_bytes, records = size_bytes - old.size_bytes, records - 1
            candidates = group.evictable.farthest(self._self_key) if group is not None else iter(())
            while size_bytes > bytes_max or records > records_max:
                point = next(
                    (p for p in candidates if p not in busy and p not in victims and p != entry.point),
                    None,
                )
                if point is None:
                    raise StoreFull(f"the quota {_in_words(name)} is used up by records that must stay")
                if entry.evictable and distance(point, self._self_key) <= own_distance:
                    raise StoreFull(f"the quota {_in_words(name)} is used up by records closer to this node")
                victims[point] = self._entries[point]
                size_bytes -= victims[point].size_bytes
                records -= 1
        return list(victims.values())

    def _charge(self, name: _GroupName, entry: IndexEntry) -> None:
        group = self._groups.setdefault(name, _Group())
        group.size_bytes += entry.size_bytes
        group.records += 1

    def _group_names(self, entry: IndexEntry) -> tuple[_GroupName, ...]:
        """Return the groups that `entry` is charged to, the narrowest first."""
        names: list[_GroupName] = []
        if entry.source:
            names.append(("peer", entry.source))
            if entry.ip_block:
                names.append(("block", entry.ip_block))
        names += (("namespace", namespace_of(entry.key)), ("all", ""))
        return tuple(names)

    def _limits(self, name: _GroupName) -> tuple[float, float]:
        quotas = self._quotas
        share = {
            "peer": quotas.peer_share,
            "block": quotas.ip_block_share,
            "namespace": quotas.namespace_share,
            "all": 1.0,
        }[name[0]]
        return (
            share * quotas.records_bytes_max if quotas.records_bytes_max and share else float("inf"),
            share * quotas.records_max if quotas.records_max and share else float("inf"),
        )


def _in_words(name: _GroupName) -> str:
    kind, of = name
    if kind == "all":
        return "in total"
    return "of one peer" if isinstance(of, bytes) else f"of {of}"
