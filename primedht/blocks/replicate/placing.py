"""One round of asking other nodes to keep blocks, for whoever wants to wait for it."""

from __future__ import annotations

import math

import trio

from primedht.blocks.replicate.offered import Offered
from primedht.cids import Cid
from primedht.ids import PeerId
from primedht.records.receipt import Receipt
from primedht.results import KeptBlocks, Refusal


class Placing:
    """Goes on whether somebody waits or not. wanted: other peers that are to keep the blocks."""

    def __init__(self, root: Cid, *, wanted: int, size_bytes: int = 0, expires_unix_s: float = 0) -> None:
        self.root = root
        self.wanted = wanted
        self.size_bytes = size_bytes
        self.expires_unix_s = expires_unix_s
        self.receipts: list[Receipt] = []
        self.refused: list[Refusal] = []
        self._fetched: dict[PeerId, int] = {}
        self._done = trio.Event()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    @property
    def done_bytes(self) -> int:
        """Bytes that have gone to peers, or were there before, as far as they have said."""
        return min(sum(self._fetched.values()), self.total_bytes)

    @property
    def total_bytes(self) -> int:
        return self.wanted * self.size_bytes

    def note_fetched(self, peer: PeerId, count_bytes: int) -> None:
        self._fetched[peer] = count_bytes

    def note_receipt(self, receipt: Receipt, offered: Offered) -> None:
        self.receipts.append(receipt)
        self._fetched[receipt.holder] = offered.dag_bytes

    def note_refusal(self, peer: PeerId, code: str) -> None:
        self.refused.append(Refusal(peer, code))
        self._fetched.pop(peer, None)

    def finish(self) -> None:
        """Nobody is being asked any more."""
        self._done.set()

    async def wait(self, timeout: float = math.inf) -> KeptBlocks:
        """Return who keeps the blocks once nobody is being asked any more, or after `timeout` seconds."""
        with trio.move_on_after(timeout):
            await self._done.wait()
        return self.result()

    def result(self) -> KeptBlocks:
        """Return who keeps the blocks as far as is known now."""
        return KeptBlocks(
            root=bytes(self.root),
            wanted=self.wanted,
            receipts=tuple(receipt.holder for receipt in self.receipts),
            refused=tuple(self.refused),
            size_bytes=self.size_bytes,
            expires_unix_s=min(
                (receipt.expires_unix_ms / 1000 for receipt in self.receipts), default=self.expires_unix_s
            ),
            done=self.is_done,
        )


def not_placed(root: Cid) -> Placing:
    """Return a round in which nobody is asked."""
    placing = Placing(root, wanted=0)
    placing.finish()
    return placing
