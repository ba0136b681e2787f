"""Streams of results whose reader goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import trio

from primedht.dht.streaming import streamed


async def test_a_result_that_comes_as_the_reader_leaves_goes_nowhere() -> None:
    """The producer was woken before it was cancelled: it goes on to its next wait."""
    arrived, emitted = trio.Event(), []

    async def produce(emit: Callable[[int], None]) -> None:
        emit(1)
        await arrived.wait()
        emit(2)
        emitted.append(2)

    async with trio.open_nursery() as nursery:

        def spawn(function: Callable[[], Awaitable[None]]) -> None:
            nursery.start_soon(function)

        async with aclosing(streamed(spawn, produce, buffer=4)) as results:  # type: ignore[type-var]
            assert await anext(results) == 1
            arrived.set()
    assert emitted == [2]
