"""The blocks of a node as one: adding, keeping, announcing, and leaving nothing behind when that fails."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from block_content import content, make_tree
from stores import TINY, Clock, block_files, imported

from primedht.blocks.balanced import Part
from primedht.blocks.block import Block
from primedht.blocks.blocks import Blocks, open_blocks
from primedht.blocks.blockstore import Hold
from primedht.blocks.profiles import PROFILES
from primedht.blocks.walk import walk
from primedht.cids import Cid
from primedht.errors import (
    BlockNotFound,
    DiskFull,
    FileChanged,
    InvalidArgument,
    OperationTimeout,
    StoreFull,
    StoreUnavailable,
)
from primedht.stores.lmdb import open_lmdb

DATA = content("data", 500_000)


class Announcements:
    """The DHT's provider records, as far as blocks know of them."""

    def __init__(self) -> None:
        self.now: set[bytes] = set()
        self.changed = trio.Event()
        self.fails = False

    async def provide(self, multihash: bytes, *, timeout_s: float) -> None:
        if self.fails:
            raise OperationTimeout("nobody is there")
        self.now.add(multihash)
        self._tell()

    async def stop_providing(self, multihash: bytes) -> bool:
        was = multihash in self.now
        self.now.discard(multihash)
        self._tell()
        return was

    async def until(self, *cids: Cid) -> None:
        with trio.fail_after(30):
            while self.now != {cid.multihash for cid in cids}:
                await self.changed.wait()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Lab:
    def __init__(self, blocks: Blocks, announced: Announcements, clock: Clock, path: Path) -> None:
        self.blocks, self.announced, self.clock, self.path = blocks, announced, clock, path

    async def add(self, data: bytes, **keep: object) -> Part:
        async with self.blocks.adding(TINY) as adding:
            await adding.file("", io.BytesIO(data))
            added = await adding.finish()
            await self.blocks.keep(added, **keep)  # type: ignore[arg-type]
        return added

    async def add_in_place(self, file: Path) -> Part:
        async with self.blocks.adding(TINY) as adding:
            with open(file, "rb", buffering=0) as opened:  # noqa: ASYNC230
                await adding.file_in_place("", opened, file)
            added = await adding.finish()
            await self.blocks.keep(added)
        return added

    async def read(self, cid: Cid) -> bytes:
        return b"".join([piece async for piece in self.blocks.read_file(cid)])


@asynccontextmanager
async def open_lab(path: Path, *, bytes_max: int | None = None) -> AsyncIterator[Lab]:
    announced, clock = Announcements(), Clock()
    async with (
        open_lmdb(path / "kv", map_bytes=1 << 20) as kv,
        open_blocks(kv, clock, path=path / "blocks", bytes_max=bytes_max, providing=announced) as blocks,
    ):
        yield Lab(blocks, announced, clock, path)


async def test_a_file_is_added_kept_announced_and_read(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        added = await lab.add(DATA, name="mine")
        assert added.cid == imported(DATA)[0]
        assert added.content_bytes == len(DATA)
        await lab.announced.until(added.cid)
        assert (await lab.blocks.collect()).blocks == 0
        assert await lab.read(added.cid) == DATA
        stat = await lab.blocks.stat(added.cid)
        assert (stat.bytes, stat.missing) == (added.dag_bytes, 0)
        assert [pin.name for pin in stat.pins] == ["mine"]
        assert lab.blocks.status()["bytes"] == added.dag_bytes


async def test_what_is_unpinned_is_announced_no_more_and_collected(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        added = await lab.add(DATA)
        await lab.blocks.pin(added.cid, name="again")
        await lab.announced.until(added.cid)
        assert await lab.blocks.unpin(added.cid, name="again") == 1
        await lab.announced.until(added.cid)
        assert await lab.blocks.unpin(added.cid) == 1
        await lab.announced.until()
        assert await lab.blocks.unpin(added.cid) == 0
        assert (await lab.blocks.collect()).bytes == added.dag_bytes
        with pytest.raises(BlockNotFound):
            await lab.read(added.cid)
        assert (await lab.blocks.stat(added.cid)).missing == 1
        assert block_files(tmp_path) == []


async def test_what_is_not_to_be_announced_is_not(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        await lab.add(DATA, announce=False)
        other = await lab.add(b"other")
        await lab.announced.until(other.cid)


async def test_an_announcement_that_fails_fails_nothing_else(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        lab.announced.fails = True
        added = await lab.add(DATA)
        assert await lab.read(added.cid) == DATA


async def test_a_pin_expires_and_its_content_is_announced_no_more(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        added = await lab.add(DATA, ttl_s=100)
        await lab.announced.until(added.cid)
        lab.clock.now += 100
        assert (await lab.blocks.collect()).bytes == added.dag_bytes
        assert lab.announced.now == set()


@pytest.mark.parametrize("profile", ["ipfs-v0", "ipfs-v1", "unixfs-v1-2025"])
async def test_a_directory_gets_the_cid_of_boxo(profile: str, tmp_path: Path) -> None:
    golden = json.loads((Path(__file__).parents[1] / "golden/blocks/cids.json").read_text("utf-8"))
    make_tree(tmp_path / "tree")
    async with open_lab(tmp_path / "node") as lab:
        async with lab.blocks.adding(PROFILES[profile]) as adding:
            for found in walk(tmp_path / "tree"):
                if found.kind == "directory":
                    adding.directory(found.path)
                elif found.kind == "symlink":
                    await adding.symlink(found.path, os.readlink(found.local))
                else:
                    with open(found.local, "rb") as file:  # noqa: ASYNC230
                        await adding.file(found.path, file)
            added = await adding.finish()
            await lab.blocks.keep(added)
        assert str(added.cid) == golden[profile]["tree"]
        names = [entry.name for entry in await lab.blocks.list_directory(added.cid)]
        assert names == sorted(path.name for path in (tmp_path / "tree").iterdir())
        assert await lab.read(await lab.blocks.resolve(added.cid, "b/c.bin")) == content("b/c.bin", 300 << 10)


# --- what fails leaves nothing behind -----------------------------------------------------------------


class _Unreadable(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 200_000:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


async def test_an_import_that_fails_leaves_nothing_and_spares_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primedht.limits.BLOCK_BATCH_BYTES", 50_000)
    async with open_lab(tmp_path, bytes_max=400_000) as lab:
        kept = await lab.add(DATA[:100_000])
        loose = Block(Cid.of(b"loose"), b"loose")
        await lab.blocks.put_block(loose)
        await lab.blocks.pin(loose.cid, recursive=False)
        before = lab.blocks.store.counts
        with pytest.raises(StoreFull, match=r"quotas\.blocks_bytes_max"):
            await lab.add(DATA)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            async with lab.blocks.adding(TINY) as adding:
                await adding.file("", _Unreadable(DATA))
        with trio.move_on_after(5) as scope:
            async with lab.blocks.adding(TINY) as adding:
                await adding.file("", io.BytesIO(DATA[:300_000]))
                scope.cancel()
                await trio.lowlevel.checkpoint()
        with pytest.raises(InvalidArgument, match="nothing was added"):
            async with lab.blocks.adding(TINY) as adding:
                await adding.finish()
        assert lab.blocks.store.counts == before
        assert await lab.read(kept.cid) == DATA[:100_000]
        assert await lab.blocks.get(loose.cid) == b"loose"
        assert len(block_files(tmp_path)) == 5


async def test_what_is_not_pinned_gives_way_when_the_quota_is_reached(tmp_path: Path) -> None:
    async with open_lab(tmp_path, bytes_max=400_000) as lab:
        kept = await lab.add(DATA[:100_000])
        loose = await lab.add(DATA[100_000:350_000])
        await lab.blocks.unpin(loose.cid)
        other = await lab.add(DATA[350_000:])
        assert await lab.read(kept.cid) == DATA[:100_000]
        assert await lab.read(other.cid) == DATA[350_000:]
        with pytest.raises(BlockNotFound):
            await lab.read(loose.cid)
        for _ in range(2):
            with pytest.raises(StoreFull):
                await lab.add(DATA)
        assert await lab.read(other.cid) == DATA[350_000:]


async def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primedht.limits.BLOCK_BATCH_BYTES", 50_000)
    real, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    async with open_lab(tmp_path) as lab:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(DiskFull):
                await lab.add(DATA)
        assert (lab.blocks.store.counts.blocks, block_files(tmp_path)) == (0, [])


async def test_two_imports_of_one_file_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fails after the other has relied on blocks that the first one stored."""
    monkeypatch.setattr("primedht.limits.BLOCK_BATCH_BYTES", 50_000)
    async with open_lab(tmp_path) as lab:
        with pytest.raises(StoreUnavailable):
            async with lab.blocks.adding(TINY) as first:
                with pytest.raises(StoreUnavailable):
                    await first.file("", _Unreadable(DATA))
                added = await lab.add(DATA)
                raise StoreUnavailable("the first one fails")
        assert await lab.read(added.cid) == DATA


@pytest.mark.parametrize(
    "paths", [["", "a"], ["a", ""], ["a", "a"], ["a", "a/b"], ["../a"], ["/a"], ["a//b"]]
)
async def test_paths_that_make_no_sense_are_refused(paths: list[str], tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        with pytest.raises(InvalidArgument):
            async with lab.blocks.adding(TINY) as adding:
                for path in paths:
                    await adding.file(path, io.BytesIO(b"x"))
        assert lab.blocks.store.counts.blocks == 0


# --- in place ------------------------------------------------------------------------------------------


async def test_a_file_in_place_is_not_copied(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(DATA)
    async with open_lab(tmp_path) as lab:
        added = await lab.add_in_place(model)
        assert added.cid == imported(DATA)[0]
        assert await lab.read(added.cid) == DATA
        counts = lab.blocks.store.counts
        assert counts.referenced_bytes == len(DATA)
        assert counts.bytes_used < 0.05 * len(DATA)
        assert (await lab.blocks.collect()).blocks == 0
        await lab.blocks.unpin(added.cid)
        await lab.blocks.collect()
        assert lab.blocks.store.counts.blocks == 0
        assert await lab.blocks.store.referenced_files() == {}
        assert model.read_bytes() == DATA


async def test_a_part_that_is_pinned_by_itself_outlives_the_whole(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(DATA)
    async with open_lab(tmp_path) as lab:
        added = await lab.add_in_place(model)
        part = (await lab.blocks.store.links(added.cid))[0]
        await lab.blocks.pin(part, name="part")
        await lab.blocks.unpin(added.cid)
        collected = await lab.blocks.collect()
        assert (collected.broken, lab.blocks.store.counts.blocks) == ((), collected.kept)
        assert collected.blocks > 0
        assert len(await lab.read(part)) > 0


async def test_a_file_that_changes_is_announced_no_more(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(DATA)
    async with open_lab(tmp_path) as lab:
        added = await lab.add_in_place(model)
        await lab.announced.until(added.cid)
        model.write_bytes(DATA[:-1] + b"!")
        with pytest.raises(FileChanged):
            await lab.read(added.cid)
        await lab.announced.until()
        again = await lab.add_in_place(model)
        assert again.cid != added.cid
        assert await lab.read(again.cid) == DATA[:-1] + b"!"


async def test_a_change_is_noticed_at_the_next_start(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(DATA)
    async with open_lab(tmp_path) as lab:
        added = await lab.add_in_place(model)
        announced = lab.announced.now
    model.unlink()
    async with open_lab(tmp_path) as lab:
        lab.announced.now |= announced | {added.cid.multihash}
        await lab.announced.until()


async def test_a_file_that_changes_while_it_is_added_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(DATA)

    class Meddled(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            with model.open("ab") as file:
                file.write(b"!")
            return super().read(size) or b""

    async with open_lab(tmp_path) as lab:
        with pytest.raises(FileChanged):
            async with lab.blocks.adding(TINY) as adding:
                with Meddled(model) as file:
                    await adding.file_in_place("", file, model)
        assert lab.blocks.store.counts.blocks == 0
        assert await lab.blocks.store.referenced_files() == {}


async def test_wrapped_leaves_cannot_stay_in_place(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(DATA)
    async with open_lab(tmp_path) as lab:
        with pytest.raises(InvalidArgument, match="raw leaves"):
            async with lab.blocks.adding(PROFILES["ipfs-v0"]) as adding:
                with open(model, "rb", buffering=0) as file:  # noqa: ASYNC230
                    await adding.file_in_place("", file, model)


# --- with an exchange -----------------------------------------------------------------------------------


class Peer:
    """An exchange that has some blocks."""

    def __init__(self, blocks: Blocks, has: list[Block]) -> None:
        self._blocks, self._has = blocks, has

    async def fetch(
        self, root: Cid, *, recursive: bool, hold: Hold, timeout_s: float, bytes_max: int | None = None
    ) -> None:
        for block in self._has:
            if recursive or block.cid == root:
                await self._blocks.store.put([block], hold=hold)
        if not await self._blocks.store.has(root):
            raise BlockNotFound("nobody has it")


async def test_what_is_missing_is_fetched(tmp_path: Path) -> None:
    root, theirs = imported(DATA)
    async with open_lab(tmp_path) as lab:
        lab.blocks.exchange = Peer(lab.blocks, theirs)
        assert await lab.read(root) == DATA
        await lab.blocks.collect()
        await lab.blocks.pin(root, name="theirs")
        assert (await lab.blocks.stat(root)).missing == 0
        assert (await lab.blocks.collect()).blocks == 0
        with pytest.raises(BlockNotFound, match="nobody"):
            await lab.blocks.pin(Cid.of(b"nobody has this"), recursive=False)


async def test_a_fetch_that_is_cut_short_keeps_what_came(tmp_path: Path) -> None:
    root, theirs = imported(DATA)
    async with open_lab(tmp_path) as lab:
        lab.blocks.exchange = Peer(lab.blocks, theirs[-9:])
        with pytest.raises(BlockNotFound):
            await lab.blocks.pin(root)
        assert [pin.partial for pin in await lab.blocks.pins.of(root)] == [True]
        collected = await lab.blocks.collect()
        assert collected.broken == ()
        kept = lab.blocks.store.counts.blocks
        assert kept > 1
        lab.blocks.exchange = Peer(lab.blocks, theirs)
        await lab.blocks.pin(root)
        assert [pin.partial for pin in await lab.blocks.pins.of(root)] == [False]
