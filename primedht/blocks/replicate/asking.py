"""What a node asks others over `/primedht/replicate/1.0.0`: to keep blocks, and to prove that they do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

from primedht import limits
from primedht.blocks.replicate.messages import PROTOCOL, Conversation
from primedht.blocks.replicate.offered import HeldValue, Offered
from primedht.blocks.store import LocalBlockstore
from primedht.cids import RAW, Cid
from primedht.dht.ports import Rng, Streams
from primedht.errors import PeerRefused, ProtocolViolation
from primedht.ids import PeerId
from primedht.pb import replicate_pb2 as pb
from primedht.records.receipt import Receipt, verified_receipt
from primedht.tasks import shielded_undo


class Asking:
    """One node's requests. All raise `PeerRefused`, and as `Streams.open` and `Conversation`."""

    def __init__(
        self, streams: Streams, store: LocalBlockstore, rng: Rng, peer_id: PeerId, network_id: str
    ) -> None:
        self._streams = streams
        self._store = store
        self._rng = rng
        self._peer_id = peer_id
        self._network_id = network_id

    async def offer(
        self, peer: PeerId, value: HeldValue, offered: Offered, on_fetched: Callable[[int], None]
    ) -> Receipt:
        """Return the receipt of `peer`. on_fetched: told how many bytes it has got, now and then."""
        expires_unix_ms = int(value.expires_unix_s * 1000)
        async with self._conversation(peer) as conversation:
            offer = pb.Offer(key=value.key, record=value.record, expires_unix_ms=expires_unix_ms)
            await conversation.send(pb.Request(offer=offer))
            response = await conversation.receive(pb.Response)
            while response.HasField("working"):
                on_fetched(min(response.working.done_bytes, offered.dag_bytes))
                response = await conversation.receive(pb.Response)
        _check_not_refused(peer, response)
        receipt = verified_receipt(response.receipt)
        expected = Receipt(
            network_id=self._network_id,
            root=bytes(offered.root),
            size_bytes=offered.size_bytes,
            record_digest=sha256(value.record).digest(),
            holder=peer,
            requester=self._peer_id,
            expires_unix_ms=min(expires_unix_ms, receipt.expires_unix_ms),
        )
        if receipt != expected:
            raise ProtocolViolation(f"{peer} gave a receipt for something else")
        return receipt

    async def has_random_block(self, peer: PeerId, root: Cid) -> bool:
        """Return whether `peer` proves to have a block of `root`'s DAG, chosen at random."""
        block = root
        while block.codec != RAW and (links := await self._store.links(block)):
            block = links[self._rng.randrange(len(links))]
        nonce = self._rng.getrandbits(8 * limits.REPLICATE_NONCE_BYTES).to_bytes(
            limits.REPLICATE_NONCE_BYTES, "big"
        )
        async with self._conversation(peer) as conversation:
            challenge = pb.Challenge(root=bytes(root), block=bytes(block), nonce=nonce)
            await conversation.send(pb.Request(challenge=challenge))
            response = await conversation.receive(pb.Response)
        _check_not_refused(peer, response)
        return response.proof == sha256(nonce + await self._store.get(block)).digest()

    async def release(self, peer: PeerId, root: Cid) -> None:
        """Have `peer` keep no longer what it keeps for a statement of ours."""
        async with self._conversation(peer) as conversation:
            await conversation.send(pb.Request(release=pb.Release(root=bytes(root))))
            _check_not_refused(peer, await conversation.receive(pb.Response))

    @asynccontextmanager
    async def _conversation(self, peer: PeerId) -> AsyncIterator[Conversation]:
        stream = await self._streams.open(peer, (PROTOCOL,), timeout_s=limits.DIAL_TIMEOUT_S)
        try:
            yield Conversation(stream)
        except BaseException:
            with shielded_undo():
                await stream.reset()
            raise
        await stream.close()


def _check_not_refused(peer: PeerId, response: pb.Response) -> None:
    if response.HasField("refused"):
        reason = response.refused.reason[: limits.REPLICATE_REASON_CHARS_MAX]
        raise PeerRefused(f"{peer} refuses: {reason}", reason=reason)
