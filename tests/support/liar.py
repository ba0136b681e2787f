"""A node that serves other bytes than it was asked for, honest otherwise. Takes primedht's arguments."""

from __future__ import annotations

from primedht.blocks.bitswap.server import BitswapServer
from primedht.blocks.block import Block
from primedht.cids import Cid
from primedht.cli import main

_SMALL_BYTES = 64 << 10
_honest_read = BitswapServer._read


async def _read(self: BitswapServer, cid: Cid) -> Block | None:
    block = await _honest_read(self, cid)
    if block is None or len(block.data) < _SMALL_BYTES:
        return block
    return Block(cid, block.data[:-1] + bytes((block.data[-1] ^ 1,)))


if __name__ == "__main__":
    BitswapServer._read = _read  # type: ignore[method-assign]
    main()
