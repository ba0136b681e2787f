"""Checkpoints through both clients, and who may do what over TCP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))

from control_lab import LOOPBACK, ControlLab, open_lab
from model_lab import content, layers, open_nodes

from primedht.client import AsyncClient, Client
from primedht.errors import (
    InvalidArgument,
    NotPermitted,
    OperationTimeout,
    PickleRefused,
    StaleRecord,
    ValueNotFound,
)
from primedht.tensors.state_files import load_state


def state(step: int) -> dict[str, Any]:
    weight = np.arange(step, step + 6).astype(ml_dtypes.bfloat16).reshape(2, 3)
    return {"model": layers(1) | {"w": weight, "tied": weight}, "groups": {0: (step, None, float("inf"))}}


def check(loaded: Any, step: int) -> None:
    assert loaded["groups"] == {0: (step, None, float("inf"))}
    assert loaded["model"]["w"] is loaded["model"]["tied"]
    np.testing.assert_array_equal(loaded["model"]["w"], state(step)["model"]["w"])
    loaded["model"]["w"][0, 0] = 0  # it is the caller's own


@pytest.fixture(params=["unix", "tcp"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlLab]:
    addr = LOOPBACK if request.param == "tcp" else None
    async with (
        open_nodes(1) as (node,),
        open_lab(cast("Any", node), tmp_path, addr=addr, tcp_trusted=True) as lab,
    ):
        yield lab


async def test_the_blocking_client_publishes_and_loads(lab: ControlLab, tmp_path: Path) -> None:
    def use() -> None:
        with Client(str(lab.addr)) as client:
            checkpoints = client.checkpoints
            assert checkpoints.latest("run") is None
            given = state(1)
            job = checkpoints.publish("run", 1, given, metadata={"loss": "1"}, pinned=True)
            given["model"]["w"][:] = 0  # the daemon has the bytes
            published = job.wait()
            assert published.put is not None
            assert published.found == checkpoints.latest("run") == checkpoints.find("me/run", 1)
            assert published.found.pinned
            assert published.found.manifest.metadata == {"loss": "1"}
            check(checkpoints.load("run"), 1)
            for step in (2, 3):
                checkpoints.publish("run", step, state(step), keep=1).wait()
            assert [(each.step, each.pinned) for each in checkpoints.steps("run")] == [(1, True), (3, False)]
            check(checkpoints.load("run", 1), 1)
            with pytest.raises(StaleRecord):
                checkpoints.publish("run", 2, state(2), keep=1).wait()
            assert sorted(pin.name.rpartition("@")[2] for pin in client.pins()) == ["1", "3"]

            parts = [checkpoints.publish("run", 4, {"rank": i}, shard=(i, 2), keep=2) for i in range(2)]
            assert parts[1].wait().found == parts[0].wait().found
            assert checkpoints.load("run") == [{"rank": 0}, {"rank": 1}]
            assert checkpoints.load("run", shard=1) == {"rank": 1}
            checkpoints.pull("run", tmp_path / "parts")
            assert sorted(content(tmp_path / "parts")) == [
                "state-0-of-2.safetensors",
                "state-1-of-2.safetensors",
            ]
            checkpoints.pull("run", tmp_path / "one", 3)
            check(load_state(tmp_path / "one" / "state.safetensors"), 3)
            with pytest.raises(InvalidArgument, match="another path"):
                checkpoints.pull("run", tmp_path / "one", 3)
            checkpoints.pin("run", 1, pinned=False)
            assert not checkpoints.steps("run")[0].pinned

            with pytest.raises(PickleRefused, match="model is a function"):
                checkpoints.publish("run", 9, {"model": use})
            alone = checkpoints.publish("run", 9, 1, shard=(0, 2))
            with pytest.raises(OperationTimeout):
                alone.wait(timeout=0.1)
            for wrong in (-1, 1 << 62, 1.5):
                with pytest.raises(InvalidArgument):
                    checkpoints.publish("run", cast("Any", wrong), 1)
            with pytest.raises(ValueNotFound, match="do it again"):
                type(alone)(client, "none").wait()
            assert checkpoints.remove("run", 4) == 3
            assert checkpoints.fetch("run").step == 3
            checkpoints.remove("run")
            assert checkpoints.steps("run") == []
            assert client.pins() == []

    await trio.to_thread.run_sync(use)


async def test_the_asynchronous_client_does_too(lab: ControlLab, tmp_path: Path) -> None:
    async with AsyncClient(str(lab.addr)) as client:
        checkpoints = client.checkpoints
        assert await checkpoints.latest("run") is None
        job = await checkpoints.publish("run", 1, state(1))
        published = await job.wait()
        assert published.found == await checkpoints.latest("run") == await checkpoints.fetch("run", 1)
        check(await checkpoints.load("run"), 1)
        await checkpoints.pull("run", tmp_path / "one")
        check(load_state(tmp_path / "one" / "state.safetensors"), 1)
        await checkpoints.pin("run", 1)
        assert [each.pinned for each in await checkpoints.steps("run")] == [True]
        with pytest.raises(PickleRefused):
            await checkpoints.publish("run", 2, state)
        assert await checkpoints.remove("run", 1) == 1
        assert await client.pins() == []


async def test_strangers_of_the_machine_neither_publish_nor_remove(tmp_path: Path) -> None:
    async with open_nodes(1) as (node,), open_lab(cast("Any", node), tmp_path, addr=LOOPBACK) as lab:
        await (await node.checkpoints.publish("run", 1, state(1))).wait()
        async with AsyncClient(str(lab.addr)) as client:
            check(await client.checkpoints.load("run"), 1)
            for refused in (
                client.checkpoints.publish("run", 2, 2),
                client.checkpoints.pin("run", 1),
                client.checkpoints.remove("run"),
            ):
                with pytest.raises(NotPermitted):
                    await refused
