"""Directories: names and what they stand for, in one node or, if that got too large, in a HAMT.

A HAMT is a tree of nodes with 256 places each; a name's place at each level is the next byte of its
hash, and a place that several names share is another node.

Source: UnixFS specification, "dag-pb Directory" and "dag-pb HAMTDirectory"; IPIP-499 (thresholds).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from primedht.blocks import unixfs
from primedht.blocks.balanced import Blocks, Part, Placed
from primedht.blocks.block import make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.blocks.murmur3 import murmur3_x64_64
from primedht.blocks.profiles import Profile
from primedht.cids import DAG_PB
from primedht.errors import InvalidArgument
from primedht.limits import (
    DIRECTORY_DEPTH_MAX,
    DIRECTORY_ENTRIES_MAX,
    DIRECTORY_NODE_BYTES_MAX,
    FILE_NAME_BYTES_MAX,
    HAMT_FANOUT,
)

_SLOT_DIGITS = 2  # of a place in a shard, as hexadecimal before the name


@dataclass(slots=True)
class _Folder:
    entries: dict[str, Part | _Folder] = field(default_factory=dict)


class DirectoryTree:
    """Collects what was imported, then `finish`es all its directories."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._root = _Folder()
        self._count = 0

    def add(self, path: str, part: Part) -> None:
        """Put `part` at a relative path such as `data/train/0.bin`. Raises `InvalidArgument`."""
        *parents, name = _components(path)
        folder = self._folder(parents, path)
        if name in folder.entries:
            raise InvalidArgument(f"{path!r} is there twice")
        self._take_place(path)
        folder.entries[name] = part

    def add_directory(self, path: str) -> None:
        """Make a directory, with those above it; an empty one is kept too. Raises `InvalidArgument`."""
        self._folder(_components(path), path)

    def finish(self) -> Blocks:
        """Make the blocks of all directories; the part is the topmost one."""
        return (yield from self._finish(self._root))

    def _folder(self, names: Sequence[str], path: str) -> _Folder:
        folder = self._root
        for name in names:
            found = folder.entries.get(name)
            if found is None:
                self._take_place(path)
                found = folder.entries[name] = _Folder()
            if not isinstance(found, _Folder):
                raise InvalidArgument(f"{path!r} is below a file")
            folder = found
        return folder

    def _take_place(self, path: str) -> None:
        self._count += 1
        if self._count > DIRECTORY_ENTRIES_MAX:
            raise InvalidArgument(f"{path!r}: over {DIRECTORY_ENTRIES_MAX} entries; add them in parts")

    def _finish(self, folder: _Folder) -> Blocks:
        parts: dict[str, Part] = {}
        for name, entry in folder.entries.items():
            parts[name] = (yield from self._finish(entry)) if isinstance(entry, _Folder) else entry
        return (yield from import_directory(parts, self._profile))


def import_directory(entries: dict[str, Part], profile: Profile) -> Blocks:
    """Make one directory of parts that are imported already. Raises `InvalidArgument` for a bad name."""
    for name in entries:
        check_name(name)
    ordered = sorted(entries.items(), key=lambda entry: entry[0].encode())
    links = [Link(part.cid, part.dag_bytes, name) for name, part in ordered]
    node = encode_node(links, unixfs.directory_data())
    measured = len(node)
    if profile.shard_by == "links":
        measured = sum(len(link.name.encode()) + len(bytes(link.cid)) for link in links)
    content_bytes = sum(part.content_bytes for part in entries.values())
    if measured > DIRECTORY_NODE_BYTES_MAX:
        hashed = [(murmur3_x64_64(link.name.encode()), link) for link in links]
        link = yield from _shard(hashed, 0, profile)
        return Part(link.cid, content_bytes, link.tsize)
    block = make_block(node, DAG_PB, version=profile.cid_version)
    yield Placed(block)
    return Part(block.cid, content_bytes, len(node) + sum(link.tsize for link in links))


def check_name(name: str) -> None:
    """Raise `InvalidArgument` unless `name` can be one file's name anywhere, and nothing but that."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidArgument(f"a file name that is not UTF-8: {name!r}") from None
    if not 0 < size <= FILE_NAME_BYTES_MAX or name in (".", "..") or "/" in name or "\x00" in name:
        raise InvalidArgument(f"not a file name: {name[:100]!r}")


def _shard(
    hashed: Sequence[tuple[bytes, Link]], depth: int, profile: Profile
) -> Generator[Placed, None, Link]:
    """Make the node of the names in `hashed`, whose first `depth` bytes are alike, and those below."""
    slots: dict[int, list[tuple[bytes, Link]]] = {}
    for entry in hashed:
        if depth == len(entry[0]):
            raise InvalidArgument(f"names whose hashes are alike: {entry[1].name!r} and another")
        slots.setdefault(entry[0][depth], []).append(entry)
    links = []
    bits = 0
    for slot in sorted(slots):
        inside = slots[slot]
        prefix = f"{slot:0{_SLOT_DIGITS}X}"
        bits |= 1 << slot
        if len(inside) == 1:
            link = inside[0][1]
            links.append(Link(link.cid, link.tsize, prefix + link.name))
        else:
            below = yield from _shard(inside, depth + 1, profile)
            links.append(Link(below.cid, below.tsize, prefix))
    bit_field = bits.to_bytes((bits.bit_length() + 7) // 8, "big")
    node = encode_node(links, unixfs.shard_data(bit_field, HAMT_FANOUT))
    block = make_block(node, DAG_PB, version=profile.cid_version)
    yield Placed(block)
    return Link(block.cid, len(node) + sum(link.tsize for link in links))


def _components(path: str) -> list[str]:
    names = path.split("/")
    if len(names) > DIRECTORY_DEPTH_MAX:
        raise InvalidArgument(f"{path[:100]!r}: over {DIRECTORY_DEPTH_MAX} directories deep")
    for name in names:
        check_name(name)
    return names
