"""What the blockstore knows of its blocks, as entries of the store.

b/i/<multihash>            where the block is
b/d/<multihash>            the bytes of a small one
b/f/<file id>              a user's file that blocks refer to
b/r/<file id><multihash>   that a block refers to it
b/c                        how much there is in all
b/p/<cid><name>            a pin
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from primedht.blocks.references import ReferencedFile
from primedht.cids import Cid
from primedht.dht.sealed import seal, unseal
from primedht.errors import StoreCorrupt
from primedht.pb import store_pb2
from primedht.pb.store_pb2 import StoredBlock
from primedht.stores.kv import KeyValue

ENTRY, DATA, FILE, REFERENCE, COUNTS, PIN = b"b/i/", b"b/d/", b"b/f/", b"b/r/", b"b/c", b"b/p/"
FILE_ID_BYTES = 8


@dataclass(slots=True)
class Counts:
    """bytes_used: in the store and in files of its own. referenced_bytes: in files of users."""

    blocks: int = 0
    bytes_used: int = 0
    referenced_bytes: int = 0

    def count(self, entry: StoredBlock, sign: int) -> None:
        """Add (1) or take away (-1) a block."""
        self.blocks += sign
        if entry.place == StoredBlock.REFERENCE:
            self.referenced_bytes += sign * entry.size_bytes
        else:
            self.bytes_used += sign * entry.size_bytes

    def sealed(self) -> bytes:
        message = store_pb2.BlockCounts(
            blocks=self.blocks, bytes=self.bytes_used, referenced_bytes=self.referenced_bytes
        )
        return seal(message)


async def load_counts(kv: KeyValue) -> Counts:
    """Return the counts that `kv` holds."""
    raw = await kv.get(COUNTS)
    if raw is None:
        return Counts()
    message = store_pb2.BlockCounts()
    unseal(raw, message)
    return Counts(message.blocks, message.bytes, message.referenced_bytes)


async def load_entry(kv: KeyValue, multihash: bytes) -> StoredBlock | None:
    """Return where a block is; None if it is not here, or if its entry is damaged."""
    raw = await kv.get(ENTRY + multihash)
    return None if raw is None else parse_entry(raw)


def parse_entry(raw: bytes) -> StoredBlock | None:
    """Return an entry, or None if it is damaged: the block counts as not here, and is fetched again."""
    entry = StoredBlock()
    try:
        unseal(raw, entry)
    except StoreCorrupt:
        return None
    return entry


async def load_file(kv: KeyValue, file_id: bytes) -> ReferencedFile | None:
    """Return a referenced file; None if it is unknown, damaged, or was found changed."""
    raw = await kv.get(FILE + file_id)
    return None if raw is None else parse_file(raw)


def parse_file(raw: bytes) -> ReferencedFile | None:
    message = store_pb2.ReferencedFile()
    try:
        unseal(raw, message)
    except StoreCorrupt:
        return None
    root = Cid.from_bytes(message.root_cid) if message.root_cid else None
    return ReferencedFile(
        Path(os.fsdecode(message.path)),
        message.size_bytes,
        message.mtime_ns,
        root,
        Path(os.fsdecode(message.interim_path)) if message.interim_path else None,
        message.partial,
    )


def sealed_file(file: ReferencedFile) -> bytes:
    message = store_pb2.ReferencedFile(
        path=os.fsencode(file.path),
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        root_cid=b"" if file.root is None else bytes(file.root),
        interim_path=b"" if file.interim is None else os.fsencode(file.interim),
        partial=file.partial,
    )
    return seal(message)
