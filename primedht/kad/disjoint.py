"""One query along several disjoint paths: no peer is asked by two of them.

A path that has fallen into the hands of liars is led wherever they like, but only that path: the
others never see what it heard, and the query does not end before they do. Used like a `Query`.

Source: Baumgart and Mies, "S/Kademlia" (2007), 4.3; rust-libp2p kad, query/peers/closest/disjoint.rs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from math import inf
from typing import Literal

from primedht.ids import PeerId
from primedht.kad.key import Key, distance, key_of
from primedht.kad.query import Ask, PatienceOf, Query, QueryLimits, QueryResult, Stopped


class DisjointQueries:
    """Up to `paths` queries, each with its share of the seeds and of `limits.concurrency`.

    A peer heard of on several paths is asked by the first; the others learn only whether it answered.
    """

    def __init__(
        self,
        target: Key,
        seeds: Iterable[PeerId],
        limits: QueryLimits,
        *,
        paths: int,
        slow_after_s: PatienceOf,
        late_after_s: PatienceOf = lambda peer: inf,
        exclude: Collection[PeerId] = frozenset(),
        key_of: Callable[[bytes], Key] = key_of,
    ) -> None:
        self.target = target
        self._limits = limits
        self._key_of = key_of
        dealt = list(dict.fromkeys(seeds))
        used = max(1, min(paths, len(dealt)))
        share = replace(limits, concurrency=max(1, limits.concurrency // used))
        self._paths = [
            Query(
                target,
                dealt[i::used],
                share,
                slow_after_s=slow_after_s,
                late_after_s=late_after_s,
                exclude=exclude,
                key_of=key_of,
            )
            for i in range(used)
        ]
        self._asked_by: dict[PeerId, Query] = {}
        self._answered: dict[PeerId, bool] = {}  # False: it failed
        self._awaited_by: dict[PeerId, list[Query]] = {}

    @property
    def finished(self) -> bool:
        """Whether every path has ended."""
        return all(path.finished for path in self._paths)

    @property
    def converged(self) -> bool:
        """Whether every path that has peers has converged."""
        return any(path.converged for path in self._paths) and all(
            path.converged or path.finished for path in self._paths
        )

    def poll(self, now: float) -> list[Ask]:
        """Return the requests to send at `now` (monotonic seconds); empty means wait."""
        asks: list[Ask] = []
        for path in self._paths:
            told = True
            while told:
                told = False
                for ask in path.poll(now):
                    if ask.peer not in self._asked_by:
                        self._asked_by[ask.peer] = path
                        asks.append(ask)
                    elif ask.peer not in self._answered:
                        self._awaited_by.setdefault(ask.peer, []).append(path)
                    else:
                        self._tell(path, ask.peer, now)
                        told = True
        return asks

    def next_deadline(self) -> float:
        """Return when to `poll` again if no outcome comes first; `-inf` once finished (monotonic seconds)."""
        return min((path.next_deadline() for path in self._paths if not path.finished), default=-inf)

    def on_answered(self, peer: PeerId, closer: Iterable[PeerId], now: float) -> None:
        """Take in the answer of `peer`; only the path that asked it hears of `closer`."""
        path = self._asked_by.get(peer)
        if path is not None and self._answered.setdefault(peer, True):
            path.on_answered(peer, closer, now)
            self._tell_others(peer, now)

    def on_failed(self, peer: PeerId, now: float) -> None:
        """Take in that `peer` gave no usable answer; it is in no result."""
        path = self._asked_by.get(peer)
        if path is not None and not self._answered.setdefault(peer, False):
            path.on_failed(peer, now)
            self._tell_others(peer, now)

    def stop(self, why: Literal["enough", "timeout"] = "enough") -> None:
        """End the paths that have not ended."""
        for path in self._paths:
            path.stop(why)

    def hop(self, peer: PeerId) -> int | None:
        """Return how many hops away `peer` was when it was asked, or heard of on any path."""
        if peer in self._asked_by:
            return self._asked_by[peer].hop(peer)
        return min((hop for path in self._paths if (hop := path.hop(peer)) is not None), default=None)

    def result(self) -> QueryResult:
        """Return the k closest of all paths together, less the peers that any of them found dead."""
        results = [path.result() for path in self._paths]
        closest = self._merged(result.closest_peers for result in results)
        live = [peer for peer in closest if self._answered.get(peer, True)]
        ends = {result.stopped for result in results}
        stopped: Stopped = "exhausted"
        for reason in ("timeout", "enough", "converged"):
            if reason in ends:
                stopped = reason
                break
        return QueryResult(
            closest_peers=tuple(live[: self._limits.result_size]),
            answered=self._merged(result.answered for result in results),
            stopped="no_peers" if ends == {"no_peers"} else stopped,
        )

    def _merged(self, parts: Iterable[tuple[PeerId, ...]]) -> tuple[PeerId, ...]:
        peers = {peer for part in parts for peer in part}
        return tuple(sorted(peers, key=lambda peer: distance(self._key_of(peer), self.target)))

    def _tell_others(self, peer: PeerId, now: float) -> None:
        for path in self._awaited_by.pop(peer, ()):
            self._tell(path, peer, now)

    def _tell(self, path: Query, peer: PeerId, now: float) -> None:
        if self._answered[peer]:
            path.on_answered(peer, (), now)
        else:
            path.on_failed(peer, now)
