"""Values: put, get, search and delete over the network.

A put goes to the closest serving peers, R of them, one more for each that does not take it. A get
asks ever closer peers until the closest have answered, returns the best record that validates, and
sends that one to those among the closest that lack it, in the background.

Source: docs/design.md, "Keys, values, lifetimes"; libp2p kad-dht spec, "Value storage and retrieval".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.copies import Copies, Found, to_store
from primedht.dht.lookup import LookupResult, Lookups, Verdict, nearest_of
from primedht.dht.peers import Peers
from primedht.dht.placement import place
from primedht.dht.ports import Ports
from primedht.dht.query_run import AnyQuery
from primedht.dht.region import peers_around
from primedht.dht.streaming import Spawn
from primedht.dht.value_store import StoredRecord
from primedht.errors import (
    InvalidArgument,
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
from primedht.records import lifetimes
from primedht.records.keys import KeyClass, format_key
from primedht.records.open import next_writer_unix_ms
from primedht.records.pointer import decode_pointer
from primedht.records.record import Content, ValidRecord, compare
from primedht.records.validator import RecordValidator
from primedht.results import FoundValue, PutResult, Trace

log = structlog.get_logger(__name__)

Stored = Callable[[bytes, Sequence[PeerId]], None]
"""Told of a key whose record we put and hold, and of the peers that took it as well."""

Renew = Callable[[ValidRecord, float], bytes | None]
"""Signs an owned record anew for so many seconds; None if its key is not at hand."""


class Values:
    """The value half of one node's DHT."""

    def __init__(
        self, ports: Ports, peers: Peers, lookups: Lookups, copies: Copies, validator: RecordValidator,
        config: DhtConfig, *, spawn: Spawn,
    ) -> None:  # fmt: skip
        self._rpc = ports.rpc
        self._rng = ports.rng
        self._clock: WallClock = ports.clock
        self._peers = peers
        self._lookups = lookups
        self.copies = copies
        self.store = copies.store
        self._validator = validator
        self._config = config
        self._spawn = spawn
        self._request_timeout_s = seconds(config.request_timeout)
        self.serving = True
        """Whether this node is a server and so counts itself among a key's closest peers."""
        self.on_stored: Stored = lambda key, holders: None
        self.renew: Renew = lambda valid, ttl_s: None
        self._corrections = 0  # under way

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
        own_ttl_s = self.copies.own_ttl_s(key) if ttl_s is None else min(ttl_s, self.copies.own_ttl_s(key))
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
        known = None if held is None else self.copies.still_valid(held)
        if known is not None and compare(valid, known) < 0:
            raise StaleRecord("a newer record of this key is held here; the put was not sent")
        expires = lifetimes.expires_unix_s(valid, received_unix_s=now, ttl_s=own_ttl_s, copy_ttl_s=0)
        stored = to_store(
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
            await self.store.put_if_better(stored, self.copies.better(stored))
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
                await self.store.put_if_better(stored, self.copies.better(stored))
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
            record = self.copies.to_wire(stored)  # not before: a copy would live longer by what a dial takes
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
        valid = self.copies.valid(stored)
        if found is not None and compare(found.valid, valid) > 0:
            if found.says != Found(valid, stored.expires_unix_s).says:
                await self.copies.adopt(found)
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
        renewed = to_store(
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

        def on_better(found: Found, selection: Selection[Found]) -> None:
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

    async def find(self, key: bytes, *, timeout_s: float) -> Found | None:
        """Return the best record that the network has for `key`, a tombstone included, or None."""
        selection, _ = await self._collect(key, 0, timeout_s, lambda found, selection: None, local=False)
        return selection.best

    async def _collect(
        self,
        key: bytes,
        quorum: int,
        timeout_s: float,
        improved: Callable[[Found, Selection[Found]], None],
        *,
        local: bool = True,
    ) -> tuple[Selection[Found], LookupResult]:
        """Ask for `key` until the closest peers have answered, or as many as `quorum` agree."""
        key_class = self._validator.classify(key)
        settles = 1 if key_class is KeyClass.PK else quorum if quorum > 1 else None
        selection: Selection[Found] = Selection(
            _better_found, says=lambda found: found.says, firmer=_firmer_found, enough_holders=settles
        )

        def take(peer: PeerId, found: Found) -> None:
            before = selection.best
            if before is not None:
                self.copies.report_equivocation(before.valid, found.valid)
            if selection.on_record(peer, found) and selection.best is not None:
                improved(selection.best, selection)

        held = await self.store.get(key) if local else None
        valid = None if held is None else self.copies.still_valid(held)
        if held is not None and valid is not None:
            take(self._peers.peer_id, Found(valid, held.expires_unix_s))

        def judge(peer: PeerId, reply: Message) -> Verdict:
            record = reply.record
            if record is not None and record.key != key:
                raise ProtocolViolation("the record returned is of another key")
            found = None if record is None else self.copies.acceptable(record)
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

    def _to_result(self, found: Found, holders: Sequence[PeerId], result: LookupResult | None) -> FoundValue:
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

    def _spawn_correction(self, selection: Selection[Found], best: Found, closest: Sequence[PeerId]) -> None:
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
                    await self.copies.adopt(best)
                stored = to_store(best.valid, expires_unix_s=best.expires_unix_s, now=self._clock.unix_now())
                with trio.move_on_after(limits.CORRECTION_TIMEOUT_S):
                    for peer in to_correct[: self._config.k_bucket_size]:
                        try:
                            await self.send(peer, stored)
                        except PrimeDhtError as error:
                            log.debug("correction_failed", peer=str(peer), code=error.code)
            finally:
                self._corrections -= 1

        self._spawn(correct)


def _better_found(a: Found, b: Found) -> bool:
    return compare(a.valid, b.valid) > 0


def _firmer_found(a: Found, b: Found) -> bool:
    """Of two copies the one that kept its writer's time, then the later one."""
    return a.dated if a.dated != b.dated else _better_found(a, b)
