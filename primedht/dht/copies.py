"""Copies: the records of values that this node holds. What it takes, serves, adopts and passes on.

Lives only shorten on the way: every copy carries the seconds it has left, and only the publisher's
own put starts a new life (records/lifetimes.py).

Source: docs/design.md, "Keys, values, lifetimes"; libp2p kad-dht spec, "Value storage and retrieval".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import structlog

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.ports import Requester
from primedht.dht.value_index import IndexEntry, quota_block
from primedht.dht.value_store import StoredRecord, ValueStore
from primedht.dht.writer_clocks import WriterClocks
from primedht.errors import InvalidKey, InvalidRecord, LocalError, StaleRecord, ValueTooLarge
from primedht.kad.messages import Record
from primedht.records import lifetimes, rfc3339
from primedht.records.keys import KeyClass
from primedht.records.record import Content, ValidRecord, compare, find_equivocation
from primedht.records.validator import RecordValidator

log = structlog.get_logger(__name__)

_SOUND_COUNT_MAX = 4096

Received = Callable[[bytes], None]
"""Told of a key whose record a peer put here."""


@dataclass(frozen=True, slots=True)
class Found:
    """A validated record that a peer returned. expires_unix_s: when that copy of it ends.

    dated: its writer time is the writer's. js peers lose that on the way, and what they return in its
    place is when the copy came to them: later than the original, though it is no newer write.
    """

    valid: ValidRecord
    expires_unix_s: float
    dated: bool = True

    @property
    def says(self) -> Hashable:
        """Equal for records from which readers get the same.

        An empty value without its writer's time may be what is left of a tombstone, and passes for one.
        """
        emptied = not self.dated and not self.valid.value
        return (Content.TOMBSTONE if emptied else self.valid.content, self.valid.digest)


class Copies:
    """A holder's half of one node's values."""

    def __init__(
        self, store: ValueStore, validator: RecordValidator, config: DhtConfig, *, clock: WallClock
    ) -> None:
        self.store = store
        self._validator = validator
        self._config = config
        self._clock = clock
        self.on_received: Received = lambda key: None
        self.writer_clocks = WriterClocks()
        self._equivocations: dict[bytes, int] = {}  # reported: by key, the sequence
        self._sound: dict[bytes, IndexEntry | None] = {}  # served since they were stored, hence validated

    async def receive(self, requester: Requester, record: Record) -> None:
        """Store what a peer puts here. Raises `PrimeDhtError` for what may not be stored: reset."""
        now = self._clock.unix_now()
        renews = lifetimes.from_writer(
            copy_ttl_s=record.ttl_s, publisher=record.publisher, sender=bytes(requester.peer)
        )
        if renews and record.writer_unix_ms:
            self.writer_clocks.note(requester.peer, record.writer_unix_ms / 1000 - now)
        # When it was received is ours to say: a copy that lost its writer time must not look new by it.
        unstamped = replace(record, time_received="")
        valid = self._validator.validate(unstamped, now_unix_s=now, copied=not renews)
        stored = to_store(
            valid,
            expires_unix_s=lifetimes.expires_unix_s(
                valid, received_unix_s=now, ttl_s=self.own_ttl_s(record.key), copy_ttl_s=record.ttl_s
            ),
            now=now,
            publisher=record.publisher,
            source=bytes(requester.peer),
            ip_block=quota_block(requester.ip),
        )
        held = self.store.entry(record.key)
        try:
            kept = await self.store.put_if_better(
                stored, self.better(stored, valid), renews=renews, keeps_own=True
            )
        except StaleRecord:
            if not await self._holds_same(valid):
                raise
            return
        # Of a copy that is here already, from another of its holders, there is nothing to see to.
        if held is None or held.received_unix_s != kept.received_unix_s:
            self.on_received(record.key)

    async def held(self, key: bytes) -> Record | None:
        """Return what GET_VALUE answers: the unexpired record as it travels, or None.

        A key that this network does not take is one that nobody holds: as for go, no reason to reset.
        """
        stored = await self.store.get(key)
        if stored is None:
            return None
        entry = self.store.entry(key)  # of `stored`: nothing has been awaited since
        try:
            if entry is None or self._sound.get(key) is not entry:
                self.valid(stored)  # an earlier run, or another network's, may have stored it
                if len(self._sound) >= _SOUND_COUNT_MAX:
                    self._sound.clear()
                self._sound[key] = entry
            return self.to_wire(stored)
        except (InvalidRecord, InvalidKey, ValueTooLarge):
            return None

    async def merge(self, record: Record) -> bool:
        """Keep a better record that a fellow holder returned; whether it, or an equal one, is held now."""
        found = self.acceptable(record)
        if found is None:
            return False
        return await self.adopt(found)

    def acceptable(self, record: Record) -> Found | None:
        """Validate a record from a reply; None if it is not acceptable."""
        now = self._clock.unix_now()
        try:
            valid = self._validator.validate(record, now_unix_s=now, copied=True)
        except (InvalidRecord, InvalidKey, ValueTooLarge) as error:
            log.debug("record_rejected", key=record.key.hex(), code=error.code)
            return None
        expires = lifetimes.expires_unix_s(
            valid,
            received_unix_s=now,
            ttl_s=self.own_ttl_s(record.key),
            copy_ttl_s=record.ttl_s,
            stamped_at=record.time_received,
        )
        dated = valid.key_class is not KeyClass.OPEN or bool(record.writer_unix_ms)
        return Found(valid, expires, dated) if expires > now else None

    async def adopt(self, found: Found) -> bool:
        """Store a copy of `found` in the place of what is held, if it is better."""
        stored = to_store(found.valid, expires_unix_s=found.expires_unix_s, now=self._clock.unix_now())
        try:
            if not found.dated and await self._holds_same(found.valid, or_tombstone=True):
                return True  # it would only look newer, and live longer, than what it is a copy of
            await self.store.put_if_better(
                stored, self.better(stored, found.valid), renews=False, keeps_own=True
            )
        except StaleRecord:
            return False
        except LocalError as error:
            log.warning("copy_not_kept", key=stored.key.hex(), code=error.code)
            return False
        return True

    def own_ttl_s(self, key: bytes) -> float:
        """How long this node keeps a record of `key`, unless its writer or a copy's ttl says less."""
        if self._validator.classify(key) in (KeyClass.PK, KeyClass.IPNS):
            return limits.RECORD_AGE_S_MAX
        return seconds(self._config.ttl)

    def valid(self, stored: StoredRecord) -> ValidRecord:
        """Validate a held record again. Raises what the validator raises."""
        record = Record(
            stored.key,
            stored.value,
            writer_unix_ms=stored.writer_unix_ms or 0,
            tombstone=stored.tombstone and stored.writer_unix_ms is not None,
        )
        return self._validator.validate(record, now_unix_s=self._clock.unix_now(), copied=True)

    def still_valid(self, stored: StoredRecord) -> ValidRecord | None:
        """Validate a held record again; None for what has become invalid since: it counts as not held."""
        try:
            return self.valid(stored)
        except (InvalidRecord, InvalidKey, ValueTooLarge) as error:
            log.warning("held_record_invalid", key=stored.key.hex(), code=error.code)
            return None

    def to_wire(self, stored: StoredRecord) -> Record:
        """Return a held record as it travels now. Raises `InvalidRecord` for one that is about to expire."""
        ttl_s = lifetimes.ttl_left_s(stored.expires_unix_s, self._clock.unix_now())
        if not ttl_s:
            raise InvalidRecord("the record is about to expire")
        return Record(
            key=stored.key,
            value=stored.value,
            time_received=rfc3339.format_unix_ns(int(self._clock.unix_now() * 1e9)),
            publisher=stored.publisher,
            ttl_s=ttl_s,
            writer_unix_ms=stored.writer_unix_ms or 0,
            tombstone=stored.tombstone and stored.writer_unix_ms is not None,
        )

    def better(
        self, stored: StoredRecord, valid: ValidRecord | None = None
    ) -> Callable[[StoredRecord | None], bool]:
        """Return what tells the store whether `stored`, validated as `valid`, replaces what it holds."""

        def better(held: StoredRecord | None) -> bool:
            if held is None:
                return True
            offered = valid or self.valid(stored)
            known = self.still_valid(held)
            if known is None:
                return True
            self.report_equivocation(known, offered)
            return compare(offered, known) > 0

        return better

    def report_equivocation(self, a: ValidRecord, b: ValidRecord) -> None:
        """Log, once a key, that its signer gave one sequence to two values."""
        evidence = find_equivocation(a, b)
        if evidence is None or self._equivocations.get(evidence.key) == evidence.sequence:
            return
        self._equivocations[evidence.key] = evidence.sequence
        if len(self._equivocations) > limits.EQUIVOCATIONS_MAX:
            del self._equivocations[next(iter(self._equivocations))]
        log.warning("equivocation", key=evidence.key.hex(), sequence=evidence.sequence)

    async def _holds_same(self, valid: ValidRecord, *, or_tombstone: bool = False) -> bool:
        """Whether the held open record says the same with a later writer time: what was offered lost its
        own on the way, or two wrote the same. Refusing it would only cost the sender another try."""
        if valid.key_class is not KeyClass.OPEN:
            return False
        held = await self.store.get(valid.key)
        if held is None or held.value != valid.value:
            return False
        return or_tombstone or not held.tombstone


def to_store(
    valid: ValidRecord, *, expires_unix_s: float, now: float, publisher: bytes = b"", source: bytes = b"",
    ip_block: str = "", own: bool = False, republish_unix_s: float = 0.0, ttl_s: float = 0.0,
) -> StoredRecord:  # fmt: skip
    """Return the entry in which a store keeps `valid`; `own` are those that this node puts again."""
    return StoredRecord(
        key=valid.key,
        value=valid.value,
        received_unix_s=now,
        expires_unix_s=expires_unix_s,
        writer_unix_ms=valid.writer_unix_ms,
        sequence=valid.sequence if valid.key_class is KeyClass.PRIME else None,
        publisher=publisher,
        tombstone=valid.content is Content.TOMBSTONE,
        source=source,
        ip_block=ip_block,
        own=own,
        republish_unix_s=republish_unix_s if own else 0.0,
        ttl_s=ttl_s if own else 0.0,
    )
