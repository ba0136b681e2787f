"""The port that everything reads blocks from and writes them to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from primedht.blocks.block import Block
from primedht.cids import Cid
from primedht.ids import PeerId
from primedht.results import PeerShare


class Hold(Protocol):
    """Keeps blocks from garbage collection while an import or a fetch is under way."""

    def add(self, cids: Iterable[Cid]) -> None:
        """Keep these too, whether they are here yet or not."""
        ...

    def drop(self) -> None:
        """Keep nothing any more."""
        ...


class Blockstore(Protocol):
    """Blocks by their multihash: CIDs that differ in version or codec only name the same block.

    All methods raise `StoreUnavailable` or `StoreCorrupt` when the store cannot be used.
    """

    async def has(self, cid: Cid) -> bool:
        """Return whether the block is here, by the index alone."""
        ...

    async def size(self, cid: Cid) -> int | None:
        """Return the block's size in bytes, or None if it is not here."""
        ...

    async def get(self, cid: Cid) -> bytes:
        """Return the block's bytes, hashed and found right.

        Raises `BlockNotFound`, also for one that is here and damaged: it is forgotten, so that it can
        be fetched again. Raises `FileChanged` where the block was a piece of a file that is not what
        it was.
        """
        ...

    async def put(self, blocks: Sequence[Block], *, hold: Hold | None = None) -> list[Cid]:
        """Store `blocks`, durably once this returns; return those that were not here before.

        hold: keeps them from then on; without one, and unpinned, they may be collected at any time.
        Raises `StoreFull` (the quota) or `DiskFull`; none of the blocks counts as stored then.
        """
        ...

    def hold(self) -> AbstractContextManager[Hold]:
        """Return a new hold, which ends with the block."""
        ...


class Put(Protocol):
    """As `Blockstore.put`."""

    async def __call__(self, blocks: Sequence[Block], *, hold: Hold) -> object: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought: new blocks and their bytes, and which peer sent how much of them."""

    blocks: int
    bytes: int
    peers: tuple[PeerShare, ...]


class Exchange(Protocol):
    """Gets blocks from peers into the blockstore."""

    async def fetch(
        self, root: Cid, *, recursive: bool, hold: Hold, timeout_s: float, bytes_max: int | None = None,
        peers: frozenset[PeerId] | None = None, providers: bool = True, leaves: bool = True,
        put: Put | None = None,
    ) -> Fetched:  # fmt: skip
        """Return once the block, or all of the DAG below it too, is in the blockstore.

        What is there already is not fetched again. hold: keeps every block that comes. bytes_max: of
        all that may be fetched. peers: to ask no others; but with `providers` also those that the DHT
        names for the root. leaves: those that are plain bytes too. put: in place of the blockstore's.
        Raises `BlockNotFound` if nobody who was found has a block, `OperationTimeout`, `ValueTooLarge`, and
        what `put` raises.
        """
        ...

    def status(self) -> dict[str, object]:
        """Return the state as JSON-able values."""
        ...
