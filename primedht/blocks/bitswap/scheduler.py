"""Which block to ask of which peer, and when to ask another one. Sans-IO: times are arguments.

Nodes that link to others come first, because they name the rest. Each peer has as many bytes outstanding
as its measured rate needs to be kept busy (ml practice: bandwidth times round-trip time), so a peer of a
tenth of the rate gets a tenth of the blocks. What a peer does not send in time is asked of another one
too; at the end, when nothing else is left to ask, fast peers repeat what slow ones still owe.

What was asked for and is not stored yet is lost if this process is killed. It stays a small share of what is
stored, so a disk slower than the network slows the asking down.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from primedht import limits
from primedht.cids import RAW, Cid
from primedht.ids import PeerId
from primedht.results import PeerShare

_FIRST_BLOCK_BYTES = 1 << 20  # a guess at the size of blocks, until some have come
_NODE_BYTES_MIN = 64 << 10  # a guess at the size of dag-pb nodes: small ones come first, leaves behind them
_BLOCKS_AVERAGED = 4


@dataclass(slots=True)
class _Request:
    """One block asked of one peer. late_at: when patience with that ends."""

    cid: Cid
    asked_at: float
    late_at: float
    is_late: bool = False


@dataclass(slots=True)
class _Peer:
    share: PeerShare
    asked: dict[bytes, _Request] = field(default_factory=dict)
    failures: int = 0  # times in a row that patience with it ended
    lacks: set[bytes] = field(default_factory=set)
    latency_s: float | None = None  # the shortest from asking to a block
    interval_at: float = 0.0
    interval_bytes: int = 0
    failed_at: float = -math.inf


class FetchScheduler:
    """The blocks that one fetch still needs, and the peers that may send them."""

    def __init__(self) -> None:
        self._nodes: deque[Cid] = deque()  # not asked of anybody now; nodes before leaves
        self._leaves: deque[Cid] = deque()
        self._pending: dict[bytes, Cid] = {}  # all that is needed, asked for or not
        self._peers: dict[PeerId, _Peer] = {}
        self._gone: dict[PeerId, PeerShare] = {}
        self._came_bytes = 0
        self._leaf_bytes = self._node_bytes = float(_FIRST_BLOCK_BYTES)  # mean of the last that came
        self._narrowing = 1.0  # how much of their windows peers may use, for all are lost by a kill

    # --- what is needed -----------------------------------------------------------------------------

    def need(self, cid: Cid) -> None:
        """Ask for `cid` as soon as a peer has room."""
        if cid.multihash not in self._pending:
            self._pending[cid.multihash] = cid
            self._queue(cid).append(cid)

    @property
    def pending(self) -> int:
        """How many blocks are needed and not here."""
        return len(self._pending)

    def some_pending(self) -> Cid | None:
        """Return one of those blocks."""
        return next(iter(self._pending.values()), None)

    def needed(self, multihash: bytes) -> Cid | None:
        """Return the needed block of that multihash, if it is one."""
        return self._pending.get(multihash)

    # --- peers --------------------------------------------------------------------------------------

    @property
    def peers(self) -> tuple[PeerId, ...]:
        """The peers that may be asked."""
        return tuple(self._peers)

    def shares(self) -> list[PeerShare]:
        """Return what each peer did, those that are gone included."""
        return [*(peer.share for peer in self._peers.values()), *self._gone.values()]

    def add_peer(self, peer: PeerId, now: float) -> bool:
        """Ask `peer` too, from now on; False if that is done already, or there are enough."""
        if peer in self._peers or len(self._peers) >= limits.FETCH_PEERS_MAX:
            return False
        share = self._gone.pop(peer, None) or PeerShare(peer)
        share.gone = ""
        self._peers[peer] = _Peer(share, interval_at=now)
        return True

    def remove_peer(self, peer: PeerId, why: str) -> None:
        """Ask `peer` no more; what it owes is asked of others."""
        gone = self._peers.pop(peer, None)
        if gone is None:
            return
        gone.share.gone = why
        self._gone[peer] = gone.share
        for multihash in list(gone.asked):
            self._unask(gone, multihash)

    # --- what peers say -------------------------------------------------------------------------------

    def on_block(
        self, peer: PeerId, cid: Cid, size_bytes: int, now: float, *, wire_bytes: int
    ) -> list[PeerId]:
        """`peer` sent a block; return the others that were asked for it, to be told that it came."""
        multihash = cid.multihash
        sender = self._peers.get(peer)
        if sender is not None:
            self._measure(sender, multihash, size_bytes, now)
        if self._pending.pop(multihash, None) is None:
            if sender is not None:
                sender.share.duplicates += 1
            return []
        if sender is not None:
            sender.share.blocks += 1
            sender.share.bytes += size_bytes
            sender.share.wire_bytes += wire_bytes
            sender.failures = 0
        self._came_bytes += size_bytes
        if cid.codec == RAW:
            self._leaf_bytes += (size_bytes - self._leaf_bytes) / _BLOCKS_AVERAGED
        else:
            self._node_bytes += (size_bytes - self._node_bytes) / _BLOCKS_AVERAGED
        return [id for id, each in self._peers.items() if each.asked.pop(multihash, None) is not None]

    def on_dont_have(self, peer: PeerId, cid: Cid) -> None:
        """`peer` has no such block; another one is asked."""
        asked = self._peers.get(peer)
        if asked is not None:
            asked.lacks.add(cid.multihash)
            self._unask(asked, cid.multihash)

    def on_have(self, peer: PeerId, cid: Cid) -> None:
        """`peer` has the block after all."""
        if peer in self._peers:
            self._peers[peer].lacks.discard(cid.multihash)

    # --- decisions ------------------------------------------------------------------------------------

    def next_requests(self, now: float, *, unstored_bytes: int) -> dict[PeerId, list[Cid]]:
        """Return what is to be asked of whom now. unstored_bytes: of blocks that came."""
        requests: dict[PeerId, list[Cid]] = {}
        self._expire(now)
        windows_bytes = sum(map(self._window_bytes, self._peers.values()))
        self._narrowing = min(1.0, self._outstanding_bytes_max(unstored_bytes) / (windows_bytes or 1))
        by_speed = sorted(self._peers.items(), key=lambda item: -(item[1].share.rate or 0))
        for id, peer in by_speed:
            for cid, ahead_bytes in self._take(peer):
                self._ask(peer, cid, now, ahead_bytes)
                requests.setdefault(id, []).append(cid)
        if not self._nodes and not self._leaves:
            for id, peer in by_speed:
                for cid, ahead_bytes in self._overdue_elsewhere(id, peer, now):
                    self._ask(peer, cid, now, ahead_bytes)
                    requests.setdefault(id, []).append(cid)
        return requests

    def wake_at(self) -> float:
        """Return when `next_requests` should be called again, even if nothing happens before."""
        return min(
            (
                request.late_at
                for peer in self._peers.values()
                for request in peer.asked.values()
                if not request.is_late
            ),
            default=math.inf,
        )

    def outstanding(self) -> list[tuple[PeerId, Cid]]:
        """Return all that peers were asked for and have not sent."""
        return [(id, each.cid) for id, peer in self._peers.items() for each in peer.asked.values()]

    def asks(self, peer: PeerId, multihash: bytes) -> bool:
        """Whether `peer` was asked for a block and has not sent it."""
        return peer in self._peers and multihash in self._peers[peer].asked

    def is_stuck(self) -> bool:
        """Whether something is needed, and nobody who may be asked could still send it."""
        if not self._pending or any(peer.asked for peer in self._peers.values()):
            return False
        return all(multihash in peer.lacks for multihash in self._pending for peer in self._peers.values())

    # --- parts of the above ---------------------------------------------------------------------------

    def _queue(self, cid: Cid) -> deque[Cid]:
        return self._leaves if cid.codec == RAW else self._nodes

    def _size_bytes(self, cid: Cid) -> float:
        """Return what a block that has not come may take."""
        return max(1024, self._leaf_bytes) if cid.codec == RAW else max(_NODE_BYTES_MIN, self._node_bytes)

    def _asked_bytes(self, peer: _Peer) -> float:
        return sum(self._size_bytes(request.cid) for request in peer.asked.values())

    def _outstanding_bytes_max(self, unstored_bytes: int) -> float:
        """Return how much all peers together may be asked for."""
        share = (self._came_bytes - unstored_bytes) * limits.FETCH_UNSTORED_SHARE
        most = min(max(share, limits.FETCH_UNSTORED_BYTES_MIN), limits.FETCH_UNSTORED_BYTES_MAX)
        return max(0.0, most - unstored_bytes)

    def _window_bytes(self, peer: _Peer) -> float:
        if peer.share.rate is None:
            return limits.FETCH_WINDOW_BYTES_FIRST
        span_s = max(limits.FETCH_WINDOW_S, 2 * (peer.latency_s or 0))
        return min(max(peer.share.rate * span_s, 2 * self._leaf_bytes), limits.FETCH_WINDOW_BYTES_MAX)

    def _has_room(self, peer: _Peer, asked_bytes: float, cid: Cid) -> bool:
        """Return whether `peer` may be asked for `cid` beside what it was asked for: for one block always."""
        if len(peer.asked) >= limits.BITSWAP_WANTS_PER_PEER_MAX or not self._narrowing:
            return False
        return (
            not peer.asked
            or asked_bytes + self._size_bytes(cid) <= self._window_bytes(peer) * self._narrowing
        )

    def _take(self, peer: _Peer) -> Iterator[tuple[Cid, float]]:
        """Take blocks off the queues that `peer` has room for and is not known to lack, to be asked for now.

        Each comes with the bytes that `peer` owes with it.
        """
        asked_bytes = self._asked_bytes(peer)
        for queue in (self._nodes, self._leaves):
            passed_over: list[Cid] = []
            while queue and len(passed_over) < limits.BITSWAP_WANTS_PER_PEER_MAX:
                if not self._has_room(peer, asked_bytes, queue[0]):
                    break
                cid = queue.popleft()
                if cid.multihash not in self._pending or self._is_asked(cid.multihash):
                    continue  # it has come meanwhile, or has been asked for
                if cid.multihash in peer.lacks or cid.multihash in peer.asked:
                    passed_over.append(cid)
                    continue
                asked_bytes += self._size_bytes(cid)
                yield cid, asked_bytes
            queue.extendleft(reversed(passed_over))

    def _ask(self, peer: _Peer, cid: Cid, now: float, ahead_bytes: float) -> None:
        if peer.share.rate:
            expected_s = ahead_bytes / peer.share.rate + (peer.latency_s or 0)
            patience_s = limits.FETCH_PATIENCE_FACTOR * expected_s
        else:
            patience_s = limits.FETCH_PATIENCE_S_MAX / 3
        patience_s = min(max(patience_s, limits.FETCH_PATIENCE_S_MIN), limits.FETCH_PATIENCE_S_MAX)
        if not peer.asked:  # it had nothing to send until now
            peer.interval_at, peer.interval_bytes = now, 0
        peer.asked[cid.multihash] = _Request(cid, now, now + patience_s)

    def _is_asked(self, multihash: bytes) -> bool:
        """Whether somebody is expected to send the block in time."""
        return any(
            (request := peer.asked.get(multihash)) is not None and not request.is_late
            for peer in self._peers.values()
        )

    def _unask(self, peer: _Peer, multihash: bytes) -> None:
        """Forget that `peer` was asked; the block goes to the head of its queue if nobody else was."""
        request = peer.asked.pop(multihash, None)
        if request is not None and multihash in self._pending and not self._is_asked(multihash):
            self._queue(request.cid).appendleft(request.cid)

    def _expire(self, now: float) -> None:
        """Let others be asked for what is late; a peer that is late time and again is asked no more."""
        for id, peer in list(self._peers.items()):
            late = [each for each in peer.asked.values() if each.late_at <= now and not each.is_late]
            if not late:
                continue
            if now - peer.failed_at >= limits.FETCH_PATIENCE_S_MIN:
                peer.failed_at = now
                peer.failures += 1
            if peer.failures >= limits.FETCH_PEER_FAILURES_MAX:
                self.remove_peer(id, "too slow")
                continue
            for request in late:
                if len(self._peers) == 1:
                    request.late_at = now + limits.FETCH_PATIENCE_S_MAX / 3
                    continue
                request.is_late = True
                if not self._is_asked(request.cid.multihash):
                    self._queue(request.cid).appendleft(request.cid)

    def _overdue_elsewhere(self, id: PeerId, peer: _Peer, now: float) -> list[tuple[Cid, float]]:
        """Return what `peer` would send sooner than the one that was asked for it, as `_take` does."""
        rate, asked_bytes = peer.share.rate, self._asked_bytes(peer)
        if not rate:
            return []
        ours_s = (asked_bytes + self._leaf_bytes) / rate + (peer.latency_s or 0)
        found: list[tuple[Cid, float]] = []
        for other_id, other in self._peers.items():
            if other_id == id:
                continue
            other_rate = other.share.rate
            owed_s = self._asked_bytes(other) / other_rate if other_rate else math.inf
            if owed_s < 2 * ours_s:
                continue
            for multihash, request in reversed(other.asked.items()):  # the last ones come last
                askers = sum(multihash in each.asked for each in self._peers.values())
                waited_s = now - request.asked_at
                if not self._has_room(peer, asked_bytes, request.cid):
                    return found
                if askers == 1 and multihash not in peer.lacks and waited_s > ours_s:
                    asked_bytes += self._size_bytes(request.cid)
                    found.append((request.cid, asked_bytes))
        return found

    def _measure(self, peer: _Peer, multihash: bytes, size_bytes: int, now: float) -> None:
        request = peer.asked.pop(multihash, None)
        if request is not None:
            latency_s = now - request.asked_at
            peer.latency_s = latency_s if peer.latency_s is None else min(peer.latency_s, latency_s)
        peer.interval_bytes += size_bytes
        elapsed_s = now - peer.interval_at
        # What little came before it had no more to send tells of the round trip, not of the rate.
        has_ended = (
            not peer.asked and elapsed_s > 0 and peer.interval_bytes >= limits.FETCH_WINDOW_BYTES_FIRST
        )
        if elapsed_s >= limits.FETCH_RATE_INTERVAL_S or has_ended:
            rate = peer.interval_bytes / elapsed_s
            before = peer.share.rate
            peer.share.rate = rate if before is None else (before + rate) / 2
            peer.interval_at, peer.interval_bytes = now, 0
