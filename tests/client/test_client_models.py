"""Models through both clients, and who may do what over TCP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))

from control_lab import LOOPBACK, ControlLab, open_lab
from model_lab import content, layers, open_nodes, write_model

from primedht.cids import Cid
from primedht.client import AsyncClient, Client, _models
from primedht.errors import (
    InvalidArgument,
    InvalidManifest,
    NotPermitted,
    PickleRefused,
    UnknownOwner,
    ValueNotFound,
)
from primedht.keys import PrivateKey


@pytest.fixture(params=["unix", "tcp"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlLab]:
    addr = LOOPBACK if request.param == "tcp" else None
    async with (
        open_nodes(1) as (node,),
        open_lab(cast("Any", node), tmp_path, addr=addr, tcp_trusted=True) as lab,
    ):
        yield lab


async def test_the_blocking_client_does_all_that_the_node_does(lab: ControlLab, tmp_path: Path) -> None:
    tensors = layers(2)
    folder = write_model(tmp_path / "m", {"model.safetensors": tensors})
    name, other = "me/m", PrivateKey.generate().peer_id

    def use() -> None:
        with Client(str(lab.addr)) as client:
            pushed = client.models.push(
                folder, name, metadata={"a": "b"}, training_config={"epochs": 3}
            ).found
            assert pushed.name.endswith("/m@1")
            assert str(pushed) == f"{pushed.name}  {pushed.cid}  {pushed.manifest}"
            assert str(client.models.push(folder, "me/n").wait()).endswith("kept by 0 of 3 other peers")
            client.models.remove("me/n")
            assert dict(pushed.manifest.model.training_config) == {"epochs": 3}
            assert (
                client.models.info(name) == client.models.fetch(name) == client.models.verify(name) == pushed
            )
            assert client.models.pull(name, tmp_path / "out") == pushed
            assert content(tmp_path / "out") == content(folder)
            with pytest.raises(InvalidArgument, match="another path"):
                client.models.pull(name, tmp_path / "out")
            array = client.models.tensor(name, "model.layers.1.weight")
            np.testing.assert_array_equal(array, tensors["model.layers.1.weight"])
            array[0] = 0  # it is the caller's own
            single = client.models.push(folder / "model.safetensors", "me/one").found
            assert [file.path for file in single.manifest.files] == ["model.safetensors"]
            assert [(each.version, each.cid) for each in client.models.versions(name)] == [(1, pushed.cid)]
            assert [each.name for each in client.models.kept()] == [pushed.name, single.name]
            client.models.set_alias("org", str(other))
            assert client.models.aliases() == {"org": other}
            with pytest.raises(ValueNotFound):
                client.models.info("org/m")
            assert client.models.remove_alias("org")
            with pytest.raises(UnknownOwner):
                client.models.info("org/m")
            assert client.models.remove(name) == 1
            assert {pin.name for pin in client.pins()} == {f"model:{single.name}"}
            (folder / "x.pt").write_bytes(b"\x80\x04.")
            with pytest.raises(PickleRefused):
                client.models.push(folder, name)
            with pytest.raises(InvalidArgument, match="JSON"):
                client.models.push(folder, name, training_config={"a": float("nan")})
            assert {pin.name for pin in client.pins()} == {f"model:{single.name}"}

    await trio.to_thread.run_sync(use)


async def test_the_asynchronous_client_does_too(lab: ControlLab, tmp_path: Path) -> None:
    tensors = layers(2)
    folder = write_model(tmp_path / "m", {"model.safetensors": tensors})
    async with AsyncClient(str(lab.addr)) as client:
        models = client.models
        pushed = (await models.push(folder, "me/m")).found
        assert (
            await models.info("me/m") == await models.fetch("me/m") == await models.verify("me/m") == pushed
        )
        assert await models.pull("me/m", tmp_path / "out") == pushed
        assert content(tmp_path / "out") == content(folder)
        array = await models.tensor("me/m", "model.layers.0.weight")
        np.testing.assert_array_equal(array, tensors["model.layers.0.weight"])
        assert [each.version for each in await models.versions("me/m")] == [1]
        assert [each.cid for each in await models.kept()] == [pushed.cid]
        await models.set_alias("org", PrivateKey.generate().peer_id)
        assert list(await models.aliases()) == ["org"]
        assert await models.remove_alias("org")
        assert await models.remove("me/m") == 1
        assert await client.pins() == []


async def test_strangers_of_the_machine_neither_sign_nor_remove(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(1) as (node,), open_lab(cast("Any", node), tmp_path, addr=LOOPBACK) as lab:
        await node.models.push(folder, "me/m")
        async with AsyncClient(str(lab.addr)) as client:
            assert (await client.models.info("me/m")).manifest.model.id == "m"
            for refused in (
                client.models.push(folder, "me/m"),
                client.models.remove("me/m"),
                client.models.set_alias("org", node.peer_id),
                client.models.remove_alias("org"),
            ):
                with pytest.raises(NotPermitted):
                    await refused


def test_a_tensor_of_which_bytes_are_missing_is_refused() -> None:
    place = _models.TensorPlace("w", Cid.of(b"file"), "U8", (100,), 0, 100)
    with pytest.raises(InvalidManifest, match="40 of its 100 bytes"):
        _models.array_of(place, bytes(40))
