"""Checkpoints that outlive the nodes that published them, and go where they are retired."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from durable_models import write_psk
from model_lab import open_nodes

from primedht import limits
from primedht.errors import OperationTimeout, QuorumNotReached, ValueNotFound
from primedht.ml.checkpoints import Checkpoints
from primedht.node import Node
from primedht.results import PutResult


def kept_for_others(node: Node) -> int:
    assert node.replication is not None
    return len(node.replication._replicas)


async def until_kept(node: Node, count: int) -> None:
    with trio.fail_after(60):
        while kept_for_others(node) != count:  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.05)


async def test_a_step_outlives_its_publisher_and_is_let_go_when_it_is_retired(tmp_path: Path) -> None:
    state = {"w": np.arange(100_000, dtype=np.float32), "step": 1}
    async with open_nodes(2, psk_file=write_psk(tmp_path / "key")) as (publisher, holder):
        for step in range(1, 5):
            job = await publisher.checkpoints.publish("run", step, state | {"step": step}, keep=2)
            found = (await job.wait()).found
            kept = await (await publisher.placing(found.cid)).wait(30)
            assert kept.receipts == (holder.peer_id,)
        await until_kept(holder, 2)
        holder.blocks.exchange = None  # what follows is read from the holder's own blocks
        loaded = await holder.checkpoints.load(f"{publisher.peer_id}/run")
        assert loaded["step"] == 4
        np.testing.assert_array_equal(loaded["w"], state["w"])
        await publisher.checkpoints.remove("run")
        await until_kept(holder, 0)


async def test_each_rank_has_its_part_kept_and_the_manifest_too(tmp_path: Path) -> None:
    async with open_nodes(2, psk_file=write_psk(tmp_path / "key")) as (publisher, holder):

        async def publish(shard: int) -> None:
            state = {"w": np.full(50_000, shard, dtype=np.float32)}
            job = await publisher.checkpoints.publish("run", 1, state, shard=(shard, 2))
            await job.wait()

        async with trio.open_nursery() as nursery:
            for shard in range(2):
                nursery.start_soon(partial(publish, shard))
        await until_kept(holder, 3)
        holder.blocks.exchange = None
        checkpoints: Checkpoints = holder.checkpoints
        states = await checkpoints.load(f"{publisher.peer_id}/run")
        assert [float(state["w"][0]) for state in states] == [0.0, 1.0]


async def test_a_resumed_job_that_meets_too_few_peers_tries_again_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first run fails at once, and its caller knows; after a restart peers are still being found."""
    for name, short in (
        ("JOBS_RESUMED_AFTER_S", 0),
        ("JOBS_RETRY_S", 0.01),
        ("CHECKPOINT_PUT_TRIES", 2),
        ("CHECKPOINT_POLL_S", 0.01),
    ):
        monkeypatch.setattr(limits, name, short)
    async with open_nodes(1, data_dir=tmp_path) as (node,):
        waiting = await node.checkpoints.publish("run", 1, {"rank": 0}, shard=(0, 2))
        with pytest.raises(OperationTimeout):
            await waiting.wait(timeout=0.2)
    whole, puts = Node.put, 0

    async def put(node: Node, *arguments: Any, **options: Any) -> PutResult:
        nonlocal puts
        puts += 1
        if puts <= 5:
            raise QuorumNotReached("stored on 0 of the 2 holders wanted", found=0, wanted=2)
        return await whole(node, *arguments, **options)

    monkeypatch.setattr(Node, "put", put)
    async with open_nodes(1, data_dir=tmp_path) as (node,):
        with trio.fail_after(60):
            while puts < 3:  # noqa: ASYNC110 - nobody announces it
                await trio.sleep(0.001)
            [job] = node.status()["jobs"]  # type: ignore[misc]
            assert job["id"] == waiting.id
            assert job["trouble"] == "stored on 0 of the 2 holders wanted; it is tried again"
            while puts < 6:  # noqa: ASYNC110
                await trio.sleep(0.001)
        await (await node.checkpoints.publish("run", 1, {"rank": 1}, shard=(1, 2))).wait()
        published = await node.jobs.get(waiting.id).wait(timeout=60)
        assert published.found.step == 1
        assert node.status()["jobs"] == []
        puts = 0
        failing = await node.checkpoints.publish("run", 2, {"rank": 0}, shard=(0, 2))
        with pytest.raises(QuorumNotReached):
            await failing.wait(timeout=60)


async def test_a_restarted_node_goes_on_with_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOBS_RESUMED_AFTER_S", 0)
    state = {"w": np.arange(50_000, dtype=np.float32)}
    async with open_nodes(1, data_dir=tmp_path) as (node,):
        waiting = await node.checkpoints.publish("run", 1, state, shard=(0, 2), metadata={"a": "b"})
        with pytest.raises(OperationTimeout):
            await waiting.wait(timeout=0.2)
        ended = await node.checkpoints.publish("other", 1, state)
        await ended.wait()
    for _ in range(2):  # it is not forgotten by a restart more
        async with open_nodes(1, data_dir=tmp_path) as (node,):
            assert not node.jobs.get(waiting.id).done
    async with open_nodes(1, data_dir=tmp_path) as (node,):
        await (await node.checkpoints.publish("run", 1, {"rank": 1}, shard=(1, 2))).wait()
        published = await node.jobs.get(waiting.id).wait(timeout=60)
        assert published.found.manifest.metadata == {"a": "b"}
        first, second = await node.checkpoints.load("run")
        np.testing.assert_array_equal(first["w"], state["w"])
        assert second == {"rank": 1}
        with pytest.raises(ValueNotFound, match="restarted"):
            node.jobs.get(ended.id)
    async with open_nodes(1, data_dir=tmp_path) as (node,):
        with pytest.raises(ValueNotFound, match="restarted"):
            node.jobs.get(waiting.id)


async def test_a_node_starts_without_a_job_whose_entry_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOBS_RESUMED_AFTER_S", 0)
    async with open_nodes(1, data_dir=tmp_path) as (node,):
        jobs = [await node.checkpoints.publish("run", 1, index, shard=(index, 3)) for index in range(2)]
        kv = node.checkpoints._unfinished._kv
        key = b"m/p/" + jobs[0].id.encode()
        raw = await kv.get(key)
        assert raw is not None
        await kv.put({key: raw[:-1] + b"x"})
    for _ in range(2):
        async with open_nodes(1, data_dir=tmp_path) as (node,):
            assert not node.jobs.get(jobs[1].id).done
            with pytest.raises(ValueNotFound):
                node.jobs.get(jobs[0].id)
            assert list(await node.checkpoints._unfinished.all()) == [jobs[1].id]
