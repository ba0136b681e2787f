"""The holder's side: takes offers, fetches the blocks, and gives receipts.

Nothing in an offer says where to fetch from: the offerer is asked, and the holders that the DHT names. What
is fetched is bounded by the size announced, and kept only if it has exactly that size.

Source: docs/design.md, "Durable big values".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import structlog
import trio

from primedht import limits
from primedht.blocks.block import Block
from primedht.blocks.blocks import Blocks
from primedht.blocks.blockstore import Exchange, Hold, Put
from primedht.blocks.replicate.messages import Conversation
from primedht.blocks.replicate.offered import Offered, read_offer
from primedht.blocks.replicate.replicas import Replica, Replicas
from primedht.cids import Cid
from primedht.clock import WallClock
from primedht.dht.key_locks import KeyLocks
from primedht.dht.ports import Stream
from primedht.errors import (
    BlockNotFound,
    InvalidArgument,
    InvalidRecord,
    NotPermitted,
    PeerRefused,
    PrimeDhtError,
    ProtocolViolation,
    StaleRecord,
    TooBusy,
)
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.pb import replicate_pb2 as pb
from primedht.records.receipt import Receipt, sign_receipt
from primedht.records.validator import RecordValidator

log = structlog.get_logger(__name__)


class Keeper:
    """Keeps what permitted peers offer.

    has_psk: every peer that can connect holds the network's key. on_released: told of each root that is kept
    no longer because whoever had it kept said so.
    """

    def __init__(
        self, blocks: Blocks, exchange: Exchange, replicas: Replicas, validator: RecordValidator,
        clock: WallClock, identity: AnyPrivateKey, network_id: str, *, has_psk: bool,
        allowed: frozenset[PeerId],
    ) -> None:  # fmt: skip
        self._blocks = blocks
        self._exchange = exchange
        self._replicas = replicas
        self._validator = validator
        self._clock = clock
        self._identity = identity
        self._network_id = network_id
        self._has_psk = has_psk
        self._allowed = allowed
        self._fetches = trio.CapacityLimiter(limits.REPLICATE_FETCHES_AT_ONCE)
        self._changing: KeyLocks[bytes] = KeyLocks()  # by a replica's id
        self.is_draining = False
        self.on_released: Callable[[Cid], None] = lambda root: None

    async def serve_stream(self, stream: Stream) -> None:
        """Answer one request. Errors of the stream reset it."""
        conversation = Conversation(stream)
        request = await conversation.receive(pb.Request)
        kind = request.WhichOneof("request")
        try:
            if kind == "offer":
                response = pb.Response(receipt=await self._keep(conversation, request.offer))
            elif kind == "challenge":
                response = pb.Response(proof=await self._prove(request.challenge))
            elif kind == "release":
                await self._release(stream.peer, Cid.from_bytes(request.release.root))
                response = pb.Response(released=pb.Released())
            else:
                raise ProtocolViolation("a replicate request of an unknown kind")
        except ProtocolViolation:
            raise
        except PrimeDhtError as error:
            log.info("replicate_refused", peer=str(stream.peer), kind=kind, code=error.code, why=str(error))
            reason = error.reason if isinstance(error, PeerRefused) else error.code
            response = pb.Response(refused=pb.Refused(reason=reason))
        await conversation.send(response)
        await stream.finish()

    async def _keep(self, conversation: Conversation, offer: pb.Offer) -> pb.Receipt:
        peer = conversation.stream.peer
        now = self._clock.unix_now()
        offered = read_offer(offer.key, offer.record, self._validator, self._network_id, now_unix_s=now)
        if not (self._has_psk or peer in self._allowed or offered.writer in self._allowed):
            raise NotPermitted("neither the peer nor the writer is in replicate.allow")
        if self.is_draining:
            raise PeerRefused("this node is leaving", reason="draining")
        latest_unix_s = min(now + limits.SIGNED_LIFETIME_S_MAX, offered.expires_unix_s or math.inf)
        expires_unix_ms = min(offer.expires_unix_ms, int(latest_unix_s * 1000))
        if expires_unix_ms / 1000 <= now:
            raise InvalidRecord("the offer has expired")
        replica = Replica(
            offer.key, offer.record, bytes(offered.root), peer, conversation.stream.ip, offered.dag_bytes,
            expires_unix_ms / 1000, b"" if offer.key else bytes(offered.writer),
        )  # fmt: skip
        self._check_is_latest(replica, offered)
        with self._replicas.reserving(replica):
            if self._fetches.available_tokens < 1:
                raise TooBusy(f"{limits.REPLICATE_FETCHES_AT_ONCE} offers are being fetched")
            async with self._fetches:
                await self._fetch_telling(conversation, replica, offered)
        log.info("replica_kept", root=str(offered.root), requester=str(peer), bytes=offered.dag_bytes)
        receipt = Receipt(
            network_id=self._network_id,
            root=bytes(offered.root),
            size_bytes=offered.size_bytes,
            record_digest=sha256(offer.record).digest(),
            holder=self._identity.peer_id,
            requester=peer,
            expires_unix_ms=expires_unix_ms,
        )
        return sign_receipt(self._identity, receipt)

    async def _fetch_telling(self, conversation: Conversation, replica: Replica, offered: Offered) -> None:
        """Fetch and pin, with a sign of life to the offerer every few seconds."""
        failure: PrimeDhtError | None = None
        done_bytes = 0

        async def put(blocks: Sequence[Block], *, hold: Hold | None = None) -> list[Cid]:
            nonlocal done_bytes
            fresh = await self._blocks.store.put(blocks, hold=hold)
            done_bytes += sum(len(block.data) for block in blocks)
            return fresh

        async def tell() -> None:
            nonlocal failure
            try:
                while True:
                    await conversation.send(pb.Response(working=pb.Working(done_bytes=done_bytes)))
                    await trio.sleep(limits.REPLICATE_SIGN_OF_LIFE_S)
            except PrimeDhtError as error:  # it has gone, and with it where the blocks come from
                failure = error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            try:
                await self._fetch(replica, offered, put)
            except PrimeDhtError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _fetch(self, replica: Replica, offered: Offered, put: Put) -> None:
        root = offered.root
        with self._blocks.store.hold() as hold:
            await self._exchange.fetch(
                root,
                recursive=True,
                hold=hold,
                timeout_s=limits.REPLICATE_FETCH_S_MAX,
                bytes_max=offered.dag_bytes,
                peers=frozenset((replica.requester,)),
                put=put,
            )
            await offered.check(self._blocks)
            async with self._changing.holding(replica.id):
                await self._replace(replica, offered)
        self._blocks.announce(root)

    async def _replace(self, replica: Replica, offered: Offered) -> None:
        """Pin and remember `replica` in the place of what is kept for its key or its root."""
        self._check_is_latest(replica, offered)  # another may have come while this one was fetched
        older = self._replicas.get(replica.id)
        is_same = older is not None and (not replica.key or older.record == replica.record)
        if older is not None and is_same and older.expires_unix_s > replica.expires_unix_s:
            return  # whoever had it kept longer has a receipt for that
        if older is not None and not replica.key and replica.requester != offered.writer:
            # Who repeats another's statement may not have it let go.
            replica = replace(replica, requester=older.requester, ip=older.ip)
        await self._blocks.pins.add(
            offered.root, name=replica.pin_name, expires_unix_s=replica.expires_unix_s
        )
        await self._replicas.add(replica)
        if older is not None and older.record != replica.record:
            await self.let_go(older, but=offered.root)

    def _check_is_latest(self, replica: Replica, offered: Offered) -> None:
        """Raise `StaleRecord` if a newer record of the key is kept: an old one can be offered by anybody."""
        held = self._replicas.get(replica.id)
        if held is None or offered.rank is None:
            return
        now = self._clock.unix_now()
        try:
            rank = read_offer(held.key, held.record, self._validator, self._network_id, now_unix_s=now).rank
        except PrimeDhtError:  # it is not valid any more
            return
        if rank is not None and rank > offered.rank:
            raise StaleRecord("a newer record of the key is kept here")

    async def let_go(self, replica: Replica, *, but: Cid | None = None) -> None:
        """Unpin what was kept for `replica`, except `but`."""
        async for pin in self._blocks.pins.all():
            if pin.name == replica.pin_name and (but is None or pin.cid.multihash != but.multihash):
                await self._blocks.unpin(pin.cid, name=pin.name)

    async def _release(self, peer: PeerId, root: Cid) -> None:
        """Keep a DAG no longer for the statements that `peer` signed or brought.

        Raises `NotPermitted` if it is kept for others alone.
        """
        kept = self._replicas.of_statements(bytes(root))
        released = [each for each in kept if peer == each.requester or bytes(peer) == each.writer]
        if kept and not released:
            raise NotPermitted(f"{root} is kept for {kept[0].requester}")
        for replica in released:
            await self.forget(replica, unpin=True)
        if kept and not self._replicas.of_statements(bytes(root)):
            self.on_released(root)

    async def forget(self, replica: Replica, *, unpin: bool = False) -> None:
        """Keep `replica` no longer, unless another one has taken its place.

        unpin: it has not expired, as then its pins have too.
        """
        async with self._changing.holding(replica.id):
            if self._replicas.get(replica.id) is replica:
                await self._replicas.remove(replica.id)
                if unpin:
                    await self.let_go(replica)

    async def _prove(self, challenge: pb.Challenge) -> bytes:
        if len(challenge.nonce) != limits.REPLICATE_NONCE_BYTES:
            raise InvalidArgument("a nonce has 32 bytes")
        root, block = Cid.from_bytes(challenge.root), Cid.from_bytes(challenge.block)
        if not await self._blocks.pins.of(root):
            raise BlockNotFound(f"{root} is not kept here")
        return sha256(challenge.nonce + await self._blocks.store.get(block)).digest()
