"""The engine as one object: everything a node does in the DHT, over ports.

    async with open_dht(ports, store, DhtConfig(), bootstrap=[...]) as dht:
        await dht.put_value(b"key", b"value")

`open_dht` owns every task of the engine; leaving it hands over what it can within `grace_s` of the
configuration, remembers the routing table and ends the tasks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.dht import maintenance
from primedht.dht.bootstrap import Bootstrap, load_snapshot, save_snapshot, texts_of
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.copies import Copies
from primedht.dht.events import Events, Outcome
from primedht.dht.handlers import Handlers
from primedht.dht.lookup import LookupResult, Lookups, Verdict
from primedht.dht.mode import Mode
from primedht.dht.peers import Peers
from primedht.dht.ports import Ports
from primedht.dht.provider_store import ProviderStore, open_provider_store
from primedht.dht.providers import Providers
from primedht.dht.repair import Repair
from primedht.dht.streaming import streamed
from primedht.dht.value_store import ValueStore, open_value_store
from primedht.dht.values import Values
from primedht.errors import InvalidArgument, InvalidKey, PeerNotFound, PrimeDhtError
from primedht.ids import PeerId
from primedht.kad.key import key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.kad.table import RoutingTable
from primedht.records.keys import KeyClass
from primedht.records.validator import RecordValidator
from primedht.results import DiscoveredPeer, FoundValue, ProvideResult, PutResult, Trace
from primedht.stores.kv import KeyValue
from primedht.tasks import open_background_nursery

log = structlog.get_logger(__name__)


class Discovery:
    """How this node came to know its peers (the seed's word)."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def get_peers(self) -> list[DiscoveredPeer]:
        """Return the peers met so far, those of the routing table first."""
        members = self._peers.table.peers()
        others = [peer for peer in self._peers.found if peer not in self._peers.table]
        return [
            DiscoveredPeer(
                id=peer,
                addrs=texts_of(self._peers.info(peer)),
                how=self._peers.found.get(peer, "lookup"),
                in_routing_table=peer in self._peers.table,
            )
            for peer in (*members, *others)
        ]


class Dht:
    """One node of a Kademlia DHT. Made by `open_dht`; used from tasks of the same event loop."""

    def __init__(
        self, ports: Ports, store: KeyValue, config: DhtConfig, values: ValueStore, providers: ProviderStore,
        bootstrap: Sequence[str], nursery: trio.Nursery,
    ) -> None:  # fmt: skip
        self.config = config
        self._ports = ports
        self._store = store
        self._nursery = nursery
        self.peers = Peers(ports, config)
        self.events = Events(ports.clock)
        self.lookups = Lookups(ports, self.peers, config)
        self._validator = RecordValidator(
            network_id=config.network_id,
            network_kind=config.network_kind,
            ipfs_keys_only=config.ipfs_keys_only,
            value_bytes_max=config.value_bytes_max,
        )
        self.copies = Copies(values, self._validator, config, clock=ports.clock)
        self.values = Values(
            ports, self.peers, self.lookups, self.copies, self._validator, config, spawn=self._spawn
        )
        self.providers = Providers(
            ports, self.peers, self.lookups, providers, config, self.events, spawn=self._spawn
        )
        self.repair = Repair(ports, self.peers, self.values, config)
        self.bootstrap = Bootstrap(ports, self.peers, self.lookups, config, bootstrap)
        handlers = Handlers(
            self.peers,
            self.copies,
            self.providers,
            bucket_size=config.k_bucket_size,
            public=config.network_kind == "public",
        )
        self.mode = Mode(ports, self.peers, config, handlers.handle)
        self._refresher = maintenance.Refresher(self.peers, self.lookups, config, ports.rng)
        self.bootstrap.on_walked = self._refresher.note_walk
        self.discovery = Discovery(self.peers)

    # --- what is there -----------------------------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        return self.peers.peer_id

    @property
    def routing_table(self) -> RoutingTable:
        return self.peers.table

    @property
    def storage(self) -> ValueStore:
        """The records held here (the seed's word)."""
        return self.copies.store

    # --- values --------------------------------------------------------------------------------------

    def classify(self, key: bytes) -> KeyClass:
        """Return the class of `key`. Raises `InvalidKey` for one that this network does not take."""
        return self._validator.classify(key)

    async def put_value(
        self,
        key: bytes,
        value: bytes,
        *,
        ttl_s: float | None = None,
        min_holders: int | None = None,
        keep: bool = True,
        timeout_s: float = 60.0,
    ) -> PutResult:
        """Store `value` under `key` on the R closest serving peers.

        Args:
            key: 1 to `limits.RECORD_KEY_BYTES_MAX` bytes, of a class that this network takes.
            value: the record's value as it travels; at most `config.value_bytes_max` bytes.
            ttl_s: life of an open value, at most `config.ttl`, the default. Signed classes say their own.
            min_holders: acceptances that make a success; default R, or as many peers as there are.
            keep: put it again before it expires, until it is deleted or superseded.
        Raises:
            InvalidKey, InvalidRecord, ValueTooLarge, StaleRecord: nothing was sent.
            QuorumNotReached: fewer than `min_holders` took it; those that did keep it.
            StoreFull, StoreUnavailable: this node's own store failed.
        Source: libp2p kad-dht spec, "Value storage"; docs/design.md, "Replication R".
        """
        with self.events.operation("put", key) as outcome:
            outcome.value_bytes = len(value)
            left_s = await self._ready(timeout_s)
            result = await self.values.put(
                key, value, ttl_s=ttl_s, min_holders=min_holders, keep=keep, timeout_s=left_s
            )
            outcome.peers, outcome.trace = result.holders, result.trace
            return result

    async def get_value(self, key: bytes, *, quorum: int = 0, timeout_s: float = 60.0) -> FoundValue:
        """Return the best valid record for `key`.

        Args:
            quorum: peers that must have returned that very record, this node included; 0 or 1: any.
            timeout_s: seconds for the lookup; entry correction goes on in the background.
        Raises:
            InvalidKey: not a key of this network. Nothing was sent.
            ValueNotFound: the lookup ended and no peer had an acceptable record, or it was deleted.
            QuorumNotReached: fewer than `quorum`; `error.best` holds the best payload seen.
            OperationTimeout: `timeout_s` passed before any was found.
        Source: libp2p kad-dht spec, "Value retrieval"; go-libp2p-kad-dht `routing.go`, GetValue.
        """
        with self.events.operation("get", key) as outcome:
            left_s = await self._ready(timeout_s)
            found = await self.values.get(key, quorum=quorum, timeout_s=left_s)
            _note_found(outcome, found)
            return found

    def search_value(
        self, key: bytes, *, quorum: int = 0, timeout_s: float = 60.0
    ) -> AsyncIterator[FoundValue]:
        """Yield ever better values of `key`; the last one is what `get_value` returns.

        Raises as `get_value`, when the stream ends.
        """

        async def produce(emit: Callable[[FoundValue], None]) -> None:
            with self.events.operation("search", key) as outcome:
                left_s = await self._ready(timeout_s)
                best = await self.values.get(key, quorum=quorum, timeout_s=left_s, improved=emit)
                _note_found(outcome, best)
            emit(best)

        return streamed(self._spawn, produce, buffer=limits.QUERY_PEERS_MAX)

    async def delete_value(self, key: bytes, tombstone: bytes = b"", *, timeout_s: float = 60.0) -> PutResult:
        """Delete `key` everywhere: its holders keep a tombstone until no copy can be left.

        tombstone: the signed one of a `/prime` key; open keys need none. Raises as `put_value`.
        """
        with self.events.operation("delete", key) as outcome:
            left_s = await self._ready(timeout_s)
            result = await self.values.put(
                key, tombstone, keep=False, tombstone=not tombstone, timeout_s=left_s
            )
            outcome.peers, outcome.trace = result.holders, result.trace
            return result

    # --- providers -----------------------------------------------------------------------------------

    async def provide(
        self, multihash: bytes, *, announce: bool = True, timeout_s: float = 60.0
    ) -> ProvideResult:
        """Tell the k closest peers that this node has `multihash`, now and every 22 hours.

        With `config.optimistic_provide` some of them are told after this returns, and there may be no trace.
        announce: False records it here only. Raises `InvalidKey`, `StoreFull`, `StoreUnavailable`.
        """
        with self.events.operation("provide", multihash) as outcome:
            left_s = await self._ready(timeout_s)
            result = await self.providers.provide(multihash, announce=announce, timeout_s=left_s)
            outcome.peers, outcome.trace = result.told, result.trace
            return result

    async def stop_providing(self, multihash: bytes) -> bool:
        """Stop announcing `multihash`; False if it was not provided."""
        return await self.providers.stop_providing(multihash)

    def find_providers(
        self, multihash: bytes, *, limit: int = 20, timeout_s: float = 60.0
    ) -> AsyncIterator[PeerInfo]:
        """Yield providers of `multihash` as they are found, each once, at most `limit` (0: all)."""

        async def produce(emit: Callable[[PeerInfo], None]) -> None:
            with self.events.operation("find_providers", multihash) as outcome:
                left_s = await self._ready(timeout_s)
                found = await self.providers.find(multihash, limit=limit, timeout_s=left_s, emit=emit)
                outcome.peers = tuple(found)

        return streamed(self._spawn, produce, buffer=limits.PROVIDER_PEERS_MAX)

    # --- peers ---------------------------------------------------------------------------------------

    async def find_peer(self, peer: PeerId, *, timeout_s: float = 60.0) -> PeerInfo:
        """Return the addresses of `peer`. Raises `PeerNotFound`."""
        with self.events.operation("find_peer", bytes(peer)) as outcome:
            known = self.peers.info(peer)
            if known.addrs and (peer == self.peer_id or peer in self._ports.connections.connected()):
                outcome.peers = (peer,)
                return known
            left_s = await self._ready(timeout_s)
            outcome.trace = await self._look_up_addrs(peer, left_s)
            found = self.peers.info(peer)
            if not found.addrs:
                raise PeerNotFound(f"no address of {peer} is known to the peers closest to it")
            outcome.peers = (peer,)
            return found

    async def _look_up_addrs(self, peer: PeerId, timeout_s: float) -> Trace:
        """Ask the peers closest to `peer` where it is, for the address book."""

        def judge(_: PeerId, reply: Message) -> Verdict:
            for info in reply.closer_peers:
                if info.id == peer:
                    self.peers.remember_addrs(info, ttl_s=limits.HEARD_ADDRS_TTL_S)
            return "nothing"

        result = await self.lookups.run(
            Message(MessageType.FIND_NODE, key=bytes(peer)),
            timeout_s=timeout_s,
            judge=judge,
            enough=lambda query: bool(self.peers.info(peer).addrs) and query.converged,
        )
        return result.trace

    async def closest_peers(self, key: bytes, *, timeout_s: float = 60.0) -> LookupResult:
        """Return the k peers closest to `key` (any bytes: a preimage) and how they were found."""
        if not key:
            raise InvalidKey("a key has at least one byte")
        with self.events.operation("closest_peers", key) as outcome:
            left_s = await self._ready(timeout_s)
            result = await self.lookups.closest_peers(key, timeout_s=left_s)
            outcome.peers, outcome.trace = result.closest, result.trace
            return result

    async def connect(self, addr: str, *, timeout_s: float = limits.BOOTSTRAP_DIAL_S) -> PeerId:
        """Connect to a multiaddr; its peer enters the routing table if it serves our protocol."""
        peer = await self._ports.connections.connect_addr(addr, timeout_s=timeout_s)
        if peer == self.peer_id:
            raise InvalidArgument(f"{addr} is this node itself")
        self.peers.note_found(peer, "connect")
        if self._ports.connections.serves_kad(peer):
            await self.peers.verify(peer)
        return peer

    async def refresh_now(self) -> int:
        """Walk to our own key and refresh every bucket; return how many buckets."""
        await self._ready(limits.WALK_TIMEOUT_S)
        await self.bootstrap.walk_to_self()
        return await self._refresher.refresh(force=True)

    def assume_joined(self) -> None:
        """Take the routing table as that of a node that joined long ago: nothing is walked before its time.

        For simulations whose tables are filled from outside.
        """
        interval_s = seconds(self.config.refresh_interval)
        walk_in_s = self._ports.rng.uniform(0, interval_s)
        self.bootstrap.assume_joined(walk_in_s=walk_in_s)
        self._refresher.assume_refreshed(walked_s_ago=interval_s - walk_in_s)

    async def hand_over(self, *, budget_s: float) -> tuple[int, int]:
        """Give the records held here to those that take our place; return (safe, left over)."""
        with self.events.operation("hand_over", b""):
            return await self.repair.hand_over(budget_s=budget_s)

    # --- inner ---------------------------------------------------------------------------------------

    async def _ready(self, timeout_s: float) -> float:
        """Wait until the first attempt to join has ended: who has just met one peer misses values.

        Not for long if somebody is in the table, though: a dead bootstrap peer takes its time.
        Returns the seconds of `timeout_s` that are left.
        """
        began = trio.current_time()
        if not self.bootstrap.tried.is_set():
            patience_s = timeout_s / 2
            if len(self.peers.table):
                patience_s = min(patience_s, limits.JOIN_PATIENCE_S)
            with trio.move_on_after(patience_s):
                await self.bootstrap.tried.wait()
        return timeout_s - (trio.current_time() - began)

    def _spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            try:
                await function()
            except PrimeDhtError as error:
                log.debug("background_task_failed", code=error.code, error=str(error))

        self._nursery.start_soon(guarded)

    async def _start(self) -> None:
        self.bootstrap.remembered = await load_snapshot(self._store, self.config.network_id)
        self.values.serving = await self.mode.apply()
        nursery = self._nursery
        nursery.start_soon(self.peers.serve)
        nursery.start_soon(self.bootstrap.serve)
        nursery.start_soon(self.mode.serve)
        nursery.start_soon(self.repair.serve)
        nursery.start_soon(self._refresher.serve)
        nursery.start_soon(self._serve_reprovide)
        nursery.start_soon(self.providers.store.serve_flush)
        nursery.start_soon(maintenance.serve_expiry, self.values, self.providers)
        nursery.start_soon(maintenance.serve_republish, self.values, self._ports.clock, self.events)
        nursery.start_soon(maintenance.serve_snapshot, self._store, self.peers, self.config.network_id)

    async def _serve_reprovide(self) -> NoReturn:
        """Where nobody is known yet every announcement fails, and is tried again a minute later at best."""
        await self.bootstrap.joined.wait()
        await self.providers.serve_reprovide()

    async def _stop(self) -> None:
        await self._ports.connections.serve_kad(None)
        if len(self.peers.table):
            try:
                await save_snapshot(self._store, self.peers, self.config.network_id)
            except PrimeDhtError as error:
                log.warning("snapshot_skipped", code=error.code)


def _note_found(outcome: Outcome, found: FoundValue) -> None:
    outcome.peers, outcome.value_bytes, outcome.trace = found.sources, len(found.value), found.trace


@asynccontextmanager
async def open_dht(
    ports: Ports, store: KeyValue, config: DhtConfig, *, bootstrap: Sequence[str] = ()
) -> AsyncIterator[Dht]:
    """Run a node of the DHT over `ports`, its records in `store`, until the block is left.

    bootstrap: multiaddrs in text, with or without `/p2p`. `store` stays the caller's to close.
    Raises `StoreUnavailable` or `StoreCorrupt` if the store cannot be read.
    """
    own_key = key_of(ports.connections.peer_id)
    async with (
        open_value_store(
            store, ports.clock, own_key, config.quotas, open_ttl_s=seconds(config.ttl)
        ) as values,
        open_provider_store(
            store, ports.clock, ports.rng, own_peer=ports.connections.peer_id, quotas=config.quotas
        ) as providers,
        open_background_nursery() as nursery,
    ):
        dht = Dht(ports, store, config, values, providers, bootstrap, nursery)
        await dht._start()
        try:
            yield dht
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.STOP_TIMEOUT_S):
                await dht._stop()
