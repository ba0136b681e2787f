"""Checkpoints of training runs: publishing a step, alone or by many ranks, and loading it.

    job = await node.checkpoints.publish("run42", 100, {"model": ..., "optimizer": ..., "rng": ...})
    await job.wait()
    state = await other.checkpoints.load(f"{node.peer_id}/run42")

A step is a manifest and one safetensors file for each rank. The record of the run lists the steps that are
whole, so nobody sees half a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from primedht import limits
from primedht.blocks.blocks import Blocks
from primedht.blocks.exporter import Item
from primedht.blocks.extraction import check_target
from primedht.blocks.placing import Tree, fetch_in_place
from primedht.blocks.profiles import profile_named
from primedht.cids import Cid
from primedht.clock import WallClock
from primedht.errors import (
    DiskFull,
    InvalidArgument,
    InvalidDag,
    InvalidManifest,
    NotPermitted,
    PrimeDhtError,
    StoreFull,
    ValueNotFound,
    ValueTooLarge,
)
from primedht.jobs import Job, Jobs
from primedht.ml.committing import Committing, PublishedCheckpoint, Publishing
from primedht.ml.deadlines import within
from primedht.ml.owners import Owners
from primedht.ml.records import Records
from primedht.ml.retention import Retention, manifest_pin, part_pin
from primedht.ml.run_records import FoundCheckpoint, change_steps, read_checkpoint, read_steps
from primedht.ml.runs import Part, RunName, Shard, Step, Steps, checked_shard, parse_run
from primedht.ml.unfinished import Unfinished, owner_of, resumed
from primedht.tasks import shielded_undo

log = structlog.get_logger(__name__)

PROFILE = profile_named("safetensors")


class Checkpoints:
    """The checkpoints of a node. A run is OWNER/RUN, or RUN for one's own; see `primedht.ml.names`."""

    def __init__(
        self,
        blocks: Blocks,
        records: Records,
        owners: Owners,
        clock: WallClock,
        jobs: Jobs,
        unfinished: Unfinished,
    ) -> None:
        self._blocks = blocks
        self._records = records
        self._owners = owners
        self._clock = clock
        self._jobs = jobs
        self._unfinished = unfinished
        self._retention = Retention(blocks)
        self._committing = Committing(blocks, records, self._retention)

    # --- publishing ----------------------------------------------------------------------------------

    async def publish(
        self, run: str, step: int, state: object, *, timeout: float = 60, **details: Any
    ) -> Job[PublishedCheckpoint]:
        """Publish a state, any nest of dicts, lists, tensors and scalars, as the checkpoint of a step.

        Returns once its bytes are here; the job ends when the step is whole and its record stored. The state
        must not change meanwhile. details: as those of `publish_file`. Raises as that, `PickleRefused` and
        `InvalidTensor` for what cannot be stored, `StoreFull` and `DiskFull`.
        """
        from primedht.tensors.state_files import open_state_file  # numpy, which no daemon needs

        with ExitStack() as stack:
            opening = partial(stack.enter_context, open_state_file(state))
            file = await trio.to_thread.run_sync(opening)
            async with self._blocks.adding(PROFILE) as adding:
                part = await adding.file("", file)
                await adding.finish()
                return await self.publish_file(part.cid, run, step, timeout=timeout, **details)

    async def publish_file(
        self,
        file: Cid,
        run: str,
        step: int,
        *,
        shard: Shard | None = None,
        keep: int = limits.CHECKPOINT_KEEP,
        pinned: bool = False,
        attempt: int = 0,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        timeout: float = 60,
    ) -> Job[PublishedCheckpoint]:
        """Publish a state file whose blocks are here; see `publish`.

        Args:
            shard: this is part i of n, (i, n), counted from 0: the step is there when all n are.
            keep: so many of the last steps stay listed and kept, and the pinned ones.
            attempt: which start of the run this is; parts of different ones are never mixed.
            metadata: texts by name; those of part 0 count.
            key: of the keystore, by its name; the run is its owner's then.
            timeout: for each of the records.
        Raises:
            InvalidArgument, UnknownOwner, KeyNotFound, TooBusy.
            NotPermitted: the owner's private key is not here.
        The job raises `StaleRecord` for a step before the last ones, `QuorumNotReached` if too few peers took
        a record, `OperationTimeout` if other parts have not come within an hour.
        """
        me = self._owners.me_by(key)
        wanted = parse_run(run, me, await self._owners.aliases.all())
        if key is not None and wanted.owner != me:
            raise NotPermitted(f"key {key} is that of {me}, and {run} is {wanted.owner}'s; write me/RUN")
        signer = self._owners.signer(wanted.owner)
        shard = checked_shard(step, shard, keep, attempt)
        size_bytes = (await self._blocks.describe(file)).size_bytes
        part = Part(file, size_bytes, int(self._clock.unix_now()), dict(metadata or {}))
        part.encode()
        name = part_pin(wanted, step, shard)
        was_pinned = any(pin.name == name for pin in await self._blocks.pins.of(file))
        work = Publishing(
            *(wanted, step, shard, attempt, keep, pinned, part, signer, was_pinned), timeout=timeout
        )
        with ExitStack() as stack:
            stack.enter_context(self._retention.busy(wanted, step))
            stack.enter_context(self._committing.under_way(name))
            await self._blocks.pin(file, name=name, announce=False)
            busy = stack.pop_all()
        id = self._jobs.new_id()
        try:
            await self._unfinished.add(id, work)
            return self._start(id, work, busy)
        except BaseException:
            with busy, shielded_undo():
                await self._unfinished.remove(id)
                if not was_pinned and self._committing.is_alone(name):
                    await self._blocks.unpin(file, name=name)
            raise

    async def resume(self) -> None:
        """Go on with the jobs that the last run of this node has not finished, under their ids."""
        for id, message in (await self._unfinished.all()).items():
            try:
                work = resumed(message, self._owners.signer(owner_of(message)))
            except PrimeDhtError as error:  # the key has gone
                log.warning("checkpoint_not_resumed", run=message.run, step=message.step, code=error.code)
                await self._unfinished.remove(id)
                continue
            with ExitStack() as stack:
                stack.enter_context(self._retention.busy(work.run, work.step))
                stack.enter_context(self._committing.under_way(work.pin))
                self._start(id, work, stack.pop_all(), after_s=limits.JOBS_RESUMED_AFTER_S)

    def _start(
        self, id: str, work: Publishing, busy: ExitStack, *, after_s: float = 0
    ) -> Job[PublishedCheckpoint]:
        def on_trouble(trouble: str) -> None:
            job.trouble = trouble

        async def publish() -> PublishedCheckpoint:
            await trio.sleep(after_s)
            try:
                published = await self._committing.publish(work, busy, on_trouble)
            except PrimeDhtError:
                await self._unfinished.remove(id)
                raise
            await self._unfinished.remove(id)
            return published

        job = self._jobs.start(f"the checkpoint of step {work.step} of {work.run}", publish, id=id)
        return job

    async def pin(self, run: str, step: int, *, pinned: bool = True, timeout: float = 60) -> None:
        """Keep a step however many follow it, or no longer so. Raises `ValueNotFound`, `NotPermitted`."""
        wanted = await self._parse(run)
        self._owners.signer(wanted.owner)

        def change(steps: Steps) -> Steps:
            steps.pick(step)
            return steps.with_pinned(step, pinned)

        await self._change(wanted, change, timeout=timeout)

    async def remove(self, run: str, step: int | None = None, *, timeout: float = 60) -> int:
        """Keep a step, or all of a run, no longer; return how many pins there were here.

        If the run is our own, it lists them no more either; others who loaded them still have them.
        """
        wanted = await self._parse(run)
        if self._owners.may_sign(wanted.owner):
            await self._change(wanted, lambda steps: steps.without(step), timeout=timeout)
        return await self._retention.drop(wanted, step)

    # --- finding and getting -----------------------------------------------------------------------------

    async def steps(self, run: str, *, timeout: float = 60) -> tuple[Step, ...]:
        """Return the steps that are whole, ascending; none if there is no such run. Raises `UnknownOwner`."""
        return (await read_steps(self._records, await self._parse(run), timeout=timeout)).listed

    async def latest(self, run: str, *, timeout: float = 60) -> FoundCheckpoint | None:
        """Return the highest step that is whole, or None if there is none. Raises as `find` otherwise."""
        try:
            return await self.find(run, timeout=timeout)
        except ValueNotFound:
            return None

    async def find(self, run: str, step: int | None = None, *, timeout: float = 60) -> FoundCheckpoint:
        """Return a step, by default the latest, and its manifest, checked to be its owner's.

        Raises `ValueNotFound`, `UnknownOwner`, `InvalidManifest`, and `BlockNotFound` if nobody has it.
        """
        wanted = await self._parse(run)
        row = (await read_steps(self._records, wanted, timeout=timeout)).pick(step)
        with within(timeout, f"the manifest of step {row.step} of {wanted}"):
            return await read_checkpoint(self._blocks, wanted, row)

    async def fetch(
        self, run: str, step: int | None = None, *, shard: int | None = None, timeout: float = 3600
    ) -> FoundCheckpoint:
        """Get a step, or with `shard` one part of it, and keep it until the run lists it no longer.

        What an interrupted call got, and what steps share, is not got again. Raises as `find`, and
        `StoreFull`, `DiskFull`, `InvalidArgument` for a part that it does not have.
        """
        with within(timeout, run):
            found = await self.find(run, step, timeout=timeout)
            count = len(found.manifest.parts)
            if shard is not None and not 0 <= shard < count:
                raise InvalidArgument(f"step {found.step} has parts 0 to {count - 1}, and no part {shard}")
            with self._retention.busy(found.run, found.step):
                await self._finish(found, range(count) if shard is None else (shard,), timeout=timeout)
        return found

    async def load(
        self,
        run: str,
        step: int | None = None,
        *,
        shard: int | None = None,
        as_numpy: bool = False,
        timeout: float = 3600,
    ) -> Any:
        """Return the state of a step, by default the latest; of one that n ranks published, a list of n.

        shard: only that part's state; the bytes of no other are fetched. as_numpy: tensors of torch and jax
        come as numpy's. Raises as `fetch`, `InvalidTensor`, and `InvalidArgument` if a framework is missing.
        """
        from primedht.tensors.state_files import receive_state

        found = await self.fetch(run, step, shard=shard, timeout=timeout)
        parts = found.manifest.parts if shard is None else (found.manifest.parts[shard],)
        states = []
        for part in parts:
            with receive_state() as received:
                async for piece in self._blocks.read_file(part.cid):
                    await trio.to_thread.run_sync(received.write, piece)
                states.append(await trio.to_thread.run_sync(partial(received.read, as_numpy=as_numpy)))
        return states[0] if len(parts) == 1 else states

    async def pull(
        self, run: str, to: Path, step: int | None = None, *, timeout: float = 3600
    ) -> FoundCheckpoint:
        """Write a step's files to a directory, which appears whole or not at all, and keep it.

        They are provided from there, as long as they stay as they are; there is no second copy. What an
        interrupted call got is not got again. `primedht.tensors.state_files.load_state` reads one. Raises as
        `fetch`, and `InvalidArgument` if `to` exists or cannot be written.
        """
        with within(timeout, run):
            found = await self.find(run, step, timeout=timeout)
            await trio.to_thread.run_sync(check_target, to, 0)
            with self._retention.busy(found.run, found.step):
                made = await self._retention.keep_partly(found)
                try:
                    await fetch_in_place(
                        self._blocks, found.cid, await self._tree(found), to,
                        bytes_max=_dag_bytes_max(found.manifest.size_bytes),
                    )  # fmt: skip
                except (ValueTooLarge, InvalidDag, InvalidManifest, StoreFull, DiskFull) as error:
                    for cid, name in made:
                        await self._blocks.unpin(cid, name=name)
                    if isinstance(error, ValueTooLarge):
                        raise _is_larger(found, error) from None
                    raise
                await self._finish(found, range(len(found.manifest.parts)), timeout=timeout)
        return found

    # --- parts of the above ------------------------------------------------------------------------------

    async def _parse(self, run: str) -> RunName:
        return parse_run(run, self._owners.me, await self._owners.aliases.all())

    async def _change(self, run: RunName, change: Callable[[Steps], Steps], *, timeout: float) -> None:
        async with self._committing.locks[run.key]:
            await change_steps(self._records, run, change, timeout=timeout)

    async def _finish(self, found: FoundCheckpoint, indices: Iterable[int], *, timeout: float) -> None:
        """Get what is missing of some parts, keep them, and keep what the run lists no longer no more."""
        for index in indices:
            await self._fetch_part(found, index)
        await self._retention.keep(found)
        self._blocks.announce(found.cid)
        steps = await read_steps(self._records, found.run, timeout=timeout)
        await self._retention.retire(found.run, steps, found)

    async def _tree(self, found: FoundCheckpoint) -> Tree:
        """Return a step's directory. Raises `InvalidManifest` if a part is not what the manifest says."""
        parts = [await self._part(found, index) for index in range(len(found.manifest.parts))]
        names = [name for name, _ in found.manifest.files]
        return [("", Item(found.cid, "directory")), *zip(names, parts, strict=True)]

    async def _part(self, found: FoundCheckpoint, index: int) -> Item:
        part = found.manifest.parts[index]
        item = await self._blocks.describe(part.cid)
        if (item.kind, item.size_bytes) != ("file", part.size_bytes):
            raise InvalidManifest(
                f"part {index} of step {found.step} has not the size that its manifest says"
            )
        return item

    async def _fetch_part(self, found: FoundCheckpoint, index: int) -> None:
        parts = found.manifest.parts
        part = parts[index]
        await self._part(found, index)
        bytes_max = _dag_bytes_max(part.size_bytes)
        if len(parts) == 1:
            cid, name = found.cid, manifest_pin(found.run, found.step)
        else:
            cid, name = part.cid, part_pin(found.run, found.step, (index, len(parts)))
        try:
            await self._blocks.pin(cid, name=name, bytes_max=bytes_max)
        except ValueTooLarge as error:
            await self._blocks.unpin(cid, name=name)
            raise _is_larger(found, error) from None


def _dag_bytes_max(size_bytes: int) -> int:
    """Return what files of that many bytes take at most with the nodes above them."""
    return size_bytes + size_bytes // 64 + limits.BLOCK_BYTES_MAX


def _is_larger(found: FoundCheckpoint, error: ValueTooLarge) -> InvalidManifest:
    return InvalidManifest(f"step {found.step} has more than its manifest says: {error}")
