"""Checkpoints over the control socket: their files come as blocks before, or are read as blocks after."""

from __future__ import annotations

from primedht import limits
from primedht.cids import Cid
from primedht.control import encode
from primedht.control.directories import writable_target
from primedht.control.operation import Operation
from primedht.errors import NotPermitted
from primedht.ml.run_records import FoundCheckpoint
from primedht.pb import p2pd_pb2 as pb

_ADMINISTRATION = frozenset({"publish_checkpoint", "pin_checkpoint", "remove_checkpoint"})


async def publish(op: Operation) -> None:
    """Answer PublishCheckpointRequest."""
    wanted = op.request.publish_checkpoint
    job = await op.report_while(
        lambda: op.node.checkpoints.publish_file(
            Cid.from_bytes(wanted.file),
            wanted.run,
            wanted.step,
            shard=(wanted.shard, wanted.shards if wanted.HasField("shards") else 1),
            keep=wanted.keep if wanted.HasField("keep") else limits.CHECKPOINT_KEEP,
            pinned=wanted.pinned,
            attempt=wanted.attempt,
            metadata=dict(wanted.metadata),
            key=wanted.key if wanted.HasField("key") else None,
            timeout=op.timeout_s,
        ),
        pb.Progress.STORE,
    )
    await op.send(pb.PrimeResponse(job=pb.Job(id=job.id)))


async def wait(op: Operation) -> None:
    """Answer WaitCheckpointRequest."""
    job = op.node.jobs.get(op.request.wait_checkpoint.job)
    published = await op.report_while(lambda: job.wait(timeout=op.timeout_s), pb.Progress.STORE)
    checkpoint = _checkpoint(published.found)
    checkpoint.kept.CopyFrom(encode.kept_blocks(published.kept))
    if published.put is not None:
        checkpoint.put.CopyFrom(encode.put_result(published.put, want_trace=op.want_trace))
    await op.send(pb.PrimeResponse(checkpoint=checkpoint))


async def describe(op: Operation) -> None:
    """Answer DescribeCheckpointRequest."""
    wanted = op.request.describe_checkpoint
    step = wanted.step if wanted.HasField("step") else None
    found = await op.node.checkpoints.find(wanted.run, step, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(checkpoint=_checkpoint(found)))


async def fetch(op: Operation) -> None:
    """Answer FetchCheckpointRequest."""
    wanted = op.request.fetch_checkpoint
    step = wanted.step if wanted.HasField("step") else None
    shard = wanted.shard if wanted.HasField("shard") else None
    found = await op.report_while(
        lambda: op.node.checkpoints.fetch(wanted.run, step, shard=shard, timeout=op.timeout_s),
        pb.Progress.TRANSFER,
    )
    await op.send(pb.PrimeResponse(checkpoint=_checkpoint(found)))


async def pull(op: Operation) -> None:
    """Answer PullCheckpointRequest."""
    wanted = op.request.pull_checkpoint
    step = wanted.step if wanted.HasField("step") else None
    target = await writable_target(op.session, wanted)
    found = await op.report_while(
        lambda: op.node.checkpoints.pull(wanted.run, target, step, timeout=op.timeout_s), pb.Progress.TRANSFER
    )
    await op.send(pb.PrimeResponse(checkpoint=_checkpoint(found)))


async def list_steps(op: Operation) -> None:
    """Answer ListCheckpointsRequest."""
    steps = pb.CheckpointSteps()
    for each in await op.node.checkpoints.steps(op.request.list_checkpoints.run, timeout=op.timeout_s):
        steps.steps.add(
            step=each.step,
            cid=bytes(each.cid),
            published_unix_s=each.published_unix_s,
            size_bytes=each.size_bytes,
            pinned=each.pinned,
        )
    await op.send(pb.PrimeResponse(checkpoint_steps=steps))


async def pin(op: Operation) -> None:
    """Answer PinCheckpointRequest."""
    wanted = op.request.pin_checkpoint
    await op.node.checkpoints.pin(wanted.run, wanted.step, pinned=wanted.pinned, timeout=op.timeout_s)
    await op.done()


async def remove(op: Operation) -> None:
    """Answer RemoveCheckpointRequest."""
    wanted = op.request.remove_checkpoint
    step = wanted.step if wanted.HasField("step") else None
    pins = await op.node.checkpoints.remove(wanted.run, step, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(removed_checkpoints=pb.RemovedCheckpoints(pins=pins)))


def check_permitted(name: str) -> None:
    """Refuse to let anybody of this machine sign with its keys. Raises `NotPermitted`."""
    if name in _ADMINISTRATION:
        raise NotPermitted(f"{name} is refused over TCP; use the Unix socket, or set control.tcp_trusted")


def _checkpoint(found: FoundCheckpoint) -> pb.Checkpoint:
    return pb.Checkpoint(
        run=str(found.run),
        step=found.step,
        cid=bytes(found.cid),
        manifest=found.manifest.encode(),
        pinned=found.pinned,
    )
