"""Who provides what: other peers' provider records, and what this node provides itself.

Everything is held in memory, so that answering and adding never wait. What peers announce (it has
no reply) reaches the disk within a second or so; what this node provides is on disk when `provide`
returns. Records live 48 hours, their addresses 24: then the peer's id alone is given out.

No first come: a key with too many providers, or a full store, gives up records at random, so the
thousand-and-first provider is found as well as the first. One peer, or one IP block, that has used
up its share is refused.

Source: libp2p kad-dht spec, "Content provider advertisement"; go-libp2p-kad-dht,
amino/defaults.go (lifetimes), handlers.go (what is taken and given); docs/design.md, "A full store".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.dht.config import Quotas
from primedht.dht.key_locks import KeyLocks
from primedht.dht.ports import Rng
from primedht.dht.sealed import seal, unseal
from primedht.dht.value_index import quota_block
from primedht.errors import InvalidArgument, InvalidKey, StoreCorrupt, StoreFull, StoreUnavailable
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.pb import store_pb2
from primedht.stores.kv import KeyValue, scan_all

log = structlog.get_logger(__name__)

_RECORD_PREFIX, _OWN_PREFIX = b"p/r/", b"p/o/"
_RECORD_OVERHEAD_BYTES = 600  # of memory, measured: what a record takes beside its key, peer id and addresses
_SWEEP_KEYS = 500  # swept between two turns of other tasks


@dataclass(frozen=True, slots=True)
class OwnProvide:
    """Something that this node provides.

    provided_unix_s: when it was last announced; None: never. local_only: it is not to be announced.
    """

    multihash: bytes
    provided_unix_s: float | None = None
    local_only: bool = False


@dataclass(slots=True)
class _Provider:
    received_unix_s: float
    addrs: tuple[bytes, ...]
    addrs_unix_s: float
    ip_block: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ProviderStoreStats:
    """Counts of one provider store; the last four since it was opened, but `unflushed` is of now."""

    keys: int
    records: int
    bytes_used: int
    own: int
    evicted: int
    refused: int
    corrupt: int
    unflushed: int


@asynccontextmanager
async def open_provider_store(
    kv: KeyValue, clock: WallClock, rng: Rng, *, own_peer: PeerId, quotas: Quotas
) -> AsyncIterator[ProviderStore]:
    """Load what `kv` holds; on leaving, write what is not there yet. `kv` stays the caller's to close."""
    store = ProviderStore(kv, clock, rng, own_peer, quotas)
    await store._load()
    try:
        yield store
    finally:
        code = "timeout"
        with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.STOP_TIMEOUT_S):
            try:
                await store.flush()
            except (StoreUnavailable, StoreFull, StoreCorrupt) as error:
                code = error.code
        if unflushed := store.stats().unflushed:
            log.warning("providers_not_flushed", code=code, count=unflushed)


class ProviderStore:
    """Provider records by multihash. Made by `open_provider_store`; used from tasks of one event loop."""

    def __init__(self, kv: KeyValue, clock: WallClock, rng: Rng, own_peer: PeerId, quotas: Quotas) -> None:
        self._kv = kv
        self._clock = clock
        self._rng = rng
        self._own_peer = own_peer
        self._quotas = quotas
        self._own: dict[bytes, OwnProvide] = {}
        self._own_locks: KeyLocks[bytes] = KeyLocks()
        self._providers: dict[bytes, dict[PeerId, _Provider]] = {}
        self._keys: list[bytes] = []  # of _providers, so that one can be drawn
        self._places: dict[bytes, int] = {}  # of the keys in _keys
        self._records = 0
        self._bytes_used = 0
        self._charged: dict[PeerId | str, int] = {}  # bytes by peer, and by IP block
        self._last_addrs: dict[PeerId, tuple[bytes, ...]] = {}  # one object for all records of a peer
        self._dirty: dict[tuple[bytes, PeerId], None] = {}
        self._dirtied = trio.Event()
        self._flushing = trio.Lock()
        self._evicted = self._refused = self._corrupt = 0

    def __len__(self) -> int:
        """Return how many provider records of other peers are held."""
        return self._records

    @property
    def bytes_used(self) -> int:
        """Bytes that other peers' provider records take, bookkeeping included."""
        return self._bytes_used

    def stats(self) -> ProviderStoreStats:
        return ProviderStoreStats(
            keys=len(self._keys),
            records=self._records,
            bytes_used=self._bytes_used,
            own=len(self._own),
            evicted=self._evicted,
            refused=self._refused,
            corrupt=self._corrupt,
            unflushed=len(self._dirty),
        )

    # --- other peers -----------------------------------------------------------------------------------

    def add(self, multihash: bytes, provider: PeerInfo, *, ip: str = "") -> bool:
        """Remember that `provider` has `multihash`; False if it was refused.

        That is, if its peer or IP block is over its share of the bytes, or nothing can be written.

        ip: where the announcement came from, as text. Addresses beyond `limits.PEER_ADDRS_*` are
        dropped; without any, those known from an earlier announcement are kept for their time.
        Raises `InvalidKey` for a key that is empty or too long.
        """
        if not 0 < len(multihash) <= limits.PROVIDER_KEY_BYTES_MAX:
            raise InvalidKey(f"a provider key has 1 to {limits.PROVIDER_KEY_BYTES_MAX} bytes")
        if provider.id == self._own_peer:
            return False
        now = self._clock.unix_now()
        old = self._providers.get(multihash, {}).get(provider.id)
        addrs, addrs_unix_s = _within_limits(provider.addrs), now
        if not addrs and old is not None:
            addrs, addrs_unix_s = old.addrs, old.addrs_unix_s
        new = self._provider(multihash, provider.id, now, addrs, addrs_unix_s, quota_block(ip))
        too_many = len(self._dirty) >= limits.PROVIDERS_UNFLUSHED_MAX  # the store has been away for long
        if too_many or not self._share_allows(provider.id, new, old):
            self._refused += 1
            return False
        if old is not None:
            self._remove(multihash, provider.id)
        per_key_max = self._quotas.providers_per_key_max
        while per_key_max and len(self._providers.get(multihash, ())) >= per_key_max:
            self._evict_one_of(multihash)
        bytes_max = self._quotas.provider_bytes_max
        while bytes_max and self._keys and self._bytes_used + new.size_bytes > bytes_max:
            self._evict_one_of(self._keys[self._rng.randrange(len(self._keys))])
        self._insert(multihash, provider.id, new)
        self._mark_dirty(multihash, provider.id)
        return True

    def providers(self, multihash: bytes) -> list[PeerInfo]:
        """Return the unexpired providers in random order, this node among them if it is one.

        Our own entry has no addresses: they are what we announce at the moment.
        """
        now = self._clock.unix_now()
        found = [
            PeerInfo(
                peer,
                provider.addrs if provider.addrs_unix_s + limits.PROVIDER_ADDRS_TTL_S > now else (),
            )
            for peer, provider in self._providers.get(multihash, {}).items()
            if provider.received_unix_s + limits.PROVIDER_RECORD_TTL_S > now
        ]
        if multihash in self._own:
            found.append(PeerInfo(self._own_peer))
        self._rng.shuffle(found)
        return found

    async def cleanup_expired(self, now_unix_s: float | None = None) -> int:
        """Forget other peers' records that have expired by `now_unix_s` (default: now); return how many."""
        now = self._clock.unix_now() if now_unix_s is None else now_unix_s
        removed = 0
        for number, multihash in enumerate(list(self._keys)):
            if number % _SWEEP_KEYS == 0:
                await trio.lowlevel.checkpoint()
            expired = [
                peer
                for peer, provider in self._providers.get(multihash, {}).items()
                if provider.received_unix_s + limits.PROVIDER_RECORD_TTL_S <= now
            ]
            for peer in expired:
                self._remove(multihash, peer)
                self._mark_dirty(multihash, peer)
            removed += len(expired)
        return removed

    # --- ourselves -------------------------------------------------------------------------------------

    def own_provides(self) -> list[OwnProvide]:
        """Return everything that this node provides."""
        return list(self._own.values())

    def is_providing(self, multihash: bytes) -> bool:
        return multihash in self._own

    async def provide(self, multihash: bytes, *, local_only: bool = False) -> None:
        """Record that this node provides `multihash`. Durable on return."""
        if not 0 < len(multihash) <= limits.PROVIDER_KEY_BYTES_MAX:
            raise InvalidKey(f"a provider key has 1 to {limits.PROVIDER_KEY_BYTES_MAX} bytes")
        async with self._own_locks.holding(multihash):
            old = self._own.get(multihash, OwnProvide(multihash))
            await self._put_own(replace(old, local_only=local_only))

    async def mark_provided(self, multihash: bytes, provided_unix_s: float) -> None:
        """Remember when our provide of `multihash` was last announced, so that a restart knows."""
        async with self._own_locks.holding(multihash):
            old = self._own.get(multihash)
            if old is not None:  # else it was stopped while it was being announced
                await self._put_own(replace(old, provided_unix_s=provided_unix_s))

    async def stop_providing(self, multihash: bytes) -> bool:
        """Provide `multihash` no more, durably; False if it was not provided."""
        async with self._own_locks.holding(multihash):
            if multihash not in self._own:
                return False
            await self._kv.put({_OWN_PREFIX + multihash: None})
            del self._own[multihash]
            return True

    async def _put_own(self, own: OwnProvide) -> None:
        message = store_pb2.OwnProvide(provided_unix_s=own.provided_unix_s, local_only=own.local_only)
        await self._kv.put({_OWN_PREFIX + own.multihash: seal(message)})
        self._own[own.multihash] = own

    # --- the disk --------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what changed since the last flush. If that raises, the next flush tries again."""
        async with self._flushing:
            while self._dirty:
                batch = list(islice(self._dirty, limits.STORE_CHANGES_MAX))
                changes = {_record_name(key, peer): self._encoded(key, peer) for key, peer in batch}
                for change in batch:
                    del self._dirty[change]
                try:
                    await self._kv.put(changes)
                except BaseException:
                    self._dirty |= dict.fromkeys(batch)
                    raise

    async def serve_flush(self) -> NoReturn:
        """Flush whenever something changed, about once in `limits.PROVIDER_FLUSH_S`."""
        failing = False
        while True:
            await self._dirtied.wait()
            await trio.sleep(limits.PROVIDER_FLUSH_S)
            self._dirtied = trio.Event()
            try:
                await self.flush()
            except (StoreUnavailable, StoreFull, StoreCorrupt) as error:
                if not failing:
                    log.warning("providers_not_flushed", code=error.code, count=len(self._dirty))
                failing = True
                self._dirtied.set()
            else:
                failing = False

    async def _load(self) -> None:
        now = self._clock.unix_now()
        repairs: dict[bytes, bytes | None] = {}
        async for name, raw in scan_all(self._kv, _RECORD_PREFIX):
            message = store_pb2.Provider()
            try:
                multihash, peer = _parsed(name)
                unseal(raw, message)
            except (StoreCorrupt, InvalidArgument):
                self._corrupt += 1
                repairs[name] = None
                continue
            if message.received_unix_s + limits.PROVIDER_RECORD_TTL_S <= now:
                repairs[name] = None
                continue
            loaded = self._provider(  # a clock that has been set back makes nothing immortal
                multihash, peer, min(message.received_unix_s, now), tuple(message.addrs),
                min(message.addrs_unix_s, now), message.ip_block,
            )  # fmt: skip
            self._insert(multihash, peer, loaded)
        async for name, raw in scan_all(self._kv, _OWN_PREFIX):
            own, multihash = store_pb2.OwnProvide(), name[len(_OWN_PREFIX) :]
            if not 0 < len(multihash) <= limits.PROVIDER_KEY_BYTES_MAX:
                self._corrupt += 1
                repairs[name] = None
                continue
            try:
                unseal(raw, own)
            except StoreCorrupt:
                # What we provide is in the name: announcing it anew is all that is lost.
                self._corrupt += 1
                own.Clear()
                repairs[name] = seal(own)
            provided = own.provided_unix_s if own.HasField("provided_unix_s") else None
            self._own[multihash] = OwnProvide(multihash, provided, own.local_only)
        while repairs:
            batch = dict(islice(repairs.items(), limits.STORE_CHANGES_MAX))
            await self._kv.put(batch)
            for name in batch:
                del repairs[name]
        if self._corrupt:
            log.warning("stored_providers_corrupt", count=self._corrupt)

    def _encoded(self, multihash: bytes, peer: PeerId) -> bytes | None:
        provider = self._providers.get(multihash, {}).get(peer)
        if provider is None:
            return None
        return seal(
            store_pb2.Provider(
                received_unix_s=provider.received_unix_s,
                addrs_unix_s=provider.addrs_unix_s,
                addrs=provider.addrs,
                ip_block=provider.ip_block,
            )
        )

    def _mark_dirty(self, multihash: bytes, peer: PeerId) -> None:
        self._dirty[multihash, peer] = None
        self._dirtied.set()

    # --- memory ----------------------------------------------------------------------------------------

    def _provider(
        self, multihash: bytes, peer: PeerId, received_unix_s: float, addrs: tuple[bytes, ...],
        addrs_unix_s: float, ip_block: str,
    ) -> _Provider:  # fmt: skip
        size_bytes = len(multihash) + len(peer) + sum(map(len, addrs)) + _RECORD_OVERHEAD_BYTES
        return _Provider(received_unix_s, addrs, addrs_unix_s, ip_block, size_bytes)

    def _share_allows(self, peer: PeerId, new: _Provider, old: _Provider | None) -> bool:
        bytes_max = self._quotas.provider_bytes_max
        if not bytes_max:
            return True
        for party, share in ((peer, self._quotas.peer_share), (new.ip_block, self._quotas.ip_block_share)):
            if not (party and share):
                continue
            charged = self._charged.get(party, 0) + new.size_bytes
            if old is not None and party in (peer, old.ip_block):
                charged -= old.size_bytes
            if charged > share * bytes_max:
                return False
        return True

    def _evict_one_of(self, multihash: bytes) -> None:
        providers = self._providers[multihash]
        peer = next(islice(providers, self._rng.randrange(len(providers)), None))
        self._remove(multihash, peer)
        self._mark_dirty(multihash, peer)
        self._evicted += 1

    def _insert(self, multihash: bytes, peer: PeerId, provider: _Provider) -> None:
        if self._last_addrs.setdefault(peer, provider.addrs) == provider.addrs:
            provider.addrs = self._last_addrs[peer]
        else:
            self._last_addrs[peer] = provider.addrs
        if multihash not in self._providers:
            self._providers[multihash] = {}
            self._places[multihash] = len(self._keys)
            self._keys.append(multihash)
        self._providers[multihash][peer] = provider
        self._charge(peer, provider, provider.size_bytes)
        self._records += 1

    def _remove(self, multihash: bytes, peer: PeerId) -> None:
        provider = self._providers[multihash].pop(peer)
        if not self._providers[multihash]:
            del self._providers[multihash]
            place, last = self._places.pop(multihash), self._keys.pop()
            if last != multihash:
                self._keys[place] = last
                self._places[last] = place
        self._charge(peer, provider, -provider.size_bytes)
        self._records -= 1
        if peer not in self._charged:
            del self._last_addrs[peer]

    def _charge(self, peer: PeerId, provider: _Provider, size_bytes: int) -> None:
        self._bytes_used += size_bytes
        for party in (peer, provider.ip_block) if provider.ip_block else (peer,):
            self._charged[party] = self._charged.get(party, 0) + size_bytes
            if not self._charged[party]:
                del self._charged[party]


def _within_limits(addrs: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the first addresses that fit what may be kept of one peer."""
    kept: list[bytes] = []
    room_bytes = limits.PEER_ADDRS_BYTES_MAX
    for addr in addrs:
        if len(kept) < limits.PEER_ADDRS_MAX and len(addr) <= min(room_bytes, limits.ADDR_BYTES_MAX):
            kept.append(addr)
            room_bytes -= len(addr)
    return tuple(kept)


def _record_name(multihash: bytes, peer: PeerId) -> bytes:
    return _RECORD_PREFIX + bytes((len(multihash),)) + multihash + peer


def _parsed(name: bytes) -> tuple[bytes, PeerId]:
    """Return the multihash and the peer of a record's name. Raises `StoreCorrupt` or `InvalidArgument`."""
    body = name[len(_RECORD_PREFIX) :]
    if not body or not 0 < body[0] < len(body):
        raise StoreCorrupt("a stored provider record is under no key's name")
    return body[1 : 1 + body[0]], PeerId(body[1 + body[0] :])
