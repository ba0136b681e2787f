"""The peers of one query, ordered by distance to its target, each in one state.

    HEARD -> WAITING -> ANSWERED | UNREACHABLE
                     -> SLOW -> ANSWERED | UNREACHABLE

HEARD, WAITING and ANSWERED peers are *live*: the query's result and end depend on them alone. A SLOW
peer has been asked and may still answer; nobody waits for it. A WAITING one can be *late*: it is still waited
for in the end, but others are asked in its place.

Source: go-libp2p-kad-dht, qpeerset/qpeerset.go; SLOW: rust-libp2p kad, ClosestPeersIter.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from operator import attrgetter

from primedht.ids import PeerId


class PeerState(Enum):
    __hash__ = object.__hash__  # Enum's own is a Python call, at each change of a state

    HEARD = auto()
    WAITING = auto()
    SLOW = auto()
    ANSWERED = auto()
    UNREACHABLE = auto()


LIVE = frozenset((PeerState.HEARD, PeerState.WAITING, PeerState.ANSWERED))


@dataclass(slots=True, eq=False)
class QueriedPeer:
    """A peer of one query. Only `Peerset` writes it.

    distance: to the target. hop: 1 for a seed, n + 1 for a peer first heard of from one of hop n.
    live: whether its state is one of `LIVE`. asked_at: when it was asked. late_at, slow_at: while WAITING,
    when it becomes late, and SLOW (monotonic seconds).
    """

    peer: PeerId
    distance: int
    hop: int
    state: PeerState = PeerState.HEARD
    asked_at: float = -inf
    late_at: float = inf
    slow_at: float = inf
    late: bool = False
    live: bool = True


class Peerset:
    """At most `peers_max` peers; when full, the farthest HEARD one yields to a closer newcomer."""

    def __init__(self, peers_max: int) -> None:
        self._peers_max = peers_max
        self._by_peer: dict[PeerId, QueriedPeer] = {}
        self._by_distance: list[QueriedPeer] = []
        self._counts = dict.fromkeys(PeerState, 0)

    def __len__(self) -> int:
        return len(self._by_peer)

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._by_peer

    def get(self, peer: PeerId) -> QueriedPeer | None:
        return self._by_peer.get(peer)

    def count(self, state: PeerState) -> int:
        return self._counts[state]

    def hear(self, peer: PeerId, distance: int, hop: int) -> bool:
        """Add `peer` as HEARD; return False if it is known already or there is no room for it."""
        if peer in self._by_peer:
            return False
        if len(self._by_peer) >= self._peers_max and not self._make_room(distance):
            return False
        entry = QueriedPeer(peer, distance, hop)
        self._by_peer[peer] = entry
        insort(self._by_distance, entry, key=attrgetter("distance"))
        self._counts[PeerState.HEARD] += 1
        return True

    def move(self, entry: QueriedPeer, state: PeerState) -> None:
        """Put `entry` into `state`."""
        self._counts[entry.state] -= 1
        self._counts[state] += 1
        entry.state, entry.live, entry.late = state, state in LIVE, False

    def closest_live(self, limit: int, *, with_late: bool = True) -> list[QueriedPeer]:
        """Return the `limit` closest live peers, closest first."""
        found: list[QueriedPeer] = []
        for entry in self._by_distance:
            if len(found) == limit:
                break
            if entry.live and (with_late or not entry.late):
                found.append(entry)
        return found

    def count_answered(self, limit: int) -> int | None:
        """Return how many the `limit` closest live peers are, or None if one of them has not answered."""
        count = 0
        for entry in self._by_distance:
            if count == limit:
                break
            if entry.state is PeerState.ANSWERED:
                count += 1
            elif entry.live:
                return None
        return count

    def in_state(self, state: PeerState) -> list[QueriedPeer]:
        """Return all peers in `state`, closest first."""
        return [entry for entry in self._by_distance if entry.state is state]

    def _make_room(self, distance: int) -> bool:
        if not self._counts[PeerState.HEARD]:
            return False
        for i in range(len(self._by_distance) - 1, -1, -1):
            entry = self._by_distance[i]
            if entry.distance <= distance:
                return False
            if entry.state is PeerState.HEARD:
                del self._by_distance[i]
                del self._by_peer[entry.peer]
                self._counts[PeerState.HEARD] -= 1
                return True
        return False
