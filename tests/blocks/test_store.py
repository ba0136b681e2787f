"""The node's blockstore: verified, durable, within its quota, and referring to users' files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
from stores import block_files, node, open_store

from primedht.blocks.block import Block, make_block
from primedht.blocks.blockstore import Blockstore
from primedht.blocks.files import DiskBlockFiles
from primedht.blocks.references import ReferencedFile, describe
from primedht.blocks.store import LocalBlockstore
from primedht.cids import DAG_PB, IDENTITY, RAW, Cid
from primedht.errors import BlockNotFound, DiskFull, FileChanged, InvalidArgument, StoreFull, StoreUnavailable
from primedht.limits import BLOCK_INLINE_BYTES_MAX

SMALL, LARGE = make_block(b"small"), make_block(b"large" * BLOCK_INLINE_BYTES_MAX)
BOTH = [SMALL, LARGE]


@pytest.fixture(params=["memory", "disk"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "disk" else None


async def test_blocks_come_back(path: Path | None) -> None:
    async with open_store(path) as (store, _):
        checked: Blockstore = store
        await checked.put([*BOTH, SMALL])
        for block in BOTH:
            assert await store.get(block.cid) == block.data
            assert await store.has(block.cid)
            assert await store.size(block.cid) == len(block.data)
        assert (store.counts.blocks, store.counts.bytes_used) == (2, len(SMALL.data) + len(LARGE.data))


async def test_a_block_that_is_not_here_is_not_found(path: Path | None) -> None:
    async with open_store(path) as (store, _):
        assert not await store.has(SMALL.cid)
        assert await store.size(SMALL.cid) is None
        with pytest.raises(BlockNotFound):
            await store.get(SMALL.cid)


async def test_other_cids_of_the_same_bytes_name_the_same_block() -> None:
    async with open_store() as (store, _):
        await store.put([SMALL])
        assert await store.get(Cid(0, DAG_PB, SMALL.cid.multihash)) == SMALL.data


async def test_an_identity_cid_is_always_here() -> None:
    cid = Cid(1, RAW, bytes((IDENTITY, 2)) + b"hi")
    async with open_store() as (store, _):
        await store.put([Block(cid, b"hi")])
        assert (await store.get(cid), await store.has(cid), await store.size(cid)) == (b"hi", True, 2)
        assert store.counts.blocks == 0


async def test_blocks_survive_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as (store, _):
        await store.put(BOTH)
        counts = store.counts
    async with open_store(tmp_path) as (store, _):
        assert store.counts == counts
        assert [await store.get(block.cid) for block in BOTH] == [block.data for block in BOTH]


@pytest.mark.parametrize("damage", [b"", b"large", b"x" * len(LARGE.data), None])
async def test_a_damaged_file_is_noticed_forgotten_and_can_be_stored_again(
    damage: bytes | None, tmp_path: Path
) -> None:
    async with open_store(tmp_path) as (store, _):
        await store.put([LARGE])
        (file,) = block_files(tmp_path)
        file.unlink() if damage is None else file.write_bytes(damage)
        with pytest.raises(BlockNotFound, match="damaged or gone"):
            await store.get(LARGE.cid)
        assert not await store.has(LARGE.cid)
        assert store.counts.bytes_used == 0
        await store.put([LARGE])
        assert await store.get(LARGE.cid) == LARGE.data


async def test_a_damaged_small_block_is_noticed() -> None:
    async with open_store() as (store, kv):
        await store.put([SMALL])
        await kv.put({b"b/d/" + SMALL.cid.multihash: b"smell"})
        with pytest.raises(BlockNotFound):
            await store.get(SMALL.cid)
        await kv.put({b"b/i/" + SMALL.cid.multihash: b"rubbish"})
        assert not await store.has(SMALL.cid)


async def test_the_quota_is_kept_and_nothing_is_stored_beyond_it(path: Path | None) -> None:
    async with open_store(path, bytes_max=len(LARGE.data) + 2) as (store, _):
        with pytest.raises(StoreFull, match="blocks_bytes_max"):
            await store.put(BOTH)
        assert not await store.has(SMALL.cid)
        await store.put([LARGE])
        await store.put([LARGE])
        with pytest.raises(StoreFull):
            await store.put([SMALL])


@pytest.mark.parametrize("fails", ["fsync", "rename"])
async def test_a_full_disk_leaves_nothing_behind(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [make_block(bytes((index,)) * 20_000) for index in range(5)]
    calls = 0

    def full(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    async with open_store(tmp_path) as (store, _):
        with monkeypatch.context() as patch:
            if fails == "fsync":
                patch.setattr(os, "fsync", full)
            else:
                real = Path.rename
                patch.setattr(Path, "rename", lambda self, to: full() or real(self, to))
            with pytest.raises(DiskFull, match="nothing was stored"):
                await store.put(blocks)
        assert block_files(tmp_path) == []
        assert store.counts.blocks == 0
        await store.put(blocks)
        assert store.counts.blocks == 5


async def test_the_disk_is_not_filled_to_the_brim(tmp_path: Path) -> None:
    files = DiskBlockFiles(tmp_path, disk_free_bytes_min=1 << 60)
    with pytest.raises(DiskFull, match="left alone"):
        files.write([LARGE])


async def test_what_a_crash_left_unfinished_is_thrown_away(tmp_path: Path) -> None:
    async with open_store(tmp_path) as (store, _):
        await store.put([LARGE])
    (tmp_path / "blocks" / "new" / "0123").write_bytes(b"half")
    async with open_store(tmp_path) as (store, _):
        assert len(block_files(tmp_path)) == 1
        other = make_block(b"other" * BLOCK_INLINE_BYTES_MAX)
        DiskBlockFiles(tmp_path / "blocks", disk_free_bytes_min=0).write([other])
        (tmp_path / "blocks" / "00" / "not a block's").write_bytes(b"a stranger's")
        removed = await store.remove_strays()
        assert (removed.blocks, removed.failed) == (1, 0)
        assert await store.get(LARGE.cid) == LARGE.data


async def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_bytes(b"a file")
    with pytest.raises(StoreUnavailable, match="check the data directory"):
        DiskBlockFiles(tmp_path / "blocks")


async def test_a_cancelled_put_stores_all_or_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as (store, _):
        for wait_s in (0, 0.0001, 0.001):
            with trio.move_on_after(wait_s):
                await store.put(BOTH)
            here = [await store.has(block.cid) for block in BOTH]
            assert here[0] == here[1]
            assert store.counts.blocks == sum(here)


async def test_leaves_are_known_without_being_read(tmp_path: Path) -> None:
    leaf = node(data=b"leaf" * BLOCK_INLINE_BYTES_MAX)
    parent = node(leaf.cid, SMALL.cid)
    async with open_store(tmp_path) as (store, _):
        await store.put([leaf, parent, SMALL])
        for file in block_files(tmp_path):
            file.unlink()
        assert await store.links(leaf.cid) == ()
        assert await store.links(SMALL.cid) == ()
        assert await store.links(parent.cid) == (leaf.cid, SMALL.cid)
        with pytest.raises(BlockNotFound):
            await store.links(make_block(b"absent").cid)


# --- pieces of users' files --------------------------------------------------------------------------


async def _reference(store: LocalBlockstore, path: Path, root: Cid, *leaves: tuple[Block, int]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    size_bytes, mtime_ns = describe(path, descriptor)
    os.close(descriptor)
    file = ReferencedFile(path, size_bytes, mtime_ns, root)
    with store.hold() as hold:
        pieces = [(block.cid, offset, len(block.data)) for block, offset in leaves]
        await store.reference(file, pieces, file_id=store.new_file_id(), hold=hold)


async def test_a_piece_of_a_file_is_read_from_there(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"head" + LARGE.data + SMALL.data)
    async with open_store(tmp_path) as (store, _):
        await _reference(store, model, SMALL.cid, (LARGE, 4), (SMALL, 4 + len(LARGE.data)))
        assert await store.get(LARGE.cid) == LARGE.data
        assert await store.get(SMALL.cid) == SMALL.data
        assert (store.counts.bytes_used, store.counts.referenced_bytes) == (0, len(model.read_bytes()) - 4)
        assert block_files(tmp_path) == []


@pytest.mark.parametrize("change", ["size", "mtime", "bytes", "gone", "directory", "unreadable"])
async def test_a_changed_file_is_noticed_and_all_of_it_forgotten(change: str, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(LARGE.data + SMALL.data)
    told: list[ReferencedFile] = []
    async with open_store(tmp_path) as (store, _):
        store.on_file_changed = told.append
        await _reference(store, model, SMALL.cid, (LARGE, 0), (SMALL, len(LARGE.data)))
        status = model.stat()
        if change == "size":
            with model.open("ab") as file:
                file.write(b"more")
        elif change == "mtime":
            os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        elif change == "bytes":
            model.write_bytes(b"L" + model.read_bytes()[1:])
            os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            model.unlink()
            if change == "directory":
                model.mkdir()
            elif change == "unreadable":
                os.mkfifo(model)
        with pytest.raises(FileChanged, match="add it again"):
            await store.get(LARGE.cid)
        assert [file.path for file in told] == [model]
        assert not await store.has(LARGE.cid)
        assert not await store.has(SMALL.cid)
        assert store.counts.blocks == store.counts.referenced_bytes == 0
        with pytest.raises(BlockNotFound):
            await store.get(LARGE.cid)
        assert len(told) == 1


async def test_changes_are_found_without_reading(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(LARGE.data)
    told: list[ReferencedFile] = []
    async with open_store(tmp_path) as (store, _):
        store.on_file_changed = told.append
        await _reference(store, model, LARGE.cid, (LARGE, 0))
        await store.check_files()
        assert told == []
        assert [file.path for file in (await store.referenced_files()).values()] == [model]
        model.unlink()
        await store.check_files()
        assert len(told) == 1
        assert await store.referenced_files() == {}


async def test_a_file_that_cannot_be_reached_now_hides_no_change_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in "abc"]
    away = tmp_path / "b"
    fstat = os.fstat

    def stale(descriptor: int) -> os.stat_result:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(away):
            raise OSError(errno.ESTALE, "Stale file handle")
        return fstat(descriptor)

    async with open_store(tmp_path) as (store, _):
        for file in files:
            block = make_block(file.name.encode() + LARGE.data)
            file.write_bytes(block.data)
            await _reference(store, file, block.cid, (block, 0))
        monkeypatch.setattr(os, "fstat", stale)
        for file in (files[0], files[2]):
            file.unlink()
        await store.check_files()
        assert [file.path for file in (await store.referenced_files()).values()] == [away]


async def test_a_block_in_two_files_outlives_one(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    async with open_store(tmp_path) as (store, _):
        for file in files:
            file.write_bytes(LARGE.data)
            await _reference(store, file, LARGE.cid, (LARGE, 0))
        assert store.counts.blocks == 1
        files[0].unlink()
        assert await store.get(LARGE.cid) == LARGE.data
        assert await store.has(LARGE.cid)
        files[1].unlink()
        with pytest.raises(FileChanged):
            await store.get(LARGE.cid)
        assert store.counts.blocks == 0


async def test_a_copy_replaces_a_reference(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(LARGE.data)
    async with open_store(tmp_path) as (store, _):
        await _reference(store, model, LARGE.cid, (LARGE, 0))
        await store.put([LARGE])
        model.unlink()
        assert await store.get(LARGE.cid) == LARGE.data
        assert (store.counts.bytes_used, store.counts.referenced_bytes) == (len(LARGE.data), 0)
        await _reference_missing_changes_nothing(store, tmp_path)


async def _reference_missing_changes_nothing(store: LocalBlockstore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(LARGE.data)
    await _reference(store, other, LARGE.cid, (LARGE, 0))
    other.unlink()
    assert await store.get(LARGE.cid) == LARGE.data


async def test_files_that_nothing_refers_to_are_forgotten(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(LARGE.data)
    async with open_store(tmp_path) as (store, _):
        await _reference(store, model, LARGE.cid, (LARGE, 0))
        await store.forget_unused_files()
        assert len(await store.referenced_files()) == 1
        assert (await store.remove([LARGE.cid.multihash])).blocks == 1
        await store.forget_unused_files()
        assert await store.referenced_files() == {}


async def test_only_the_very_file_that_was_opened_is_referenced(tmp_path: Path) -> None:
    opened, other = tmp_path / "opened", tmp_path / "other"
    opened.write_bytes(b"x")
    other.write_bytes(b"x")
    descriptor = os.open(opened, os.O_RDONLY)
    try:
        assert describe(opened, descriptor)[0] == 1
        for path in (other, tmp_path / "gone", Path("opened")):
            with pytest.raises(InvalidArgument):
                describe(path, descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(InvalidArgument, match="regular"):
            describe(tmp_path, folder)
    finally:
        os.close(folder)
