"""One lookup under way: a `Query` driven over the network.

Every ask is one task that ends in exactly one outcome, so nothing here waits longer than a request's own
time limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import trio

from primedht import limits
from primedht.errors import RemoteError
from primedht.ids import PeerId
from primedht.kad.disjoint import DisjointQueries
from primedht.kad.messages import Message
from primedht.kad.query import Query
from primedht.results import Asked

AnyQuery = Query | DisjointQueries
Enough = Callable[[AnyQuery], bool]
Lacking = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request: a reply or an error.

    asked: its line of the trace, with the time it took.
    dialled: whether the peer was not connected when it was asked.
    """

    asked: Asked
    dialled: bool
    reply: Message | None
    error: RemoteError | None


class QueryRun:
    """Asks whom `query` names until it is over. Exactly one task calls `walk`, once.

    Args:
        request: sends the query's message to the peer of a line of the trace.
        take: reports an outcome to the query and the routing table; returns its line of the trace, and the
            peers that it told of.
    """

    def __init__(
        self,
        query: AnyQuery,
        request: Callable[[Asked], Awaitable[Outcome]],
        take: Callable[[Outcome], tuple[Asked, list[PeerId]]],
    ) -> None:
        self._query = query
        self._request = request
        self._take = take
        self._asked: dict[PeerId, Asked] = {}
        self._heard_from: dict[PeerId, PeerId] = {}
        self._send, self._outcomes = trio.open_memory_channel[Outcome](limits.QUERY_PEERS_MAX)
        self._began = trio.current_time()

    def asked(self) -> tuple[Asked, ...]:
        """Return whom it asked, in that order; "abandoned" are those that have not answered by now."""
        now_s = self._seconds()
        return tuple(
            replace(entry, took_s=now_s - entry.started_s) if entry.outcome == "abandoned" else entry
            for entry in self._asked.values()
        )

    async def walk(self, *, timeout_s: float, enough: Enough, lacking: Lacking) -> float:
        """Ask until the query is over and nothing is lacking, or time is up; return the seconds it took.

        Arguments as of `Lookups.run`.
        """
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(timeout_s) as time_limit:
                await self._until_finished(nursery, enough)
                while lacking():
                    self._note(await self._outcomes.receive())
            if time_limit.cancelled_caught:
                self._query.stop("timeout")
            nursery.cancel_scope.cancel()
        return self._seconds()

    def _seconds(self) -> float:
        return trio.current_time() - self._began

    async def _until_finished(self, nursery: trio.Nursery, enough: Enough) -> None:
        while not self._query.finished:
            with trio.CancelScope() as patience:  # of many outcomes, until somebody is late
                self._ask(nursery, enough)
                while not self._query.finished:
                    patience.deadline = self._query.next_deadline()
                    self._note(await self._outcomes.receive())
                    self._ask(nursery, enough)

    def _ask(self, nursery: trio.Nursery, enough: Enough) -> None:
        asks = self._query.poll(trio.current_time())
        if not self._query.finished and enough(self._query):
            self._query.stop("enough")
            return
        for ask in asks:
            named_by = self._heard_from.get(ask.peer) if ask.hop > 1 else None
            entry = Asked(ask.peer, ask.hop, self._seconds(), 0.0, "abandoned", heard_from=named_by)
            self._asked[ask.peer] = entry
            nursery.start_soon(self._outcome_of, entry)

    async def _outcome_of(self, entry: Asked) -> None:
        self._send.send_nowait(await self._request(entry))

    def _note(self, outcome: Outcome) -> None:
        entry, told_of = self._take(outcome)
        self._asked[entry.peer] = entry
        for peer in told_of:
            self._heard_from.setdefault(peer, entry.peer)
