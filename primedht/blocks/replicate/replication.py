"""Large values and models on R other nodes: writers ask the closest to keep them, holders replace each other.

A node tends what it holds once an interval. The writer offers its values anew, which lengthens their
lives as its puts lengthen those of the records. For what it keeps for others, a node asks the root's
providers for a block chosen at random; if it is the closest of those that have it, and they are fewer
than R, it offers the value to the next closest. So that they do not all act at once, each waits a jitter.

When a holder departs, those that notice do the same soon: the closest leads, and the others act only if
the work is still not done when their turn comes.

Source: docs/design.md, "Durable big values".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, NoReturn, Protocol

import structlog
import trio

from primedht import limits
from primedht.blocks.blocks import Blocks
from primedht.blocks.replicate.asking import Asking
from primedht.blocks.replicate.insisting import Insisting
from primedht.blocks.replicate.keeper import Keeper
from primedht.blocks.replicate.messages import PROTOCOL
from primedht.blocks.replicate.offered import HeldValue, Offered, read_offer
from primedht.blocks.replicate.own_roots import OwnRoots
from primedht.blocks.replicate.placing import Placing
from primedht.blocks.replicate.replicas import ReplicaQuotas, Replicas, is_replica
from primedht.cids import Cid
from primedht.clock import WallClock
from primedht.dht.placement import place
from primedht.dht.ports import Rng, Streams
from primedht.errors import BlockNotFound, NotPermitted, PeerRefused, PrimeDhtError
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.kad.key import distance, key_of
from primedht.kad.messages import PeerInfo
from primedht.records.statement import Statement, sign_statement
from primedht.records.validator import RecordValidator
from primedht.stores.kv import KeyValue
from primedht.tasks import open_background_nursery

log = structlog.get_logger(__name__)


class Routing(Protocol):
    """Who is close to a root, and who has it. `Dht` has these."""

    async def closest_peers(self, key: bytes, *, timeout_s: float) -> Any: ...

    def find_providers(
        self, multihash: bytes, *, limit: int, timeout_s: float
    ) -> AsyncIterator[PeerInfo]: ...


OwnValues = Callable[[], Awaitable[list[HeldValue]]]
"""Returns the large values that this node keeps alive."""
Signer = Callable[[PeerId], AnyPrivateKey | None]
"""Returns the private key of an owner, if it is here."""


class Replication:
    """Offers, challenges and repairs of one node. Made by `open_replication`. copies: R.

    signer: whose keys are here; set by who has them.
    """

    def __init__(
        self, routing: Routing, blocks: Blocks, keeper: Keeper, asking: Asking, replicas: Replicas,
        own_roots: OwnRoots, validator: RecordValidator, clock: WallClock, rng: Rng, identity: AnyPrivateKey,
        network_id: str, own_values: OwnValues, nursery: trio.Nursery, *, copies: int,
    ) -> None:  # fmt: skip
        self._routing = routing
        self._blocks = blocks
        self._keeper = keeper
        self._asking = asking
        self._replicas = replicas
        self._own_roots = own_roots
        self._insisting = Insisting(own_roots, self.placing, nursery)
        self._validator = validator
        self._clock = clock
        self._rng = rng
        self._peer_id = identity.peer_id
        self._network_id = network_id
        self._own_values = own_values
        self._nursery = nursery
        self._copies = copies
        self._placings: dict[bytes, Placing] = {}
        self._holders: dict[bytes, frozenset[PeerId]] = {}
        """By a root's multihash, the other holders that were found last."""
        self._recruits: defaultdict[bytes, set[PeerId]] = defaultdict(set)
        """By the multihash of what is kept for others, whom we asked to keep it too."""
        self._gone: set[PeerId] = set()
        self._departure = trio.Event()
        self._repairing: set[bytes] = set()
        self._repairs = trio.CapacityLimiter(limits.REPLICATE_REPAIRS_AT_ONCE)
        self._budget_free_at = -math.inf
        keeper.on_released = self._on_released
        self.signer: Signer = lambda owner: identity if owner == identity.peer_id else None

    # --- asking others ---------------------------------------------------------------------------------

    async def place(self, value: HeldValue, *, copies: int | None = None, timeout_s: float) -> Placing:
        """Have `copies` (R) other nodes keep `value`, the closest to its root that will.

        After `timeout_s`, returns what has come; the rest goes on without the caller.
        """
        placing = self._start(value, copies or self._copies)
        await placing.wait(timeout_s)
        return placing

    async def publish(self, root: Cid, owner: PeerId) -> Placing:
        """Have R other nodes keep a DAG that is here and pinned, from now on until it is pinned no more.

        owner: whose key, which is here, signs the statement. Returns the first round at once; others follow
        while too few keep it. Raises `BlockNotFound`, and `NotPermitted` if the key is not here.
        """
        value = await self._own_dag(root, owner)
        await self._own_roots.add(root, owner)
        placing = self._start(value, self._copies)
        self._insisting.watch(root, placing)
        return placing

    async def placing(self, root: Cid) -> Placing:
        """Return the round that is under way for a DAG that was `publish`ed, or begin another one.

        Raises `BlockNotFound` for one that was not, or is here no more.
        """
        current = self._placings.get(root.multihash)
        if current is not None:
            return current
        own = await self._own_roots.find(root)
        if own is None:
            raise BlockNotFound(f"{root} was not published by this node, or is kept no longer")
        return self._start(await self._own_dag(*own), self._copies)

    def on_unpinned(self, root: Cid) -> None:
        """A root is pinned no more: if it was `publish`ed, others need not keep it for us either."""
        self._nursery.start_soon(self._withdraw, root)

    async def tend(self, value: HeldValue, *, out_of_turn: bool = False) -> int:
        """See to it that R others keep our own `value`; for one of another's, do so if that is our part.

        out_of_turn: that is our part, whoever is closer. Returns how many have their turn before us if
        holders are missing, and 0 otherwise.
        """
        offered = self._offered(value)
        if value.own:
            await self._place(value, offered, self._placing(value, offered, self._copies))
            return 0
        root = offered.root
        holders = await self._live_holders(root)
        missing = self._copies - len(holders) - 1
        if missing <= 0:
            return 0
        point = key_of(root.multihash)
        ours = distance(key_of(self._peer_id), point)
        before = sum(distance(key_of(holder), point) < ours for holder in holders)
        if before and not out_of_turn:
            return before
        began = trio.current_time()
        placing = self._placing(value, offered, missing)
        await self._place(value, offered, placing, but=holders)
        spent_s = len(placing.receipts) * offered.dag_bytes / limits.REPLICATE_REPAIR_BYTES_PER_S
        self._budget_free_at = max(began, self._budget_free_at) + spent_s
        log.info("value_repaired", root=str(root), wanted=missing, kept=len(placing.receipts))
        return 0

    async def hand_over(self) -> tuple[int, int]:
        """Before leaving: have R others keep what is here; take nothing more.

        Returns of how many values that many others have the blocks now, and of how many they have not.
        """
        self._keeper.is_draining = True
        safe = left_over = 0
        limiter = trio.CapacityLimiter(limits.REPLICATE_HAND_OVERS_AT_ONCE)

        async def hand(value: HeldValue) -> None:
            nonlocal safe, left_over
            missing, kept = self._copies, 0
            async with limiter:
                try:
                    offered = self._offered(value)
                    holders = await self._live_holders(offered.root)
                    missing = self._copies - len(holders)
                    if missing > 0:
                        placing = self._placing(value, offered, missing)
                        await self._place(value, offered, placing, but=holders)
                        kept = len(placing.receipts)
                except PrimeDhtError as error:
                    log.info("value_not_handed_over", key=value.key.hex(), code=error.code)
            if kept >= missing:
                safe += 1
            else:
                left_over += 1

        async with trio.open_nursery() as nursery:
            for value in await self._values():
                nursery.start_soon(hand, value)
        return safe, left_over

    def on_departed(self, peer: PeerId) -> None:
        """`peer` left the routing table: what it held is seen to soon."""
        self._gone.add(peer)
        self._departure.set()

    async def resume(self) -> None:
        """Go on with what the last run of this node published and too few keep."""
        try:
            await self._insisting.resume()
        except PrimeDhtError as error:
            log.warning("published_not_resumed", code=error.code)

    async def serve(self) -> NoReturn:
        """Tend what is here, once an interval."""
        while True:
            await trio.sleep(limits.REPLICATE_INTERVAL_S + self._rng.uniform(0, limits.REPLICATE_JITTER_S))
            try:
                for value in await self._values():
                    await self._tend_logging(value)
            except PrimeDhtError as error:
                log.warning("replicas_not_tended", code=error.code)

    async def serve_departures(self) -> NoReturn:
        """Tend what departed peers held, soon."""
        while True:
            await self._departure.wait()
            await trio.sleep(limits.REPLICATE_DEPARTED_BATCH_S)
            self._departure = trio.Event()
            gone, self._gone = self._gone, set()
            try:
                values = await self._values()
            except PrimeDhtError as error:
                log.warning("departure_not_seen_to", code=error.code)
                continue
            for value in values:
                self._see_to(value, gone)

    def status(self) -> dict[str, object]:
        """Return the state as JSON-able values."""
        return {
            "kept_for_others": len(self._replicas),
            "bytes": self._replicas.bytes_used,
            "repairing": len(self._repairing),
            "asked_again": self._insisting.status(),
        }

    # --- parts of the above ----------------------------------------------------------------------------

    async def _withdraw(self, root: Cid) -> None:
        try:
            own = await self._own_roots.find(root)
            if own is None or not await self._is_unpinned(root):
                return
            await self._own_roots.remove(root)
            found = self._routing.find_providers(
                root.multihash, limit=limits.FETCH_PEERS_MAX, timeout_s=limits.WALK_TIMEOUT_S
            )
            holders = set(self._holders.pop(root.multihash, ()))
            async with aclosing(found) as providers:  # type: ignore[type-var]
                async for info in providers:
                    holders.add(info.id)
        except PrimeDhtError as error:
            log.info("holders_not_found", root=str(root), code=error.code)
            return
        await self._release(root, holders)

    async def _release(self, root: Cid, holders: set[PeerId]) -> None:
        for holder in holders - {self._peer_id}:
            try:
                await self._asking.release(holder, root)
            except PrimeDhtError as error:  # it keeps it until its receipt expires
                log.info("replica_not_released", root=str(root), peer=str(holder), code=error.code)

    def _on_released(self, root: Cid) -> None:
        """Those whom we asked, in place of holders that departed, keep it for us: nobody else tells them."""
        recruits = self._recruits.pop(root.multihash, None)
        if recruits:
            self._nursery.start_soon(self._release, root, recruits)

    async def _is_unpinned(self, root: Cid) -> bool:
        """Return whether `root` is pinned for others at most."""
        return all(is_replica(pin.name) for pin in await self._blocks.pins.of(root))

    def _see_to(self, value: HeldValue, gone: set[PeerId]) -> None:
        """Have `value` tended soon if one of those that are `gone` may have held it."""
        try:
            offered = self._offered(value)
        except PrimeDhtError as error:  # its word is not valid any more; that is no matter of the others
            log.info("replica_not_tended", key=value.key.hex(), code=error.code)
            return
        root = offered.root.multihash
        holders = self._holders.get(root)
        if root not in self._repairing and (holders is None or holders & gone):
            self._repairing.add(root)
            self._nursery.start_soon(self._repair, value, root, offered.dag_bytes)

    async def _repair(self, value: HeldValue, root: bytes, dag_bytes: int) -> None:
        """Tend `value`, after a jitter, in its turn and within the budget."""
        try:
            await trio.sleep(self._rng.uniform(0, limits.REPLICATE_DEPARTED_JITTER_S))
            before = await self._tend_within_budget(value)
            if before:
                turn_s = limits.REPLICATE_TURN_S + dag_bytes / limits.REPLICATE_TURN_BYTES_PER_S
                await trio.sleep(before * turn_s)
                await self._tend_within_budget(value, out_of_turn=True)
        finally:
            self._repairing.discard(root)

    async def _tend_within_budget(self, value: HeldValue, *, out_of_turn: bool = False) -> int:
        async with self._repairs:
            await trio.sleep(max(0.0, self._budget_free_at - trio.current_time()))
            return await self._tend_logging(value, out_of_turn=out_of_turn)

    async def _tend_logging(self, value: HeldValue, *, out_of_turn: bool = False) -> int:
        try:
            return await self.tend(value, out_of_turn=out_of_turn)
        except PrimeDhtError as error:
            log.info("replica_not_tended", key=value.key.hex(), code=error.code)
            return 0

    async def _values(self) -> list[HeldValue]:
        """Return all that is here, without what has expired."""
        values = await self._own_values()
        for root, owner in await self._own_roots.all():
            if await self._is_unpinned(root):
                self.on_unpinned(root)
                continue
            try:
                values.append(await self._own_dag(root, owner))
            except PrimeDhtError as error:
                log.warning("published_blocks_missing", root=str(root), code=error.code)
        for replica in self._replicas.all():
            if replica.expires_unix_s <= self._clock.unix_now():
                await self._keeper.forget(replica)
                self._forget(Cid.from_bytes(replica.root))
            else:
                values.append(HeldValue(replica.key, replica.record, replica.expires_unix_s, own=False))
        return values

    def _forget(self, root: Cid) -> None:
        """What is known of a root's holders is of no use any more."""
        self._holders.pop(root.multihash, None)
        self._recruits.pop(root.multihash, None)

    async def _own_dag(self, root: Cid, owner: PeerId) -> HeldValue:
        """Return a DAG of ours with a new statement. Raises `BlockNotFound`, `NotPermitted`."""
        signer = self.signer(owner)
        if signer is None:
            raise NotPermitted(f"the key of {owner}, who published {root}, is not here any more")
        found = await self._blocks.stat(root)
        if found.missing:
            raise BlockNotFound(f"{found.missing} blocks of {root} are not here; pull or push it again")
        expires_unix_s = self._clock.unix_now() + limits.SIGNED_LIFETIME_S_MAX
        statement = Statement(root, found.bytes, found.blocks, int(expires_unix_s * 1000))
        record = sign_statement(signer, self._network_id, statement)
        return HeldValue(b"", record, statement.expires_unix_ms / 1000, own=True)

    def _offered(self, value: HeldValue) -> Offered:
        now = self._clock.unix_now()
        return read_offer(value.key, value.record, self._validator, self._network_id, now_unix_s=now)

    def _placing(self, value: HeldValue, offered: Offered, copies: int) -> Placing:
        size, expires_unix_s = offered.dag_bytes, value.expires_unix_s
        return Placing(offered.root, wanted=copies, size_bytes=size, expires_unix_s=expires_unix_s)

    def _start(self, value: HeldValue, copies: int) -> Placing:
        offered = self._offered(value)
        placing = self._placing(value, offered, copies)
        root = offered.root.multihash

        async def run() -> None:
            try:
                await self._place(value, offered, placing)
            except PrimeDhtError as error:
                log.info("value_not_placed", root=str(offered.root), code=error.code)
            finally:
                placing.finish()
                if self._placings.get(root) is placing:
                    del self._placings[root]

        self._placings[root] = placing
        self._nursery.start_soon(run)
        return placing

    async def _place(
        self, value: HeldValue, offered: Offered, placing: Placing, but: Collection[PeerId] = ()
    ) -> None:
        """Offer `value` to the closest peers, except `but`, until `placing` has its receipts."""
        found = await self._routing.closest_peers(offered.root.multihash, timeout_s=limits.WALK_TIMEOUT_S)

        async def send(peer: PeerId) -> None:
            try:
                receipt = await self._asking.offer(peer, value, offered, partial(placing.note_fetched, peer))
            except PrimeDhtError as error:
                placing.note_refusal(peer, error.reason if isinstance(error, PeerRefused) else error.code)
                raise
            placing.note_receipt(receipt, offered)

        await place(
            [peer for peer in found.closest if peer != self._peer_id and peer not in but],
            copies=placing.wanted,
            send=send,
            patience_s=lambda peer: math.inf,
            timeout_s=limits.REPLICATE_FETCH_S_MAX,
        )
        holders = frozenset(receipt.holder for receipt in placing.receipts)
        self._holders[offered.root.multihash] = holders.union(but)
        if holders and not value.own:
            self._recruits[offered.root.multihash] |= holders

    async def _live_holders(self, root: Cid) -> list[PeerId]:
        """Return the other providers of `root` that have a block of it chosen at random."""
        holders: list[PeerId] = []

        async def ask(peer: PeerId) -> None:
            try:
                if await self._asking.has_random_block(peer, root):
                    holders.append(peer)
            except PrimeDhtError as error:
                log.info("holder_lost", root=str(root), peer=str(peer), code=error.code)

        found = self._routing.find_providers(
            root.multihash, limit=limits.FETCH_PEERS_MAX, timeout_s=limits.WALK_TIMEOUT_S
        )
        failure: PrimeDhtError | None = None
        async with trio.open_nursery() as nursery, aclosing(found) as providers:  # type: ignore[type-var]
            try:
                async for info in providers:
                    if info.id != self._peer_id:
                        nursery.start_soon(ask, info.id)
            except PrimeDhtError as error:  # a nursery would raise a group of it
                failure = error
        if failure is not None:
            raise failure
        self._holders[root.multihash] = frozenset(holders)
        return holders


@asynccontextmanager
async def open_replication(
    streams: Streams, routing: Routing, blocks: Blocks, kv: KeyValue, clock: WallClock, rng: Rng,
    identity: AnyPrivateKey, validator: RecordValidator, own_values: OwnValues, *, network_id: str,
    copies: int, quotas: ReplicaQuotas, has_psk: bool, allowed: frozenset[PeerId],
) -> AsyncIterator[Replication]:  # fmt: skip
    """Keep others' blocks, and have others keep ours, until the block is left.

    `blocks` must have an exchange. has_psk: the network has a pre-shared key. allowed: peers and writers
    whose offers are taken without one.
    """
    assert blocks.exchange is not None, "blocks come from peers"
    replicas = Replicas(kv, quotas)
    await replicas.load()
    keeper = Keeper(
        blocks, blocks.exchange, replicas, validator, clock, identity, network_id, has_psk=has_psk,
        allowed=allowed,
    )  # fmt: skip
    asking = Asking(streams, blocks.store, rng, identity.peer_id, network_id)
    async with open_background_nursery() as nursery:
        replication = Replication(
            routing, blocks, keeper, asking, replicas, OwnRoots(kv), validator, clock, rng, identity,
            network_id, own_values, nursery, copies=copies,
        )  # fmt: skip
        blocks.on_unpinned = replication.on_unpinned
        nursery.start_soon(replication.resume)
        nursery.start_soon(replication.serve)
        nursery.start_soon(replication.serve_departures)
        streams.serve(PROTOCOL, keeper.serve_stream, streams_per_peer_max=limits.REPLICATE_STREAMS_IN_MAX)
        try:
            yield replication
        finally:
            blocks.on_unpinned = None
            streams.serve(PROTOCOL, None)
