"""Large values stay on R other nodes: their writers ask the closest to keep them, holders replace each other.

A node tends what it holds once an interval. The writer offers its values anew, which lengthens their
lives as its puts lengthen those of the records. For what it keeps for others, a node asks the root's
providers for a block chosen at random; if it is the closest of those that have it, and they are fewer
than R, it offers the value to the next closest. So that they do not all act at once, each waits a jitter.

Source: docs/design.md, "Durable big values".
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NoReturn, Protocol

import structlog
import trio

from primedht import limits
from primedht.blocks.blocks import Blocks
from primedht.blocks.replicate.keeper import Keeper
from primedht.blocks.replicate.messages import PROTOCOL, Conversation
from primedht.blocks.replicate.replicas import ReplicaQuotas, Replicas
from primedht.cids import RAW, Cid
from primedht.clock import WallClock
from primedht.dht.placement import place
from primedht.dht.ports import Rng, Streams
from primedht.errors import PeerRefused, PrimeDhtError, ProtocolViolation
from primedht.ids import PeerId
from primedht.kad.key import distance, key_of
from primedht.kad.messages import PeerInfo, Record
from primedht.keys import PrivateKey
from primedht.pb import replicate_pb2 as pb
from primedht.records.pointer import Pointer, decode_pointer
from primedht.records.receipt import Receipt, verified_receipt
from primedht.records.validator import RecordValidator
from primedht.results import Refusal
from primedht.stores.kv import KeyValue
from primedht.tasks import open_background_nursery

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HeldValue:
    """A large value that is here. record: the value of its key's record. own: this node wrote it."""

    key: bytes
    record: bytes
    expires_unix_s: float
    own: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """Whose receipts say that they keep a value's blocks, and who will not, and why."""

    receipts: tuple[Receipt, ...]
    refused: tuple[Refusal, ...]


class Routing(Protocol):
    """Who is close to a root, and who has it. `Dht` has these."""

    async def closest_peers(self, key: bytes, *, timeout_s: float) -> Any: ...

    def find_providers(
        self, multihash: bytes, *, limit: int, timeout_s: float
    ) -> AsyncIterator[PeerInfo]: ...


OwnValues = Callable[[], Awaitable[list[HeldValue]]]
"""Returns the large values that this node keeps alive."""


class Replication:
    """Offers, challenges and repairs of one node. Made by `open_replication`. copies: R."""

    def __init__(
        self, streams: Streams, routing: Routing, blocks: Blocks, keeper: Keeper, replicas: Replicas,
        validator: RecordValidator, clock: WallClock, rng: Rng, peer_id: PeerId, network_id: str,
        own_values: OwnValues, nursery: trio.Nursery, *, copies: int,
    ) -> None:  # fmt: skip
        self._streams = streams
        self._routing = routing
        self._blocks = blocks
        self._keeper = keeper
        self._replicas = replicas
        self._validator = validator
        self._clock = clock
        self._rng = rng
        self._peer_id = peer_id
        self._network_id = network_id
        self._own_values = own_values
        self._nursery = nursery
        self._copies = copies

    async def place(self, value: HeldValue, *, copies: int | None = None, timeout_s: float) -> Kept:
        """Have `copies` (R) other nodes keep `value`, the closest to its root that will.

        After `timeout_s`, returns what has come; the rest goes on without the caller.
        """
        receipts: list[Receipt] = []
        refused: list[Refusal] = []
        done = trio.Event()

        async def run() -> None:
            try:
                await self._place(value, copies or self._copies, (), receipts, refused)
            except PrimeDhtError as error:
                log.info("value_not_placed", key=value.key.hex(), code=error.code)
            finally:
                done.set()

        self._nursery.start_soon(run)
        with trio.move_on_after(timeout_s):
            await done.wait()
        return Kept(tuple(receipts), tuple(refused))

    async def tend(self, value: HeldValue) -> None:
        """See to it that R others keep our own `value`; for one of another's, do so if that is our part."""
        if value.own:
            await self._place(value, self._copies, (), [], [])
            return
        root = self._pointer(value).root
        holders = await self._live_holders(root)
        point = key_of(root.multihash)
        ours = distance(key_of(self._peer_id), point)
        if any(distance(key_of(holder), point) < ours for holder in holders):
            return
        missing = self._copies - len(holders) - 1
        if missing > 0:
            receipts: list[Receipt] = []
            await self._place(value, missing, holders, receipts, [])
            log.info("value_repaired", root=str(root), wanted=missing, kept=len(receipts))

    async def hand_over(self) -> tuple[int, int]:
        """Before leaving: have R others keep what is here; take nothing more.

        Returns of how many values that many others have the blocks now, and of how many they have not.
        """
        self._keeper.is_draining = True
        safe = left_over = 0
        limiter = trio.CapacityLimiter(limits.REPLICATE_HAND_OVERS_AT_ONCE)

        async def hand(value: HeldValue) -> None:
            nonlocal safe, left_over
            receipts: list[Receipt] = []
            async with limiter:
                try:
                    holders = await self._live_holders(self._pointer(value).root)
                    missing = self._copies - len(holders)
                    if missing > 0:
                        await self._place(value, missing, holders, receipts, [])
                except PrimeDhtError as error:
                    log.info("value_not_handed_over", key=value.key.hex(), code=error.code)
                    missing = self._copies
            if len(receipts) >= missing:
                safe += 1
            else:
                left_over += 1

        async with trio.open_nursery() as nursery:
            for value in await self._values():
                nursery.start_soon(hand, value)
        return safe, left_over

    async def serve(self) -> NoReturn:
        """Tend what is here, once an interval."""
        while True:
            await trio.sleep(limits.REPLICATE_INTERVAL_S + self._rng.uniform(0, limits.REPLICATE_JITTER_S))
            try:
                for value in await self._values():
                    await self._tend_logging(value)
            except PrimeDhtError as error:
                log.warning("replicas_not_tended", code=error.code)

    def status(self) -> dict[str, object]:
        """Return the state as JSON-able values."""
        return {"kept_for_others": len(self._replicas), "bytes": self._replicas.bytes_used}

    # --- parts of the above ----------------------------------------------------------------------------

    async def _tend_logging(self, value: HeldValue) -> None:
        try:
            await self.tend(value)
        except PrimeDhtError as error:
            log.info("replica_not_tended", key=value.key.hex(), code=error.code)

    async def _values(self) -> list[HeldValue]:
        """Return all that is here, without what has expired."""
        values = await self._own_values()
        for replica in self._replicas.all():
            if replica.expires_unix_s <= self._clock.unix_now():
                await self._replicas.remove(replica.key)
            else:
                values.append(HeldValue(replica.key, replica.record, replica.expires_unix_s, own=False))
        return values

    def _pointer(self, value: HeldValue) -> Pointer:
        record = Record(value.key, value.record)
        valid = self._validator.validate(record, now_unix_s=self._clock.unix_now(), copied=True)
        return decode_pointer(valid.payload)

    async def _place(
        self, value: HeldValue, copies: int, but: Collection[PeerId], receipts: list[Receipt],
        refused: list[Refusal],
    ) -> None:  # fmt: skip
        """Offer `value` to the closest peers, except `but`, until `copies` have given receipts."""
        pointer = self._pointer(value)
        found = await self._routing.closest_peers(pointer.root.multihash, timeout_s=limits.WALK_TIMEOUT_S)

        async def send(peer: PeerId) -> None:
            try:
                receipts.append(await self._offer(peer, value, pointer))
            except PrimeDhtError as error:
                code = error.reason if isinstance(error, PeerRefused) else error.code
                refused.append(Refusal(peer, code))
                raise

        await place(
            [peer for peer in found.closest if peer != self._peer_id and peer not in but],
            copies=copies,
            send=send,
            patience_s=lambda peer: math.inf,
            timeout_s=limits.REPLICATE_FETCH_S_MAX,
        )

    async def _offer(self, peer: PeerId, value: HeldValue, pointer: Pointer) -> Receipt:
        """Return the receipt of `peer`. Raises `PeerRefused`, and as `Streams.open` and `Conversation`."""
        expires_unix_ms = int(value.expires_unix_s * 1000)
        async with self._conversation(peer) as conversation:
            offer = pb.Offer(key=value.key, record=value.record, expires_unix_ms=expires_unix_ms)
            await conversation.send(pb.Request(offer=offer))
            response = await conversation.receive(pb.Response)
            while response.HasField("working"):
                response = await conversation.receive(pb.Response)
        _check_not_refused(peer, response)
        receipt = verified_receipt(response.receipt)
        expected = Receipt(
            network_id=self._network_id,
            root=bytes(pointer.root),
            size_bytes=pointer.size_bytes,
            record_digest=sha256(value.record).digest(),
            holder=peer,
            requester=self._peer_id,
            expires_unix_ms=min(expires_unix_ms, receipt.expires_unix_ms),
        )
        if receipt != expected:
            raise ProtocolViolation(f"{peer} gave a receipt for something else")
        return receipt

    async def _live_holders(self, root: Cid) -> list[PeerId]:
        """Return the other providers of `root` that have a block of it chosen at random."""
        holders: list[PeerId] = []

        async def ask(peer: PeerId) -> None:
            try:
                if await self._has_random_block(peer, root):
                    holders.append(peer)
            except PrimeDhtError as error:
                log.info("holder_lost", root=str(root), peer=str(peer), code=error.code)

        found = self._routing.find_providers(
            root.multihash, limit=limits.FETCH_PEERS_MAX, timeout_s=limits.WALK_TIMEOUT_S
        )
        async with trio.open_nursery() as nursery, aclosing(found) as providers:  # type: ignore[type-var]
            async for info in providers:
                if info.id != self._peer_id:
                    nursery.start_soon(ask, info.id)
        return holders

    async def _has_random_block(self, peer: PeerId, root: Cid) -> bool:
        block = root
        while block.codec != RAW and (links := await self._blocks.store.links(block)):
            block = links[self._rng.randrange(len(links))]
        nonce = self._rng.getrandbits(8 * limits.REPLICATE_NONCE_BYTES).to_bytes(
            limits.REPLICATE_NONCE_BYTES, "big"
        )
        async with self._conversation(peer) as conversation:
            challenge = pb.Challenge(root=bytes(root), block=bytes(block), nonce=nonce)
            await conversation.send(pb.Request(challenge=challenge))
            response = await conversation.receive(pb.Response)
        _check_not_refused(peer, response)
        return response.proof == sha256(nonce + await self._blocks.store.get(block)).digest()

    @asynccontextmanager
    async def _conversation(self, peer: PeerId) -> AsyncIterator[Conversation]:
        stream = await self._streams.open(peer, (PROTOCOL,), timeout_s=limits.DIAL_TIMEOUT_S)
        try:
            yield Conversation(stream)
        except BaseException:
            with trio.CancelScope(shield=True):
                await stream.reset()
            raise
        await stream.close()


def _check_not_refused(peer: PeerId, response: pb.Response) -> None:
    if response.HasField("refused"):
        reason = response.refused.reason[: limits.REPLICATE_REASON_CHARS_MAX]
        raise PeerRefused(f"{peer} refuses: {reason}", reason=reason)


@asynccontextmanager
async def open_replication(
    streams: Streams, routing: Routing, blocks: Blocks, kv: KeyValue, clock: WallClock, rng: Rng,
    identity: PrivateKey, validator: RecordValidator, own_values: OwnValues, *, network_id: str,
    copies: int, quotas: ReplicaQuotas, has_psk: bool, allowed: frozenset[PeerId],
) -> AsyncIterator[Replication]:  # fmt: skip
    """Keep others' large values, and have others keep ours, until the block is left.

    `blocks` must have an exchange. has_psk: the network has a pre-shared key. allowed: peers and writers
    whose offers are taken without one. Raises `StoreCorrupt`.
    """
    assert blocks.exchange is not None, "blocks come from peers"
    replicas = Replicas(kv, quotas)
    await replicas.load()
    keeper = Keeper(
        blocks, blocks.exchange, replicas, validator, clock, identity, network_id, has_psk=has_psk,
        allowed=allowed,
    )  # fmt: skip
    async with open_background_nursery() as nursery:
        replication = Replication(
            streams, routing, blocks, keeper, replicas, validator, clock, rng, identity.peer_id,
            network_id, own_values, nursery, copies=copies,
        )  # fmt: skip
        nursery.start_soon(replication.serve)
        streams.serve(PROTOCOL, keeper.serve_stream, streams_per_peer_max=limits.REPLICATE_STREAMS_IN_MAX)
        try:
            yield replication
        finally:
            streams.serve(PROTOCOL, None)
