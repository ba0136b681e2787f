"""Answering what peers want: blocks, presences, and blocks that come only later.

Peers take turns: each has one message under way at a time, and all wait for a place in the order in which
they asked for it. A want for what is not here is remembered, up to a limit,
and answered when the block comes.

Source: IPFS specs, bitswap protocol, "Bitswap 1.2.0: Interaction Pattern"; boxo, decision engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from heapq import nlargest

import structlog
import trio

from primedht import limits
from primedht.blocks.bitswap.messages import BitswapMessage, Want
from primedht.blocks.block import Block
from primedht.blocks.blockstore import Blockstore
from primedht.cids import CODEC_NAMES, Cid
from primedht.errors import LocalError
from primedht.ids import PeerId

log = structlog.get_logger(__name__)

_WANTS_AT_ONCE = 64


@dataclass(slots=True)
class Ledger:
    """What one peer wants and what went between us, in bytes of blocks.

    wants: by binary CID. fresh: those of them that are not answered yet. wire: as the blocks travelled,
    some of them compressed.
    """

    wants: dict[bytes, Want] = field(default_factory=dict)
    fresh: dict[bytes, Want] = field(default_factory=dict)
    sent_bytes: int = 0
    sent_wire_bytes: int = 0
    received_bytes: int = 0
    received_wire_bytes: int = 0

    def update(self, message: BitswapMessage) -> None:
        """Take over a wantlist or changes to it. Of too many wants the least pressing are not taken."""
        if message.full:
            self.wants.clear()
            self.fresh.clear()
        for want in message.wants:
            key = bytes(want.cid)
            if want.cancel:
                self.wants.pop(key, None)
                self.fresh.pop(key, None)
                continue
            known = self.wants.get(key)
            if known is not None and want.have and not known.have:
                continue  # it wants the block already, which is more
            if known is None and len(self.wants) >= limits.BITSWAP_WANTS_PER_PEER_MAX:
                continue
            self.wants[key] = self.fresh[key] = want

    def most_pressing(self, count: int) -> list[tuple[bytes, Want]]:
        """Return the most pressing wants that are not answered yet, by binary CID."""
        return nlargest(count, self.fresh.items(), key=lambda item: item[1].priority)

    def take(self, key: bytes, want: Want) -> bool:
        """The want is to be answered now; False if it changed meanwhile."""
        if self.fresh.get(key) is not want:
            return False
        del self.fresh[key]
        return True

    def done(self, want: Want) -> None:
        """The want is answered with a block, and forgotten unless it changed meanwhile."""
        if self.wants.get(bytes(want.cid)) is want:
            del self.wants[bytes(want.cid)]


class BitswapServer:
    """Answers wants out of a blockstore.

    wake: called with a peer for whom there is something to send; `filled` then makes it.
    """

    def __init__(self, store: Blockstore, wake: Callable[[PeerId], None]) -> None:
        self._store = store
        self._wake = wake
        self._places = trio.Semaphore(limits.BITSWAP_ANSWERS_AT_ONCE)
        self.ledgers: dict[PeerId, Ledger] = {}
        self.sent_bytes = self.sent_wire_bytes = 0  # to all peers, those that are forgotten included

    def on_message(self, peer: PeerId, message: BitswapMessage) -> None:
        """A peer changed its wantlist."""
        ledger = self.ledgers.get(peer)
        if ledger is None:
            if not message.wants and not message.full:
                return
            self._make_room()
            ledger = self.ledgers[peer] = Ledger()
        ledger.update(message)
        if ledger.fresh:
            self._wake(peer)

    def on_stored(self, cids: Iterable[Cid]) -> None:
        """Blocks came: those who have been waiting get them."""
        keys = {key for cid in cids for key in _names_of(cid)} if self.ledgers else set()
        for peer, ledger in self.ledgers.items():
            found = {key: ledger.wants[key] for key in keys & ledger.wants.keys()}
            if found:
                ledger.fresh.update(found)
                self._wake(peer)

    def on_sent(self, peer: PeerId, wire_bytes: int) -> None:
        """The blocks of a message went out as so many bytes."""
        self.sent_wire_bytes += wire_bytes
        ledger = self.ledgers.get(peer)
        if ledger is not None:
            ledger.sent_wire_bytes += wire_bytes

    def forget(self, peer: PeerId) -> None:
        """A peer is gone, and with it its wants."""
        self.ledgers.pop(peer, None)

    @asynccontextmanager
    async def filled(self, peer: PeerId) -> AsyncIterator[BitswapMessage]:
        """Make the next message to `peer`, an empty one when there is none, and hold its place."""
        async with self._places:
            ledger = self.ledgers.get(peer) or Ledger()
            message = await self._answer(ledger)
            while not message and ledger.fresh:  # nothing is to be said to those that were looked at
                message = await self._answer(ledger)
            yield message

    async def _answer(self, ledger: Ledger) -> BitswapMessage:
        blocks: list[Block] = []
        haves: list[Cid] = []
        dont_haves: list[Cid] = []
        size_bytes = 0
        for key, want in ledger.most_pressing(_WANTS_AT_ONCE):
            if size_bytes >= limits.BITSWAP_ANSWER_BYTES:
                break
            if not ledger.take(key, want):
                continue
            stored_bytes = await self._size(want.cid)
            if want.have and (stored_bytes or 0) > limits.BITSWAP_HAVE_REPLACED_BYTES_MAX:
                haves.append(want.cid)
                ledger.done(want)
                continue
            block = None if stored_bytes is None else await self._read(want.cid)
            if block is not None:
                blocks.append(block)
                size_bytes += len(block.data)
                ledger.sent_bytes += len(block.data)
                self.sent_bytes += len(block.data)
                ledger.done(want)
            elif want.send_dont_have:
                dont_haves.append(want.cid)
        return BitswapMessage(blocks=blocks, haves=haves, dont_haves=dont_haves)

    async def _size(self, cid: Cid) -> int | None:
        try:
            return await self._store.size(cid)
        except LocalError as error:  # the store is away for now
            log.info("block_not_served", cid=str(cid), code=error.code)
            return None

    async def _read(self, cid: Cid) -> Block | None:
        try:
            return Block(cid, await self._store.get(cid))
        except LocalError as error:  # damaged, or a piece of a file that changed
            log.info("block_not_served", cid=str(cid), code=error.code)
            return None

    def _make_room(self) -> None:
        """Forget the peer that wants least, when there are too many."""
        if len(self.ledgers) >= limits.BITSWAP_PEERS_MAX:
            del self.ledgers[min(self.ledgers, key=lambda peer: len(self.ledgers[peer].wants))]


def _names_of(cid: Cid) -> set[bytes]:
    """Return the CIDs under which a block that came may be wanted: all name the same bytes."""
    return {cid.multihash, *(bytes(Cid(1, codec, cid.multihash)) for codec in (cid.codec, *CODEC_NAMES))}
