"""Provider records: saying that we have some content, finding others that do, and keeping both alive.

`provide` tells the k peers closest to the content's multihash and is repeated (reprovided) every 22
hours until `stop_providing`; the schedule survives restarts and spreads over its interval. Records that are
neighbours in the keyspace are announced together (sweep.py).

Holders cannot hand provider records over: peers refuse one that its provider does not send itself. So
where peers depart fast, as this node sees by its own neighbours, it reprovides by the time a third
of those that it told have gone.

Source: libp2p kad-dht spec, "Content provider advertisement" and "Content provider discovery";
go-libp2p-kad-dht, routing.go and amino/defaults.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.announcement import Announcement, Optimism
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.events import Events
from primedht.dht.lookup import Lookups, Verdict
from primedht.dht.peers import Peers
from primedht.dht.ports import Ports, Requester
from primedht.dht.provider_store import ProviderStore
from primedht.dht.query_run import AnyQuery
from primedht.dht.sweep import sweep
from primedht.errors import InvalidKey, PrimeDhtError
from primedht.ids import PeerId
from primedht.kad.key import distance, key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.kad.reprovide import ReprovideSchedule
from primedht.results import ProvideResult, Trace

log = structlog.get_logger(__name__)


class Providers:
    """The provider half of one node's DHT."""

    def __init__(
        self, ports: Ports, peers: Peers, lookups: Lookups, store: ProviderStore, config: DhtConfig,
        events: Events, *, spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:  # fmt: skip
        self._rpc = ports.rpc
        self._rng = ports.rng
        self._config = config
        self._clock: WallClock = ports.clock
        self._peers = peers
        self._lookups = lookups
        self.store = store
        self._events = events
        self._spawn = spawn
        self._request_timeout_s = seconds(config.request_timeout)
        now, unix_now = trio.current_time(), self._clock.unix_now()
        self._schedule = ReprovideSchedule(
            origin_s=now - unix_now,
            rate_per_s=limits.REPROVIDES_PER_S,
            ahead_share=limits.SWEEP_AHEAD_SHARE,
        )
        self._interval_s = limits.REPROVIDE_INTERVAL_S  # of all keys, unless peers depart faster
        self._changed = trio.Event()
        for own in store.own_provides():
            if not own.local_only:
                age_s = None if own.provided_unix_s is None else unix_now - own.provided_unix_s
                self._schedule.add(own.multihash, now, interval_s=limits.REPROVIDE_INTERVAL_S, age_s=age_s)

    async def provide(
        self, multihash: bytes, *, announce: bool = True, timeout_s: float = 60.0
    ) -> ProvideResult:
        """Record that this node has `multihash` and, with `announce`, tell the closest peers, now and on."""
        _check(multihash)
        await self.store.provide(multihash, local_only=not announce)
        if not announce:
            return ProvideResult(multihash, (), ())
        self._schedule.add(multihash, trio.current_time(), interval_s=limits.REPROVIDE_INTERVAL_S)
        if self._config.optimistic_provide:
            return await self._announce_early(multihash, timeout_s=timeout_s)
        found = await self._lookups.closest_peers(multihash, timeout_s=timeout_s)
        return await self._announce(multihash, found.closest, found.trace, silent=set())

    async def stop_providing(self, multihash: bytes) -> bool:
        """Stop announcing `multihash`; False if it was not provided. Others forget it within 48 hours."""
        self._schedule.remove(multihash)
        return await self.store.stop_providing(multihash)

    async def _announce(
        self,
        multihash: bytes,
        closest: Sequence[PeerId],
        trace: Trace | None,
        *,
        silent: set[PeerId],
    ) -> ProvideResult:
        """Tell `closest` but those that are `silent`; who does not take it is silent from now on."""
        announcement = self._announcement(multihash, silent)
        async with trio.open_nursery() as nursery:
            for peer in closest:
                nursery.start_soon(announcement.tell, peer)
        await self._note_announced(multihash, announcement)
        return announcement.result(trace)

    async def _announce_early(self, multihash: bytes, *, timeout_s: float) -> ProvideResult:
        """Tell likely peers while the lookup goes on; return when they are enough, and go on."""
        optimism = Optimism(
            bucket_size=self._config.k_bucket_size, network_size=self._lookups.assumed_network_size()
        )
        announcement, target = self._announcement(multihash, set()), key_of(multihash)
        settled = trio.Event()
        trace: Trace | None = None

        async def tell(peer: PeerId) -> None:
            await announcement.tell(peer)
            if len(announcement.told) >= optimism.enough:
                settled.set()

        async def announce() -> None:
            nonlocal trace
            try:
                async with trio.open_nursery() as nursery:

                    def judge(peer: PeerId, reply: Message) -> Verdict:
                        if optimism.is_likely(distance(key_of(peer), target)):
                            nursery.start_soon(tell, peer)
                        return "nothing"

                    found = await self._lookups.closest_peers(multihash, timeout_s=timeout_s, judge=judge)
                    trace = found.trace
                    for peer in found.closest:
                        nursery.start_soon(tell, peer)
                await self._note_announced(multihash, announcement)
            finally:
                settled.set()

        self._spawn(announce)
        await settled.wait()
        return announcement.result(trace)

    def _announcement(self, multihash: bytes, silent: set[PeerId]) -> Announcement:
        ourselves = self._peers.info(self._peers.peer_id)
        return Announcement(self._rpc, multihash, ourselves, timeout_s=self._request_timeout_s, silent=silent)

    async def _note_announced(self, multihash: bytes, announcement: Announcement) -> None:
        if announcement.told:
            await self.store.mark_provided(multihash, self._clock.unix_now())
            self._schedule.done(multihash, trio.current_time())
        else:
            self._schedule.failed(multihash, trio.current_time())
        self._changed.set()

    async def find(
        self, multihash: bytes, *, limit: int, timeout_s: float, emit: Callable[[PeerInfo], None]
    ) -> list[PeerId]:
        """Emit providers of `multihash` as they are found, at most `limit` (0: all); return them.

        Each is emitted once, with what addresses are known; those without any are looked up last. One peer's
        reply fills at most half of `limit` while others may still answer, so that no liar alone fills it.
        """
        _check(multihash)
        of_one_reply = (limit + 1) // 2
        found: set[PeerId] = set()
        spare: list[PeerInfo] = []
        without_addrs: list[PeerId] = []

        def take(info: PeerInfo) -> bool:
            if info.id in found or (limit and len(found) >= limit):
                return False
            found.add(info.id)
            known = info if info.addrs else self._peers.info(info.id)
            if known.addrs:
                emit(known)
            else:
                without_addrs.append(info.id)
            return True

        for info in self.held(multihash):
            take(info)

        def judge(peer: PeerId, reply: Message) -> Verdict:
            taken = 0
            for info in reply.provider_peers:
                if limit and taken == of_one_reply:
                    spare.append(info)
                else:
                    taken += take(info)
            return "value" if taken else "nothing"

        def enough(query: AnyQuery) -> bool:
            return bool(limit) and len(found) >= limit

        deadline = trio.current_time() + timeout_s
        with trio.move_on_at(deadline):
            if not (limit and len(found) >= limit):
                request = Message(MessageType.GET_PROVIDERS, multihash)
                await self._lookups.run(request, timeout_s=timeout_s, judge=judge, enough=enough)
        for info in spare:
            take(info)
        with trio.move_on_at(deadline):
            for peer in without_addrs:
                if not self._peers.info(peer).addrs:
                    await self._lookups.closest_peers(bytes(peer), timeout_s=timeout_s)
        for peer in without_addrs:
            emit(self._peers.info(peer))
        return list(found)

    # --- inbound -----------------------------------------------------------------------------------

    async def receive(self, requester: Requester, multihash: bytes, provider: PeerInfo) -> None:
        """Remember that `provider`, the requester itself, has `multihash`.

        Addresses that the book's filter refuses are not given to others either.
        """
        self._peers.remember_addrs(provider, ttl_s=limits.PROVIDER_ADDRS_TTL_S)
        known = self._peers.info(provider.id).addrs
        permitted = tuple(addr for addr in provider.addrs if addr in known)
        self.store.add(multihash, PeerInfo(provider.id, permitted), ip=requester.ip)

    def held(self, multihash: bytes) -> list[PeerInfo]:
        """Return the providers known here, shuffled, this node among them if it provides."""
        return [
            self._peers.info(info.id) if info.id == self._peers.peer_id else info
            for info in self.store.providers(multihash)
        ]

    # --- reprovide -----------------------------------------------------------------------------------

    async def serve_reprovide(self) -> NoReturn:
        """Announce again what is due, with its neighbours in the keyspace. Only cancellation ends it."""
        while True:
            self._changed = trio.Event()
            self._keep_pace()
            due = self._schedule.poll(trio.current_time(), limit=limits.SWEEP_KEYS_MAX)
            if due:
                await self._sweep(due)
            tick_at = trio.current_time() + limits.REPROVIDE_TICK_S
            with trio.move_on_at(min(self._schedule.next_poll_at(), tick_at)):
                await self._changed.wait()

    def _keep_pace(self) -> None:
        """Reprovide as often as holders depart."""
        interval_s = self._peers.departures.until_gone_s(limits.REPROVIDE_GONE_SHARE)
        interval_s = max(interval_s, limits.REPROVIDE_INTERVAL_S_MIN)
        interval_s = min(interval_s, limits.REPROVIDE_INTERVAL_S)
        ratio = interval_s / self._interval_s
        if max(ratio, 1 / ratio) >= limits.REPROVIDE_CHANGE_MIN:
            self._interval_s = interval_s
            self._schedule.shorten(interval_s, trio.current_time())

    async def _sweep(self, multihashes: Sequence[bytes]) -> None:
        silent: set[PeerId] = set()

        async def announce(multihash: bytes, closest: Sequence[PeerId], trace: Trace | None) -> None:
            if not self.store.is_providing(multihash):
                return
            try:
                with self._events.operation("reprovide", multihash) as outcome:
                    announced = await self._announce(multihash, closest, trace, silent=silent)
                    outcome.peers, outcome.trace = announced.told, announced.trace
            except PrimeDhtError as error:
                self._schedule.failed(multihash, trio.current_time())
                log.warning("reprovide_failed", multihash=multihash.hex(), code=error.code)

        began = trio.current_time()
        lookups_count = await sweep(
            self._lookups, self._rng, multihashes, announce, bucket_size=self._config.k_bucket_size
        )
        log.debug(
            "swept", keys=len(multihashes), lookups=lookups_count,
            took_s=round(trio.current_time() - began, 1), silent=len(silent),
        )  # fmt: skip


def _check(multihash: bytes) -> None:
    if not 0 < len(multihash) <= limits.PROVIDER_KEY_BYTES_MAX:
        raise InvalidKey(
            f"a provider key has 1 to {limits.PROVIDER_KEY_BYTES_MAX} bytes, not {len(multihash)}"
        )
