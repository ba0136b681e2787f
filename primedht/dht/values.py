"""Values: put, get, search and delete over the network, and what peers put here.

A put goes to the closest serving peers, R of them, one more for each that does not take it. A get
asks ever closer peers until the closest have answered, returns the best record that validates, and
sends that one to those among the closest that lack it, in the background.

Lives only shorten on the way: every copy carries the seconds it has left, and only the publisher's
own put starts a new life (records/lifetimes.py).

Source: docs/design.md, "Keys, values, lifetimes"; libp2p kad-dht spec, "Value storage and retrieval".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.lookup import LookupResult, Lookups, Verdict, nearest_of
from primedht.dht.peers import Peers
from primedht.dht.placement import place
from primedht.dht.ports import Ports, Requester
from primedht.dht.query_run import AnyQuery
from primedht.dht.region import peers_around
from primedht.dht.streaming import Spawn
from primedht.dht.value_index import IndexEntry, quota_block
from primedht.dht.value_store import StoredRecord, ValueStore
from primedht.dht.writer_clocks import WriterClocks
from primedht.errors import (
    InvalidArgument,
    InvalidKey,
    InvalidRecord,
    LocalError,
    OperationTimeout,
    PeerTimeout,
    PeerUnreachable,
    PrimeDhtError,
    ProtocolViolation,
    QuorumNotReached,
    RemoteError,
    StaleRecord,
    ValueNotFound,
    ValueTooLarge,
)
from primedht.ids import PeerId
from primedht.kad.key import key_of
from primedht.kad.messages import Message, MessageType, Record
from primedht.kad.selection import Selection
from primedht.records import lifetimes, rfc3339
from primedht.records.keys import KeyClass, format_key
from primedht.records.open import next_writer_unix_ms
from primedht.records.pointer import decode_pointer
from primedht.records.record import Content, ValidRecord, compare, find_equivocation
from primedht.records.validator import RecordValidator
from primedht.results import FoundValue, PutResult, Trace

log = structlog.get_logger(__name__)

_SOUND_COUNT_MAX = 4096

Stored = Callable[[bytes, Sequence[PeerId]], None]
"""Told of a key whose record we put and hold, and of the peers that took it as well."""

Received = Callable[[bytes], None]
"""Told of a key whose record a peer put here."""

Renew = Callable[[ValidRecord, float], bytes | None]
"""Signs an owned record anew for so many seconds; None if its key is not at hand."""


@dataclass(frozen=True, slots=True)
class _Found:
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


class Values:
    """The value half of one node's DHT."""

    def __init__(
        self, ports: Ports, peers: Peers, lookups: Lookups, store: ValueStore, validator: RecordValidator,
        config: DhtConfig, *, spawn: Spawn,
    ) -> None:  # fmt: skip
        self._rpc = ports.rpc
        self._rng = ports.rng
        self._clock: WallClock = ports.clock
        self._peers = peers
        self._lookups = lookups
        self.store = store
        self._validator = validator
        self._config = config
        self._spawn = spawn
        self._request_timeout_s = seconds(config.request_timeout)
        self.serving = True
        """Whether this node is a server and so counts itself among a key's closest peers."""
        self.on_stored: Stored = lambda key, holders: None
        self.on_received: Received = lambda key: None
        self.renew: Renew = lambda valid, ttl_s: None
        self.writer_clocks = WriterClocks()
        self._corrections = 0  # under way
        self._equivocations: dict[bytes, int] = {}  # reported: by key, the sequence
        self._sound: dict[bytes, IndexEntry | None] = {}  # served since they were stored, hence validated

    # --- put -------------------------------------------------------------------------------------

    async def put(
        self,
        key: bytes,
        value: bytes,
        *,
        ttl_s: float | None = None,
        min_holders: int | None = None,
        keep: bool = True,
        tombstone: bool = False,
        timeout_s: float = 60.0,
    ) -> PutResult:
        """Store `value` under `key`; see `Dht.put_value`."""
        now = self._clock.unix_now()
        if min_holders is not None and min_holders < 1:
            raise InvalidArgument(f"min_holders is {min_holders}; it must be at least 1")
        if ttl_s is not None and not ttl_s > 0:  # NaN too: what never ends by comparison
            raise InvalidArgument(f"ttl is {ttl_s:g} s; it must be over 0")
        own_ttl_s = self._own_ttl_s(key) if ttl_s is None else min(ttl_s, self._own_ttl_s(key))
        held = await self.store.get(key)
        record = Record(key, value, tombstone=tombstone, publisher=bytes(self._peers.peer_id))
        if self._validator.classify(key) is KeyClass.OPEN:
            observed = self.store.version_floor(key)
            record = replace(record, writer_unix_ms=next_writer_unix_ms(observed, int(now * 1000)))
        valid = self._validator.validate(record, now_unix_s=now, copied=False)
        if valid.content is Content.VALUE and len(valid.payload) > self._config.value_bytes_max:
            raise ValueTooLarge(
                f"a value of {len(valid.payload)} bytes; one record holds {self._config.value_bytes_max}"
            )
        known = None if held is None else self._still_valid(held)
        if known is not None and compare(valid, known) < 0:
            raise StaleRecord("a newer record of this key is held here; the put was not sent")
        expires = lifetimes.expires_unix_s(valid, received_unix_s=now, ttl_s=own_ttl_s, copy_ttl_s=0)
        stored = self._stored(
            valid,
            expires_unix_s=expires,
            now=now,
            publisher=record.publisher,
            own=keep and not tombstone,
            republish_unix_s=now + lifetimes.republish_interval_s(own_ttl_s),
            ttl_s=own_ttl_s,
        )
        return await self._publish(stored, min_holders=min_holders, timeout_s=timeout_s)

    async def _publish(self, stored: StoredRecord, *, min_holders: int | None, timeout_s: float) -> PutResult:
        """Send our own `stored` to the closest peers and keep it here if that is our part."""
        if stored.own or self.store.entry(stored.key) is not None:
            # Kept first: if sending fails half-way, the schedule still knows of the value.
            await self.store.put_if_better(stored, self._better(stored))
        began = trio.current_time()
        found = await self._lookups.closest_peers(stored.key, timeout_s=timeout_s)
        point = key_of(stored.key)
        ranked = list(found.closest)
        around = await self._peers_around(stored.key, found, timeout_s=timeout_s)
        if self.serving:
            ranked = nearest_of([*ranked, self._peers.peer_id], point, self._config.k_bucket_size)
        replicas = self._config.replication_factor
        gone: set[PeerId] = set()

        async def send(peer: PeerId) -> None:
            if peer == self._peers.peer_id:
                await self.store.put_if_better(stored, self._better(stored))
                return
            try:
                await self.send(peer, stored)
            except (PeerUnreachable, PeerTimeout):
                gone.add(peer)
                raise

        placed = await place(
            ranked or [self._peers.peer_id],
            copies=max(replicas, min_holders or 0),
            send=send,
            patience_s=self._peers.slow_after_s,
            timeout_s=max(1.0, timeout_s - (trio.current_time() - began)),
        )
        if around:  # those that crowd about the key may keep nothing, nor may others among these
            beside = await place(
                around,
                copies=len(around),
                send=send,
                patience_s=self._peers.slow_after_s,
                timeout_s=max(1.0, timeout_s - (trio.current_time() - began)),
            )
            placed.holders += beside.holders
            placed.refused += beside.refused
        holders = nearest_of(placed.holders, point, len(placed.holders))
        # Who died between the lookup and its copy is not missed: the next lookup would not name it. Where
        # most did, it is rather we who are cut off.
        there = sum(peer not in gone for peer in ranked)
        wanted = min_holders or min(replicas, max(1, there, (len(ranked) + 1) // 2))
        if self.store.entry(stored.key) is not None:
            self.on_stored(stored.key, [holder for holder in holders if holder != self._peers.peer_id])
        result = PutResult(
            key=stored.key,
            holders=tuple(holders),
            refused=tuple(placed.refused),
            wanted=wanted,
            replication_factor=replicas,
            degraded=len(holders) < replicas,
            sequence=stored.sequence,
            expires_unix_s=stored.expires_unix_s,
            trace=found.trace,
        )
        if len(holders) < result.wanted:
            codes = sorted({refusal.code for refusal in placed.refused})
            refusals = ", ".join(codes) or "too few peers are known"
            raise QuorumNotReached(
                f"stored on {len(holders)} of the {result.wanted} holders wanted ({refusals})",
                found=len(holders),
                wanted=result.wanted,
            ).with_trace(found.trace)
        return result

    async def send(self, peer: PeerId, stored: StoredRecord) -> None:
        """PUT_VALUE `stored` to `peer`. Raises `RemoteError`, or `InvalidRecord` if it ends too soon."""
        deadline = trio.current_time() + self._request_timeout_s
        try:
            await self._rpc.reach(peer, timeout_s=self._request_timeout_s)
            started = trio.current_time()
            record = self._to_wire(stored)  # not before: a copy would live longer by what a dial takes
            request = Message(MessageType.PUT_VALUE, stored.key, record)
            reply = await self._rpc.request(peer, request, timeout_s=max(0.0, deadline - started))
        except ProtocolViolation:
            raise  # most likely a refusal: everyone resets what they will not store
        except RemoteError as error:
            self._peers.failed(peer, error)
            raise
        echoed = reply.record
        if echoed is None or echoed.key != record.key or echoed.value != record.value:
            raise ProtocolViolation("PUT_VALUE was not answered with the record")
        self._peers.answered(peer, took_s=trio.current_time() - started)

    async def republish(self, key: bytes, *, timeout_s: float = 60.0) -> PutResult | None:
        """Put our own record again with a new life; None if it is ours no more, or a newer one is out.

        Raises `PrimeDhtError` when it could not be placed: try again later.
        """
        stored = await self.store.own_record(key)
        if stored is None:
            return None
        found = await self.find(key, timeout_s=timeout_s)
        valid = self._valid(stored)
        if found is not None and compare(found.valid, valid) > 0:
            if found.says != _Found(valid, stored.expires_unix_s).says:
                await self._adopt(found)
                log.info("republish_stopped", key=key.hex(), reason="a newer record was found")
                return None
            if found.dated:
                valid = found.valid  # others put the same again: holders take no earlier time
        now = self._clock.unix_now()
        if valid.key_class in (KeyClass.PRIME, KeyClass.IPNS):
            signed = self.renew(valid, stored.ttl_s)
            if signed is not None:
                record = Record(key, signed)
                valid = self._validator.validate(record, now_unix_s=now, copied=False)
        renewed = self._stored(
            valid,
            expires_unix_s=lifetimes.expires_unix_s(
                valid, received_unix_s=now, ttl_s=stored.ttl_s, copy_ttl_s=0
            ),
            now=now,
            publisher=stored.publisher,
            own=True,
            republish_unix_s=now + lifetimes.republish_interval_s(stored.ttl_s),
            ttl_s=stored.ttl_s,
        )
        return await self._publish(renewed, min_holders=1, timeout_s=timeout_s)

    # --- get -------------------------------------------------------------------------------------

    async def get(
        self,
        key: bytes,
        *,
        quorum: int = 0,
        timeout_s: float = 60.0,
        improved: Callable[[FoundValue], None] = lambda found: None,
    ) -> FoundValue:
        """Return the best value of `key`; see `Dht.get_value`. `improved`: told of each better one."""

        def on_better(found: _Found, selection: Selection[_Found]) -> None:
            if found.valid.content is not Content.TOMBSTONE:
                improved(self._to_result(found, selection.holders, None))

        selection, result = await self._collect(key, quorum, timeout_s, on_better)
        best = selection.best
        if best is None:
            if result.trace.stopped == "timeout":
                late = OperationTimeout(f"no value of {format_key(key)} within {timeout_s:g} s")
                raise late.with_trace(result.trace)
            absent = ValueNotFound(f"no peer has an acceptable value of {format_key(key)}")
            raise absent.with_trace(result.trace)
        self._spawn_correction(selection, best, result.closest)
        if best.valid.content is Content.TOMBSTONE:
            deleted = ValueNotFound(f"the value of {format_key(key)} was deleted")
            raise deleted.with_trace(result.trace)
        if len(selection.holders) < quorum:
            raise QuorumNotReached(
                f"{len(selection.holders)} of {quorum} acceptable records of {format_key(key)}",
                found=len(selection.holders),
                wanted=quorum,
                best=best.valid.payload if best.valid.content is Content.VALUE else None,
            ).with_trace(result.trace)
        return self._to_result(best, selection.holders, result)

    async def find(self, key: bytes, *, timeout_s: float) -> _Found | None:
        """Return the best record that the network has for `key`, a tombstone included, or None."""
        selection, _ = await self._collect(key, 0, timeout_s, lambda found, selection: None, local=False)
        return selection.best

    async def _collect(
        self,
        key: bytes,
        quorum: int,
        timeout_s: float,
        improved: Callable[[_Found, Selection[_Found]], None],
        *,
        local: bool = True,
    ) -> tuple[Selection[_Found], LookupResult]:
        """Ask for `key` until the closest peers have answered, or as many as `quorum` agree."""
        key_class = self._validator.classify(key)
        settles = 1 if key_class is KeyClass.PK else quorum if quorum > 1 else None
        selection: Selection[_Found] = Selection(
            _better_found, says=lambda found: found.says, firmer=_firmer_found, enough_holders=settles
        )

        def take(peer: PeerId, found: _Found) -> None:
            before = selection.best
            if before is not None:
                self._report_equivocation(before.valid, found.valid)
            if selection.on_record(peer, found) and selection.best is not None:
                improved(selection.best, selection)

        held = await self.store.get(key) if local else None
        valid = None if held is None else self._still_valid(held)
        if held is not None and valid is not None:
            take(self._peers.peer_id, _Found(valid, held.expires_unix_s))

        def judge(peer: PeerId, reply: Message) -> Verdict:
            record = reply.record
            if record is not None and record.key != key:
                raise ProtocolViolation("the record returned is of another key")
            found = None if record is None else self._acceptable(record)
            if found is None:
                selection.on_no_record(peer)
                return "nothing"
            take(peer, found)
            return "value"

        def enough(query: AnyQuery) -> bool:
            if selection.enough:
                return True
            return selection.best is not None and query.converged and len(selection.holders) >= quorum

        if selection.enough:
            return selection, LookupResult((), Trace(key, (), "enough", 0.0))
        request = Message(MessageType.GET_VALUE, key)
        result = await self._lookups.run(
            request,
            timeout_s=timeout_s,
            judge=judge,
            enough=enough,
            lacking=lambda: selection.best is None,
        )
        if result.trace.stopped != "timeout" and not selection.enough:
            await self._ask_around(request, result, judge, timeout_s=timeout_s)
        return selection, result

    async def _ask_around(
        self,
        request: Message,
        result: LookupResult,
        judge: Callable[[PeerId, Message], Verdict],
        *,
        timeout_s: float,
    ) -> None:
        """Where the closest peers crowd about the key as honest ones do not, ask others of its region."""
        others = await self._peers_around(request.key, result, timeout_s=timeout_s)

        async def ask(peer: PeerId) -> None:
            try:
                reply = await self._rpc.request(peer, request, timeout_s=self._request_timeout_s)
                judge(peer, reply)
            except RemoteError as error:
                self._peers.failed(peer, error)

        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                for peer in others:
                    nursery.start_soon(ask, peer)

    async def _peers_around(self, key: bytes, result: LookupResult, *, timeout_s: float) -> list[PeerId]:
        others = await peers_around(
            self._lookups,
            self._rng,
            key_of(key),
            result.closest,
            bucket_size=self._config.k_bucket_size,
            timeout_s=timeout_s,
        )
        if others:
            log.info("region_asked", key=key.hex(), peers=len(others))
        return others

    # --- inbound -----------------------------------------------------------------------------------

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
        stored = self._stored(
            valid,
            expires_unix_s=lifetimes.expires_unix_s(
                valid, received_unix_s=now, ttl_s=self._own_ttl_s(record.key), copy_ttl_s=record.ttl_s
            ),
            now=now,
            publisher=record.publisher,
            source=bytes(requester.peer),
            ip_block=quota_block(requester.ip),
        )
        try:
            await self.store.put_if_better(stored, self._better(stored, valid), renews=renews, keeps_own=True)
        except StaleRecord:
            if not await self._holds_same(valid):
                raise
        self.on_received(record.key)

    async def _holds_same(self, valid: ValidRecord, *, or_tombstone: bool = False) -> bool:
        """Whether the held open record says the same with a later writer time: what was offered lost its
        own on the way, or two wrote the same. Refusing it would only cost the sender another try."""
        if valid.key_class is not KeyClass.OPEN:
            return False
        held = await self.store.get(valid.key)
        if held is None or held.value != valid.value:
            return False
        return or_tombstone or not held.tombstone

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
                self._valid(stored)  # an earlier run, or another network's, may have stored it
                if len(self._sound) >= _SOUND_COUNT_MAX:
                    self._sound.clear()
                self._sound[key] = entry
            return self._to_wire(stored)
        except (InvalidRecord, InvalidKey, ValueTooLarge):
            return None

    async def merge_reply(self, record: Record) -> bool:
        """Keep a better record that a fellow holder returned; whether it, or an equal one, is held now."""
        found = self._acceptable(record)
        if found is None:
            return False
        return await self._adopt(found)

    # --- inner ---------------------------------------------------------------------------------------

    def _own_ttl_s(self, key: bytes) -> float:
        """How long this node keeps a record of `key`, unless its writer or a copy's ttl says less."""
        if self._validator.classify(key) in (KeyClass.PK, KeyClass.IPNS):
            return limits.RECORD_AGE_S_MAX
        return seconds(self._config.ttl)

    def _acceptable(self, record: Record) -> _Found | None:
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
            ttl_s=self._own_ttl_s(record.key),
            copy_ttl_s=record.ttl_s,
            stamped_at=record.time_received,
        )
        dated = valid.key_class is not KeyClass.OPEN or bool(record.writer_unix_ms)
        return _Found(valid, expires, dated) if expires > now else None

    async def _adopt(self, found: _Found) -> bool:
        """Store a copy of `found` in the place of what is held, if it is better."""
        if not found.dated and await self._holds_same(found.valid, or_tombstone=True):
            return True  # it would only look newer, and live longer, than what it is a copy of
        stored = self._stored(found.valid, expires_unix_s=found.expires_unix_s, now=self._clock.unix_now())
        try:
            await self.store.put_if_better(
                stored, self._better(stored, found.valid), renews=False, keeps_own=True
            )
        except StaleRecord:
            return False
        except LocalError as error:
            log.warning("copy_not_kept", key=stored.key.hex(), code=error.code)
            return False
        return True

    def _stored(
        self, valid: ValidRecord, *, expires_unix_s: float, now: float, publisher: bytes = b"",
        source: bytes = b"", ip_block: str = "", own: bool = False, republish_unix_s: float = 0.0,
        ttl_s: float = 0.0,
    ) -> StoredRecord:  # fmt: skip
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

    def _valid(self, stored: StoredRecord) -> ValidRecord:
        """Validate a held record again. Raises what the validator raises."""
        record = Record(
            stored.key,
            stored.value,
            writer_unix_ms=stored.writer_unix_ms or 0,
            tombstone=stored.tombstone and stored.writer_unix_ms is not None,
        )
        return self._validator.validate(record, now_unix_s=self._clock.unix_now(), copied=True)

    def _still_valid(self, stored: StoredRecord) -> ValidRecord | None:
        """Validate a held record again; None for what has become invalid since: it counts as not held."""
        try:
            return self._valid(stored)
        except (InvalidRecord, InvalidKey, ValueTooLarge) as error:
            log.warning("held_record_invalid", key=stored.key.hex(), code=error.code)
            return None

    def _better(
        self, stored: StoredRecord, valid: ValidRecord | None = None
    ) -> Callable[[StoredRecord | None], bool]:
        def better(held: StoredRecord | None) -> bool:
            if held is None:
                return True
            offered = valid or self._valid(stored)
            known = self._still_valid(held)
            if known is None:
                return True
            self._report_equivocation(known, offered)
            return compare(offered, known) > 0

        return better

    def _to_wire(self, stored: StoredRecord) -> Record:
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

    def _to_result(self, found: _Found, holders: Sequence[PeerId], result: LookupResult | None) -> FoundValue:
        valid = found.valid
        return FoundValue(
            key=valid.key,
            value=valid.value,
            payload=valid.payload,
            authenticated=valid.authenticated,
            sources=tuple(holders),
            sequence=valid.sequence,
            writer_unix_ms=valid.writer_unix_ms,
            expires_unix_s=found.expires_unix_s,
            trace=result.trace if result is not None else None,
            root=bytes(decode_pointer(valid.payload).root) if valid.content is Content.POINTER else None,
        )

    def _report_equivocation(self, a: ValidRecord, b: ValidRecord) -> None:
        evidence = find_equivocation(a, b)
        if evidence is None or self._equivocations.get(evidence.key) == evidence.sequence:
            return
        self._equivocations[evidence.key] = evidence.sequence
        if len(self._equivocations) > limits.EQUIVOCATIONS_MAX:
            del self._equivocations[next(iter(self._equivocations))]
        log.warning("equivocation", key=evidence.key.hex(), sequence=evidence.sequence)

    def _spawn_correction(
        self, selection: Selection[_Found], best: _Found, closest: Sequence[PeerId]
    ) -> None:
        """Send the best record to those of the R closest that lack it, and to whoever has a worse one."""
        point = key_of(best.valid.key)
        responsible = nearest_of(closest, point, self._config.replication_factor)
        behind = dict.fromkeys((*selection.to_correct(responsible), *selection.stale))
        cache_at = selection.to_cache(closest)
        if cache_at is not None:
            behind[cache_at] = None
        stale_here = behind.pop(self._peers.peer_id, "fresh") is None
        if not behind and not stale_here:
            return
        # Who makes lookups meet many peers with stale records must not make this node work for them.
        to_correct = () if self._corrections >= limits.CORRECTIONS_MAX else tuple(behind)
        self._corrections += 1

        async def correct() -> None:
            try:
                if stale_here:
                    await self._adopt(best)
                stored = self._stored(
                    best.valid, expires_unix_s=best.expires_unix_s, now=self._clock.unix_now()
                )
                with trio.move_on_after(limits.CORRECTION_TIMEOUT_S):
                    for peer in to_correct[: self._config.k_bucket_size]:
                        try:
                            await self.send(peer, stored)
                        except PrimeDhtError as error:
                            log.debug("correction_failed", peer=str(peer), code=error.code)
            finally:
                self._corrections -= 1

        self._spawn(correct)


def _better_found(a: _Found, b: _Found) -> bool:
    return compare(a.valid, b.valid) > 0


def _firmer_found(a: _Found, b: _Found) -> bool:
    """Of two copies the one that kept its writer's time, then the later one."""
    return a.dated if a.dated != b.dated else _better_found(a, b)
