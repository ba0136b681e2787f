"""One PRIME request being answered: what its operation needs, and how it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from primedht import limits
from primedht.control.session import ClientGone, Session
from primedht.errors import InvalidArgument, OperationTimeout, PrimeDhtError
from primedht.pb import p2pd_pb2 as pb

if TYPE_CHECKING:
    from primedht.node import Node

T = TypeVar("T")


class Operation:
    """timeout_s: what the client gives it."""

    def __init__(self, node: Node, request: pb.PrimeRequest, session: Session, timeout_s: float) -> None:
        self.node = node
        self.request = request
        self.session = session
        self.timeout_s = timeout_s
        self.want_trace = request.want_trace

    async def send(self, prime: pb.PrimeResponse) -> None:
        await self.session.send(pb.Response(type=pb.Response.OK, prime=prime))

    async def done(self) -> None:
        await self.send(pb.PrimeResponse(done=pb.Done()))

    async def report_while(
        self,
        work: Callable[[], Awaitable[T]],
        stage: pb.Progress.Stage,
        done: int = 0,
        total: int | None = None,
    ) -> T:
        """Return what `work` returns; while it takes long, say every second that it is under way.

        done, total: bytes of the value, to say with it. Raises what `work` raises, and `ClientGone`.
        """
        results: list[T] = []
        failures: list[PrimeDhtError | ClientGone] = []
        ended = trio.Event()

        async def run() -> None:
            try:
                results.append(await work())
            except PrimeDhtError as error:
                failures.append(error)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            while not ended.is_set():
                with trio.move_on_after(limits.CONTROL_PROGRESS_S):
                    await ended.wait()
                if ended.is_set():
                    break
                try:
                    await self.send(progress(stage, done, total, more=True))
                except ClientGone as gone:
                    failures.append(gone)  # raised outside the nursery, which would wrap it in a group
                    nursery.cancel_scope.cancel()
                    break
        if failures:
            raise failures[-1]
        return results[0]


async def within(timeout_s: float, work: Awaitable[T]) -> T:
    """Await `work`, whose own time limit is `timeout_s`. Raises `OperationTimeout` if it misses that.

    Its own limit comes first: the error that it ends with says how far it came.
    """
    try:
        with trio.fail_after(timeout_s + limits.CONTROL_TIMEOUT_MARGIN_S):
            return await work
    except trio.TooSlowError:
        raise OperationTimeout(f"not done within {timeout_s:g} s") from None


def timeout_s_of(request: pb.PrimeRequest) -> float:
    """Return what a request gives its operation. Raises `InvalidArgument`."""
    timeout_s = request.timeout_s if request.HasField("timeout_s") else limits.CONTROL_TIMEOUT_S
    if not 0 < timeout_s <= limits.CONTROL_TIMEOUT_S_MAX:
        raise InvalidArgument(f"timeout_s is {timeout_s:g}; it must be over 0, and at most a day")
    return timeout_s


def progress(
    stage: pb.Progress.Stage, done: int, total: int | None, *, more: bool = False
) -> pb.PrimeResponse:
    return pb.PrimeResponse(more=more, progress=pb.Progress(stage=stage, done_bytes=done, total_bytes=total))
