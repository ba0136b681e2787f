"""The bytes in which the value store keeps its entries, and under which names.

Every entry is a message of `store.proto` behind a checksum, and names its own key: what another
key's entry says is not believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from primedht.dht.sealed import seal, unseal
from primedht.dht.value_index import IndexEntry
from primedht.errors import StoreCorrupt
from primedht.kad.key import Key, key_of
from primedht.pb import store_pb2

META_PREFIX, DATA_PREFIX, FLOOR_PREFIX = b"v/m/", b"v/d/", b"v/f/"
_POINT_BYTES = 32
_NAMES_BYTES = len(META_PREFIX) + len(DATA_PREFIX) + 2 * _POINT_BYTES


@dataclass(frozen=True, slots=True)
class Floor:
    """The highest version known of a key, remembered until `until_unix_s`."""

    version: int
    until_unix_s: float


def meta_name(point: Key) -> bytes:
    return META_PREFIX + point.to_bytes(_POINT_BYTES, "big")


def data_name(point: Key) -> bytes:
    return DATA_PREFIX + point.to_bytes(_POINT_BYTES, "big")


def data_name_of(meta_name: bytes) -> bytes:
    """Return the name of the value that belongs to the meta under `meta_name`."""
    return DATA_PREFIX + meta_name[len(META_PREFIX) :]


def floor_name(point: Key) -> bytes:
    return FLOOR_PREFIX + point.to_bytes(_POINT_BYTES, "big")


def size_of(meta: bytes, value_bytes: int) -> int:
    """Return what a record takes in the store, given its encoded meta."""
    return len(meta) + value_bytes + _NAMES_BYTES


def encode_meta(entry: IndexEntry) -> bytes:
    return seal(
        store_pb2.RecordMeta(
            key=entry.key,
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
            value_bytes=entry.value_bytes,
            value_crc32=entry.value_crc32,
        )
    )


def decode_meta(name: bytes, raw: bytes) -> IndexEntry:
    """Return the entry stored as `raw` under `name`. Raises `StoreCorrupt`."""
    meta = store_pb2.RecordMeta()
    unseal(raw, meta)
    point = key_of(meta.key)
    if meta_name(point) != name:
        raise StoreCorrupt("a stored record is under another key's name")
    times = (meta.received_unix_s, meta.expires_unix_s, meta.republish_unix_s, meta.ttl_s)
    if not all(map(isfinite, times)):
        raise StoreCorrupt("a stored record has a time that is none")
    return IndexEntry(
        key=meta.key,
        point=point,
        received_unix_s=meta.received_unix_s,
        seen_unix_s=meta.received_unix_s,
        expires_unix_s=meta.expires_unix_s,
        size_bytes=size_of(raw, meta.value_bytes),
        value_bytes=meta.value_bytes,
        value_crc32=meta.value_crc32,
        writer_unix_ms=meta.writer_unix_ms if meta.HasField("writer_unix_ms") else None,
        sequence=meta.sequence if meta.HasField("sequence") else None,
        publisher=meta.publisher,
        tombstone=meta.tombstone,
        source=meta.source,
        ip_block=meta.ip_block,
        own=meta.own,
        pinned=meta.pinned,
        republish_unix_s=meta.republish_unix_s,
        ttl_s=meta.ttl_s,
    )


def encode_floor(floor: Floor) -> bytes:
    return seal(store_pb2.VersionFloor(version=floor.version, until_unix_s=floor.until_unix_s))


def decode_floor(name: bytes, raw: bytes) -> tuple[Key, Floor]:
    """Return the keyspace point and the floor stored as `raw` under `name`. Raises `StoreCorrupt`."""
    message = store_pb2.VersionFloor()
    unseal(raw, message)
    if len(name) != len(FLOOR_PREFIX) + _POINT_BYTES:
        raise StoreCorrupt("a stored sequence is under no key's name")
    point = Key(int.from_bytes(name[len(FLOOR_PREFIX) :], "big"))
    return point, Floor(message.version, message.until_unix_s)
