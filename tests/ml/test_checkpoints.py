"""Checkpoints between nodes on loopback: whole steps only, whoever publishes the parts; exact states."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import pytest
import trio
from model_lab import layers, open_nodes

from primedht import limits
from primedht.blocks.block import make_block
from primedht.errors import (
    InvalidArgument,
    InvalidManifest,
    KeyNotFound,
    NotPermitted,
    OperationTimeout,
    PickleRefused,
    QuorumNotReached,
    StaleRecord,
    TooBusy,
    UnknownOwner,
    ValueNotFound,
)
from primedht.keys import PrivateKey
from primedht.ml.runs import parse_run
from primedht.node import Node
from primedht.tensors.checkpoint import CheckpointManifest, CheckpointPart


def state(step: int, *, changed: int | None = None, elements: int = 4096) -> dict[str, Any]:
    """Return what a trainer has at a step; changed: the layer that is not that of other steps."""
    weights = layers(4, elements=elements)
    if changed is not None:
        weights |= layers(1, elements=elements, seed=step + 1) if changed == 0 else {}
    return {"step": step, "model": weights, "rng": random.Random(step).getstate()}


def pins_of(pins: list[Any]) -> list[str]:
    return sorted(pin.name.rpartition("@")[2] for pin in pins)


async def pinned(node: Node) -> list[str]:
    return pins_of([pin async for pin in node.blocks.pins.all()])


@asynccontextmanager
async def open_ranks(count: int, tmp_path: Path) -> AsyncIterator[tuple[list[Node], str]]:
    """Open nodes that have a key in common, named `run`; and return its owner's peer id."""
    key = PrivateKey.generate()
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for index in range(count):
            opened = open_nodes(1, data_dir=tmp_path / f"node{index}")
            (node,) = await stack.enter_async_context(opened)
            keystore = node.signing.keystore
            assert keystore is not None
            keystore.add("run", key)
            for other in nodes:
                await node.connect(other.addrs[0])
            nodes.append(node)
        with trio.fail_after(60):
            for node in nodes:
                while len(node.dht.routing_table) < count - 1:  # noqa: ASYNC110
                    await trio.sleep(0.02)
        yield nodes, str(key.peer_id)


async def test_a_state_is_loaded_elsewhere_exactly_as_it_was_published() -> None:
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    given = {
        "model": OrderedDict({"embed": weight, "head": weight, "norm": np.ones(3, ml_dtypes.bfloat16)}),
        "optimizer": {
            "state": {0: {"step": np.float32(7), "m": weight.T}},
            "groups": [{"betas": (0.9, 0.99)}],
        },
        "scheduler": {"lr": math.inf, "last": None, "on": True},
        "rng": {
            "python": random.Random(1).getstate(),
            "torch": b"\x00\x01",
            "numpy": np.random.PCG64(1).state,
        },
        "epoch": -3,
    }
    async with open_nodes(2) as (a, b):
        job = await a.checkpoints.publish("run42", 100, given, metadata={"loss": "0.25"})
        published = await job.wait()
        assert job.done
        assert published.put is not None
        assert len(published.put.holders) == 2
        found = await b.checkpoints.latest(f"{a.peer_id}/run42")
        assert found == published.found
        assert found is not None
        assert (found.step, found.manifest.metadata) == (100, {"loss": "0.25"})
        loaded = await b.checkpoints.load(f"{a.peer_id}/run42")
        assert loaded["model"]["embed"] is loaded["model"]["head"]
        assert type(loaded["model"]) is OrderedDict
        assert loaded["model"]["norm"].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(loaded["optimizer"]["state"][0]["m"], weight.T)
        assert loaded["optimizer"]["groups"] == given["optimizer"]["groups"]  # type: ignore[index]
        assert {name: loaded[name] for name in ("scheduler", "rng", "epoch")} == {
            name: given[name] for name in ("scheduler", "rng", "epoch")
        }
        loaded["model"]["embed"][0, 0] = 5  # it is the caller's own
        assert await b.checkpoints.latest("run42") is None
        assert await pinned(a) == await pinned(b) == ["100"]
        with pytest.raises(ValueNotFound, match="step 7; there are those of 100"):
            await b.checkpoints.load(f"{a.peer_id}/run42", 7)


async def test_what_was_loaded_outlives_its_publisher() -> None:
    async with open_nodes(2) as (b, c):
        async with open_nodes(1) as (a,):
            await a.connect(b.addrs[0])
            await a.connect(c.addrs[0])
            run = f"{a.peer_id}/r"
            await (await a.checkpoints.publish("r", 1, state(1))).wait()
            await b.checkpoints.fetch(run)
        assert (await c.checkpoints.load(run))["step"] == 1


async def test_the_last_steps_and_the_pinned_ones_are_kept() -> None:
    async with open_nodes(2) as (a, b):
        run = f"{a.peer_id}/r"
        for step in range(5):
            job = await a.checkpoints.publish("me/r", step, state(step, changed=0), keep=2, pinned=step == 1)
            await job.wait()
            if step == 0:
                await b.checkpoints.fetch(run)
        assert [(each.step, each.pinned) for each in await b.checkpoints.steps(run)] == [
            (1, True), (3, False), (4, False),
        ]  # fmt: skip
        assert await pinned(a) == ["1", "3", "4"]
        assert await pinned(b) == ["0"]
        assert (await b.checkpoints.load(run, 1))["step"] == 1
        assert await pinned(b) == ["1"]
        before = a.blocks.store.counts.bytes_used
        await a.blocks.collect()
        assert a.blocks.store.counts.bytes_used < before
        for step in (1, 3, 4):
            assert (await b.checkpoints.load(run, step))["step"] == step
        await a.checkpoints.pin("r", 1, pinned=False)
        await a.checkpoints.pin("r", 3)
        await (await a.checkpoints.publish("r", 5, state(5), keep=1)).wait()
        assert [each.step for each in await b.checkpoints.steps(run)] == [3, 5]
        with pytest.raises(StaleRecord, match="step 2"):
            await (await a.checkpoints.publish("r", 2, state(2), keep=1)).wait()
        assert await pinned(a) == ["3", "5"]


async def test_a_step_is_published_again() -> None:
    """The same bytes change nothing; others take the step's place."""
    async with open_nodes(2) as (a, b):
        run = f"{a.peer_id}/r"
        first = await (await a.checkpoints.publish("r", 1, state(1))).wait()
        again = await (await a.checkpoints.publish("r", 1, state(1))).wait()
        assert again.found == first.found
        assert again.put is None
        await b.checkpoints.fetch(run)
        other = await (await a.checkpoints.publish("r", 1, state(2))).wait()
        assert other.found.cid != first.found.cid
        assert (await b.checkpoints.load(run))["step"] == 2
        for node in (a, b):
            assert await pinned(node) == ["1"]
            assert [pin.cid async for pin in node.blocks.pins.all()] == [other.found.cid]


async def test_ranks_of_several_nodes_publish_parts_and_the_last_commits(tmp_path: Path) -> None:
    async with open_ranks(3, tmp_path) as ((a, b, c), owner), open_nodes(1) as (reader,):
        for node in (a, b, c):
            await reader.connect(node.addrs[0])
        run = f"{owner}/r"
        jobs = []
        for index, node in ((2, c), (0, a)):
            given = {"rank": index} | layers(1, seed=index)
            jobs.append(await node.checkpoints.publish("r", 8, given, shard=(index, 4), key="run"))
        jobs.append(await b.checkpoints.publish("me/r", 8, {"rank": 1}, shard=(1, 4), key="run"))
        for job in jobs:
            with pytest.raises(OperationTimeout, match="goes on"):
                await job.wait(timeout=0.3)
        assert await reader.checkpoints.latest(run) is None
        with pytest.raises(ValueNotFound):
            await reader.checkpoints.load(run)
        jobs.append(await b.checkpoints.publish(run, 8, {"rank": 3}, shard=(3, 4)))
        with trio.fail_after(60):
            ended = [await job.wait() for job in jobs]
        assert len({each.found.cid for each in ended}) == 1
        assert [loaded["rank"] for loaded in await reader.checkpoints.load(run)] == [0, 1, 2, 3]
        assert (await reader.checkpoints.load(run, shard=2))["rank"] == 2
        with pytest.raises(InvalidArgument, match="no part 4"):
            await reader.checkpoints.load(run, shard=4)
        assert await pinned(a) == ["8", "8#0-of-4"]
        assert await pinned(b) == ["8", "8#1-of-4", "8#3-of-4"]


async def test_a_reader_of_one_part_fetches_no_other(tmp_path: Path) -> None:
    async with open_nodes(2) as (a, b):
        run = f"{a.peer_id}/r"
        jobs = [
            await a.checkpoints.publish(
                "r", 1, {"rank": i} | layers(1, elements=100_000, seed=i), shard=(i, 3)
            )
            for i in range(3)
        ]
        for job in jobs:
            await job.wait()
        assert (await b.checkpoints.load(run, shard=1))["rank"] == 1
        assert b.blocks.store.counts.bytes_used < 450_000
        assert await pinned(b) == ["1", "1#1-of-3"]


async def test_last_parts_at_once_commit_one_step(tmp_path: Path) -> None:
    async with open_ranks(4, tmp_path) as (nodes, owner):
        ended = []

        async def publish(index: int, step: int) -> None:
            job = await nodes[index].checkpoints.publish(
                "r", step, [step, index], shard=(index, 4), key="run"
            )
            ended.append((await job.wait()).found.cid)

        with trio.fail_after(100):
            for step in (1, 2):
                async with trio.open_nursery() as nursery:
                    for index in range(4):
                        nursery.start_soon(publish, index, step)
        assert len(set(ended)) == 2
        for node in nodes:
            assert [each.step for each in await node.checkpoints.steps(f"{owner}/r")] == [1, 2]
            assert await node.checkpoints.load(f"{owner}/r") == [[2, index] for index in range(4)]


async def test_steps_that_nodes_commit_at_once_are_all_listed(tmp_path: Path) -> None:
    """A node that writes the run's record over another's sees that, and writes both."""
    async with open_ranks(3, tmp_path) as (nodes, owner):

        async def publish(index: int) -> None:
            await (await nodes[index].checkpoints.publish("r", index, index, key="run")).wait()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for index in range(3):
                    nursery.start_soon(publish, index)
        assert [each.step for each in await nodes[0].checkpoints.steps(f"{owner}/r")] == [0, 1, 2]


async def test_a_killed_rank_leaves_nothing_to_see_and_goes_on(tmp_path: Path) -> None:
    directory = tmp_path / "a"
    async with open_nodes(1) as (b,):
        async with open_nodes(1, data_dir=directory) as (a,):
            await a.connect(b.addrs[0])
            run = f"{a.peer_id}/r"
            await (await a.checkpoints.publish("r", 1, state(1))).wait()
            job = await a.checkpoints.publish("r", 2, state(2), shard=(0, 2))
            await a.checkpoints.publish("r", 2, state(9), shard=(1, 2), attempt=1)
            parts = [wire(a, "r", 2, 0, (0, 2)), wire(a, "r", 2, 1, (1, 2))]
            with trio.fail_after(30):
                while any(each.error for each in await a.get_many(parts)):  # noqa: ASYNC110
                    await trio.sleep(0.05)
        with pytest.raises(OperationTimeout, match="interrupted"):
            await job.wait()
        steps = [each.step for each in await b.checkpoints.steps(run)]
        assert steps == [1], "parts of two attempts make no step"
        async with open_nodes(1, data_dir=directory) as (a,):
            await a.connect(b.addrs[0])
            assert await pinned(a) == ["1", "2#0-of-2", "2#1-of-2"]
            job = await a.checkpoints.publish("r", 2, state(3), shard=(1, 2))
            with trio.fail_after(60):
                await job.wait()
            assert [each["step"] for each in await b.checkpoints.load(run)] == [2, 3]
            assert await pinned(a) == ["1", "2", "2#0-of-2", "2#1-of-2"]


def wire(node: Node, run: str, step: int, attempt: int, shard: tuple[int, int]) -> bytes:
    return parse_run(run, node.peer_id, {}).part_key(step, attempt, shard)


async def test_a_part_whose_others_never_come_ends_with_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_COMMIT_S_MAX", 0.3)
    async with open_nodes(1) as (a,):
        job = await a.checkpoints.publish("r", 1, 1, shard=(1, 3))
        with pytest.raises(OperationTimeout, match="part 0, 2 of 3 has not come"):
            await job.wait()
        assert await pinned(a) == ["1#1-of-3"], "another rank may still complete the step"
        await (await a.checkpoints.publish("r", 2, 2)).wait()
        assert await pinned(a) == ["2"], "until a later step is whole"


async def test_who_may_publish_what(tmp_path: Path) -> None:
    async with open_nodes(2, data_dir=tmp_path / "a") as (a, b):
        checkpoints = b.checkpoints
        with pytest.raises(NotPermitted):
            await checkpoints.publish(f"{a.peer_id}/r", 1, 1)
        with pytest.raises(UnknownOwner):
            await checkpoints.publish("org/r", 1, 1)
        with pytest.raises(KeyNotFound):
            await a.checkpoints.publish("r", 1, 1, key="none")
        for run in ("", "/r", "me/", "a b", "me/r@1", "x/y/z"):
            with pytest.raises((InvalidArgument, UnknownOwner)):
                await checkpoints.publish(run, 1, 1)
        wrong: list[tuple[int, dict[str, Any]]] = [
            (-1, {}), (1 << 62, {}), (1, {"keep": 0}), (1, {"shard": (1, 1)}), (1, {"shard": (-1, 2)}),
            (1, {"shard": (0, 5000)}), (1, {"attempt": -1}), (1, {"keep": 65}), (True, {}),
            (1, {"metadata": {"a": "x" * 5000}}),
        ]  # fmt: skip
        for step, details in wrong:
            with pytest.raises(InvalidArgument):
                await checkpoints.publish("r", step, 1, **details)
        with pytest.raises(PickleRefused, match=r"^model is a function"):
            await checkpoints.publish("r", 1, {"model": state})
        assert await pinned(b) == []
        await b.blocks.collect()
        assert b.blocks.store.counts.bytes_used == 0, "what was refused leaves nothing"
        with pytest.raises(ValueNotFound):
            await checkpoints.pin("r", 1)
        with pytest.raises(NotPermitted):
            await checkpoints.pin(f"{a.peer_id}/r", 1)
        with pytest.raises(ValueNotFound):
            a.jobs.get("no such")


async def test_a_run_and_its_steps_are_removed() -> None:
    async with open_nodes(2) as (a, b):
        run = f"{a.peer_id}/r"
        for step in (1, 2):
            await (await a.checkpoints.publish("r", step, state(step))).wait()
            await b.checkpoints.fetch(run)
        assert await a.checkpoints.remove("r", 1) == 1
        assert [each.step for each in await b.checkpoints.steps(run)] == [2]
        assert await b.checkpoints.remove(run) == 2, "another's run is only forgotten here"
        assert [each.step for each in await b.checkpoints.steps(run)] == [2]
        assert await a.checkpoints.remove("r") == 1
        assert await b.checkpoints.steps(run) == ()
        assert await a.checkpoints.remove("r") == 0
        await (await a.checkpoints.publish("r", 1, state(1))).wait()
        assert [each.step for each in await b.checkpoints.steps(run)] == [1]


async def test_a_refused_record_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_POLL_S", 0.02)
    async with open_nodes(1) as (a,):

        async def refuse(*_: object, **__: object) -> None:
            raise QuorumNotReached("nobody took it", found=0, wanted=1)

        monkeypatch.setattr(a, "put", refuse)
        job = await a.checkpoints.publish("r", 1, state(1))
        with pytest.raises(QuorumNotReached):
            await job.wait()
        assert await pinned(a) == []


async def test_a_job_that_cannot_begin_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_MAX", 1)
    async with open_nodes(1) as (a,):
        await a.checkpoints.publish("r", 1, 1, shard=(0, 2))
        for _ in range(2):
            with pytest.raises(TooBusy):
                await a.checkpoints.publish("r", 2, state(2))
        assert await pinned(a) == ["1#0-of-2"]
        assert len(await a.checkpoints._unfinished.all()) == 1
        with pytest.raises(TooBusy):
            await a.checkpoints.publish("r", 1, 1, shard=(0, 2))
        assert await pinned(a) == ["1#0-of-2"], "what was kept before is kept"


async def test_a_part_published_twice_at_once_is_kept_though_one_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_nodes(1) as (a,):
        put, all_began, refused = a.put, trio.Event(), trio.Event()
        calls = 0

        async def refuse_first(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                await all_began.wait()
                raise TooBusy("not now")
            await refused.wait()
            return await put(*arguments, **options)

        monkeypatch.setattr(a, "put", refuse_first)
        failing = await a.checkpoints.publish("r", 1, state(1), shard=(0, 2))
        while not calls:  # noqa: ASYNC110
            await trio.sleep(0.001)
        again = await a.checkpoints.publish("r", 1, state(1), shard=(0, 2))
        other = await a.checkpoints.publish("r", 1, state(2), shard=(1, 2))
        all_began.set()
        with pytest.raises(TooBusy):
            await failing.wait()
        refused.set()
        for job in (again, other):
            await job.wait()
        assert await pinned(a) == ["1", "1#0-of-2", "1#1-of-2"]


async def test_pins_of_others_that_are_called_like_ours_are_left_alone() -> None:
    async with open_nodes(1) as (a,):
        block = make_block(b"of a user")
        await a.blocks.put_block(block)
        names = [
            f"checkpoint:{a.peer_id}/r@{more}" for more in ("best", "", "#0-of-1", "1#last", "-1", "1_0")
        ]
        for name in [*names, "model:best", "model:nobody/m@1", f"model:{a.peer_id}/m"]:
            await a.blocks.pin(block.cid, name=name, announce=False)
        await (await a.checkpoints.publish("r", 1, 1)).wait()
        assert await a.checkpoints.remove("r") == 1
        assert await a.models.kept() == []
        assert len(await a.blocks.pins.of(block.cid)) == 9


async def test_a_peer_that_dies_while_a_part_is_stored_does_not_fail_its_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_nodes(1) as (a,):
        put, failures = a.put, [QuorumNotReached("it is gone", found=2, wanted=3) for _ in range(2)]

        async def fail_first(*arguments: Any, **options: Any) -> Any:
            if failures:
                raise failures.pop()
            return await put(*arguments, **options)

        monkeypatch.setattr(a, "put", fail_first)
        jobs = [await a.checkpoints.publish("r", 1, state(index), shard=(index, 2)) for index in range(2)]
        for job in jobs:
            await job.wait()
        assert not failures
        assert len(await a.checkpoints.load("r")) == 2


async def test_a_manifest_that_lies_about_sizes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_nodes(2) as (a, b):
        real = CheckpointManifest.signed
        for step, change in ((1, 1), (2, -1), (3, 1 << 40)):

            def lying(manifest: CheckpointManifest, key: PrivateKey, change: int = change) -> Any:
                (part,) = manifest.parts
                parts = (CheckpointPart(part.size_bytes + change, part.cid),)
                return real(replace(manifest, parts=parts), key)

            with monkeypatch.context() as patch:
                patch.setattr(CheckpointManifest, "signed", lying)
                await (await a.checkpoints.publish("r", step, state(step))).wait()
            with pytest.raises(InvalidManifest, match="has not the size"):
                await b.checkpoints.load(f"{a.peer_id}/r", step)
        assert await pinned(b) == []


async def test_a_second_step_moves_only_what_changed() -> None:
    """One layer of 24 changed, and all scalars: under 6 % of the bytes are fetched."""
    weights = layers(24, elements=32 << 10)
    async with open_nodes(2) as (a, b):
        run = f"{a.peer_id}/r"

        async def received(step: int, weights: dict[str, Any]) -> int:
            before = cast("Any", b.blocks.status()["exchange"])["bytes_received"]
            await (await a.checkpoints.publish("r", step, {"step": step, "model": weights})).wait()
            loaded = await b.checkpoints.load(run)
            assert loaded["step"] == step
            np.testing.assert_array_equal(
                loaded["model"]["model.layers.7.weight"], weights["model.layers.7.weight"]
            )
            return int(cast("Any", b.blocks.status()["exchange"])["bytes_received"]) - before

        all_bytes = await received(1, weights)
        changed = weights | {"model.layers.7.weight": np.zeros(32 << 10, np.float32)}
        assert await received(2, changed) < 0.06 * all_bytes


async def test_a_job_that_meets_trouble_with_a_part_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_nodes(1) as (a,):
        real = a.get_record
        failures = iter([OperationTimeout("slow")] * 2)

        async def get_record(key: bytes, **options: Any) -> Any:
            if b"-of-" in key and (error := next(failures, None)) is not None:
                raise error
            return await real(key, **options)

        monkeypatch.setattr(a, "get_record", get_record)
        for index in (0, 1):
            job = await a.checkpoints.publish("r", 1, index, shard=(index, 2))
        with trio.fail_after(30):
            await job.wait()
        assert await a.checkpoints.load("r") == [0, 1]


def test_a_daemon_that_only_stores_states_loads_no_numpy() -> None:
    program = "import sys, primedht.daemon; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
