"""Models between nodes on loopback: what is pushed on one is pulled on another, or refused with a reason."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from model_lab import CONFIG, content, forgeries, layers, open_nodes, publish_forged, write_model

from primedht import limits
from primedht.blocks import unixfs
from primedht.blocks.block import make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.cids import DAG_CBOR, DAG_PB, Cid
from primedht.errors import (
    BlockNotFound,
    DiskFull,
    InvalidArgument,
    InvalidManifest,
    InvalidTensor,
    NotPermitted,
    PickleRefused,
    QuorumNotReached,
    StaleRecord,
    UnknownOwner,
    ValueNotFound,
)
from primedht.keys import PrivateKey
from primedht.ml.models import PROFILE
from primedht.ml.versions import Version, Versions
from primedht.node import Node
from primedht.tensors.arrays import numpy_dtype, save_tensors
from primedht.tensors.dtypes import DTYPES
from primedht.tensors.manifest import PlacedTensor, encode_table
from primedht.tensors.schema import TensorSpan


async def test_a_sharded_model_is_pulled_as_it_was_pushed(tmp_path: Path) -> None:
    tensors = layers(4)
    names = list(tensors)
    shards = {
        "model-1.safetensors": {name: tensors[name] for name in names[:2]},
        "model-2.safetensors": {name: tensors[name] for name in names[2:]},
    }
    folder = write_model(tmp_path / "m", shards)
    config = {"batch_size": 32, "learning_rate": 0.001, "optimizer": {"Adam": {"beta1": 0.9}}}
    async with open_nodes(3) as (a, b, _):
        pushed = await a.models.push(folder, "me/llama", training_config=config, metadata={"license": "MIT"})
        assert len(pushed.put.holders) == 3
        found = await b.models.pull(f"{a.peer_id}/llama", tmp_path / "out")
        assert content(tmp_path / "out") == content(folder)
        assert found == pushed.found
        model = found.manifest.model
        assert (model.id, model.version, model.architecture) == ("llama", 1, CONFIG["architectures"][0])
        assert model.parameters_count == 4 * 4096
        assert model.training_config == config
        assert found.manifest.metadata == {"license": "MIT"}
        assert [placed.span.name for placed in await b.models.tensors(found)] == names
        assert [str(kept.name) for kept in await b.models.kept()] == [f"{a.peer_id}/llama@1"]
        assert (await b.models.verify(f"{a.peer_id}/llama@1")) == found


async def test_what_was_pulled_survives_its_publisher(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(2)})
    async with open_nodes(2) as (b, c):
        async with open_nodes(1) as (a,):
            await a.connect(b.addrs[0])
            await a.connect(c.addrs[0])
            owner = a.peer_id
            await a.models.push(folder, "me/x")
            await b.models.fetch(f"{owner}/x")
        await c.models.pull(f"{owner}/x", tmp_path / "out")
        assert content(tmp_path / "out") == content(folder)


async def test_a_single_file_keeps_its_name(tmp_path: Path) -> None:
    save_tensors(tmp_path / "w.safetensors", {"w": np.ones(3)})
    async with open_nodes(1) as (a,):
        await a.models.push(tmp_path / "w.safetensors", "me/w")
        await a.models.pull("me/w", tmp_path / "out")
        assert content(tmp_path / "out") == {"w.safetensors": (tmp_path / "w.safetensors").read_bytes()}
        part = None
        async with a.blocks.adding(PROFILE) as adding:
            with (tmp_path / "w.safetensors").open("rb") as file:
                part = await adding.file("", file)
            await adding.finish()
            await a.models.publish(part.cid, "me/w2", file_name="w.safetensors")
        await a.models.pull("me/w2", tmp_path / "out2")
        assert content(tmp_path / "out2") == content(tmp_path / "out")


async def test_versions_are_numbered_and_a_stale_one_cannot_win(tmp_path: Path) -> None:
    async with open_nodes(2) as (a, b):
        name = f"{a.peer_id}/m"
        for number, seed in ((1, 1), (2, 2), (7, 3)):
            folder = write_model(tmp_path / str(number), {"model.safetensors": layers(1, seed=seed)})
            pushed = await a.models.push(folder, "me/m", version=number if number == 7 else None)
            assert pushed.found.name.version == number
        assert [each.version for each in await b.models.versions(name)] == [1, 2, 7]
        assert (await b.models.info(name)).name.version == 7
        assert (await b.models.info(f"{name}@2")).manifest.base == (await b.models.info(f"{name}@1")).cid
        for stale in (0, 1, 6, 7):
            with pytest.raises(StaleRecord, match="7"):
                await a.models.push(folder, "me/m", version=stale)
        await b.models.pull(f"{name}@1", tmp_path / "out")
        assert content(tmp_path / "out") == content(tmp_path / "1")
        with pytest.raises(ValueNotFound, match="1, 2, 7"):
            await b.models.info(f"{name}@3")
        with pytest.raises(ValueNotFound, match="no model"):
            await b.models.info(f"{a.peer_id}/other")
        models = {(await b.models.info(f"{name}@{n}")).manifest.model.created_at for n in (1, 2, 7)}
        assert len(models) == 1


async def test_only_the_owner_publishes_and_aliases_are_only_local(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(2) as (a, b):
        with pytest.raises(NotPermitted):
            await b.models.push(folder, f"{a.peer_id}/m")
        with pytest.raises(UnknownOwner):
            await b.models.info("org/m")
        await a.models.push(folder, "me/m")
        await b.models.aliases.set("org", a.peer_id)
        assert (await b.models.info("org/m")).name.owner == a.peer_id
        with pytest.raises(UnknownOwner):
            await a.models.info("org/m")
        assert (
            await b.blocks.collect()
        ).blocks == 1  # the manifest that was looked at, and nothing of the push


async def test_a_second_version_moves_only_what_changed(tmp_path: Path) -> None:
    """One layer of 24 changed: under 6 % of the bytes go over the wire."""
    tensors = layers(24, elements=64 << 10)
    first = write_model(tmp_path / "1", {"model.safetensors": tensors})
    changed = tensors | {"model.layers.7.weight": np.zeros(64 << 10, np.float32)}
    second = write_model(tmp_path / "2", {"model.safetensors": changed})
    async with open_nodes(2) as (a, b):
        name = f"{a.peer_id}/m"
        await a.models.push(first, "me/m")
        await b.models.pull(name, tmp_path / "out1")
        before = received_bytes(b)
        await a.models.push(second, "me/m")
        await b.models.pull(name, tmp_path / "out2")
        assert content(tmp_path / "out2") == content(second)
        moved = received_bytes(b) - before
        whole = sum(map(len, content(second).values()))
        assert 0 < moved < 0.06 * whole


async def test_a_tensor_is_got_without_the_others(tmp_path: Path) -> None:
    tensors = layers(8, elements=64 << 10) | {"scale": np.array(3, ml_dtypes.bfloat16)}
    folder = write_model(tmp_path / "m", {"model.safetensors": tensors})
    async with open_nodes(2) as (a, b):
        await a.models.push(folder, "me/m")
        before = received_bytes(b)
        placed, data = await b.models.read_tensor(f"{a.peer_id}/m", "model.layers.5.weight")
        assert data == tensors["model.layers.5.weight"].tobytes()
        assert received_bytes(b) - before < len(data) + (16 << 10)
        placed, data = await b.models.read_tensor(f"{a.peer_id}/m", "scale")
        assert np.frombuffer(data, numpy_dtype(placed.span.dtype))[0] == 3
        assert placed.span.shape == ()
        with pytest.raises(ValueNotFound, match="no tensor"):
            await b.models.read_tensor(f"{a.peer_id}/m", "model.layers.9.weight")


async def test_a_tensor_beyond_its_file_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(2) as (a, b):
        found = (await a.models.push(folder, "me/m")).found
        index = [file.path for file in found.manifest.files].index("model.safetensors")
        true = found.manifest.files[index]
        span = TensorSpan("w", DTYPES["U8"], (100,), true.size_bytes - 40, true.size_bytes + 60)
        table = make_block(encode_table([PlacedTensor(span, index)]))
        await a.blocks.put_block(table)
        files = list(found.manifest.files)
        files[index] = replace(true, size_bytes=span.end)
        await publish_forged(a, found, replace(found.manifest, files=tuple(files), tensors=table.cid))
        with pytest.raises(InvalidManifest, match="40 of its 100 bytes"):
            await b.models.read_tensor(f"{a.peer_id}/m", "w")


async def test_a_model_that_is_removed_is_listed_no_more(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(2) as (a, b):
        name = f"{a.peer_id}/m"
        await a.models.push(folder, "me/m")
        (folder / "more.txt").write_text("2")
        await a.models.push(folder, "me/m")
        await b.models.fetch(f"{name}@1")
        assert await a.models.remove("me/m@1") == 1
        assert [each.version for each in await b.models.versions(name)] == [2]
        assert await a.models.remove("me/m") == 1
        with pytest.raises(ValueNotFound):
            await b.models.versions(name)
        assert (await a.blocks.collect()).kept == 0
        assert await b.models.remove(name) == 1
        assert await b.models.kept() == []
        assert await a.models.remove("me/m") == 0
        (folder / "more.txt").write_text("3")
        assert (await a.models.push(folder, "me/m")).found.name.version == 1


async def test_a_record_that_nobody_took_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(1) as (a,):

        async def refuse(*_: object, **__: object) -> None:
            raise QuorumNotReached("nobody", found=0, wanted=1)

        monkeypatch.setattr(a, "put", refuse)
        with pytest.raises(QuorumNotReached):
            await a.models.push(folder, "me/m")
        assert await a.models.kept() == []
        assert a.blocks.store.counts.blocks == 0


async def test_models_are_there_after_a_restart(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(1, data_dir=tmp_path / "data") as (a,):
        await a.models.push(folder, "me/m")
        await a.models.aliases.set("org", PrivateKey.generate().peer_id)
    async with open_nodes(1, data_dir=tmp_path / "data") as (a,):
        await a.models.pull("me/m", tmp_path / "out")
        assert content(tmp_path / "out") == content(folder)
        assert [kept.name.name for kept in await a.models.kept()] == ["m"]
        assert list(await a.models.aliases.all()) == ["org"]


# --- what is not to be published ----------------------------------------------------------------------------


def torch_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("pytorch_model.bin", torch_zip),
        ("model.pt", lambda path: path.write_bytes(pickle.dumps({"w": 1}))),
        ("sub/old.ckpt", lambda path: path.write_bytes(pickle.dumps({}, protocol=2))),
    ],
)
async def test_pickles_are_refused_with_the_reason(
    file: str, write: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    (folder / "sub").mkdir()
    write(folder / file)
    async with open_nodes(1) as (a,):
        with pytest.raises(PickleRefused, match=r"runs what its writer chose; .*safetensors"):
            await a.models.push(folder, "me/m")
        assert a.blocks.store.counts.blocks == 0


async def test_files_that_are_not_what_their_name_says_are_refused(tmp_path: Path) -> None:
    async with open_nodes(1) as (a,):
        bad = write_model(tmp_path / "bad", {"model.safetensors": layers(1)})
        (bad / "model.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
        with pytest.raises(InvalidTensor, match=r"model\.safetensors"):
            await a.models.push(bad, "me/m")
        missing = write_model(tmp_path / "i", {"model.safetensors": layers(1)}, another="gone.safetensors")
        with pytest.raises(InvalidTensor, match=r"gone\.safetensors"):
            await a.models.push(missing, "me/m")
        (missing / "model.safetensors.index.json").write_text("[]")
        with pytest.raises(InvalidTensor, match="no index"):
            await a.models.push(missing, "me/m")
        linked = write_model(tmp_path / "l", {"model.safetensors": layers(1)})
        (linked / "link").symlink_to("/etc/passwd")
        with pytest.raises(InvalidArgument, match="symbolic link"):
            await a.models.push(linked, "me/m")
        (tmp_path / "none").mkdir()
        with pytest.raises(InvalidArgument, match="no file"):
            await a.models.push(tmp_path / "none", "me/m")
        with pytest.raises(InvalidArgument, match="check the path"):
            await a.models.push(tmp_path / "nowhere", "me/m")
        with pytest.raises(InvalidArgument):
            await a.models.push(bad.parent / "l" / "config.json", "me/m", training_config={"a": object()})
        assert a.blocks.store.counts.blocks == 0


# --- what an owner may not make others do ------------------------------------------------------------


async def test_manifests_that_lie_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(2) as (a, b):
        found = (await a.models.push(folder, "me/m")).found
        name = f"{a.peer_id}/m"
        for lie, manifest in forgeries(found.manifest).items():
            await publish_forged(a, found, manifest)
            with pytest.raises((InvalidManifest, DiskFull)):
                await b.models.pull(name, tmp_path / "out")
            assert not (tmp_path / "out").exists(), lie
        await publish_forged(a, found, found.manifest, size=1)
        with pytest.raises(InvalidManifest):
            await b.models.fetch(name)
        assert await b.models.kept() == []
        assert [name for name in os.listdir(tmp_path) if name.startswith(".primedht")] == []


async def test_a_file_with_more_below_it_than_it_says_is_fetched_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root of a file says how many bytes there are; what is below it says otherwise."""
    monkeypatch.setattr(limits, "TENSOR_TABLE_BYTES_MAX", 0)
    async with open_nodes(2) as (a, b):
        leaves = [make_block(os.urandom(1 << 20)) for _ in range(8)]
        for leaf in leaves:
            await a.blocks.put_block(leaf)
        links = [Link(leaf.cid, 1 << 20) for leaf in leaves]
        inner = make_block(encode_node(links, unixfs.file_data([1 << 20] * 8)), DAG_PB)
        top = make_block(encode_node([Link(inner.cid, 100)], unixfs.file_data([100])), DAG_PB)
        await a.blocks.put_block(inner)
        await a.blocks.put_block(top)
        await a.models.publish(top.cid, "me/m", file_name="weights.npz")
        with pytest.raises(InvalidManifest, match="more than"):
            await b.models.fetch(f"{a.peer_id}/m")
        assert await b.models.kept() == []
        assert received_bytes(b) < 4 << 20


async def test_another_owner_s_manifest_in_my_list_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(2) as (a, b):
        found = (await a.models.push(folder, "me/m")).found
        listed = Versions(1, (Version(1, found.cid, 1, found.manifest.size_bytes),))
        await b.put(f"/prime/model/{b.peer_id}/m", listed.encode())
        with pytest.raises(InvalidManifest, match="manifest of"):
            await a.models.info(f"{b.peer_id}/m")
        await b.put(f"/prime/model/{b.peer_id}/n", b"something else")
        with pytest.raises(InvalidManifest):
            await a.models.info(f"{b.peer_id}/n")


async def test_a_manifest_that_nobody_has_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FETCH_SEARCH_PAUSE_S", 0.05)
    async with open_nodes(2) as (a, b):
        listed = Versions(1, (Version(1, Cid.of(b"nowhere", DAG_CBOR), 1, 1),))
        await a.put(f"/prime/model/{a.peer_id}/m", listed.encode())
        with pytest.raises(BlockNotFound):
            await b.models.info(f"{a.peer_id}/m")


async def test_a_directory_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(1) as (a,):
        await a.models.push(folder, "me/m")
        for target in (folder, tmp_path / "no" / "out"):
            with pytest.raises(InvalidArgument, match="another path"):
                await a.models.pull("me/m", target)
        os.symlink("/nowhere", tmp_path / "dangling")
        with pytest.raises(InvalidArgument, match="another path"):
            await a.models.pull("me/m", tmp_path / "dangling")


def received_bytes(node: Node) -> int:
    exchange = node.blocks.status()["exchange"]
    assert isinstance(exchange, dict)
    return int(exchange["bytes_received"])
