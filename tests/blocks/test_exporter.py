"""Reading files and directories, and DAGs that are made to hurt."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from block_content import content, make_tree, make_wide
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import TINY, imported

from primedht.blocks import unixfs
from primedht.blocks.balanced import Blocks
from primedht.blocks.block import Block, make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.blocks.exporter import describe, list_directory, read_file, resolve, walk_tree
from primedht.blocks.importer import import_path
from primedht.blocks.profiles import PROFILES
from primedht.cids import DAG_CBOR, DAG_PB, Cid
from primedht.errors import BlockNotFound, InvalidDag
from primedht.limits import DAG_DEPTH_MAX, DIRECTORY_DEPTH_MAX


class Shelf(dict[bytes, bytes]):
    """Blocks in memory; `get` is what the exporter reads from."""

    def __init__(self, *blocks: Block) -> None:
        super().__init__({block.cid.multihash: block.data for block in blocks})
        self.reads = 0

    async def block(self, cid: Cid) -> bytes:
        self.reads += 1
        if cid.multihash not in self:
            raise BlockNotFound(str(cid))
        return self[cid.multihash]

    def take(self, importing: Blocks) -> Cid:
        while True:
            try:
                block = next(importing).block
            except StopIteration as end:
                return end.value.cid
            self[block.cid.multihash] = block.data

    def node(self, links: Sequence[Link], data: bytes) -> Cid:
        block = make_block(encode_node(links, data), DAG_PB)
        self[block.cid.multihash] = block.data
        return block.cid

    def leaf(self, data: bytes) -> Cid:
        block = make_block(data)
        self[block.cid.multihash] = data
        return block.cid

    async def read(self, root: Cid, start: int = 0, end: int | None = None) -> bytes:
        return b"".join([piece async for piece in read_file(self.block, root, start=start, end=end)])


def _all_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, 300_000), data=st.data())
async def test_any_range_of_any_file_is_read_back(size: int, data: st.DataObject) -> None:
    whole = content("range", size)
    root, blocks = imported(whole)
    shelf = Shelf(*blocks)
    assert await shelf.read(root) == whole
    start, end = data.draw(st.integers(0, size + 5)), data.draw(st.integers(0, size + 5) | st.none())
    assert await shelf.read(root, start, end) == whole[start:end]


async def test_blocks_outside_the_range_are_not_read() -> None:
    root, blocks = imported(content("few", 100 * TINY.chunk_bytes))
    shelf = Shelf(*blocks)
    await shelf.read(root, 50 * TINY.chunk_bytes, 51 * TINY.chunk_bytes)
    assert shelf.reads <= 7


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_tree_is_read_back(profile: str, tmp_path: Path) -> None:
    make_tree(tmp_path)
    shelf = Shelf()
    root = shelf.take(import_path(tmp_path, PROFILES[profile]))
    found = {path: item async for path, item in walk_tree(shelf.block, root)}
    local = _all_below(tmp_path)
    assert found.keys() == {"", *local}
    for path, item in found.items():
        if item.kind == "symlink":
            assert item.target == str(local[path].readlink())
        elif item.kind == "file":
            assert await shelf.read(item.cid) == local[path].read_bytes()
            assert item.size_bytes == local[path].stat().st_size
        else:
            assert path == "" or local[path].is_dir()
    assert await resolve(shelf.block, root, "b/deep/er/file") == found["b/deep/er/file"].cid
    assert await resolve(shelf.block, root, "/") == root
    with pytest.raises(BlockNotFound, match="no entry 'none'"):
        await resolve(shelf.block, root, "b/none")
    with pytest.raises(InvalidDag):
        await resolve(shelf.block, root, "a.bin/x")


async def test_a_sharded_directory_is_listed(tmp_path: Path) -> None:
    make_wide(tmp_path / "wide", 6000)
    shelf = Shelf()
    root = shelf.take(import_path(tmp_path / "wide", PROFILES["ipfs-v1"]))
    assert unixfs.decode(encode_data(shelf, root)).kind is unixfs.Kind.HAMT_SHARD
    entries = await list_directory(shelf.block, root)
    assert [entry.name for entry in entries] == sorted(path.name for path in (tmp_path / "wide").iterdir())


def encode_data(shelf: Shelf, cid: Cid) -> bytes:
    from primedht.blocks.dagpb import decode_node

    return decode_node(shelf[cid.multihash]).data


# --- DAGs that lie ------------------------------------------------------------------------------------


async def test_sizes_that_do_not_add_up_are_refused() -> None:
    shelf = Shelf()
    leaf = shelf.leaf(b"12345")
    for sizes in ([6], [4], [5, 5], [], [1 << 40]):
        root = shelf.node([Link(leaf, 5)], unixfs.file_data(sizes))
        with pytest.raises(InvalidDag):
            await shelf.read(root)
    node = shelf.node([Link(leaf, 5)], b"\x08\x02\x18\x80\x80\x80\x80\x80\x20\x20\x05")  # 2**40 in all
    with pytest.raises(InvalidDag, match="claims 1099511627776 bytes"):
        await shelf.read(node)


async def test_a_claim_of_2_to_the_40_bytes_costs_nothing_before_it_is_found_out() -> None:
    shelf = Shelf()
    leaf = shelf.leaf(b"x")
    root = shelf.node([Link(leaf, 1)], unixfs.file_data([1 << 40]))
    assert (await describe(shelf.block, root)).size_bytes == 1 << 40
    with pytest.raises(InvalidDag, match="not of 1099511627776"):
        await shelf.read(root)


async def test_a_file_made_of_itself_is_streamed_and_can_be_given_up() -> None:
    """A few nodes may honestly stand for an exabyte: the reader decides when it has enough."""
    shelf = Shelf()
    cid, size = shelf.leaf(bytes(1 << 20)), 1 << 20
    while size < 1 << 60:
        cid = shelf.node([Link(cid, 0)] * 32, unixfs.file_data([size] * 32))
        size *= 32
    assert len(await shelf.read(cid, size - (3 << 20), size)) == 3 << 20
    read = 0
    async for piece in read_file(shelf.block, cid):
        read += len(piece)
        if read > 4 << 20:
            break
    assert shelf.reads < 40


async def test_parts_without_bytes_cost_nothing() -> None:
    shelf = Shelf()
    cid = shelf.leaf(b"")
    for _ in range(DAG_DEPTH_MAX):
        cid = shelf.node([Link(cid, 0)] * 32, unixfs.file_data([0] * 32))
    assert await shelf.read(cid) == b""
    assert shelf.reads == 1


async def test_a_file_that_is_too_deep_is_refused() -> None:
    shelf = Shelf()
    cid = shelf.leaf(b"x")
    for _ in range(DAG_DEPTH_MAX):
        cid = shelf.node([Link(cid, 0)], unixfs.file_data([1]))
    assert await shelf.read(cid) == b"x"
    cid = shelf.node([Link(cid, 0)], unixfs.file_data([1]))
    with pytest.raises(InvalidDag, match="levels deep"):
        await shelf.read(cid)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../../etc/passwd", "/etc", "nul\x00", "x" * 256])
async def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    shelf = Shelf()
    leaf = shelf.leaf(b"x")
    root = shelf.node([Link(leaf, 1, name)], unixfs.directory_data())
    with pytest.raises(InvalidDag, match="not a file name"):
        await list_directory(shelf.block, root)
    shard = shelf.node([Link(leaf, 1, "00" + name)], unixfs.shard_data(b"\x01", 256))
    with pytest.raises(InvalidDag):
        await list_directory(shelf.block, shard)


async def test_a_name_that_is_there_twice_is_refused() -> None:
    shelf = Shelf()
    leaf = shelf.leaf(b"x")
    root = shelf.node([Link(leaf, 1, "a"), Link(leaf, 1, "a")], unixfs.directory_data())
    with pytest.raises(InvalidDag, match="twice"):
        await list_directory(shelf.block, root)


async def test_directories_that_are_too_deep_are_refused() -> None:
    shelf = Shelf()
    cid = shelf.node([], unixfs.directory_data())
    for _ in range(DIRECTORY_DEPTH_MAX):
        cid = shelf.node([Link(cid, 0, "d")], unixfs.directory_data())
    with pytest.raises(InvalidDag, match="directories deep"):
        async for _ in walk_tree(shelf.block, cid):
            pass


async def test_directories_that_repeat_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primedht.limits.DIRECTORY_ENTRIES_MAX", 1000)
    shelf = Shelf()
    folder = shelf.node([], unixfs.directory_data())
    shard = shelf.node([], unixfs.shard_data(b"", 256))
    for _ in range(10):
        folder = shelf.node([Link(folder, 0, str(name)) for name in range(30)], unixfs.directory_data())
        shard = shelf.node([Link(shard, 0, f"{slot:02X}") for slot in range(30)], unixfs.shard_data(b"", 256))
    started = time.monotonic()
    with pytest.raises(InvalidDag, match="over 1000 entries"):
        async for _ in walk_tree(shelf.block, folder):
            pass
    with pytest.raises(InvalidDag, match="over 1000 entries"):
        await list_directory(shelf.block, shard)
    assert time.monotonic() - started < 10


async def test_what_is_no_file_is_refused() -> None:
    shelf = Shelf()
    folder = shelf.node([], unixfs.directory_data())
    link = shelf.node([], unixfs.symlink_data("x"))
    odd = make_block(b"\xa0", DAG_CBOR)
    shelf[odd.cid.multihash] = odd.data
    for cid in (folder, link, odd.cid, shelf.node([], b"\x08\x03"), shelf.node([], b"rubbish")):
        with pytest.raises(InvalidDag):
            await shelf.read(cid)
    for cid in (odd.cid, shelf.node([], b"\x08\x03")):
        with pytest.raises(InvalidDag):
            await describe(shelf.block, cid)
    for cid in (link, odd.cid, shelf.node([], b"\x08\x05\x28\x11\x30\x80\x02"), shelf.node([], b"\x08\x05")):
        with pytest.raises(InvalidDag):
            await list_directory(shelf.block, cid)
    with pytest.raises(InvalidDag, match="UTF-8"):
        await describe(shelf.block, shelf.node([], b"\x08\x04\x12\x01\xff"))


async def test_an_old_file_with_bytes_in_its_inner_node_is_read() -> None:
    shelf = Shelf()
    leaf = shelf.leaf(b"tail")
    data = b"\x08\x02\x12\x04head\x18\x08\x20\x04"
    assert await shelf.read(shelf.node([Link(leaf, 4)], data)) == b"headtail"
    assert io.BytesIO(await shelf.read(shelf.node([Link(leaf, 4)], data), 2, 6)).read() == b"adta"
