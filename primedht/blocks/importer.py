"""From files to blocks: the same CIDs as IPFS nodes give with the same profile.

Everything streams: a file of any size takes memory for a chunk and some nodes. No I/O here but
`read`, so that the daemon can run it in a worker thread and the command line without any daemon.
"""

from __future__ import annotations

import os
from pathlib import Path

from primedht.blocks import unixfs
from primedht.blocks.balanced import BalancedTree, Blocks, Part, Placed
from primedht.blocks.block import make_block
from primedht.blocks.chunker import Readable, chunks
from primedht.blocks.dagpb import encode_node
from primedht.blocks.directories import DirectoryTree
from primedht.blocks.profiles import Profile
from primedht.blocks.walk import open_regular, walk
from primedht.cids import DAG_PB, RAW
from primedht.errors import InvalidArgument


def import_file(file: Readable, profile: Profile) -> Blocks:
    """Import one file from where it is to its end."""
    tree = BalancedTree(profile)
    offset = 0
    for chunk in chunks(file, profile):
        placed = leaf_of(chunk, offset, profile)
        yield placed
        yield from tree.add(Part(placed.block.cid, len(chunk), len(placed.block.data)))
        offset += len(chunk)
    if offset == 0:
        empty = leaf_of(b"", 0, profile)
        yield empty
        return Part(empty.block.cid, 0, len(empty.block.data))
    return (yield from tree.finish())


def import_symlink(target: str, profile: Profile) -> Blocks:
    """Import a symbolic link, which is not followed. Raises `InvalidArgument`."""
    try:
        data = unixfs.symlink_data(target)
    except UnicodeEncodeError:
        raise InvalidArgument(f"a symbolic link that leads to a name that is not UTF-8: {target!r}") from None
    block = make_block(encode_node((), data), DAG_PB, version=profile.cid_version)
    yield Placed(block)
    return Part(block.cid, 0, len(block.data))


def leaf_of(chunk: bytes, offset: int, profile: Profile) -> Placed:
    """Return a file's leaf. offset: of the chunk in the file."""
    if profile.raw_leaves:
        return Placed(make_block(chunk, RAW), offset)
    return Placed(make_block(unixfs.leaf_node(chunk), DAG_PB, version=profile.cid_version), offset)


def import_path(start: Path, profile: Profile, *, hidden: bool = False) -> Blocks:
    """Import a file or a directory of this machine. Raises as `walk` does, and `OSError`."""
    tree = DirectoryTree(profile)
    for found in walk(start, hidden=hidden):
        if found.kind == "directory":
            tree.add_directory(found.path)
            continue
        if found.kind == "symlink":
            part = yield from import_symlink(os.readlink(found.local), profile)
        else:
            with open(open_regular(found.local, follow=not found.path), "rb", buffering=0) as file:
                part = yield from import_file(file, profile)
        if not found.path:
            return part
        tree.add(found.path, part)
    return (yield from tree.finish())


def root_of(blocks: Blocks) -> Part:
    """Run an import whose blocks nobody wants, for its CID."""
    while True:
        try:
            next(blocks)
        except StopIteration as end:
            part: Part = end.value
            return part
