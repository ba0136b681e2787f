"""What goes on in the background: refresh, expiry, republishing, reproviding, the table's snapshot.

Each is one task that never ends and survives what a store or a peer does to it: the next turn covers
what this one missed. Repair (repair.py), admission (peers.py) and bootstrap have their own.
"""

from __future__ import annotations

from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.bootstrap import save_snapshot
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.events import Events
from primedht.dht.lookup import Lookups
from primedht.dht.peers import Peers
from primedht.dht.ports import Rng
from primedht.dht.providers import Providers
from primedht.dht.values import Values
from primedht.errors import PrimeDhtError
from primedht.ids import PeerId
from primedht.kad.key import common_prefix_length, key_of
from primedht.kad.refresh import NONCE_BYTES, RefreshSchedule, TargetSearch
from primedht.stores.kv import KeyValue

log = structlog.get_logger(__name__)


class Refresher:
    """Keeps the buckets filled: a lookup towards each, once an interval."""

    def __init__(self, peers: Peers, lookups: Lookups, config: DhtConfig, rng: Rng) -> None:
        self._peers = peers
        self._lookups = lookups
        self._rng = rng
        self._interval_s = seconds(config.refresh_interval)
        self._schedule = RefreshSchedule(interval_s=self._interval_s)

    async def refresh(self, *, force: bool = False) -> int:
        """Refresh the buckets that are due, or all with `force`; return how many."""
        if force:
            self._schedule = RefreshSchedule(interval_s=self._interval_s)
        count = 0
        while True:
            cpl = self._schedule.next_due(self._peers.table.sizes_by_cpl(), trio.current_time())
            if cpl is None:
                return count
            nonce = self._rng.getrandbits(8 * NONCE_BYTES).to_bytes(NONCE_BYTES, "big")
            search = TargetSearch(self._peers.table.self_key, cpl, nonce)
            while (target := search.advance()) is None:
                await trio.lowlevel.checkpoint()
            await self._lookups.closest_peers(bytes(target), timeout_s=limits.WALK_TIMEOUT_S)
            self._schedule.mark(cpl, trio.current_time())
            count += 1

    def note_walk(self) -> None:
        """A walk to our own key has met our k closest: the buckets that only they can fill need nothing."""
        self._note_walk(trio.current_time())

    def _note_walk(self, walked_at: float) -> None:
        nearest = self._peers.table.nearest(self._peers.table.bucket_size)
        if nearest:
            own = self._peers.table.self_key
            filled = min(common_prefix_length(key_of(peer), own) for peer in nearest) + 1
            for cpl in range(filled, limits.REFRESH_CPL_MAX + 1):
                # The next walk begins an interval after this one, and has its time to end.
                self._schedule.mark(cpl, walked_at + limits.WALK_TIMEOUT_S)

    def assume_refreshed(self, *, walked_s_ago: float) -> None:
        """Take the buckets for refreshed at random moments of the last interval, the deep ones by a walk."""
        now = trio.current_time()
        for cpl in range(limits.REFRESH_CPL_MAX + 1):
            self._schedule.mark(cpl, now - self._rng.uniform(0, self._interval_s))
        self._note_walk(now - walked_s_ago)

    async def serve(self) -> NoReturn:
        while True:
            due_at = self._schedule.next_due_at(self._peers.table.sizes_by_cpl())
            pause_s = min(max(0.0, due_at - trio.current_time()), limits.REFRESH_TICK_S)
            await trio.sleep(max(pause_s, 1.0))
            await self.refresh()


async def serve_expiry(values: Values, providers: Providers) -> NoReturn:
    """Remove expired records. Reads check age too, so lateness is safe."""
    while True:
        await trio.sleep(limits.EXPIRY_INTERVAL_S)
        try:
            removed = await values.store.cleanup_expired() + await providers.store.cleanup_expired()
        except PrimeDhtError as error:
            log.warning("expiry_skipped", code=error.code)
            continue
        log.debug("expiry_swept", removed=removed)


async def serve_republish(values: Values, clock: WallClock, events: Events) -> NoReturn:
    """Put our own values again before they expire, until they are deleted or superseded."""
    while True:
        now = clock.unix_now()
        for key in values.store.own_due(now):
            try:
                with events.operation("republish", key) as outcome:
                    republished = await values.republish(key)
                    if republished is not None:
                        outcome.peers, outcome.trace = republished.holders, republished.trace
            except PrimeDhtError as error:
                log.warning("republish_failed", key=key.hex(), code=error.code)
                await _postpone(values, key, clock.unix_now() + limits.REPUBLISH_RETRY_S)
        due = values.store.next_republish_unix_s()
        pause_s = limits.REPUBLISH_TICK_S if due is None else due - clock.unix_now()
        await trio.sleep(min(max(1.0, pause_s), limits.REPUBLISH_TICK_S))


async def _postpone(values: Values, key: bytes, until_unix_s: float) -> None:
    try:
        await values.store.schedule_republish(key, until_unix_s)
    except PrimeDhtError as error:
        log.warning("republish_unscheduled", key=key.hex(), code=error.code)


async def serve_snapshot(store: KeyValue, peers: Peers, network_id: str) -> NoReturn:
    """Remember the table soon after somebody joined it, so that a crash does not forget the network."""
    joined = trio.Event()

    def on_joined(peer: PeerId) -> None:
        joined.set()

    peers.watch(joined=on_joined)
    pause_s = limits.SNAPSHOT_PAUSE_S
    while True:
        await joined.wait()
        await trio.sleep(pause_s)  # the first peer introduces the next ones
        joined = trio.Event()
        pause_s = min(2 * pause_s, limits.SNAPSHOT_INTERVAL_S)
        if len(peers.table):
            try:
                await save_snapshot(store, peers, network_id)
            except PrimeDhtError as error:
                log.warning("snapshot_skipped", code=error.code)
                joined.set()
