"""Models that are written once: pulled where they are wanted and provided from there, or pushed in place."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from model_lab import content, layers, open_nodes, write_model

from primedht import limits
from primedht.blocks import placing, unixfs
from primedht.blocks.block import make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.blocks.importer import import_path
from primedht.blocks.pins import walk
from primedht.blocks.profiles import PROFILES
from primedht.cids import DAG_PB, Cid
from primedht.errors import (
    BlockNotFound,
    DiskFull,
    FileChanged,
    InvalidArgument,
    InvalidDag,
    OperationTimeout,
)
from primedht.node import Node
from primedht.tensors.arrays import save_tensors
from primedht.tensors.state_files import load_state

LAYERS = layers(8, elements=1 << 18)
SIZE_BYTES = 8 << 20


@asynccontextmanager
async def open_puller_and_pusher(tmp_path: Path, *, pushed: bool = True) -> AsyncIterator[tuple[Node, Node]]:
    """The puller is on disk, the pusher in memory; it has published `m`."""
    folder = write_model(tmp_path / "m", {"model.safetensors": LAYERS})
    async with open_nodes(2, data_dir=tmp_path / "data") as (puller, pusher):
        if pushed:
            await pusher.models.push(folder, "me/m")
        yield puller, pusher


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".primedht")]


async def lose(node: Node, cid: Cid) -> None:
    """Make `node` forget a block, as a damaged disk does."""
    for kind in (b"b/i/", b"b/d/"):
        await node.blocks.store._kv.put({kind + cid.multihash: None})


async def test_a_pulled_model_is_on_disk_once(tmp_path: Path) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        name = f"{pusher.peer_id}/m"
        found = await puller.models.pull(name, tmp_path / "out")
        assert content(tmp_path / "out") == content(tmp_path / "m")
        counts = puller.blocks.store.counts
        assert counts.referenced_bytes >= SIZE_BYTES
        assert counts.bytes_used < 0.05 * SIZE_BYTES
        assert found.fetched is not None
        assert [share.peer for share in found.fetched.peers] == [pusher.peer_id]
        assert hidden(tmp_path) == []
        files = (await puller.blocks.store.referenced_files()).values()
        assert {(file.interim, file.partial, file.root) for file in files} == {(None, False, found.cid)}
        await puller.models.verify(name)
        assert (await puller.blocks.collect()).broken == ()
        await puller.models.verify(name)


async def test_what_is_here_already_is_copied_and_not_fetched(tmp_path: Path) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        name = f"{pusher.peer_id}/m"
        await puller.models.pull(name, tmp_path / "one")
        save_tensors(tmp_path / "m" / "model.safetensors", LAYERS | layers(1, elements=1 << 18, seed=1))
        await pusher.models.push(tmp_path / "m", "me/m")
        found = await puller.models.pull(name, tmp_path / "two")
        assert found.fetched is not None
        assert found.fetched.bytes < 0.2 * SIZE_BYTES
        assert content(tmp_path / "two") == content(tmp_path / "m")
        for file in (tmp_path / "one").rglob("*.safetensors"):
            file.unlink()
        await puller.models.verify(f"{name}@2")


async def test_an_interrupted_pull_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        name = f"{pusher.peer_id}/m"
        put = placing._Placing.put

        async def put_once(self: placing._Placing, *arguments: Any, **options: Any) -> None:
            if puller.blocks.store.counts.referenced_bytes >= 1 << 20:
                await trio.sleep_forever()
            await put(self, *arguments, **options)

        monkeypatch.setattr(placing._Placing, "put", put_once)
        with pytest.raises(OperationTimeout):
            await puller.models.pull(name, tmp_path / "out", timeout=3)
        monkeypatch.undo()
        assert not (tmp_path / "out").exists()
        assert len(hidden(tmp_path)) == 1
        kept_bytes = puller.blocks.store.counts.referenced_bytes
        assert kept_bytes >= 1 << 20
        await puller.blocks.collect()  # the model's pin keeps what there is
        found = await puller.models.pull(name, tmp_path / "out")
        assert found.fetched is not None
        assert found.fetched.bytes < SIZE_BYTES + (1 << 20) - kept_bytes
        assert content(tmp_path / "out") == content(tmp_path / "m")
        assert hidden(tmp_path) == []


async def test_what_a_pull_left_goes_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        name = f"{pusher.peer_id}/m"

        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(placing._Placing, "finish", hang)
        with pytest.raises(OperationTimeout):
            await puller.models.pull(name, tmp_path / "out", timeout=3)
        assert len(hidden(tmp_path)) == 1
        assert [kept.partial for kept in await puller.models.kept()] == [True]
        await puller.models.remove(name)
        assert (await puller.blocks.collect()).broken == ()
        assert hidden(tmp_path) == []
        assert puller.blocks.store.counts.blocks == 0


async def test_a_directory_that_is_called_like_our_hidden_ones_hides_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "n" / ".primedht-pull-x"
    inner.mkdir(parents=True)
    (inner / "weights.npz").write_bytes(os.urandom(1000))
    async with open_puller_and_pusher(tmp_path, pushed=False) as (puller, pusher):
        for placed in (
            importing := list(import_path(tmp_path / "n", PROFILES["unixfs-v1-2025"], hidden=True))
        ):
            await pusher.blocks.put_block(placed.block)
        await pusher.models.publish(importing[-1].block.cid, "me/m")
        name = f"{pusher.peer_id}/m"

        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(placing._Placing, "finish", hang)
        with pytest.raises(OperationTimeout):
            await puller.models.pull(name, tmp_path / "out", timeout=3)
        assert len(hidden(tmp_path)) == 1
        await puller.models.remove(name)
        await puller.blocks.collect()
        assert hidden(tmp_path) == []


async def test_a_block_that_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is kept for the next try, until the model is given up."""
    monkeypatch.setattr(limits, "FETCH_SEARCH_PAUSE_S", 0.05)
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        name = f"{pusher.peer_id}/m"
        files = (await puller.models.info(name)).manifest.files
        weights = next(file.cid for file in files if file.path == "model.safetensors")
        *_, leaf = [cid async for cid in walk(pusher.blocks.store, weights)]
        await lose(pusher, leaf)
        with pytest.raises(BlockNotFound):
            await puller.models.pull(name, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert [kept.partial for kept in await puller.models.kept()] == [True]
        await puller.models.remove(name)
        assert (await puller.blocks.collect()).broken == ()
        assert hidden(tmp_path) == []
        assert puller.blocks.store.counts.blocks == 0


async def test_a_collection_fetches_what_a_pinned_model_lacks(tmp_path: Path) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        name = f"{pusher.peer_id}/m"
        found = await puller.models.pull(name, tmp_path / "out")
        await puller.blocks.put_block(make_block(b"garbage"))
        lost = next(file.cid for file in found.manifest.files if file.path == "model.safetensors")
        await lose(puller, lost)
        collected = await puller.blocks.collect()
        assert (collected.broken, collected.blocks) == ((), 1)
        await puller.models.verify(name)


async def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(DiskFull, match="make room"):
            await puller.models.pull(f"{pusher.peer_id}/m", tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == ["data", "m"]
        assert puller.blocks.store.counts.referenced_bytes == 0
        assert await puller.blocks.store.referenced_files() == {}


async def test_a_leaf_of_another_size_than_said_leaves_nothing(tmp_path: Path) -> None:
    async with open_puller_and_pusher(tmp_path, pushed=False) as (puller, pusher):
        leaf = make_block(os.urandom(1000))
        node = make_block(encode_node([Link(leaf.cid, 999)], unixfs.file_data([999])), DAG_PB)
        for block in (leaf, node):
            await pusher.blocks.put_block(block)
        await pusher.models.publish(node.cid, "me/m", file_name="weights.npz")
        with pytest.raises(InvalidDag, match="1000 bytes, not of 999"):
            await puller.models.pull(f"{pusher.peer_id}/m", tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == ["data", "m"]
        assert await puller.models.kept() == []


async def test_a_file_of_too_many_pieces_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few small blocks can be a file of any number of pieces, each of which takes memory."""
    async with open_puller_and_pusher(tmp_path, pushed=False) as (puller, pusher):
        leaf = make_block(b"x")
        cid, size = leaf.cid, 1
        blocks = [leaf]
        for _ in range(2):
            blocks.append(
                make_block(encode_node([Link(cid, size)] * 40, unixfs.file_data([size] * 40)), DAG_PB)
            )
            cid, size = blocks[-1].cid, 40 * size
        for block in blocks:
            await pusher.blocks.put_block(block)
        await pusher.models.publish(cid, "me/m", file_name="weights.npz")
        name = f"{pusher.peer_id}/m"
        monkeypatch.setattr(limits, "PLACED_PIECES_MAX", 1599)
        with pytest.raises(InvalidDag, match="over 1599 pieces"):
            await puller.models.pull(name, tmp_path / "out")
        assert sorted(os.listdir(tmp_path)) == ["data", "m"]
        assert await puller.models.kept() == []
        monkeypatch.setattr(limits, "PLACED_PIECES_MAX", 1600)
        await puller.models.pull(name, tmp_path / "out")
        assert (tmp_path / "out" / "weights.npz").read_bytes() == b"x" * 1600


async def test_two_pulls_to_one_place_do_not_meet(tmp_path: Path) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        refused: list[InvalidArgument] = []

        async def pull() -> None:
            try:
                await puller.models.pull(f"{pusher.peer_id}/m", tmp_path / "out")
            except InvalidArgument as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pull)
        assert len(refused) == 2
        assert content(tmp_path / "out") == content(tmp_path / "m")
        assert hidden(tmp_path) == []
        await puller.models.verify(f"{pusher.peer_id}/m")


@pytest.mark.parametrize("how", ["pushed", "pulled"])
async def test_a_changed_file_is_provided_no_more(how: str, tmp_path: Path) -> None:
    async with open_puller_and_pusher(tmp_path, pushed=False) as (puller, pusher):
        if how == "pushed":
            published = await puller.models.push(tmp_path / "m", "me/m", in_place=True)
            found, file = published.found, tmp_path / "m" / "model.safetensors"
        else:
            await pusher.models.push(tmp_path / "m", "me/m")
            found = await puller.models.pull(f"{pusher.peer_id}/m", tmp_path / "out")
            file = tmp_path / "out" / "model.safetensors"
        stopped = trio.Event()

        async def stop(cid: object) -> None:
            assert cid == found.cid
            stopped.set()

        puller.blocks.stop_announcing = stop  # type: ignore[method-assign, assignment]
        with file.open("r+b") as opened:
            opened.write(b"other")
        with pytest.raises(FileChanged, match="add it again"):
            await puller.models.verify(str(found.name))
        with trio.fail_after(5):
            await stopped.wait()


async def test_a_snapshot_in_a_hugging_face_cache_is_pushed_in_place(tmp_path: Path) -> None:
    """huggingface_hub keeps files as blobs, and revisions as directories of links to them."""
    model = write_model(tmp_path / "plain", {"model.safetensors": LAYERS})
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / "0123abc"
    for path in [path for path in model.rglob("*") if path.is_file()]:
        link, blob = snapshot / path.relative_to(model), repository / "blobs" / path.name
        for made in (link, blob):
            made.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))  # noqa: ASYNC240
    async with open_puller_and_pusher(tmp_path, pushed=False) as (puller, pusher):
        published = await puller.models.push(snapshot, "me/m", in_place=True)
        assert puller.blocks.store.counts.bytes_used < 0.05 * SIZE_BYTES
        await pusher.models.pull(str(published.found.name), tmp_path / "out")
        assert content(tmp_path / "out") == content(snapshot)
        assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "../../blobs", "nowhere", "link"])
async def test_links_that_lead_elsewhere_are_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    snapshot = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    (snapshot / "link").symlink_to(target)
    async with open_nodes(1) as (node,):
        with pytest.raises(InvalidArgument, match="symbolic link that leads elsewhere"):
            await node.models.push(snapshot, "me/m")
        assert node.blocks.store.counts.blocks == 0


def test_files_that_a_crash_left_half_renamed_are_read(tmp_path: Path) -> None:
    """The index says both paths until the directory has its name."""
    from primedht.blocks import references

    path, interim = tmp_path / "out" / "f", tmp_path / ".primedht-1" / "f"
    interim.parent.mkdir()
    interim.write_bytes(b"data")
    file = references.ReferencedFile(path, 4, interim.stat().st_mtime_ns, None, interim)
    assert references.read_piece(file, 1, 2) == b"at"
    interim.parent.rename(path.parent)
    assert references.read_piece(file, 1, 2) == b"at"
    with pytest.raises(FileChanged):
        references.read_piece(replace(file, mtime_ns=1), 0, 4)


async def test_a_pulled_checkpoint_is_on_disk_once(tmp_path: Path) -> None:
    async with open_nodes(2, data_dir=tmp_path / "data") as (puller, publisher):
        run = f"{publisher.peer_id}/r"
        await (await publisher.checkpoints.publish("r", 1, {"model": LAYERS})).wait()
        found = await puller.checkpoints.pull(run, tmp_path / "out")
        state = load_state(tmp_path / "out" / "state.safetensors")
        assert {name: tensor.tobytes() for name, tensor in state["model"].items()} == {
            name: tensor.tobytes() for name, tensor in LAYERS.items()
        }
        counts = puller.blocks.store.counts
        assert counts.referenced_bytes >= SIZE_BYTES
        assert counts.bytes_used < 0.05 * SIZE_BYTES
        assert hidden(tmp_path) == []
        assert (await puller.blocks.collect()).broken == ()
        assert found == await puller.checkpoints.fetch(run)
        with pytest.raises(InvalidArgument, match="another path"):
            await puller.checkpoints.pull(run, tmp_path / "out")
        await puller.checkpoints.pull(run, tmp_path / "again", 1)
        assert content(tmp_path / "again") == content(tmp_path / "out")


async def test_all_parts_of_a_checkpoint_are_pulled(tmp_path: Path) -> None:
    async with open_nodes(2, data_dir=tmp_path / "data") as (puller, publisher):
        jobs = [
            await publisher.checkpoints.publish("r", 1, {"rank": rank, **LAYERS}, shard=(rank, 2))
            for rank in range(2)
        ]
        for job in jobs:
            await job.wait()
        await puller.checkpoints.pull(f"{publisher.peer_id}/r", tmp_path / "out")
        names = [f"state-{rank}-of-2.safetensors" for rank in range(2)]
        assert [load_state(tmp_path / "out" / name)["rank"] for name in names] == [0, 1]
        assert len(await puller.blocks.collect() and [pin async for pin in puller.blocks.pins.all()]) == 3


async def test_a_pull_without_room_keeps_what_was_kept_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_puller_and_pusher(tmp_path) as (puller, pusher):
        await (await pusher.checkpoints.publish("r", 1, {"model": LAYERS})).wait()
        run, name = f"{pusher.peer_id}/r", f"{pusher.peer_id}/m"

        def fail(*args: object) -> None:
            raise DiskFull("no room")

        with monkeypatch.context() as patch:
            patch.setattr(placing, "_make_file", fail)
            for _ in range(2):
                with pytest.raises(DiskFull):
                    await puller.checkpoints.pull(run, tmp_path / "c")
                with pytest.raises(DiskFull):
                    await puller.models.pull(name, tmp_path / "out")
                expected = len([pin async for pin in puller.blocks.pins.all()])
                assert expected in (0, 2)
                await puller.checkpoints.fetch(run)
                await puller.models.fetch(name)
        assert expected == 2
