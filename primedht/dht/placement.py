"""Placing copies: send to the closest peers, one more for each that refuses or takes its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import trio

from primedht.errors import PrimeDhtError
from primedht.ids import PeerId
from primedht.results import Refusal


@dataclass(slots=True)
class Placed:
    """Who took the copy, in order of answering, and who did not."""

    holders: list[PeerId] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


async def place(
    candidates: Iterable[PeerId],
    *,
    copies: int,
    send: Callable[[PeerId], Awaitable[None]],
    patience_s: Callable[[PeerId], float],
    timeout_s: float,
) -> Placed:
    """Have `send` succeed with `copies` of `candidates`, which come in order of preference.

    `copies` are sent at once. A candidate that fails is replaced by the next one; so is one that takes
    longer than its `patience_s`, though its late success counts. Ends when there are enough, when
    there are no more candidates, or after `timeout_s`.
    """
    placed = Placed()
    waiting = iter(candidates)

    async def next_one(nursery: trio.Nursery) -> None:
        for peer in waiting:
            settled = trio.Event()
            nursery.start_soon(hedge, nursery, peer, settled)
            try:
                await send(peer)
            except PrimeDhtError as error:
                placed.refused.append(Refusal(peer, error.code))
            else:
                placed.holders.append(peer)
                if len(placed.holders) >= copies:
                    nursery.cancel_scope.cancel()
                return
            finally:
                settled.set()

    async def hedge(nursery: trio.Nursery, peer: PeerId, settled: trio.Event) -> None:
        with trio.move_on_after(patience_s(peer)) as patience:
            await settled.wait()
        if patience.cancelled_caught:
            await next_one(nursery)

    with trio.move_on_after(timeout_s):
        async with trio.open_nursery() as nursery:
            for _ in range(copies):
                nursery.start_soon(next_one, nursery)
    return placed
