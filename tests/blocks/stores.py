"""Blockstores for tests, and DAGs to put into them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from primedht.blocks.block import Block, make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.blocks.files import DiskBlockFiles, MemoryBlockFiles
from primedht.blocks.importer import import_file
from primedht.blocks.profiles import PROFILES
from primedht.blocks.store import LocalBlockstore, open_blockstore
from primedht.cids import DAG_PB, Cid
from primedht.stores.kv import KeyValue
from primedht.stores.lmdb import open_lmdb
from primedht.stores.memory import MemoryKeyValue

TINY = replace(PROFILES["unixfs-v1-2025"], name="tiny", chunk_bytes=20_000, links_max=3)


class Clock:
    """A wall clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def unix_now(self) -> float:
        return self.now


@asynccontextmanager
async def open_store(
    path: Path | None = None, *, bytes_max: int | None = None
) -> AsyncIterator[tuple[LocalBlockstore, KeyValue]]:
    """A store on disk below `path`, or one in memory."""
    if path is None:
        kv = MemoryKeyValue()
        yield await open_blockstore(kv, MemoryBlockFiles(), bytes_max=bytes_max), kv
        return
    async with open_lmdb(path / "kv", map_bytes=1 << 20) as kv:
        files = DiskBlockFiles(path / "blocks", disk_free_bytes_min=0)
        yield await open_blockstore(kv, files, bytes_max=bytes_max), kv


def node(*links: Cid, data: bytes = b"") -> Block:
    """Return a dag-pb block."""
    return make_block(encode_node([Link(link, 0) for link in links], data), DAG_PB)


def imported(data: bytes) -> tuple[Cid, list[Block]]:
    """Return a file's root and blocks, in the order of the importer."""
    blocks = []
    importing = import_file(io.BytesIO(data), TINY)
    while True:
        try:
            blocks.append(next(importing).block)
        except StopIteration as end:
            return end.value.cid, blocks


def block_files(path: Path) -> list[Path]:
    """Return the files that a store below `path` has."""
    return [file for file in (path / "blocks").rglob("*") if file.is_file()]
