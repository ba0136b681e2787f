"""What the network knows of a run: the steps that are whole, and their manifests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import trio

from primedht import limits
from primedht.blocks.blocks import Blocks
from primedht.cids import Cid
from primedht.errors import InvalidManifest, QuorumNotReached, StaleRecord, ValueNotFound
from primedht.ml.records import Records
from primedht.ml.runs import Part, RunName, Step, Steps, parse_steps
from primedht.results import PutResult
from primedht.tensors.checkpoint import CheckpointManifest, parse_checkpoint


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A step that is whole. cid: of its manifest. pinned: it is not retired as steps follow."""

    run: RunName
    step: int
    cid: Cid
    manifest: CheckpointManifest
    pinned: bool = False

    def __str__(self) -> str:
        return f"{self.run} step {self.step}  {self.cid}  {self.manifest}"


async def read_steps(records: Records, run: RunName, *, timeout: float) -> Steps:
    """Return the steps that a run's record lists; none if there is no record. Raises `InvalidManifest`."""
    try:
        record = await records.get_record(run.key, timeout=timeout)
    except ValueNotFound:
        return Steps()
    return parse_steps(record.value)


async def change_steps(
    records: Records, run: RunName, change: Callable[[Steps], Steps], *, timeout: float
) -> PutResult | None:
    """Write a run's record anew, again if another node wrote it meanwhile; None if it was so already.

    Raises what `change` raises, `QuorumNotReached`, and `StaleRecord` if others never cease to write it.
    """
    put = None
    for tried in range(limits.CHECKPOINT_PUT_TRIES):
        steps = await read_steps(records, run, timeout=timeout)
        changed = change(steps)
        if changed == steps:
            return put
        try:
            put = await _write(records, run, changed, timeout=timeout)
        except (StaleRecord, QuorumNotReached):  # another node's record may be the newer one
            if tried + 1 == limits.CHECKPOINT_PUT_TRIES:
                raise
            await trio.sleep(limits.CHECKPOINT_POLL_S * (tried + random.random()))
    raise StaleRecord(f"other nodes write the checkpoints of {run} all the time; try again")


async def put_part(records: Records, key: bytes, part: Part, *, timeout: float) -> None:
    """Store the record of one rank's part. Raises `QuorumNotReached` if too few peers take it time and again.

    A peer that stops in order between the lookup and its copy refuses it; the next lookup passes it by.
    """
    for tries_left in reversed(range(limits.CHECKPOINT_PUT_TRIES)):
        try:
            await records.put(
                key, part.encode(), ttl=limits.CHECKPOINT_PART_TTL_S, once=True, timeout=timeout
            )
        except QuorumNotReached:
            if not tries_left:
                raise
            await trio.sleep(limits.CHECKPOINT_POLL_S * (1 + random.random()))
        else:
            return


async def _write(records: Records, run: RunName, steps: Steps, *, timeout: float) -> PutResult:
    if not steps.listed:
        return await records.delete(run.key, timeout=timeout)
    ttl_s = limits.SIGNED_LIFETIME_S_MAX  # it outlives its publisher, who renews it while running
    return await records.put(run.key, steps.encode(), ttl=ttl_s, once=False, timeout=timeout)


async def read_checkpoint(blocks: Blocks, run: RunName, row: Step) -> FoundCheckpoint:
    """Return a listed step with its manifest, fetched if need be.

    Raises `InvalidManifest`, and `BlockNotFound` if nobody has it.
    """
    manifest = await trio.to_thread.run_sync(parse_checkpoint, await blocks.get(row.cid))
    said = (manifest.owner, manifest.run, manifest.step, manifest.size_bytes)
    if said != (run.owner, run.run, row.step, row.size_bytes):
        raise InvalidManifest(
            f"the manifest of step {row.step} of {run} is that of step {manifest.step} of {manifest.run}"
        )
    return FoundCheckpoint(run, row.step, row.cid, manifest, row.pinned)
