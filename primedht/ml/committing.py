"""Publishing one part of a step, until the step is whole and in the run's record.

Each rank stores a record of its part. Whichever node then finds the parts of all ranks writes the run's
record; of the same parts all would write the same. A rank that was killed publishes its part again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import structlog
import trio

from primedht import limits
from primedht.blocks.block import make_block
from primedht.blocks.blocks import Blocks
from primedht.blocks.replicate.placing import Placing, not_placed
from primedht.cids import DAG_CBOR, RAW, Cid
from primedht.errors import BlockNotFound, OperationTimeout, PrimeDhtError, QuorumNotReached
from primedht.keys import PrivateKey
from primedht.ml.deadlines import within
from primedht.ml.records import Records
from primedht.ml.retention import Retention, manifest_pin, part_pin
from primedht.ml.run_records import (
    FoundCheckpoint,
    change_steps,
    put_part,
    read_checkpoint,
    read_steps,
)
from primedht.ml.runs import Part, RunName, Shard, Step, parse_part
from primedht.results import KeptBlocks, PutResult
from primedht.tasks import shielded_undo
from primedht.tensors.checkpoint import CheckpointManifest, CheckpointPart

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """put: where the run's record is now; None if another rank's node wrote it, or it was there.

    kept: which other nodes keep what this node published of the step, all of it or its part.
    """

    found: FoundCheckpoint
    put: PutResult | None
    kept: KeptBlocks

    def __str__(self) -> str:
        return f"{self.found}; {self.kept}"


@dataclass(frozen=True, slots=True)
class Publishing:
    """One part of a step. was_pinned: it was here before. timeout: in seconds, for each record.

    patience_s: for how long to try again what too few peers take, or does not come in time: nobody may be
    waiting who would, and after a restart peers are still being found.
    """

    run: RunName
    step: int
    shard: Shard
    attempt: int
    keep: int
    pinned: bool
    part: Part
    signer: PrivateKey
    was_pinned: bool
    timeout: float
    patience_s: float = 0.0

    @property
    def pin(self) -> str:
        return part_pin(self.run, self.step, self.shard)


class Committing:
    """Publishes parts, for `Checkpoints`."""

    def __init__(self, blocks: Blocks, records: Records, retention: Retention) -> None:
        self.locks: defaultdict[bytes, trio.Lock] = defaultdict(trio.Lock)  # of runs' records, by key
        self._blocks = blocks
        self._records = records
        self._retention = retention
        self._under_way: Counter[str] = Counter()  # by the pins of parts

    @contextmanager
    def under_way(self, pin: str) -> Iterator[None]:
        """Count one more who publishes the part of that pin, until the block is left."""
        self._under_way[pin] += 1
        try:
            yield
        finally:
            self._under_way[pin] -= 1
            if not self._under_way[pin]:
                del self._under_way[pin]

    def is_alone(self, pin: str) -> bool:
        """Return whether nobody but the caller publishes the part of that pin."""
        return self._under_way[pin] <= 1

    async def publish(
        self, work: Publishing, busy: ExitStack, on_trouble: Callable[[str], None]
    ) -> PublishedCheckpoint:
        """Store a part's record, and return when the step is whole; leave `busy` then.

        busy: is within `under_way`: who fails keeps the part for others who publish it too.
        on_trouble: is told what is tried again, and "" when that went well.
        Raises `StaleRecord`, `QuorumNotReached`, and `OperationTimeout` if other parts have not come.
        """
        with busy:
            try:
                found, put = await self._insist(work, on_trouble)
            except OperationTimeout:
                raise  # the part is good: another rank may still complete the step
            except PrimeDhtError:
                if not work.was_pinned and self.is_alone(work.pin):
                    await self._blocks.unpin(work.part.file, name=work.pin)
                raise
            log.info("checkpoint_published", run=str(work.run), step=work.step, manifest=str(found.cid))
            placing = await self._have_kept(work, found)
            await self._retire(work, found)
        return PublishedCheckpoint(found, put, await placing.wait(limits.CHECKPOINT_COMMIT_S_MAX))

    async def _insist(
        self, work: Publishing, on_trouble: Callable[[str], None]
    ) -> tuple[FoundCheckpoint, PutResult | None]:
        """Store a part's record and wait until the step is whole, within `patience_s` again and again."""
        last_try_at = trio.current_time() + work.patience_s
        delay_s = limits.JOBS_RETRY_S
        while True:
            try:
                if work.shard[1] > 1:
                    await self._put_part(work)
                whole = await self._wait_for_parts(work)
            except (QuorumNotReached, OperationTimeout) as error:
                if trio.current_time() + delay_s > last_try_at:
                    raise
                log.info("checkpoint_tried_again", run=str(work.run), step=work.step, code=error.code)
                on_trouble(f"{error}; it is tried again")
            else:
                on_trouble("")
                return whole
            await trio.sleep(delay_s)
            delay_s = min(1.5 * delay_s, limits.JOBS_RETRY_S_MAX)

    async def _put_part(self, work: Publishing) -> None:
        key = work.run.part_key(work.step, work.attempt, work.shard)
        await put_part(self._records, key, work.part, timeout=work.timeout)
        self._blocks.announce(work.part.file)

    async def _wait_for_parts(self, work: Publishing) -> tuple[FoundCheckpoint, PutResult | None]:
        parts: dict[int, Part] = {work.shard[0]: work.part}
        count = work.shard[1]
        delay_s = limits.CHECKPOINT_POLL_S
        with trio.move_on_after(limits.CHECKPOINT_COMMIT_S_MAX):
            while True:
                if (found := await self._committed(work)) is not None:
                    return found, None
                await self._look_for_parts(work, parts)
                if len(parts) == count:
                    return await self._commit(work, [parts[index] for index in range(count)])
                await trio.sleep(delay_s)
                delay_s = min(1.5 * delay_s, limits.CHECKPOINT_POLL_S_MAX)
        missing = ", ".join([str(index) for index in range(count) if index not in parts][:10])
        raise OperationTimeout(
            f"step {work.step} of {work.run} is not whole: part {missing} of {count} has not come"
        )

    async def _committed(self, work: Publishing) -> FoundCheckpoint | None:
        """Return the step if it is listed with our part in it, and keep its manifest too."""
        try:
            steps = await read_steps(self._records, work.run, timeout=work.timeout)
            row = steps.find(work.step)
            if row is None:
                return None
            with within(work.timeout, "the manifest"):
                found = await read_checkpoint(self._blocks, work.run, row)
        except (BlockNotFound, OperationTimeout, QuorumNotReached):
            return None  # it is looked for again
        index, count = work.shard
        parts = found.manifest.parts
        if (
            (found.manifest.attempt, len(parts)) != (work.attempt, count)
            or parts[index].cid != work.part.file
            or (work.pinned and not row.pinned)
        ):
            return None
        await self._retention.keep(found)
        self._blocks.announce(found.cid)
        return found

    async def _look_for_parts(self, work: Publishing, parts: dict[int, Part]) -> None:
        """Add the parts whose records are there, until one is missing."""
        unknown = [index for index in range(work.shard[1]) if index not in parts]

        async def read(index: int) -> None:
            key = work.run.part_key(work.step, work.attempt, (index, work.shard[1]))
            try:
                record = await self._records.get_record(key, timeout=work.timeout)
                parts[index] = parse_part(record.value)
            except PrimeDhtError:
                pass  # it is not there, or cannot be had now: it is looked for again

        for start in range(0, len(unknown), limits.CHECKPOINT_READS_AT_ONCE):
            some = unknown[start : start + limits.CHECKPOINT_READS_AT_ONCE]
            async with trio.open_nursery() as nursery:
                for index in some:
                    nursery.start_soon(read, index)
            if any(index not in parts for index in some):
                return

    async def _commit(self, work: Publishing, parts: list[Part]) -> tuple[FoundCheckpoint, PutResult | None]:
        manifest = CheckpointManifest(
            run=work.run.run,
            step=work.step,
            attempt=work.attempt,
            created_at=max(part.published_unix_s for part in parts),
            parts=tuple(CheckpointPart(part.size_bytes, part.file) for part in parts),
            owner=work.run.owner,
            metadata=parts[0].metadata,
        ).signed(work.signer)
        block = make_block(manifest.encode(), DAG_CBOR)
        row = Step(work.step, block.cid, manifest.created_at, manifest.size_bytes, work.pinned)
        found = FoundCheckpoint(work.run, work.step, block.cid, manifest, work.pinned)
        async with self.locks[work.run.key]:
            with self._blocks.store.hold() as hold:
                await self._blocks.store.put([block], hold=hold)
                await self._retention.keep(found)
            try:
                put = await change_steps(
                    self._records,
                    work.run,
                    lambda steps: steps.with_step(row, keep=work.keep),
                    timeout=work.timeout,
                )
            except BaseException:
                with shielded_undo():
                    await self._blocks.unpin(block.cid, name=manifest_pin(work.run, work.step))
                raise
            self._blocks.announce(block.cid)
        return found, put

    async def _have_kept(self, work: Publishing, found: FoundCheckpoint) -> Placing:
        """Have other nodes keep what is here of a step: all of it or, of a step of many parts, our own.

        The manifest of many parts goes as plain bytes: its links lead to what is not here.
        """
        own = [found.cid]
        if len(found.manifest.parts) > 1:
            own = [Cid(1, RAW, found.cid.multihash), work.part.file]
        placing = not_placed(own[-1])
        for root in own:
            try:
                placing = await self._records.replicate(root, work.run.owner)
            except PrimeDhtError as error:
                log.warning("checkpoint_not_replicated", root=str(root), code=error.code)
        return placing

    async def _retire(self, work: Publishing, found: FoundCheckpoint) -> None:
        try:
            steps = await read_steps(self._records, work.run, timeout=work.timeout)
            await self._retention.retire(work.run, steps, found)
        except PrimeDhtError as error:  # the next step does it
            log.warning("checkpoints_not_retired", run=str(work.run), code=error.code)
