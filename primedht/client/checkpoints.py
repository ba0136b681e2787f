"""`Client.checkpoints` and `AsyncClient.checkpoints`: the methods of `Node.checkpoints`, with its names.

Tensors become a file in the caller's process, and a file becomes tensors there: the daemon sees files only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primedht.blocks.extraction import Extraction, check_target
from primedht.client import _blocks, _checkpoints, _models
from primedht.client._call import Duration
from primedht.client._checkpoints import CheckpointStep, FoundCheckpoint, PublishedCheckpoint, Shard
from primedht.errors import NotPermitted, ValueNotFound
from primedht.limits import CHECKPOINT_KEEP

if TYPE_CHECKING:
    from primedht.client.aio import AsyncClient
    from primedht.client.sync import Client

PROFILE = "safetensors"


class CheckpointJob:
    """A checkpoint whose bytes the daemon has, and which it is publishing."""

    def __init__(self, client: Client, id: str) -> None:
        self.id = id
        self._client = client

    def wait(self, *, timeout: Duration = 3600) -> PublishedCheckpoint:
        """Return the checkpoint when its step is whole and its record is stored.

        Raises `StaleRecord` for a step before the last ones, `QuorumNotReached`, and `OperationTimeout`,
        which leaves the job running. A daemon that is restarted goes on with it, under the same id;
        `ValueNotFound`: it had ended before that, or long ago.
        """
        return self._client._one(_checkpoints.wait(self.id, timeout=timeout))


class Checkpoints:
    """The checkpoints of a daemon. A run is `RUN`, or `OWNER/RUN`; OWNER: a peer id, `me` or an alias."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(
        self,
        run: str,
        step: int,
        state: object,
        *,
        shard: Shard | None = None,
        keep: int = CHECKPOINT_KEEP,
        pinned: bool = False,
        attempt: int = 0,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        timeout: Duration = 60,
    ) -> CheckpointJob:
        """Publish a state, any nest of dicts, lists, tensors and scalars, as the checkpoint of a step.

        Returns once the daemon has its bytes: from then on the state may change.

        Args:
            shard: this is part i of n, (i, n), counted from 0: the step is there when all n are.
            keep: so many of the last steps are kept, and the pinned ones.
            attempt: which start of the run this is; parts of different ones are never mixed.
            metadata: texts by name; those of part 0 count.
            key: a named key of the daemon; the run is its owner's then.
            timeout: for each of the records.
        Raises:
            PickleRefused, InvalidTensor: something in the state cannot be stored, and where it is.
            InvalidArgument, UnknownOwner, KeyNotFound, NotPermitted, StoreFull, DiskFull, TooBusy.
        """
        from primedht.tensors.state_files import open_state_file

        pin = _models.upload_pin()
        with open_state_file(state) as file:
            added = self._client.add(
                file, profile=PROFILE, name=pin, ttl=_models.UPLOAD_TTL_S, announce=False
            )
        try:
            call = _checkpoints.publish(
                *(added.cid, run, step), shard=shard, keep=keep, pinned=pinned, attempt=attempt,
                metadata=metadata, key=key, timeout=timeout,
            )  # fmt: skip
            return CheckpointJob(self._client, self._client._one(call))
        finally:
            self._client.unpin(added.cid, name=pin)

    def latest(self, run: str, *, timeout: Duration = 60) -> FoundCheckpoint | None:
        """Return the highest step that is whole, or None if there is none. Raises as `find` otherwise."""
        try:
            return self.find(run, timeout=timeout)
        except ValueNotFound:
            return None

    def find(self, run: str, step: int | None = None, *, timeout: Duration = 60) -> FoundCheckpoint:
        """Return a step, by default the latest, and its manifest.

        Raises `ValueNotFound`, `UnknownOwner`, `InvalidManifest`, and `BlockNotFound` if nobody has it.
        """
        return self._client._one(_checkpoints.find(run, step, timeout=timeout))

    def steps(self, run: str, *, timeout: Duration = 60) -> list[CheckpointStep]:
        """Return the steps that are whole, ascending; none if there is no such run. Raises `UnknownOwner`."""
        return list(self._client._each(_checkpoints.steps(run, timeout=timeout)))

    def fetch(
        self, run: str, step: int | None = None, *, shard: int | None = None, timeout: Duration = 3600
    ) -> FoundCheckpoint:
        """Get a step, or with `shard` one part of it, and keep it until the run lists it no longer."""
        return self._client._one(_checkpoints.fetch(run, step, shard=shard, timeout=timeout))

    def load(
        self,
        run: str,
        step: int | None = None,
        *,
        shard: int | None = None,
        as_numpy: bool = False,
        timeout: Duration = 3600,
    ) -> Any:
        """Return the state of a step, by default the latest; of one that n ranks published, a list of n.

        shard: only that part's state; the bytes of no other are fetched. as_numpy: tensors of torch and jax
        come as numpy's. Raises as `fetch`, `InvalidTensor`, and `InvalidArgument` if a framework is missing.
        """
        from primedht.tensors.state_files import receive_state

        found = self.fetch(run, step, shard=shard, timeout=timeout)
        states = []
        for part in _checkpoints.wanted_parts(found, shard):
            with receive_state() as received:
                for piece in self._client.cat(part.cid, timeout=timeout):
                    received.write(piece)
                states.append(received.read(as_numpy=as_numpy))
        return states[0] if len(states) == 1 else states

    def pull(
        self, run: str, to: str | os.PathLike[str], step: int | None = None, *, timeout: Duration = 3600
    ) -> FoundCheckpoint:
        """Write a step's files to a new directory, whole or not at all; the daemon keeps it too.

        A daemon of the same user on the same machine writes the files itself and provides them from there,
        as long as they stay as they are; another one keeps a copy.
        `primedht.tensors.state_files.load_state` reads one memory-mapped. Raises as `fetch`, and
        `InvalidArgument` if `to` exists or cannot be written.
        """
        try:
            return self._client._one(_checkpoints.pull(run, to, step, timeout=timeout))
        except NotPermitted:
            return self._pull_copy(run, to, step, timeout=timeout)

    def _pull_copy(
        self, run: str, to: str | os.PathLike[str], step: int | None, *, timeout: Duration
    ) -> FoundCheckpoint:
        known = self.find(run, step, timeout=timeout)
        check_target(Path(to), known.manifest.size_bytes)
        found = self.fetch(known.run, known.step, timeout=timeout)
        output = Extraction(to)
        try:
            for entry, part in _checkpoints.entries(found):
                output.entry(entry)
                pieces: Iterator[bytes] = iter(()) if part is None else self._client.cat(part.cid)
                for piece in pieces:
                    output.write(piece)
            output.commit()
        finally:
            output.close()
        return found

    def pin(self, run: str, step: int, *, pinned: bool = True, timeout: Duration = 60) -> None:
        """Keep a step however many follow it, or no longer so. Raises `ValueNotFound`, `NotPermitted`."""
        list(self._client._each(_checkpoints.pin(run, step, pinned=pinned, timeout=timeout)))

    def remove(self, run: str, step: int | None = None, *, timeout: Duration = 60) -> int:
        """Keep a step, or all of a run, no longer; return how many pins there were.

        If the run is our own, it lists them no more either; others who loaded them still have them.
        """
        return self._client._one(_checkpoints.remove(run, step, timeout=timeout))


class AsyncCheckpointJob:
    """As `CheckpointJob`."""

    def __init__(self, client: AsyncClient, id: str) -> None:
        self.id = id
        self._client = client

    async def wait(self, *, timeout: Duration = 3600) -> PublishedCheckpoint:
        """Return the checkpoint when it is stored, as `CheckpointJob.wait` does."""
        return await self._client._one(_checkpoints.wait(self.id, timeout=timeout))


class AsyncCheckpoints:
    """The methods of `Checkpoints`, awaited; tensors are written and read in a worker thread."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def publish(
        self,
        run: str,
        step: int,
        state: object,
        *,
        shard: Shard | None = None,
        keep: int = CHECKPOINT_KEEP,
        pinned: bool = False,
        attempt: int = 0,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        timeout: Duration = 60,
    ) -> AsyncCheckpointJob:
        """Publish a state, as `Checkpoints.publish` does; it must not change until this returns."""
        from anyio import to_thread

        from primedht.tensors.state_files import open_state_file

        pin = _models.upload_pin()
        with ExitStack() as stack:
            file = await to_thread.run_sync(partial(stack.enter_context, open_state_file(state)))
            added = await self._client.add(
                file, profile=PROFILE, name=pin, ttl=_models.UPLOAD_TTL_S, announce=False
            )
        try:
            call = _checkpoints.publish(
                *(added.cid, run, step), shard=shard, keep=keep, pinned=pinned, attempt=attempt,
                metadata=metadata, key=key, timeout=timeout,
            )  # fmt: skip
            return AsyncCheckpointJob(self._client, await self._client._one(call))
        finally:
            await self._client.unpin(added.cid, name=pin)

    async def latest(self, run: str, *, timeout: Duration = 60) -> FoundCheckpoint | None:
        """Return the highest step that is whole, or None if there is none."""
        try:
            return await self.find(run, timeout=timeout)
        except ValueNotFound:
            return None

    async def find(self, run: str, step: int | None = None, *, timeout: Duration = 60) -> FoundCheckpoint:
        """Return a step, by default the latest, and its manifest."""
        return await self._client._one(_checkpoints.find(run, step, timeout=timeout))

    async def steps(self, run: str, *, timeout: Duration = 60) -> list[CheckpointStep]:
        """Return the steps that are whole, ascending."""
        return await self._client._all(_checkpoints.steps(run, timeout=timeout))

    async def fetch(
        self, run: str, step: int | None = None, *, shard: int | None = None, timeout: Duration = 3600
    ) -> FoundCheckpoint:
        """Get a step, or with `shard` one part of it, and keep it until the run lists it no longer."""
        return await self._client._one(_checkpoints.fetch(run, step, shard=shard, timeout=timeout))

    async def load(
        self,
        run: str,
        step: int | None = None,
        *,
        shard: int | None = None,
        as_numpy: bool = False,
        timeout: Duration = 3600,
    ) -> Any:
        """Return the state of a step, or a list of its parts' states, as `Checkpoints.load` does."""
        from anyio import to_thread

        from primedht.tensors.state_files import receive_state

        found = await self.fetch(run, step, shard=shard, timeout=timeout)
        states = []
        for part in _checkpoints.wanted_parts(found, shard):
            with receive_state() as received:
                async with aclosing(self._client._each(_blocks.cat(part.cid, timeout=timeout))) as pieces:
                    async for piece in pieces:
                        await to_thread.run_sync(received.write, piece)
                states.append(await to_thread.run_sync(partial(received.read, as_numpy=as_numpy)))
        return states[0] if len(states) == 1 else states

    async def pull(
        self, run: str, to: str | os.PathLike[str], step: int | None = None, *, timeout: Duration = 3600
    ) -> FoundCheckpoint:
        """Write a step's files to a new directory, as `Checkpoints.pull` does."""
        try:
            return await self._client._one(_checkpoints.pull(run, to, step, timeout=timeout))
        except NotPermitted:
            return await self._pull_copy(run, to, step, timeout=timeout)

    async def _pull_copy(
        self, run: str, to: str | os.PathLike[str], step: int | None, *, timeout: Duration
    ) -> FoundCheckpoint:
        from anyio import to_thread

        known = await self.find(run, step, timeout=timeout)
        check_target(Path(to), known.manifest.size_bytes)
        found = await self.fetch(known.run, known.step, timeout=timeout)
        output = Extraction(to)
        try:
            for entry, part in _checkpoints.entries(found):
                await to_thread.run_sync(output.entry, entry)
                if part is not None:
                    async with aclosing(self._client._each(_blocks.cat(part.cid))) as pieces:
                        async for piece in pieces:
                            await to_thread.run_sync(output.write, piece)
            await to_thread.run_sync(output.commit)
        finally:
            output.close()
        return found

    async def pin(self, run: str, step: int, *, pinned: bool = True, timeout: Duration = 60) -> None:
        """Keep a step however many follow it, or no longer so."""
        await self._client._all(_checkpoints.pin(run, step, pinned=pinned, timeout=timeout))

    async def remove(self, run: str, step: int | None = None, *, timeout: Duration = 60) -> int:
        """Keep a step, or all of a run, no longer; return how many pins there were."""
        return await self._client._one(_checkpoints.remove(run, step, timeout=timeout))
