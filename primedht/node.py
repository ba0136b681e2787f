"""A node: identity, store, host and DHT as one object, with the operations that programs use.

    async with open_node(bootstrap=["/ip4/127.0.0.1/tcp/4101"]) as node:
        await node.put("model_weights_v1", b"...")
        print(await node.get("model_weights_v1"))

The daemon embeds exactly this. `Dht` below it stores records as given; `Node` adds signing and text
keys on top.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import trio

from primedht import limits
from primedht.blocks.big_values import BigValues, check_wanted
from primedht.blocks.blocks import Blocks
from primedht.blocks.replicate.offered import HeldValue
from primedht.blocks.replicate.placing import Placing, not_placed
from primedht.blocks.replicate.replication import Replication
from primedht.cids import Cid, multihash_of, parse_cid
from primedht.clock import StepWatch, SystemClock
from primedht.config import Config
from primedht.dht.config import Duration, seconds
from primedht.dht.dht import Dht, Discovery
from primedht.errors import (
    InvalidArgument,
    InvalidKey,
    NotPermitted,
    PeerNotFound,
    PrimeDhtError,
    QuorumNotReached,
    ValueNotFound,
)
from primedht.host.host import Host
from primedht.ids import PeerId
from primedht.jobs import Jobs
from primedht.kad.messages import PeerInfo
from primedht.ml.aliases import Aliases
from primedht.ml.checkpoints import Checkpoints
from primedht.ml.models import Models
from primedht.ml.owners import Owners
from primedht.ml.unfinished import Unfinished
from primedht.names import Names
from primedht.node_status import node_status
from primedht.peer_addr import to_multiaddr
from primedht.records.keys import KeyClass, parse_key_text, peer_of
from primedht.records.pointer import Pointer, decode_pointer, sign_open_pointer
from primedht.records.record import Content, ValidRecord
from primedht.results import (
    DiscoveredPeer,
    FoundValue,
    NameRecord,
    ProvideResult,
    PublishedName,
    PutResult,
)
from primedht.signing import Signing
from primedht.stores.kv import KeyValue
from primedht.transfers import InlineSink, InlineSource, ValueSink, ValueSource, compress_named

Key = bytes | str
T = TypeVar("T", PutResult, FoundValue)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item of `put_many` or `get_many`: its result or the error that it met."""

    key: Key
    result: PutResult | FoundValue | None
    error: PrimeDhtError | None


class Node:
    """A running node. Made by `open_node`; used from tasks of the same event loop.

    `str` keys are UTF-8 text as the CLI takes it (`/pk/<peer id>`, `/ipns/<name>`, `0x...`); bytes
    are wire keys. Durations are seconds or timedelta. Errors are those of `primedht.errors`.
    """

    def __init__(
        self, config: Config, dht: Dht, blocks: Blocks, values: BigValues,
        replication: Replication | None, host: Host, signing: Signing, store: KeyValue, backend: str,
        data_dir: Path | None, jobs: Jobs,
    ) -> None:  # fmt: skip
        self.config = config
        self.dht = dht
        self.blocks = blocks
        self._values = values
        self.replication = replication
        self.host = host
        self.signing = signing
        self._store = store
        self.backend = backend
        self.data_dir = data_dir
        clock = SystemClock()
        self._started_at = trio.current_time()
        self._names = Names(dht, signing.key_of, clock)
        self.jobs = jobs
        owners = Owners(self.peer_id, Aliases(store), signing.permitted, signing.named)
        self.models = Models(blocks, self, owners, clock)
        self.checkpoints = Checkpoints(blocks, self, owners, clock, jobs, Unfinished(store))
        self.clock_steps = StepWatch()
        dht.values.renew = self._renew
        if replication is not None:
            replication.signer = signing.key_of

    # --- what is there -----------------------------------------------------------------------------

    @property
    def peer_id(self) -> PeerId:
        return self.dht.peer_id

    @property
    def addrs(self) -> list[str]:
        """The addresses to give to others, each ending in `/p2p/<our id>`."""
        return [f"{addr}/p2p/{self.peer_id}" for addr in self.host.listen_addrs]

    @property
    def uptime_s(self) -> float:
        return trio.current_time() - self._started_at

    @property
    def store_is_durable(self) -> bool | None:
        """Whether what the store acknowledged survives any end of it; None where it cannot say."""
        known = {"lmdb": True, "memory": False}
        durable: bool | None = known.get(self.backend, getattr(self._store, "durable", None))
        return durable

    @property
    def discovery(self) -> Discovery:
        return self.dht.discovery

    def own_addrs(self) -> tuple[bytes, ...]:
        """Return the announced addresses in binary, without `/p2p`."""
        return self.host.address_book.own_addrs()

    def peers(self) -> list[DiscoveredPeer]:
        """Return the peers met so far, those of the routing table first."""
        return self.discovery.get_peers()

    def connected_peers(self) -> list[PeerInfo]:
        """Return the peers connected now, with their known addresses."""
        return [self.dht.peers.info(peer) for peer in self.host.connections.connected()]

    # --- values --------------------------------------------------------------------------------------

    async def put(
        self,
        key: Key,
        value: bytes,
        *,
        ttl: Duration | None = None,
        min_holders: int | None = None,
        once: bool = False,
        compress: str | None = None,
        timeout: Duration = 60,
    ) -> PutResult:
        """Store `value` under `key` on the R closest peers and keep it alive until `delete`.

        A `/prime` key is signed with the key of its owner: this node's, or one of its keystore. A value
        above `records.inline_bytes_max` is kept as blocks, and the record points at them; `open_sink`
        takes one that is not in memory.

        Args:
            ttl: life of an open or owned value; default the configuration's.
            min_holders: acceptances that make a success; default R, or as many peers as there are.
            once: do not put it again before it expires.
            compress: "none", "auto" or "zstd", of what becomes blocks; default the configuration's.
        Raises:
            InvalidKey, InvalidRecord, ValueTooLarge, StaleRecord, NotPermitted: nothing was sent.
            StoreFull, DiskFull: this node has no room for the blocks.
            QuorumNotReached: fewer than `min_holders` took it.
        """
        timeout_s = seconds(timeout)
        async with self.open_sink(
            *(key,), size=len(value), ttl=ttl, min_holders=min_holders, once=once, compress=compress
        ) as sink:
            await sink.write(value)
            return await sink.commit(timeout=timeout_s)

    @asynccontextmanager
    async def open_sink(
        self,
        key: Key,
        *,
        size: int | None = None,
        ttl: Duration | None = None,
        min_holders: int | None = None,
        once: bool = False,
        compress: str | None = None,
    ) -> AsyncIterator[ValueSink]:
        """Store a value that comes in pieces; what is not committed when the block is left is forgotten.

        size: in bytes, if known. The other arguments are those of `put`. Raises what can be known before
        a byte has come: `InvalidKey`, `InvalidArgument`, `ValueTooLarge`, `NotPermitted`, `StoreFull`.
        """
        wire_key, ttl_s = self._checked_put(key, ttl)
        chosen = self.config.records.compression if compress is None else compress_named(compress)
        key_class = self.dht.classify(wire_key)
        life_s = ttl_s or seconds(self.dht.config.ttl)

        async def put(value: bytes, timeout_s: float) -> PutResult:
            return await self.dht.put_value(
                wire_key,
                value,
                ttl_s=ttl_s,
                min_holders=min_holders,
                keep=not once,
                timeout_s=timeout_s,
            )

        async def put_inline(value: bytes, timeout_s: float) -> PutResult:
            if key_class is KeyClass.PRIME:
                value = self._sign(wire_key, Content.VALUE, value, life_s)
            result = await put(value, timeout_s)
            await self._values.release(wire_key)
            return result

        async def put_pointer(pointer: Pointer, timeout_s: float) -> PutResult:
            began = trio.current_time()
            record = self._signed_pointer(wire_key, pointer, life_s)
            result = await put(record, timeout_s)
            left_s = limits.REPLICATE_WAIT_SHARE * (timeout_s - (trio.current_time() - began))
            return await self._replicate(result, record, min_holders=min_holders, timeout_s=left_s)

        async def is_pointed_at(root: Cid) -> bool:
            own = await self.dht.storage.own_record(wire_key)
            return own is not None and bytes(root) in own.value

        if key_class in (KeyClass.PK, KeyClass.IPNS):
            yield InlineSink(put_inline, size=size, bytes_max=self.config.records.inline_bytes_max)
            return
        async with self._values.open_sink(
            wire_key,
            size=size,
            compress=chosen,
            once_s=life_s if once else None,
            put_inline=put_inline,
            put_pointer=put_pointer,
            is_pointed_at=is_pointed_at,
        ) as sink:
            yield sink

    async def open_source(
        self, key: Key, *, quorum: int = 1, max_bytes: int = limits.GET_BYTES_MAX, timeout: Duration = 60
    ) -> ValueSource:
        """Find a value and return what gives it in pieces. Arguments and errors are those of `get_record`.

        timeout: for finding it. The blocks of a large value are fetched with the first piece.
        """
        found = await self.dht.get_value(_wire_key(key), quorum=quorum, timeout_s=seconds(timeout))
        if found.root is None:
            check_wanted(len(found.payload), max_bytes)
            return InlineSource(replace(found, value=found.payload))
        return await self._values.open_source(decode_pointer(found.payload), found, bytes_max=max_bytes)

    async def get(
        self, key: Key, *, quorum: int = 1, max_bytes: int = limits.GET_BYTES_MAX, timeout: Duration = 60
    ) -> bytes | None:
        """Return the best value of `key`, or None if there is none. Raises as `get_record` otherwise."""
        try:
            found = await self.get_record(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout)
            return found.value
        except ValueNotFound:
            return None

    async def get_record(
        self, key: Key, *, quorum: int = 1, max_bytes: int = limits.GET_BYTES_MAX, timeout: Duration = 60
    ) -> FoundValue:
        """Return the best value of `key`, without its envelope, and what is known about it.

        Args:
            quorum: peers that must have returned that very record, this node included.
            max_bytes: of the value; `open_source` gives a large one without holding it in memory.
            timeout: for finding it; the blocks of a large value take as long as they come.
        Raises:
            InvalidKey, ValueNotFound, QuorumNotReached, OperationTimeout.
            ValueTooLarge: it has more than `max_bytes`.
            BlockNotFound: nobody who was found has the blocks of a large value.
            InvalidDag, DecompressionFailed: they are not what their pointer says.
            UnknownCodec: the value is compressed in a way that this version does not know.
        """
        source = await self.open_source(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout)
        value = bytearray()
        try:
            while data := await source.read():
                value += data
        finally:
            await source.aclose()
        payload = bytes(value)
        return replace(source.found, value=payload, payload=payload)

    async def delete(self, key: Key, *, timeout: Duration = 60) -> PutResult:
        """Delete the value of `key`: its holders remember that until no copy can be left."""
        wire_key = _wire_key(key)
        key_class = self.dht.classify(wire_key)
        if key_class in (KeyClass.PK, KeyClass.IPNS):
            raise NotPermitted("/pk and /ipns records cannot be deleted; they expire")
        tombstone = b""
        if key_class is KeyClass.PRIME:
            tombstone = self._sign(wire_key, Content.TOMBSTONE, b"", limits.SIGNED_LIFETIME_S_MAX)
        result = await self.dht.delete_value(wire_key, tombstone, timeout_s=seconds(timeout))
        await self._values.release(wire_key)
        return result

    async def put_many(
        self,
        items: Mapping[Key, bytes] | Iterable[tuple[Key, bytes]],
        *,
        compress: str | None = None,
        timeout: Duration = 60,
    ) -> list[ItemResult]:
        """Put several values, a few at a time; one that fails stops no other. compress: as of `put`."""
        pairs = list(items.items() if isinstance(items, Mapping) else items)

        async def one(index: int) -> PutResult:
            return await self.put(*pairs[index], compress=compress, timeout=timeout)

        return await _each([key for key, _ in pairs], one)

    async def get_many(self, keys: Iterable[Key], *, timeout: Duration = 60) -> list[ItemResult]:
        """Get several values, a few at a time; one that is missing stops no other."""
        wanted = list(keys)

        async def one(index: int) -> FoundValue:
            return await self.get_record(wanted[index], timeout=timeout)

        return await _each(wanted, one)

    # --- blocks on other nodes -------------------------------------------------------------------------

    async def replicate(self, root: Cid, owner: PeerId) -> Placing:
        """Have R other nodes keep a DAG that is here and pinned, for as long as it is pinned here.

        Returns at once what to `wait` for. owner: whose key, which is here, signs the request. Nobody is
        asked on a public network. Raises `BlockNotFound`, `NotPermitted`.
        """
        return not_placed(root) if self.replication is None else await self.replication.publish(root, owner)

    async def placing(self, root: Cid) -> Placing:
        """Return what to `wait` for of a DAG that was given to `replicate`, also before a restart.

        If nobody is being asked any more, the closest are asked anew. Raises `BlockNotFound`.
        """
        return not_placed(root) if self.replication is None else await self.replication.placing(root)

    # --- names ---------------------------------------------------------------------------------------

    async def publish_name(
        self,
        value: str,
        *,
        key: str | None = None,
        lifetime: Duration = limits.IPNS_LIFETIME_S,
        once: bool = False,
        timeout: Duration = 60,
    ) -> PublishedName:
        """Point an IPNS name at a content path (or CID), and keep it alive until it is published `once`.

        Args:
            key: the name of a key in the keystore; None is this node's own.
            lifetime: how long the signature holds; it is renewed in time while this node runs.
            once: do not keep it alive, nor what was published before.
        Raises:
            InvalidArgument, KeyNotFound: nothing was sent.
            QuorumNotReached: nobody took it.
        """
        signer = self.signing.key_of(self.peer_id) if key is None else self.signing.named(key)
        if signer is None:
            raise NotPermitted("this node's own key is not Ed25519 and signs no records; name another key")
        return await self._names.publish(
            signer, value, lifetime_s=seconds(lifetime), keep=not once, timeout_s=seconds(timeout)
        )

    async def resolve_name(
        self, name: PeerId | str, *, quorum: int = 1, timeout: Duration = 60
    ) -> NameRecord:
        """Return what an IPNS name points at, one step. Raises as `get_record`."""
        id = name if isinstance(name, PeerId) else PeerId.from_text(name.removeprefix("/ipns/"))
        return await self._names.resolve(id, quorum=quorum, timeout_s=seconds(timeout))

    # --- providers -----------------------------------------------------------------------------------

    async def provide(self, cid: bytes | str, *, timeout: Duration = 60) -> ProvideResult:
        """Announce that this node has the content of `cid` (CID text or bytes), now and every 22 hours."""
        return await self.dht.provide(_multihash(cid), timeout_s=seconds(timeout))

    async def stop_providing(self, cid: bytes | str) -> bool:
        """Stop announcing `cid`; False if it was not announced."""
        return await self.dht.stop_providing(_multihash(cid))

    def find_providers(
        self, cid: bytes | str, *, limit: int = limits.CONTROL_PROVIDERS_DEFAULT, timeout: Duration = 60
    ) -> AsyncIterator[PeerInfo]:
        """Yield peers that have the content of `cid`, as they are found; at most `limit`."""
        return self.dht.find_providers(_multihash(cid), limit=limit, timeout_s=seconds(timeout))

    # --- peers ---------------------------------------------------------------------------------------

    async def find_peer(self, id: PeerId | str, *, timeout: Duration = 60) -> PeerInfo:
        """Return the addresses of a peer. Raises `PeerNotFound`."""
        peer = id if isinstance(id, PeerId) else PeerId.from_text(id)
        return await self.dht.find_peer(peer, timeout_s=seconds(timeout))

    async def closest_peers(self, key: Key, *, timeout: Duration = 60) -> list[PeerInfo]:
        """Return the k peers closest to `key`, closest first."""
        found = await self.dht.closest_peers(_wire_key(key), timeout_s=seconds(timeout))
        return [self.dht.peers.info(peer) for peer in found.closest]

    async def connect(self, addr: str, *, timeout: Duration = limits.BOOTSTRAP_DIAL_S) -> PeerInfo:
        """Connect to HOST:PORT or a multiaddr, with or without `/p2p`; return the peer."""
        peer = await self.dht.connect(to_multiaddr(addr), timeout_s=seconds(timeout))
        return self.dht.peers.info(peer)

    async def connect_peer(
        self, peer: PeerId, addrs: Sequence[bytes] = (), *, timeout: Duration = limits.BOOTSTRAP_DIAL_S
    ) -> None:
        """Connect to `peer` at `addrs` or, without any, wherever it is found."""
        timeout_s = seconds(timeout)
        if not addrs and not self.dht.peers.info(peer).addrs:
            addrs = (await self.dht.find_peer(peer, timeout_s=timeout_s)).addrs
        self.dht.peers.note_found(peer, "connect")
        await self.host.connections.connect(peer, addrs, timeout_s=timeout_s)
        if self.host.connections.serves_kad(peer):
            await self.dht.peers.verify(peer)

    async def disconnect(self, peer: PeerId) -> None:
        """Close all connections to `peer`, and do not look for it for `SET_ASIDE_S`.

        It leaves the routing table, and maintenance neither dials it nor takes it back meanwhile. It is no
        ban: `connect` ends it, a lookup that others send to the peer may dial it, and the peer may connect
        to us; one of ours does at once, to see whether this node is alive.
        """
        self.dht.peers.set_aside(peer)
        await self.host.connections.disconnect(peer)

    async def ping(self, peer: PeerId | str, *, timeout: Duration = 10) -> float:
        """Return the round-trip time to a peer in seconds."""
        id = peer if isinstance(peer, PeerId) else PeerId.from_text(peer)
        if id not in self.host.connections.connected() and not self.dht.peers.info(id).addrs:
            found = await self.dht.find_peer(id, timeout_s=seconds(timeout))
            if not found.addrs:
                raise PeerNotFound(f"no address of {id} is known")
        return await self.host.connections.ping(id, timeout_s=seconds(timeout))

    # --- the node itself -------------------------------------------------------------------------------

    async def drain(self, budget: Duration = 3600) -> tuple[int, int]:
        """Give the records and large values held here to the peers that take our place.

        Returns how many are safe with them, and how many are left over.
        """
        began, budget_s = trio.current_time(), seconds(budget)
        safe = left_over = 0
        if self.replication is not None:
            with trio.move_on_after(budget_s):
                safe, left_over = await self.replication.hand_over()
        records = await self.dht.hand_over(budget_s=max(1.0, budget_s - (trio.current_time() - began)))
        return safe + records[0], left_over + records[1]

    def status(self) -> dict[str, object]:
        """Return the state of the node as JSON-able values."""
        return node_status(self)

    def own_record(self) -> tuple[bytes, bytes]:
        """Return a key and a value that this node may put on any network, for trying that out.

        Only this node can write under the key; the value is a new one where the network allows that.
        """
        if self.dht.config.ipfs_keys_only:
            return b"/pk/" + bytes(self.peer_id), self.signing.identity.public_key.serialized
        return f"/prime/doctor/{self.peer_id}/round-trip".encode(), os.urandom(16)

    # --- inner -----------------------------------------------------------------------------------------

    def _checked_put(self, key: Key, ttl: Duration | None) -> tuple[bytes, float | None]:
        """Return the key as it travels and the life in seconds, if they may be put.

        Raises `InvalidKey`, `InvalidArgument`, `NotPermitted`.
        """
        wire_key = _wire_key(key)
        ttl_s = None if ttl is None else seconds(ttl)
        if ttl_s is not None and not ttl_s > 0:  # NaN too
            raise InvalidArgument(f"ttl is {ttl_s:g} s; it must be over 0")
        if self.dht.classify(wire_key) is KeyClass.PRIME:
            self.signing.permitted(peer_of(wire_key))
        return wire_key, ttl_s

    def _sign(self, key: bytes, content: Content, payload: bytes, ttl_s: float) -> bytes:
        """Return the signed envelope of a new record of `key`."""
        stored = self.dht.storage.version_floor(key)
        return self.signing.sign(key, content, payload, ttl_s, after=stored)

    async def _replicate(
        self, result: PutResult, record: bytes, *, min_holders: int | None, timeout_s: float
    ) -> PutResult:
        """Have others keep the blocks behind a pointer that was put. Raises `QuorumNotReached`."""
        if self.replication is None:
            return result
        value = HeldValue(result.key, record, result.expires_unix_s, own=True)
        copies = max(result.replication_factor, min_holders or 1)
        kept = await self.replication.place(value, copies=copies, timeout_s=timeout_s)
        receipts, refused = tuple(receipt.holder for receipt in kept.receipts), tuple(kept.refused)
        holders = 1 + len(receipts)  # this node has the blocks too
        if min_holders is not None and holders < min_holders:
            codes = ", ".join(sorted({each.code for each in refused})) or "too few peers are known"
            raise QuorumNotReached(
                f"the blocks are kept by {holders} of the {min_holders} holders wanted ({codes})",
                found=holders,
                wanted=min_holders,
            )
        return replace(
            result,
            receipts=receipts,
            receipts_refused=refused,
        )

    def _signed_pointer(self, key: bytes, pointer: Pointer, ttl_s: float) -> bytes:
        """Return the record's value that points at the blocks of a large value."""
        if self.dht.classify(key) is KeyClass.PRIME:
            return self._sign(key, Content.POINTER, pointer.encode(), ttl_s)
        return sign_open_pointer(self.signing.identity, self.dht.config.network_id, key, pointer)

    def _renew(self, valid: ValidRecord, ttl_s: float) -> bytes | None:
        renew = self._names.renew if valid.key_class is KeyClass.IPNS else self.signing.renew
        return renew(valid, ttl_s)


def _wire_key(key: Key) -> bytes:
    if isinstance(key, str):
        return parse_key_text(key)
    if not 0 < len(key) <= limits.RECORD_KEY_BYTES_MAX:
        raise InvalidKey(f"a key has 1 to {limits.RECORD_KEY_BYTES_MAX} bytes, not {len(key)}")
    return bytes(key)


def _multihash(cid: bytes | str) -> bytes:
    return multihash_of(parse_cid(cid) if isinstance(cid, str) else cid)


async def _each(keys: Sequence[Key], one: Callable[[int], Awaitable[T]]) -> list[ItemResult]:
    results: list[ItemResult | None] = [None] * len(keys)
    indexes = iter(range(len(keys)))

    async def work() -> None:
        for index in indexes:
            try:
                results[index] = ItemResult(keys[index], await one(index), None)
            except PrimeDhtError as error:
                results[index] = ItemResult(keys[index], None, error)

    async with trio.open_nursery() as nursery:
        for _ in range(min(len(keys), limits.CONTROL_BATCH_AT_ONCE)):
            nursery.start_soon(work)
    return [result for result in results if result is not None]
