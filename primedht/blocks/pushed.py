"""A file whose bytes are pushed into the importer, for values that come over a socket."""

from __future__ import annotations

from functools import partial

import trio

from primedht import limits
from primedht.blocks.balanced import BalancedTree, Part, Placed
from primedht.blocks.blockstore import Hold
from primedht.blocks.importer import leaf_of
from primedht.blocks.profiles import Profile
from primedht.blocks.store import LocalBlockstore


class PushedFile:
    """Takes a file in pieces of any size, then `finish`es. Made by `Adding.pushed_file`; one task uses it.

    It gets the CID that `import_file` gives with the same profile, which may not cut by tensors. At most
    a batch of it is in memory. block_count: as often as they are linked.
    """

    def __init__(self, store: LocalBlockstore, hold: Hold, profile: Profile, fresh: set[bytes]) -> None:
        assert not profile.by_tensor, "it cuts a file whose header has been read"
        self._store = store
        self._hold = hold
        self._profile = profile
        self._fresh = fresh
        self._tree = BalancedTree(profile)
        self._waiting = bytearray()
        self._offset = 0
        self.block_count = 0

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises `StoreFull`, `DiskFull`."""
        self._waiting += data
        if len(self._waiting) >= limits.PUSHED_BATCH_BYTES:
            whole = len(self._waiting) // self._profile.chunk_bytes * self._profile.chunk_bytes
            await self._import(whole)

    async def finish(self) -> Part:
        """Store the rest and the nodes above; return the file. Raises as `write` does."""
        if self._waiting or not self._offset:
            await self._import(max(1, len(self._waiting)))
        placed, part = await trio.to_thread.run_sync(self._close)
        await self._put(placed)
        return part

    async def _import(self, size: int) -> None:
        data = bytes(self._waiting[:size])
        del self._waiting[:size]
        await self._put(await trio.to_thread.run_sync(partial(self._cut, data)))

    def _cut(self, data: bytes) -> list[Placed]:
        placed: list[Placed] = []
        for start in range(0, max(1, len(data)), self._profile.chunk_bytes):
            chunk = data[start : start + self._profile.chunk_bytes]
            leaf = leaf_of(chunk, self._offset, self._profile)
            placed += [leaf, *self._tree.add(Part(leaf.block.cid, len(chunk), len(leaf.block.data)))]
            self._offset += len(chunk)
        return placed

    def _close(self) -> tuple[list[Placed], Part]:
        placed: list[Placed] = []
        finishing = self._tree.finish()
        try:
            while True:
                placed.append(next(finishing))
        except StopIteration as end:
            return placed, end.value

    async def _put(self, placed: list[Placed]) -> None:
        self.block_count += len(placed)
        if placed:
            fresh = await self._store.put([each.block for each in placed], hold=self._hold)
            self._fresh.update(cid.multihash for cid in fresh)
