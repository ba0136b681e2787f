"""Repair: every held value stays on the R peers closest to it, whoever joins, leaves or dies.

This node acts for a record only if by its own table it is one of the R closest, or was until
newcomers displaced it. It acts when somebody new enters that set, which the table tells it, and for
every record once an interval. The closest holder goes first and the others wait their turn, so that
they find the work done: each asks (GET_VALUE) before it sends (PUT_VALUE), takes over what is better
than its own, and never spends more than a budget of bytes per second. After a put, after a restart and
once an interval the closest holder asks all others whether they have it, and those ask only the
closest: twice R questions, not R times R.

Copies carry the seconds that are left, so no number of repairs lengthens a life.

Source: docs/design.md, "Repair"; rust-libp2p kad, jobs.rs (replication); the order by rank is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NoReturn

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.peers import Peers
from primedht.dht.ports import Ports
from primedht.dht.schedule import Schedule
from primedht.dht.value_index import IndexEntry, namespace_of
from primedht.dht.values import Values
from primedht.errors import PrimeDhtError, ProtocolViolation, RemoteError
from primedht.ids import PeerId
from primedht.kad.messages import Message, MessageType

log = structlog.get_logger(__name__)

Ensured = Literal["held", "refused", "failed"]
"""How seeing to a peer's copy ended: it has one, it will not have one, or that is not known."""


class Repair:
    """Replicates what this node holds. `serve` runs its tasks."""

    def __init__(self, ports: Ports, peers: Peers, values: Values, config: DhtConfig) -> None:
        self._rpc = ports.rpc
        self._rng = ports.rng
        self._clock: WallClock = ports.clock
        self._peers = peers
        self._values = values
        self._config = config
        self._request_timeout_s = seconds(config.request_timeout)
        self._holders: dict[bytes, tuple[PeerId, ...]] = {}
        """Per held key, the other peers that hold its record as far as we know."""
        self._unconfirmed: dict[bytes, float] = {}
        """Keys whose holders are those that should be and may not, and when to find out (monotonic s):
        of records that we received, or held in an earlier life."""
        self._joined_at = trio.current_time() + limits.REPAIR_JOIN_S
        self._due: Schedule[bytes] = Schedule()  # monotonic seconds
        self._fresh: dict[bytes, None] = {}
        self._newcomers: dict[PeerId, float] = {}  # that joined the table within a turn, and when
        self._table_changed = trio.Event()
        self._table_changed.set()
        self._wake = trio.Event()
        self._idle = trio.lowlevel.ParkingLot()
        self._under_way = 0  # records that are being seen to
        self._budget_free_at = 0.0
        self.sent = 0
        """Copies sent since the start."""
        self._interrupted: dict[PeerId, None] = {}
        """Peers that may have started anew since, with an empty store: what they hold is unknown."""
        peers.watch(joined=self._on_joined, left=self._on_interrupted, reconnected=self._on_interrupted)
        values.on_stored = self.note_stored
        values.copies.on_received = self.note_received

    def note_stored(self, key: bytes, holders: Sequence[PeerId]) -> None:
        """A record of `key` is held here since now, and by `holders`; its other closest peers must get it."""
        self._unconfirmed.pop(key, None)
        self._note(key, holders)

    def note_received(self, key: bytes) -> None:
        """A peer sent us a record of `key`. The others of its closest should have it too: see to that.

        Whoever sent it need not hold it itself: a reader that corrects does not, nor a client.
        """
        entry = self._values.store.entry(key)
        if entry is not None:
            self._unconfirmed[key] = trio.current_time()
            self._note(key, ())

    def _note(self, key: bytes, holders: Sequence[PeerId]) -> None:
        self._holders[key] = tuple(dict.fromkeys(holders))
        self._due.set(key, trio.current_time() + self._interval_s())
        self._fresh[key] = None
        self._wake.set()

    async def serve(self) -> NoReturn:
        """Only cancellation ends it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_changes)
            nursery.start_soon(self._serve_due, nursery)
        raise AssertionError("unreachable: its tasks never return")

    async def hand_over(self, *, budget_s: float) -> tuple[int, int]:
        """Before leaving: give the records to those that take our place, what is due next first.

        Returns how many records the R closest other peers now hold, and how many they do not. Those
        that lack a record as far as we know come first; then the others are asked whether they have it.
        """
        entries = sorted(self._live_entries(), key=lambda entry: entry.seen_unix_s)
        limiter = trio.CapacityLimiter(limits.HAND_OVERS_AT_ONCE)
        unsafe = {entry.key for entry in entries}

        async def hand(entry: IndexEntry, *, to_known: bool) -> None:
            async with limiter:
                heirs = self._peers.closest(entry.point, self._config.replication_factor)
                known = () if entry.key in self._unconfirmed else self._holders.get(entry.key, ())
                asked = [peer for peer in heirs if (peer in known) is to_known]
                kept = [await self._ensure(entry, peer) == "held" for peer in asked]
                if not (heirs and all(kept)):
                    failed.add(entry.key)
                elif to_known:
                    unsafe.discard(entry.key)

        failed: set[bytes] = set()
        with trio.move_on_after(budget_s):
            for to_known in (False, True):
                async with trio.open_nursery() as nursery:
                    for entry in entries:
                        if entry.key not in failed:
                            nursery.start_soon(partial(hand, entry, to_known=to_known))
        return len(entries) - len(unsafe), len(unsafe)

    # --- tasks -------------------------------------------------------------------------------------

    async def _serve_changes(self) -> NoReturn:
        """Find records whose R closest have a member that lacks them: the fresh ones, and after a change
        of the table all."""
        scan_s, scanned_at = 0.0, -math.inf
        while True:
            await self._wake.wait()
            # Records that come in wait for a put to reach its other holders; a newcomer is seen to at once.
            with trio.move_on_after(limits.REPAIR_BATCH_S):
                await self._table_changed.wait()
            # A scan of many records may take no more than a fraction of the time.
            scan_pause_s = max(limits.REPAIR_CHANGES_S, limits.REPAIR_SCAN_PAUSES * scan_s)
            await trio.sleep_until(max(scanned_at + scan_pause_s, trio.current_time()))
            self._wake = trio.Event()
            fresh, self._fresh = self._fresh, {}
            table_changed = self._table_changed.is_set()
            self._table_changed = trio.Event()
            interrupted, self._interrupted = self._interrupted, {}
            began = trio.current_time()
            if table_changed:
                entries = self._live_entries()
            else:
                found = (self._values.store.entry(key) for key in fresh)
                entries = [entry for entry in found if entry is not None and self._applies(entry)]
            partners = dict.fromkeys(() if table_changed else self._peers.partners)
            for count, entry in enumerate(entries):
                if count % limits.REPAIR_SCAN_SLICE == 0:
                    await trio.lowlevel.checkpoint()
                if interrupted and (known := self._holders.get(entry.key)):
                    self._holders[entry.key] = tuple(peer for peer in known if peer not in interrupted)
                partners.update(dict.fromkeys(self._plan(entry)))
            self._peers.partners = partners
            if table_changed or len(self._holders) > 2 * len(self._values.store) + limits.REPAIR_SCAN_SLICE:
                self._forget_gone()
            if table_changed:
                scanned_at = trio.current_time()
                scan_s = scanned_at - began

    def _plan(self, entry: IndexEntry) -> tuple[PeerId, ...]:
        """Set when this record is next seen to: soon if somebody lacks it, else in its interval.

        Returns whose death we must notice: the closest holder watches the others, the second watches it.
        """
        now = trio.current_time()
        rank, others = self._role(entry)
        if entry.key not in self._holders:  # from an earlier life; let the table fill first
            self._unconfirmed[entry.key] = self._joined_at
        ask_at = self._unconfirmed.get(entry.key, now)
        if entry.key in self._unconfirmed:
            self._holders[entry.key] = others
        known = self._holders[entry.key]
        if entry.key in self._unconfirmed or any(peer not in known for peer in others):
            # Who has not got it yet takes no turn.
            turn = sum(peer in known for peer in others[:rank])
            turn_s = turn * (limits.REPAIR_TURN_S + self._rng.uniform(0, limits.REPAIR_TURN_S / 2))
            self._due.set(entry.key, max(now, ask_at) + turn_s)
            self._idle.unpark_all()
        elif entry.key not in self._due:
            self._due.set(entry.key, now + self._rng.uniform(0, self._interval_s()))
        return others if rank == 0 else others[:1] if rank == 1 else ()

    async def _serve_due(self, nursery: trio.Nursery) -> NoReturn:
        while True:
            now = trio.current_time()
            for key in self._due.due(now, limit=limits.REPAIRS_AT_ONCE - self._under_way):
                self._due.set(key, now + self._interval_s())
                self._under_way += 1
                nursery.start_soon(self._repair_due, key)
            next_due = self._due.next_due_unix_s()
            if next_due is None or self._under_way == limits.REPAIRS_AT_ONCE:
                next_due = math.inf
            with trio.move_on_at(next_due):
                await self._idle.park()

    async def _repair_due(self, key: bytes) -> None:
        try:
            await self._repair(key)
        finally:
            self._under_way -= 1
            self._idle.unpark_all()

    async def _repair(self, key: bytes) -> None:
        entry = self._values.store.entry(key)
        if entry is None or not self._applies(entry):
            return
        rank, others = self._role(entry)
        to_ask = [peer for peer in others if peer not in self._holders.get(key, ())]
        unconfirmed = self._unconfirmed.pop(key, None)
        since = trio.current_time() - limits.REPAIR_TURN_S
        newcomers = {peer for peer in others if self._newcomers.get(peer, since) > since}
        if unconfirmed is None:
            newcomers.update(to_ask)
        if unconfirmed is not None or not to_ask:
            # The first turn, or the interval's: the closest holder asks everyone, the others only that one.
            to_ask = list(dict.fromkeys([*to_ask, *(others if rank == 0 else others[:1])]))

        async def ensure(peer: PeerId) -> None:
            ensured = await self._ensure(entry, peer, lacks=peer in newcomers)
            failed = ensured == "failed"  # who refuses it is not asked again
            holders = [holder for holder in self._holders.get(key, ()) if holder != peer]
            self._holders[key] = tuple(holders if failed else [*holders, peer])
            if failed and unconfirmed is not None:
                self._unconfirmed[key] = unconfirmed

        async with trio.open_nursery() as nursery:
            for peer in to_ask:
                nursery.start_soon(ensure, peer)
        _, others = self._role(entry)
        holders = [peer for peer in self._holders.get(key, ()) if peer in others]
        self._holders[key] = tuple(holders)
        if len(holders) < len(others):
            self._due.set(key, trio.current_time() + limits.REPAIR_RETRY_S)

    async def _ensure(self, entry: IndexEntry, peer: PeerId, *, lacks: bool = False) -> Ensured:
        """See to it that `peer` has the record, ours or a better one.

        lacks: it has just come, and most likely has not. A small record is then sent unasked, as the
        question would cost as much; whoever has a better one refuses it, and is asked after all.
        """
        if lacks and entry.value_bytes <= limits.REPAIR_QUESTION_BYTES:
            outcome = await self._send(entry, peer)
            if outcome != "refused":
                return outcome
        await self._spend(limits.REPAIR_QUESTION_BYTES)
        question = Message(MessageType.GET_VALUE, entry.key)
        try:
            reply = await self._rpc.request(peer, question, timeout_s=self._request_timeout_s)
        except RemoteError as error:
            if not isinstance(error, ProtocolViolation):
                self._peers.failed(peer, error)
            return "failed"
        self._peers.answered(peer)
        if reply.record is not None and reply.record.key == entry.key:
            await self._spend(len(reply.record.value))
            if await self._values.copies.merge(reply.record):
                return "held"
        return await self._send(entry, peer)

    async def _send(self, entry: IndexEntry, peer: PeerId) -> Ensured:
        try:
            stored = await self._values.store.get(entry.key)
            if stored is None:
                return "held"  # it has just expired: nobody needs it
            await self._spend(2 * entry.value_bytes)
            await self._values.send(peer, stored)
        except PrimeDhtError as error:
            log.debug("repair_refused", peer=str(peer), key=entry.key.hex(), code=error.code)
            return "refused" if isinstance(error, ProtocolViolation) else "failed"
        self.sent += 1
        return "held"

    # --- inner ---------------------------------------------------------------------------------------

    def _role(self, entry: IndexEntry) -> tuple[int, tuple[PeerId, ...]]:
        """Return our turn among the record's R closest, and the others of them.

        A node that newcomers have displaced takes the last turn: without it, a value all of whose
        holders were displaced at once would be known to nobody who is asked first.
        """
        replicas = self._config.replication_factor
        closest = self._peers.closest(entry.point, replicas, with_self=self._values.serving)
        own = self._peers.peer_id
        others = tuple(peer for peer in closest if peer != own)
        return (closest.index(own) if own in closest else replicas), others

    def _applies(self, entry: IndexEntry) -> bool:
        if entry.expires_unix_s <= self._clock.unix_now():
            return False
        return not (self._config.network_kind == "public" and namespace_of(entry.key) in ("pk", "ipns"))

    def _live_entries(self) -> list[IndexEntry]:
        return [entry for entry in self._values.store.entries() if self._applies(entry)]

    def _on_joined(self, peer: PeerId) -> None:
        now = trio.current_time()
        self._newcomers = {
            newcomer: joined_at
            for newcomer, joined_at in self._newcomers.items()
            if now - joined_at < limits.REPAIR_TURN_S
        }
        self._newcomers[peer] = now
        self._on_table_change(peer)

    def _on_table_change(self, peer: PeerId) -> None:
        self._table_changed.set()
        self._wake.set()

    def _on_interrupted(self, peer: PeerId) -> None:
        self._interrupted[peer] = None
        self._on_table_change(peer)

    def _forget_gone(self) -> None:
        for key in [key for key in self._holders if self._values.store.entry(key) is None]:
            del self._holders[key]
            self._unconfirmed.pop(key, None)
            self._due.discard(key)

    def _interval_s(self) -> float:
        return self._rng.uniform(0.75, 1.0) * limits.REPAIR_INTERVAL_S

    async def _spend(self, count_bytes: int) -> None:
        """Wait until the budget has room for `count_bytes` more."""
        now = trio.current_time()
        start = max(now - limits.REPAIR_BURST_S, self._budget_free_at)
        self._budget_free_at = start + count_bytes / self._config.repair_bytes_per_s
        if start > now:
            await trio.sleep(start - now)
