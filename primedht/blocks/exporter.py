"""From blocks to files: reading, listing and resolving what UnixFS DAGs stand for.

The bytes of a block are known to match its CID; what they say is still a stranger's. Sizes must add up,
names must be names, and the work that a small DAG can cause (the same node linked over and over) has
limits: `limits.DAG_DEPTH_MAX`, `limits.DIRECTORY_ENTRIES_MAX`. Files stream: memory for a block a level.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from primedht import limits
from primedht.blocks import unixfs
from primedht.blocks.dagpb import Link, Node, decode_node
from primedht.blocks.directories import check_name
from primedht.blocks.unixfs import Kind, UnixFs
from primedht.cids import DAG_PB, RAW, Cid
from primedht.errors import BlockNotFound, InvalidArgument, InvalidDag

GetBlock = Callable[[Cid], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Item:
    """What a CID stands for. size_bytes: of a file. target: of a symbolic link."""

    cid: Cid
    kind: Literal["file", "directory", "symlink"]
    size_bytes: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory's entry. dag_bytes: what its link says about all blocks below (Tsize)."""

    name: str
    cid: Cid
    dag_bytes: int


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a file that one block has. content: None where they are all of the block, and not read."""

    cid: Cid
    offset: int
    size_bytes: int
    content: bytes | None


async def describe(get: GetBlock, cid: Cid) -> Item:
    """Return what `cid` stands for. Raises `InvalidDag`, and what `get` raises."""
    if cid.codec == RAW:
        return Item(cid, "file", len(await get(cid)))
    _, data = await _read(get, cid)
    if data.kind in (Kind.FILE, Kind.RAW):
        return Item(cid, "file", data.size_bytes)
    if data.kind in (Kind.DIRECTORY, Kind.HAMT_SHARD):
        return Item(cid, "directory")
    if data.kind is Kind.SYMLINK:
        return Item(cid, "symlink", target=_text(data.content, cid))
    raise InvalidDag(f"{cid} is no file, directory or symbolic link")


async def read_file(
    get: GetBlock, root: Cid, *, start: int = 0, end: int | None = None
) -> AsyncIterator[bytes]:
    """Yield the file's bytes from `start` up to `end` in pieces; blocks outside that are not read."""
    async for part in file_parts(get, root, start=start, end=end):
        content = await get(part.cid) if part.content is None else part.content
        check_part(part, content)
        piece = content[max(0, start - part.offset) : None if end is None else end - part.offset]
        if piece:
            yield piece


async def file_parts(
    get: GetBlock, root: Cid, *, start: int = 0, end: int | None = None
) -> AsyncIterator[FilePart]:
    """Yield where in a file the bytes of each block are, in order. Leaves of plain bytes are not read.

    start, end: leave out parts that lie outside. `check_part` tells whether a leaf is what is said of it.
    """
    position = 0
    waiting: list[tuple[Cid, int | None, int]] = [(root, None, 0)]
    while waiting:
        cid, claimed, depth = waiting.pop()
        if claimed is not None and (claimed == 0 or position + claimed <= start):
            position += claimed
            continue
        if end is not None and position >= end:
            return
        if cid.codec == RAW and claimed is not None:
            yield FilePart(cid, position, claimed, None)
            position += claimed
            continue
        content, links, parts = await _read_part(get, cid)
        if claimed is not None and claimed != len(content) + sum(parts):
            raise InvalidDag(f"{cid} is a part of {len(content) + sum(parts)} bytes, not of {claimed}")
        if links and depth == limits.DAG_DEPTH_MAX:
            raise InvalidDag(f"{root} is over {limits.DAG_DEPTH_MAX} levels deep")
        if content:
            yield FilePart(cid, position, len(content), content)
        position += len(content)
        for link, size in zip(reversed(links), reversed(parts), strict=True):
            waiting.append((link.cid, size, depth + 1))


def check_part(part: FilePart, content: bytes) -> None:
    """Raise `InvalidDag` unless a leaf has the size that the node above it says."""
    if len(content) != part.size_bytes:
        raise InvalidDag(f"{part.cid} is a part of {len(content)} bytes, not of {part.size_bytes}")


async def list_directory(get: GetBlock, cid: Cid) -> list[Entry]:
    """Return a directory's entries by name. Raises `InvalidDag` for anything else."""
    entries: dict[str, Entry] = {}
    waiting: list[tuple[Cid, int]] = [(cid, 0)]
    nodes = 0
    while waiting:
        at, depth = waiting.pop()
        node, data = await _read(get, at)
        nodes += 1
        if data.kind is Kind.HAMT_SHARD and depth <= limits.HAMT_DEPTH_MAX:
            named, shards = _split_shard(node, data, at)
            waiting += [(link.cid, depth + 1) for link in shards]
        elif data.kind is Kind.DIRECTORY and depth == 0:
            named = list(node.links)
        else:
            raise InvalidDag(f"{at} is no directory")
        for link in named:
            _check_entry(link.name, cid)
            if link.name in entries:
                raise InvalidDag(f"{cid} has {link.name!r} twice")
            entries[link.name] = Entry(link.name, link.cid, link.tsize)
        if max(nodes, len(entries)) > limits.DIRECTORY_ENTRIES_MAX:
            raise InvalidDag(f"{cid} has over {limits.DIRECTORY_ENTRIES_MAX} entries")
    return [entries[name] for name in sorted(entries)]


async def resolve(get: GetBlock, root: Cid, path: str) -> Cid:
    """Return the CID of `path` (slashes, no symbolic links followed) below a directory.

    Raises `BlockNotFound` if there is none, `InvalidDag`, and what `get` raises.
    """
    cid = root
    for name in filter(None, path.split("/")):
        found = [entry.cid for entry in await list_directory(get, cid) if entry.name == name]
        if not found:
            raise BlockNotFound(f"{cid} has no entry {name[:100]!r}")
        cid = found[0]
    return cid


async def walk_tree(get: GetBlock, root: Cid) -> AsyncIterator[tuple[str, Item]]:
    """Yield `root` (path "") and all that is below it, directories before what is in them."""
    waiting: list[tuple[str, Cid, int]] = [("", root, 0)]
    count = 0
    while waiting:
        path, cid, depth = waiting.pop()
        item = await describe(get, cid)
        yield path, item
        if item.kind != "directory":
            continue
        if depth == limits.DIRECTORY_DEPTH_MAX:
            raise InvalidDag(f"{root} is over {limits.DIRECTORY_DEPTH_MAX} directories deep")
        entries = await list_directory(get, cid)
        count += len(entries)
        if count > limits.DIRECTORY_ENTRIES_MAX:
            raise InvalidDag(f"{root} has over {limits.DIRECTORY_ENTRIES_MAX} entries")
        prefix = f"{path}/" if path else ""
        waiting += [(prefix + entry.name, entry.cid, depth + 1) for entry in reversed(entries)]


async def _read(get: GetBlock, cid: Cid) -> tuple[Node, UnixFs]:
    if cid.codec != DAG_PB:
        raise InvalidDag(f"{cid} is of codec {cid.codec:#x}, which no file or directory has")
    node = decode_node(await get(cid))
    return node, unixfs.decode(node.data)


async def _read_part(get: GetBlock, cid: Cid) -> tuple[bytes, tuple[Link, ...], tuple[int, ...]]:
    """Return the bytes that a file's node carries itself, and its links and the file bytes below each."""
    if cid.codec == RAW:
        return await get(cid), (), ()
    node, data = await _read(get, cid)
    if data.kind in (Kind.DIRECTORY, Kind.HAMT_SHARD):
        raise InvalidDag(f"{cid} is a directory; name a file in it, as in CID/PATH")
    if data.kind not in (Kind.FILE, Kind.RAW):
        raise InvalidDag(f"{cid} is no file")
    if len(node.links) != len(data.part_bytes):
        raise InvalidDag(f"{cid} has {len(node.links)} links and {len(data.part_bytes)} sizes")
    if len(data.content) + sum(data.part_bytes) != data.size_bytes:
        raise InvalidDag(f"{cid} claims {data.size_bytes} bytes; its parts have others")
    return data.content, node.links, data.part_bytes


def _split_shard(node: Node, data: UnixFs, cid: Cid) -> tuple[list[Link], list[Link]]:
    """Return a shard's entries, their places cut off their names, and the shards below it."""
    if data.hash_code != unixfs.MURMUR3_X64_64 or not 8 <= data.fanout <= limits.HAMT_FANOUT_MAX:
        raise InvalidDag(f"{cid} is a directory shard of a kind that we cannot read")
    digits = len(f"{data.fanout - 1:X}")
    named = [Link(link.cid, link.tsize, link.name[digits:]) for link in node.links if len(link.name) > digits]
    return named, [link for link in node.links if len(link.name) <= digits]


def _check_entry(name: str, cid: Cid) -> None:
    try:
        check_name(name)
    except InvalidArgument as error:
        raise InvalidDag(f"{cid}: {error}") from None


def _text(raw: bytes, cid: Cid) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidDag(f"{cid} is a symbolic link that is not UTF-8") from None
