"""One iterative query towards a key: whom to ask next, and when to stop.

Pure: no I/O, clock, randomness or logging. The owner sends what `poll` returns and reports each
outcome, in whatever order they come (`dht/query_run.py` does it with tasks, the tests by hand).

    query = Query(target, seeds, limits, slow_after_s=rtts.slow_after_s, exclude={own_id})
    while not query.finished:
        send everything in query.poll(now); wait for an outcome until query.next_deadline()
        query.on_answered(peer, closer, now) or query.on_failed(peer, now)

Three rules. While it converges, up to `concurrency` (alpha) requests are in flight, to the closest
peers not asked yet. Once the `resiliency` (beta) closest live peers have answered, the rest of the
`result_size` (k) closest are asked all at once (the *follow-up*); the same width is used when
`concurrency` outcomes in a row, late peers among them, brought nothing closer. It ends when the k
closest live peers have answered, or have no live peer left to wait for.

A peer that takes longer than its `late_after_s` loses its slot: others are asked in its place, as if it
were not there, and only the end still waits for it. One that takes longer than its `slow_after_s` is not
waited for at all, but its answer counts whenever it comes. Only if nobody at all has answered are slow
peers waited for.

Source: libp2p kad-dht spec, "Peer routing"; go-libp2p-kad-dht query.go (runLookupWithFollowup,
isLookupTermination); slow and stalled: rust-libp2p kad, query/peers/closest.rs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Literal

from primedht import limits as bounds
from primedht.ids import PeerId
from primedht.kad.key import Key, distance, key_of
from primedht.kad.peerset import Peerset, PeerState, QueriedPeer

Stopped = Literal["converged", "exhausted", "enough", "timeout", "no_peers"]
PatienceOf = Callable[[PeerId], float]
"""Seconds after which a peer that has been asked is late, or slow, from what is known of it by now."""


def _for_ever(peer: PeerId) -> float:
    return inf


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """result_size: k. concurrency: alpha. resiliency: beta; more than k means k.

    follow_up: ask the whole of the k closest; otherwise the beta closest settle it.
    peers_max: peers that a query may hold, asked ones included.
    """

    result_size: int = 20
    concurrency: int = 10
    resiliency: int = bounds.RESILIENCY
    follow_up: bool = True
    peers_max: int = bounds.QUERY_PEERS_MAX


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the query's message to `peer`, then report exactly one outcome for it.

    hop: 1 for a seed, n + 1 for a peer that one of hop n told us of.
    """

    peer: PeerId
    hop: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    """How a query ended.

    closest_peers: the k closest live peers, closest first. They have all answered if it ended by
        itself with a follow-up; after a `stop` some may not have been asked.
    answered: all that answered, closest first.
    stopped: "converged": the closest peers have answered; "exhausted": so have all that could, but
        they are fewer than asked for; "enough", "timeout": `stop` was called; "no_peers": no seed.
    """

    closest_peers: tuple[PeerId, ...]
    answered: tuple[PeerId, ...]
    stopped: Stopped


class Query:
    """State of one query. Exactly one task owns it.

    Args:
        target: where it leads.
        seeds: the first peers to ask: the k closest of our routing table.
        slow_after_s, late_after_s: per peer, read when it is asked, and again when that time has come: more
            may be known by then. For the closest the latter is read with each answer. If it is not given,
            nobody is late before being slow.
        exclude: never asked and never in the result: we ourselves, and whoever we ask on behalf of.
        key_of: maps a peer to its keyspace point, injectively; tests use tiny spaces.
    """

    def __init__(
        self,
        target: Key,
        seeds: Iterable[PeerId],
        limits: QueryLimits,
        *,
        slow_after_s: PatienceOf,
        late_after_s: PatienceOf = _for_ever,
        exclude: Collection[PeerId] = frozenset(),
        key_of: Callable[[bytes], Key] = key_of,
    ) -> None:
        self.target = target
        self._limits = limits
        self._slow_after_s = slow_after_s
        self._late_after_s = late_after_s
        self._exclude = exclude
        self._key_of = key_of
        self._resiliency = min(limits.resiliency, limits.result_size)
        self._peers = Peerset(limits.peers_max)
        self._waiting: dict[PeerId, QueriedPeer] = {}  # late ones included
        self._late_count = 0
        self._fruitless = 0  # outcomes in a row that brought us no closer
        self._stopped: Stopped | None = None
        self._hear(seeds, hop=1)
        if not len(self._peers):
            self._stopped = "no_peers"

    @property
    def finished(self) -> bool:
        """Whether the query is over: no more asks, and outcomes change nothing."""
        return self._stopped is not None

    @property
    def converged(self) -> bool:
        """Whether the `resiliency` closest live peers that are not late have answered, or all if fewer."""
        closest = self._peers.closest_live(self._resiliency, with_late=False)
        return bool(closest) and _all_answered(closest)

    def poll(self, now: float) -> list[Ask]:
        """Return the requests to send at `now` (monotonic seconds); empty means wait."""
        self._settle(now)
        if self._stopped is not None:
            return []
        window = self._peers.closest_live(self._limits.result_size, with_late=False)
        free = self._width(window) - (len(self._waiting) - self._late_count)
        asks: list[Ask] = []
        for entry in window:
            if free <= len(asks):
                break
            if entry.state is PeerState.HEARD:
                self._peers.move(entry, PeerState.WAITING)
                entry.asked_at = now
                entry.late_at = now + self._late_after_s(entry.peer)
                entry.slow_at = now + self._slow_after_s(entry.peer)
                self._waiting[entry.peer] = entry
                asks.append(Ask(entry.peer, entry.hop))
        return asks

    def next_deadline(self) -> float:
        """Return when to `poll` again if no outcome comes first; `-inf` once finished (monotonic seconds)."""
        if self._stopped is not None:
            return -inf
        return min(
            (
                entry.slow_at if entry.late else min(entry.late_at, entry.slow_at)
                for entry in self._waiting.values()
            ),
            default=inf,
        )

    def on_answered(self, peer: PeerId, closer: Iterable[PeerId], now: float) -> None:
        """Take in the answer of `peer`, on time or late, and the peers that it named."""
        entry = self._outcome(peer, PeerState.ANSWERED)
        if entry is None:
            return
        progress = self._hear(
            islice(closer, bounds.QUERY_PEERS_PER_REPLY_FACTOR * self._limits.result_size),
            hop=entry.hop + 1,
        )
        self._fruitless = 0 if progress else self._fruitless + 1
        self._hasten()
        self._settle(now)

    def on_failed(self, peer: PeerId, now: float) -> None:
        """Take in that `peer` gave no usable answer; it is in no result."""
        if self._outcome(peer, PeerState.UNREACHABLE) is not None:
            self._fruitless += 1
            self._settle(now)

    def stop(self, why: Literal["enough", "timeout"] = "enough") -> None:
        """End the query now."""
        if self._stopped is None:
            self._stopped = why

    def hop(self, peer: PeerId) -> int | None:
        """Return how many hops away `peer` was first heard of, or None if it never was."""
        entry = self._peers.get(peer)
        return None if entry is None else entry.hop

    def result(self) -> QueryResult:
        """Return what is known by now, as if time were up; final once `finished`."""
        return QueryResult(
            closest_peers=tuple(entry.peer for entry in self._peers.closest_live(self._limits.result_size)),
            answered=tuple(entry.peer for entry in self._peers.in_state(PeerState.ANSWERED)),
            stopped=self._stopped or "timeout",
        )

    def _hear(self, peers: Iterable[PeerId], *, hop: int) -> bool:
        """Add new peers; return whether they bring us closer, or to the number wanted."""
        closest = self._peers.closest_live(1)
        nearest = closest[0].distance if closest else None
        few = len(self._peers) < self._limits.result_size
        progress = False
        for peer in peers:
            if peer in self._exclude:
                continue
            away = distance(self._key_of(peer), self.target)
            new = self._peers.hear(peer, away, hop)
            progress |= new and (few or nearest is None or away < nearest)
        return progress

    def _outcome(self, peer: PeerId, state: PeerState) -> QueriedPeer | None:
        """Move an asked `peer` to `state`; None if the query is over or `peer` owes no outcome."""
        entry = self._peers.get(peer)
        if self._stopped is not None or entry is None:
            return None
        if entry.state not in (PeerState.WAITING, PeerState.SLOW):
            return None
        self._late_count -= entry.late
        self._peers.move(entry, state)
        self._waiting.pop(peer, None)
        return entry

    def _width(self, window: list[QueriedPeer]) -> int:
        """Return how many requests may be in flight."""
        alpha, k = self._limits.concurrency, self._limits.result_size
        stalled = self._fruitless >= alpha
        return max(alpha, k) if stalled or _all_answered(window[: self._resiliency]) else alpha

    def _settle(self, now: float) -> None:
        """Let peers that are late lose their slots, then see whether the query is over."""
        waiting = self._waiting.values()
        for entry in [entry for entry in waiting if entry.late_at <= now or entry.slow_at <= now]:
            self._give_up_in_part(entry, now)
        if self._stopped is not None:
            return
        wanted = self._limits.result_size if self._limits.follow_up else self._resiliency
        answered = self._peers.count_answered(wanted)
        if answered is not None and (answered or not self._peers.count(PeerState.SLOW)):
            self._stopped = "converged" if answered == wanted else "exhausted"

    def _hasten(self) -> None:
        """Wait no longer for the closest than is known by now: a first lookup measures as it goes."""
        for entry in self._peers.closest_live(self._resiliency, with_late=False):
            if entry.state is PeerState.WAITING:
                entry.late_at = min(entry.late_at, entry.asked_at + self._late_after_s(entry.peer))

    def _give_up_in_part(self, entry: QueriedPeer, now: float) -> None:
        if not entry.late and entry.late_at <= now:
            entry.late_at = entry.asked_at + self._late_after_s(entry.peer)
            if entry.late_at <= now:
                entry.late = True
                self._late_count += 1
                self._fruitless += 1  # else a few names of nobody make a lookup wait for them a few at a time
        if entry.slow_at <= now:
            entry.slow_at = entry.asked_at + self._slow_after_s(entry.peer)
            if entry.slow_at <= now:
                self._fruitless += not entry.late
                self._late_count -= entry.late
                self._peers.move(entry, PeerState.SLOW)
                del self._waiting[entry.peer]


def _all_answered(entries: Iterable[QueriedPeer]) -> bool:
    return all(entry.state is PeerState.ANSWERED for entry in entries)
