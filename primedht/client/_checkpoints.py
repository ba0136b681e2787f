"""What the daemon can be asked about checkpoints. Sans-IO; bytes go and come as blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from primedht.blocks.extraction import ContentEntry
from primedht.cids import Cid
from primedht.client import _decode
from primedht.client._call import Call, Duration, prime_call
from primedht.client._models import target_fields
from primedht.errors import InvalidArgument
from primedht.limits import CHECKPOINT_STEP_MAX
from primedht.pb import p2pd_pb2 as pb
from primedht.results import KeptBlocks, PutResult

if TYPE_CHECKING:
    from primedht.tensors.checkpoint import CheckpointManifest, CheckpointPart

Shard = tuple[int, int]
"""Which part of how many: (0, 4) to (3, 4)."""


class FoundCheckpoint(NamedTuple):
    """A step that is whole. run: with its owner. cid: of its manifest."""

    run: str
    step: int
    cid: Cid
    manifest: CheckpointManifest
    pinned: bool

    def __str__(self) -> str:
        return f"{self.run} step {self.step}  {self.cid}  {self.manifest}"


class PublishedCheckpoint(NamedTuple):
    """put: where the run's record is now; None if another rank's node wrote it, or it was there.

    kept: which other nodes keep what the daemon published of the step, the whole or a part; by its root.
    """

    found: FoundCheckpoint
    put: PutResult | None
    kept: KeptBlocks

    def __str__(self) -> str:
        return f"{self.found}; {self.kept}"


class CheckpointStep(NamedTuple):
    """cid: of its manifest. size_bytes: of its files. pinned: not retired as steps follow."""

    step: int
    cid: Cid
    published_unix_s: int
    size_bytes: int
    pinned: bool


def publish(
    file: Cid,
    run: str,
    step: int,
    *,
    shard: Shard | None,
    keep: int,
    pinned: bool,
    attempt: int,
    metadata: Mapping[str, str] | None,
    key: str | None,
    timeout: Duration,
) -> Call[str]:
    """Publish a state file that the daemon has; returns the id of the job."""
    index, count = (0, 1) if shard is None else shard
    request = pb.PublishCheckpointRequest(
        file=bytes(file), run=run, step=_natural(step, "step"), shard=_natural(index, "shard", 2**31),
        shards=_natural(count, "shard", 2**31), keep=_natural(keep, "keep", 2**31), pinned=pinned,
        attempt=_natural(attempt, "attempt"), metadata=dict(metadata or {}), key=key,
    )  # fmt: skip
    return prime_call("publish_checkpoint", request, lambda prime: _ids(prime), timeout)


def wait(job: str, *, timeout: Duration) -> Call[PublishedCheckpoint]:
    """Return what a job published. Raises what it ended with."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[PublishedCheckpoint]:
        for found in _checkpoints(prime):
            wrote = prime.checkpoint.HasField("put")
            put = _decode.put_result(prime.checkpoint.put) if wrote else None
            yield PublishedCheckpoint(found, put, _decode.kept_blocks(prime.checkpoint.kept))

    return prime_call("wait_checkpoint", pb.WaitCheckpointRequest(job=job), on_prime, timeout)


def find(run: str, step: int | None = None, *, timeout: Duration = 60) -> Call[FoundCheckpoint]:
    """Return a step, by default the latest, and its manifest.

    Raises `ValueNotFound`, `UnknownOwner`, `InvalidManifest`, and `BlockNotFound` if nobody has it.
    """
    request = pb.DescribeCheckpointRequest(run=run, step=_step(step))
    return prime_call("describe_checkpoint", request, _checkpoints, timeout)


def fetch(
    run: str, step: int | None = None, *, shard: int | None = None, timeout: Duration = 3600
) -> Call[FoundCheckpoint]:
    """Get a step, or with `shard` one part of it, and keep it until the run lists it no longer."""
    part = None if shard is None else _natural(shard, "shard", 2**31)
    request = pb.FetchCheckpointRequest(run=run, step=_step(step), shard=part)
    return prime_call("fetch_checkpoint", request, _checkpoints, timeout)


def pull(
    run: str, to: str | os.PathLike[str], step: int | None = None, *, timeout: Duration
) -> Call[FoundCheckpoint]:
    """Let the daemon write a step's files. Raises `NotPermitted` where it cannot or may not."""
    request = pb.PullCheckpointRequest(run=run, step=_step(step), **target_fields(to))
    return prime_call("pull_checkpoint", request, _checkpoints, timeout)


def steps(run: str, *, timeout: Duration = 60) -> Call[CheckpointStep]:
    """Return the steps that are whole, ascending; none if there is no such run. Raises `UnknownOwner`."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[CheckpointStep]:
        for each in prime.checkpoint_steps.steps:
            cid = Cid.from_bytes(each.cid)
            yield CheckpointStep(each.step, cid, each.published_unix_s, each.size_bytes, each.pinned)

    return prime_call("list_checkpoints", pb.ListCheckpointsRequest(run=run), on_prime, timeout)


def pin(run: str, step: int, *, pinned: bool = True, timeout: Duration = 60) -> Call[None]:
    """Keep a step however many follow it, or no longer so. Raises `ValueNotFound`, `NotPermitted`."""
    request = pb.PinCheckpointRequest(run=run, step=_natural(step, "step"), pinned=pinned)
    return prime_call("pin_checkpoint", request, lambda _: (), timeout)


def remove(run: str, step: int | None = None, *, timeout: Duration = 60) -> Call[int]:
    """Keep a step, or all of a run, no longer; returns how many pins there were.

    If the run is our own, it lists them no more either; others who loaded them still have them.
    """
    request = pb.RemoveCheckpointRequest(run=run, step=_step(step))
    return prime_call("remove_checkpoint", request, lambda prime: (prime.removed_checkpoints.pins,), timeout)


# --- parts of publishing and loading ------------------------------------------------------------------------


def wanted_parts(found: FoundCheckpoint, shard: int | None) -> tuple[CheckpointPart, ...]:
    """Return the parts to read."""
    return found.manifest.parts if shard is None else (found.manifest.parts[shard],)


def entries(found: FoundCheckpoint) -> Iterator[tuple[ContentEntry, CheckpointPart | None]]:
    """Yield what a checkpoint's directory has: itself, and a file for each part."""
    yield ContentEntry("", "directory", 0, ""), None
    for name, part in found.manifest.files:
        yield ContentEntry(name, "file", part.size_bytes, ""), part


def _ids(prime: pb.PrimeResponse) -> Iterator[str]:
    if prime.HasField("job"):
        yield prime.job.id


def _checkpoints(prime: pb.PrimeResponse) -> Iterator[FoundCheckpoint]:
    from primedht.tensors.checkpoint import parse_checkpoint

    if prime.HasField("checkpoint"):
        found = prime.checkpoint
        manifest = parse_checkpoint(found.manifest)
        yield FoundCheckpoint(found.run, found.step, Cid.from_bytes(found.cid), manifest, found.pinned)


def _step(step: int | None) -> int | None:
    return None if step is None else _natural(step, "step")


def _natural(value: int, name: str, below: int = CHECKPOINT_STEP_MAX + 1) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise InvalidArgument(f"{name} is {value!r}; it must be a number from 0 to {below - 1}")
    return value
