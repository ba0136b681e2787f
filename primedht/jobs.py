"""Work that goes on when its caller has been answered, and can be waited for.

A job lives as long as its node. Who makes it durable starts it again, under its id, after a restart.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import structlog
import trio

from primedht import limits
from primedht.errors import OperationTimeout, PrimeDhtError, TooBusy, ValueNotFound

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Job(Generic[T]):
    """Made by `Jobs.start`. id: how others ask for it. what: for people.

    trouble: what it met and tries again; empty if nothing.
    """

    def __init__(self, what: str, id: str) -> None:
        self.id = id
        self.what = what
        self.trouble = ""
        self._ended = trio.Event()
        self._results: list[T] = []
        self._error: PrimeDhtError | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._ended.is_set()

    async def wait(self, *, timeout: float = 3600) -> T:
        """Return its result. Raises what it ended with, and `OperationTimeout`, which leaves it running."""
        with trio.move_on_after(timeout):
            await self._ended.wait()
        if not self.done:
            raise OperationTimeout(f"{self.what} is not done within {timeout:g} s; it goes on")
        if self._error is not None:
            raise self._error
        return self._results[0]

    async def _run(self, work: Callable[[], Awaitable[T]]) -> None:
        try:
            self._results.append(await work())
        except PrimeDhtError as error:
            self._error = error
            log.info("job_failed", what=self.what, code=error.code)
        finally:
            if not self._results and self._error is None:
                self._error = OperationTimeout(f"{self.what} was interrupted; a restart goes on")
            self._ended.set()


class Jobs:
    """The jobs of a node: those that run, and the last ones that ended."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._jobs: dict[str, Job[Any]] = {}  # in the order of their start

    @staticmethod
    def new_id() -> str:
        """Return an id that no other job has."""
        return os.urandom(8).hex()

    def start(self, what: str, work: Callable[[], Awaitable[T]], *, id: str | None = None) -> Job[T]:
        """Begin. id: from `new_id`, by default a new one. Raises `TooBusy`."""
        for id in [id for id, job in self._jobs.items() if job.done][: -limits.JOBS_ENDED_MAX]:
            del self._jobs[id]
        if len(self._jobs) >= limits.JOBS_MAX:
            raise TooBusy(f"{len(self._jobs)} jobs are under way; wait for some")
        job = Job[T](what, id or self.new_id())
        self._jobs[job.id] = job
        self._nursery.start_soon(job._run, work)
        return job

    def status(self) -> list[dict[str, str]]:
        """Return the first of those that run, as JSON-able values."""
        running = [job for job in self._jobs.values() if not job.done]
        return [
            {"id": job.id, "what": job.what, "trouble": job.trouble}
            for job in running[: limits.JOBS_SHOWN_MAX]
        ]

    def get(self, id: str) -> Job[Any]:
        """Return a job. Raises `ValueNotFound`."""
        if id not in self._jobs:
            raise ValueNotFound(
                f"there is no job {id[:40]}: it ended long ago, or before the node was restarted; do it again"
            )
        return self._jobs[id]
