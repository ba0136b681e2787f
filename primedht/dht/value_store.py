"""The values this node holds: durable in a `KeyValue`, with an index in memory.

A record is two entries of the store, written in one transaction: its meta under `v/m/` + SHA-256 of
the key, its value under `v/d/` + the same. So opening reads no values, and sweeps, repair and
"what is nearest to" read nothing at all. Entries that do not decode are skipped and counted.

What is decided about one key is decided under that key's lock: of concurrent puts the best one stays.
A reader takes it only if somebody was writing meanwhile: no reader sees half of a put. Whether a
record is better is the caller's affair; how long it lives, what it may displace and what may never
come back is decided here.

Source: docs/design.md, "Keys, values, lifetimes".
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import structlog

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.config import Quotas
from primedht.dht.key_locks import KeyLocks
from primedht.dht.value_codec import (
    FLOOR_PREFIX,
    META_PREFIX,
    Floor,
    data_name,
    data_name_of,
    decode_floor,
    decode_meta,
    encode_floor,
    encode_meta,
    floor_name,
    meta_name,
    size_of,
)
from primedht.dht.value_index import IndexEntry, PointSet, ValueIndex
from primedht.errors import InvalidRecord, StaleRecord, StoreCorrupt, StoreFull
from primedht.kad.key import Key, key_of
from primedht.stores.kv import KeyValue, scan_all

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record that this node holds, or a tombstone in its place.

    received_unix_s: when it was put here or last renewed, by our clock.
    expires_unix_s: from then on it is not served. Own records stay, so that they can be renewed.
    writer_unix_ms: when the writer of an open key put it; None elsewhere.
    sequence: of a `/prime` record; None elsewhere. tombstone: it says that the key was deleted.
    publisher: the peer whose put it was, as `Record.publisher` travels; b"" if unknown.
    source, ip_block: the peer it came from and its `quota_block`, charged for it; b"" and "" for
    what local callers put. pinned: never evicted.
    own: this node is its publisher and keeps it alive, next at `republish_unix_s`, for `ttl_s` more.
    """

    key: bytes
    value: bytes
    received_unix_s: float
    expires_unix_s: float
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
        """What says which of two records is older: the sequence, or an open record's writer time."""
        return self.writer_unix_ms if self.sequence is None else self.sequence

    def says_same(self, other: StoredRecord) -> bool:
        """Whether readers get the same from both."""
        return self.value == other.value and self.tombstone == other.tombstone

    def same_as(self, other: StoredRecord) -> bool:
        """Whether both are copies of one put: how long they live and who holds them aside."""
        return (
            self.value == other.value
            and self.writer_unix_ms == other.writer_unix_ms
            and self.sequence == other.sequence
            and self.tombstone == other.tombstone
        )


_SIGNED_LIFE_S = limits.SIGNED_ISSUED_AHEAD_S_MAX + limits.SIGNED_LIFETIME_S_MAX

Better = Callable[[StoredRecord | None], bool]
"""Whether the offered record may take the place of the held one (None: nothing is held)."""


@dataclass(frozen=True, slots=True)
class ValueStoreStats:
    """Counts of one value store; the last three since it was opened."""

    records: int
    bytes_used: int
    own: int
    by_namespace: Mapping[str, int]
    floors: int
    evicted: int
    refused: int
    corrupt: int


@asynccontextmanager
async def open_value_store(
    kv: KeyValue,
    clock: WallClock,
    self_key: Key,
    quotas: Quotas,
    *,
    open_ttl_s: float = limits.RECORD_AGE_S_MAX,
) -> AsyncIterator[ValueStore]:
    """Load the index of what `kv` holds. `kv` stays the caller's to close.

    open_ttl_s: the longest life of an open record here, hence how long an older one may turn up.
    """
    entries, floors, corrupt = await _load(kv)
    if corrupt:
        log.warning("stored_records_corrupt", count=corrupt)
    yield ValueStore(kv, clock, self_key, quotas, open_ttl_s, entries, floors, corrupt)


class ValueStore:
    """Records by key. Made by `open_value_store`; used from tasks of one event loop."""

    def __init__(
        self, kv: KeyValue, clock: WallClock, self_key: Key, quotas: Quotas, open_ttl_s: float,
        entries: list[IndexEntry], floors: dict[Key, Floor], corrupt: int,
    ) -> None:  # fmt: skip
        self._kv = kv
        self._clock = clock
        self._index = ValueIndex(self_key, quotas, entries)
        self._self_key = self_key
        self._open_ttl_s = open_ttl_s
        self._floors = floors
        self._floor_points = PointSet(floors)
        self._locks: KeyLocks[Key] = KeyLocks()
        self._unsure: set[Key] = set()  # the store failed during a write: read again before use
        self._evicted = self._refused = 0
        self._corrupt = corrupt

    # --- what is held ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._index)

    @property
    def bytes_used(self) -> int:
        """Bytes that the records take in the store, bookkeeping included."""
        return self._index.bytes_used

    def stats(self) -> ValueStoreStats:
        return ValueStoreStats(
            records=len(self._index),
            bytes_used=self.bytes_used,
            own=len(self._index.own),
            by_namespace={name: self._index.records_in(name) for name in ("pk", "ipns", "prime", "open")},
            floors=len(self._floors),
            evicted=self._evicted,
            refused=self._refused,
            corrupt=self._corrupt,
        )

    def entries(self) -> list[IndexEntry]:
        """Return what is known of every held record but its value, expired ones included."""
        return self._index.entries()

    def entry(self, key: bytes) -> IndexEntry | None:
        """Return what is known of the record under `key` but its value, even if it has expired."""
        return self._index.get(key_of(key))

    def keys_by_distance(self, target: Key, n: int) -> list[bytes]:
        """Return the keys of the `n` unexpired records nearest to `target`, nearest first."""
        now = self._clock.unix_now()
        live = (entry.key for entry in self._index.nearest(target) if entry.expires_unix_s > now)
        return list(islice(live, n))

    async def get(self, key: bytes) -> StoredRecord | None:
        """Return the unexpired record under `key`; it may be a tombstone."""
        return await self._get(key_of(key), even_expired=False)

    async def own_record(self, key: bytes) -> StoredRecord | None:
        """Return our own record under `key`, even if it expired while nobody renewed it."""
        record = await self._get(key_of(key), even_expired=True)
        return record if record is not None and record.own else None

    def version_floor(self, key: bytes) -> int | None:
        """Return the highest version known of `key` (`StoredRecord.version`), held or not, or None."""
        return self._floor_version(key_of(key))

    # --- storing -----------------------------------------------------------------------------------

    async def put_if_better(
        self, record: StoredRecord, better: Better, *, renews: bool = True, keeps_own: bool = False
    ) -> StoredRecord:
        """Store `record` if `better(held)`, and return what is held then. Durable on return.

        keeps_own: another peer brings it: a value of our own that it repeats stays our own.

        If the held record is the same put (`same_as`), `better` is not asked: the copy is accepted,
        and with `renews` the life becomes the longer of the two. Without (replication, caching and
        entry correction: `Record.ttl` was given) it stays as it is. Being our own or pinned stays.

        Raises: `StaleRecord` if it is not better, or below the highest version known for its key;
        `InvalidRecord` if it has already expired; `StoreFull`; `StoreUnavailable`.
        """
        point = key_of(record.key)
        async with self._exclusively(point):
            now = self._clock.unix_now()
            if record.expires_unix_s <= now and not record.own:
                raise InvalidRecord("the record has already expired")
            entry = self._index.get(point)
            held = None
            # Our own record outlives its expiry here: an old replica must not take its place.
            if entry is not None and (entry.own or entry.expires_unix_s > now):
                held = await self._read(entry)
            if entry is not None and held is not None and held.same_as(record):
                return await self._accept_copy(entry, held, record, renews=renews, now=now)
            floor = self._floor_version(point)
            if floor is not None and (record.version is None or record.version < floor):
                raise StaleRecord(f"version {floor} of this key is known; {record.version} is older")
            if not better(held):
                raise StaleRecord("a better record is held")
            if held is not None and held.pinned:
                record = replace(record, pinned=True)
            if keeps_own and held is not None and held.own and held.says_same(record):
                record = replace(
                    record, own=True, republish_unix_s=held.republish_unix_s, ttl_s=held.ttl_s
                )  # fmt: skip
            await self._write(record)
            return record

    async def remove(self, key: bytes) -> bool:
        """Remove the record under `key`, own or not; False if there was none. Its version is remembered."""
        point = key_of(key)
        async with self._exclusively(point):
            entry = self._index.get(point)
            if entry is None:
                return False
            await self._remove([entry])
            return True

    async def cleanup_expired(self, now_unix_s: float | None = None) -> int:
        """Remove what has expired by `now_unix_s` (default: now), except our own records; return how many."""
        now = self._clock.unix_now() if now_unix_s is None else now_unix_s
        expired = [e.point for e in self._index.entries() if e.expires_unix_s <= now and not e.own]
        removed = 0
        for points in _batches(expired, limits.STORE_CHANGES_MAX // 3):
            # A locked key is being written right now; the next sweep sees to it.
            found = (self._index.get(point) for point in points if point not in self._locks)
            batch = [e for e in found if e is not None and e.expires_unix_s <= now and not e.own]
            with self._locks.holding_free([entry.point for entry in batch]):
                await self._remove(batch)
            removed += len(batch)
        await self._drop_old_floors(now)
        await self._reload_unsure()
        return removed

    # --- our own records -----------------------------------------------------------------------------

    def own_entries(self) -> list[IndexEntry]:
        """Return what is known of the records that this node keeps alive."""
        found = (self._index.get(point) for point in self._index.own.items())
        return [entry for entry in found if entry is not None]

    def own_due(self, now_unix_s: float, *, limit: int = 100) -> list[bytes]:
        """Return the keys of own records due for republishing, the longest overdue first."""
        found = (self._index.get(point) for point in self._index.own.due(now_unix_s, limit=limit))
        return [entry.key for entry in found if entry is not None]

    def next_republish_unix_s(self) -> float | None:
        """Return when the next own record is due; None if there is none."""
        return self._index.own.next_due_unix_s()

    async def schedule_republish(self, key: bytes, republish_unix_s: float) -> bool:
        """Set when our own record under `key` is next due; survives a restart. False if there is none."""
        return await self._change(
            key, lambda e: replace(e, republish_unix_s=republish_unix_s) if e.own else e
        )

    async def disown(self, key: bytes) -> bool:
        """Stop keeping `key` alive; the record lives on until it expires. False if there is none."""
        return await self._change(key, lambda e: replace(e, own=False, republish_unix_s=0.0, ttl_s=0.0))

    async def set_pinned(self, key: bytes, pinned: bool) -> bool:
        """Exempt the record under `key` from eviction, or stop doing so. False if there is none."""
        return await self._change(key, lambda e: replace(e, pinned=pinned))

    # --- inside --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _exclusively(self, point: Key) -> AsyncIterator[None]:
        """Hold the lock of one key."""
        async with self._locks.holding(point):
            if point in self._unsure:
                await self._reload(point)
            yield

    async def _get(self, point: Key, *, even_expired: bool) -> StoredRecord | None:
        entry = self._index.get(point)
        if entry is None and point not in self._unsure:
            return None
        record = await self._read_undisturbed(point, entry)
        if record is not None and (even_expired or record.expires_unix_s > self._clock.unix_now()):
            return record
        async with self._exclusively(point):
            entry = self._index.get(point)
            if entry is None or (entry.expires_unix_s <= self._clock.unix_now() and not even_expired):
                return None
            return await self._read(entry)

    async def _read_undisturbed(self, point: Key, entry: IndexEntry | None) -> StoredRecord | None:
        """Read the record of `entry` without its lock, so that readers of one key do not queue.

        None if anybody was writing it, or it is not what was written: the lock decides.
        """
        if entry is None or point in self._locks or point in self._unsure:
            return None
        value = await self._kv.get(data_name(point))
        if value is None or point in self._locks or point in self._unsure:
            return None
        if self._index.get(point) is not entry or zlib.crc32(value) != entry.value_crc32:
            return None
        return _record_of(entry, value)

    async def _read(self, entry: IndexEntry) -> StoredRecord | None:
        """Read the value of `entry`, whose lock is held. One that is not what was written is dropped."""
        value = await self._kv.get(data_name(entry.point))
        if value is not None and zlib.crc32(value) == entry.value_crc32:
            return _record_of(entry, value)
        self._corrupt += 1
        log.warning("stored_record_corrupt", key=entry.key.hex(), own=entry.own)
        await self._remove([entry])
        return None

    async def _accept_copy(
        self, entry: IndexEntry, held: StoredRecord, record: StoredRecord, *, renews: bool, now: float
    ) -> StoredRecord:
        merged = held
        if renews:
            expires = max(held.expires_unix_s, record.expires_unix_s)
            merged = replace(merged, expires_unix_s=expires, received_unix_s=record.received_unix_s)
        if record.own:
            merged = replace(
                merged, own=True, republish_unix_s=record.republish_unix_s, ttl_s=record.ttl_s,
                source=record.source, ip_block=record.ip_block,
            )  # fmt: skip
        if record.pinned:
            merged = replace(merged, pinned=True)
        if merged == held:
            self._index.add(replace(entry, seen_unix_s=now))
        else:
            await self._write_meta(entry, _entry_of(merged, entry.point, seen_unix_s=now))
        return merged

    async def _change(self, key: bytes, change: Callable[[IndexEntry], IndexEntry]) -> bool:
        point = key_of(key)
        async with self._exclusively(point):
            entry = self._index.get(point)
            if entry is None:
                return False
            await self._write_meta(entry, change(entry))
            return True

    async def _write_meta(self, old: IndexEntry, new: IndexEntry) -> None:
        if new != old:
            await self._apply({meta_name(new.point): encode_meta(new)}, add=new, remove=())

    async def _write(self, record: StoredRecord) -> None:
        entry = _entry_of(record, key_of(record.key), seen_unix_s=record.received_unix_s)
        try:
            victims = self._index.room_for(entry, busy=self._locks)
        except StoreFull:
            self._refused += 1
            raise
        changes = {meta_name(entry.point): encode_meta(entry), data_name(entry.point): record.value}
        with self._locks.holding_free([victim.point for victim in victims]):
            await self._apply(changes, add=entry, remove=victims)
        self._evicted += len(victims)

    async def _remove(self, entries: Sequence[IndexEntry]) -> None:
        if entries:
            await self._apply({}, add=None, remove=entries)

    async def _apply(
        self,
        changes: Mapping[bytes, bytes | None],
        *,
        add: IndexEntry | None,
        remove: Sequence[IndexEntry],
    ) -> None:
        """Change store and index together, with the locks of all keys concerned held.

        The index comes first, so that puts going on meanwhile see the room that this one takes.
        """
        if len(self._unsure) > limits.STORE_CHANGES_MAX:
            await self._reload_unsure()
        changes = dict(changes)
        floors = self._floors_after(remove)
        for entry in remove:
            changes[meta_name(entry.point)] = changes[data_name(entry.point)] = None
        for point, floor in floors.items():
            changes[floor_name(point)] = encode_floor(floor) if floor is not None else None
        replaced = self._index.get(add.point) if add is not None else None
        for entry in remove:
            self._index.remove(entry.point)
        if add is not None:
            self._index.add(add)
        try:
            await self._kv.put(changes)
        except BaseException:
            if add is not None:
                self._index.remove(add.point)
                self._unsure.add(add.point)
            for entry in (*remove, *((replaced,) if replaced is not None else ())):
                self._index.add(entry)
                self._unsure.add(entry.point)
            raise
        for point, floor in floors.items():
            self._set_floor(point, floor)

    async def _reload(self, point: Key) -> None:
        """Find out what a failed write left under `point`."""
        raw = await self._kv.get(meta_name(point))
        self._index.remove(point)
        self._unsure.discard(point)
        if raw is not None:
            try:
                self._index.add(decode_meta(meta_name(point), raw))
            except StoreCorrupt:
                self._corrupt += 1
                log.warning("stored_records_corrupt", count=1)

    async def _reload_unsure(self) -> None:
        for point in [point for point in self._unsure if point not in self._locks]:
            async with self._exclusively(point):
                pass  # taking the lock reloads

    # --- the highest version of keys no longer held --------------------------------------------------

    def _floor_version(self, point: Key) -> int | None:
        entry, floor = self._index.get(point), self._floors.get(point)
        known = [entry.version] if entry is not None and entry.version is not None else []
        if floor is not None and floor.until_unix_s > self._clock.unix_now():
            known.append(floor.version)
        return max(known, default=None)

    def _floors_after(self, removed: Sequence[IndexEntry]) -> dict[Key, Floor | None]:
        """Return the floors to set (None: to drop) when `removed` are no longer held.

        A record of a lower version was written before the one we held was accepted, so it cannot
        outlive the longest life of one written at that moment.
        """
        now = self._clock.unix_now()
        changes: dict[Key, Floor | None] = {}
        for entry in removed:
            version = self._floor_version(entry.point)
            if version is None:
                continue
            signed = entry.sequence is not None
            until = entry.received_unix_s + (_SIGNED_LIFE_S if signed else self._open_ttl_s)
            old = self._floors.get(entry.point)
            until = max(until, old.until_unix_s) if old is not None else until
            if until > now:
                changes[entry.point] = Floor(version, until)
        excess = len(self._floors.keys() | changes.keys()) - limits.VERSION_FLOORS_MAX
        if excess > 0:
            changes |= dict.fromkeys(islice(self._floor_points.farthest(self._self_key), excess))
        return changes

    def _set_floor(self, point: Key, floor: Floor | None) -> None:
        known = point in self._floors
        if floor is not None:
            self._floors[point] = floor
            if not known:
                self._floor_points.add(point)
        elif known:
            del self._floors[point]
            self._floor_points.remove(point)

    async def _drop_old_floors(self, now: float) -> None:
        old = [point for point, floor in self._floors.items() if floor.until_unix_s <= now]
        for points in _batches(old, limits.STORE_CHANGES_MAX):
            free = [point for point in points if point not in self._locks]
            with self._locks.holding_free(free):
                await self._kv.put({floor_name(point): None for point in free})
                for point in free:
                    self._set_floor(point, None)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _entry_of(record: StoredRecord, point: Key, *, seen_unix_s: float) -> IndexEntry:
    entry = IndexEntry(
        key=record.key,
        point=point,
        received_unix_s=record.received_unix_s,
        seen_unix_s=seen_unix_s,
        expires_unix_s=record.expires_unix_s,
        size_bytes=0,
        value_bytes=len(record.value),
        value_crc32=zlib.crc32(record.value),
        writer_unix_ms=record.writer_unix_ms,
        sequence=record.sequence,
        publisher=record.publisher,
        tombstone=record.tombstone,
        source=record.source,
        ip_block=record.ip_block,
        own=record.own,
        pinned=record.pinned,
        republish_unix_s=record.republish_unix_s,
        ttl_s=record.ttl_s,
    )
    return replace(entry, size_bytes=size_of(encode_meta(entry), len(record.value)))


def _record_of(entry: IndexEntry, value: bytes) -> StoredRecord:
    return StoredRecord(
        key=entry.key,
        value=value,
        received_unix_s=entry.received_unix_s,
        expires_unix_s=entry.expires_unix_s,
        writer_unix_ms=entry.writer_unix_ms,
        sequence=entry.sequence,
        publisher=entry.publisher,
        tombstone=entry.tombstone,
        source=entry.source,
        ip_block=entry.ip_block,
        own=entry.own,
        pinned=entry.pinned,
        republish_unix_s=entry.republish_unix_s,
        ttl_s=entry.ttl_s,
    )


async def _load(kv: KeyValue) -> tuple[list[IndexEntry], dict[Key, Floor], int]:
    """Read all metas and floors, page by page, and remove those that do not decode; return how many."""
    entries: list[IndexEntry] = []
    floors: dict[Key, Floor] = {}
    corrupt: list[bytes] = []
    async for name, raw in scan_all(kv, META_PREFIX):
        try:
            entries.append(decode_meta(name, raw))
        except StoreCorrupt:
            corrupt += (name, data_name_of(name))
    corrupt_records = len(corrupt) // 2
    async for name, raw in scan_all(kv, FLOOR_PREFIX):
        try:
            point, floor = decode_floor(name, raw)
        except StoreCorrupt:
            corrupt.append(name)
        else:
            floors[point] = floor
    for names in _batches(corrupt, limits.STORE_CHANGES_MAX):
        await kv.put(dict.fromkeys(names))
    return entries, floors, len(corrupt) - corrupt_records
