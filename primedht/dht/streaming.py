"""Results of an operation as a stream, without a nursery inside an async generator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from primedht.errors import PrimeDhtError

T = TypeVar("T")
Spawn = Callable[[Callable[[], Awaitable[None]]], None]
"""Starts a task in the engine's own nursery."""


async def streamed(
    spawn: Spawn, produce: Callable[[Callable[[T], None]], Awaitable[None]], *, buffer: int
) -> AsyncIterator[T]:
    """Yield what `produce` emits; closing the iterator cancels it, and its `PrimeDhtError` is raised here.

    buffer: results that may wait for a slow reader; more are dropped, the newest first.
    """
    send, receive = trio.open_memory_channel[T](buffer)
    scope = trio.CancelScope()
    failures: list[PrimeDhtError] = []

    def emit(result: T) -> None:
        try:
            send.send_nowait(result)
        except (trio.WouldBlock, trio.BrokenResourceError):  # the reader is slow, or has just left
            return

    async def run() -> None:
        with send, scope:
            try:
                await produce(emit)
            except PrimeDhtError as error:
                failures.append(error)

    spawn(run)
    try:
        async for result in receive:
            yield result
    finally:
        scope.cancel()
        receive.close()
    if failures:
        raise failures[0]
