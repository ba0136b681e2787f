"""Lookups: what a node asks whom to find the peers closest to a key, and what it learns on the way.

Whoever answers is a candidate for the routing table; whoever fails leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import trio

from primedht import limits
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.peers import Peers
from primedht.dht.ports import Ports
from primedht.dht.query_run import AnyQuery, Enough, Lacking, Outcome, QueryRun
from primedht.errors import PeerTimeout, ProtocolViolation, RemoteError
from primedht.ids import PeerId
from primedht.kad.disjoint import DisjointQueries
from primedht.kad.diversity import without_crowded_groups
from primedht.kad.key import Key, common_prefix_length, key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.kad.netsize import NetworkSize
from primedht.kad.query import Query, QueryLimits
from primedht.results import Asked, AskOutcome, Trace
from primedht.wire import addrs

Verdict = Literal["value", "nothing"]
"""What an answer was worth: `value` if it carried an acceptable record or provider."""

Judge = Callable[[PeerId, Message], Verdict]
Avoids = Callable[[PeerId], bool]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """closest: the k closest peers that answered, closest first."""

    closest: tuple[PeerId, ...]
    trace: Trace


class Lookups:
    """Runs the lookups of one node."""

    def __init__(self, ports: Ports, peers: Peers, config: DhtConfig) -> None:
        self._rpc = ports.rpc
        self._book = ports.address_book
        self._peers = peers
        self._config = config
        self._request_timeout_s = seconds(config.request_timeout)
        self._closer_max = limits.QUERY_PEERS_PER_REPLY_FACTOR * config.k_bucket_size
        self._limits = QueryLimits(
            result_size=config.k_bucket_size,
            concurrency=config.alpha,
            resiliency=config.resiliency,
        )
        self.network_size = NetworkSize(bucket_size=config.k_bucket_size)

    async def closest_peers(
        self,
        target: bytes,
        *,
        timeout_s: float,
        tells_size: bool = True,
        judge: Judge = lambda peer, reply: "nothing",
        avoids: Avoids | None = None,
        count: int | None = None,
    ) -> LookupResult:
        """Find the k peers closest to `target`, a preimage.

        tells_size: whether the target is as good as random, so that the distances tell the network's size.
        judge, avoids, count: as of `run`.
        """
        message = Message(MessageType.FIND_NODE, key=target)
        result = await self.run(message, timeout_s=timeout_s, judge=judge, avoids=avoids, count=count)
        if tells_size and result.trace.stopped in ("converged", "exhausted"):
            point, table = key_of(target), self._peers.table
            sizes, cpl = table.sizes_by_cpl(), common_prefix_length(point, table.self_key)
            level = sizes[cpl] if cpl < len(sizes) else 0
            self.network_size.track(
                point,
                result.closest,
                trio.current_time(),
                bucket_level=level,
                assumed=self.assumed_network_size(),
            )
        return result

    def assumed_network_size(self) -> float:
        """Return how many other peers there seem to be, by lookups so far and by the routing table."""
        return self.network_size.assume(trio.current_time(), self._peers.table.sizes_by_cpl())

    async def run(
        self,
        message: Message,
        *,
        timeout_s: float,
        judge: Judge = lambda peer, reply: "nothing",
        enough: Enough = lambda query: False,
        lacking: Lacking = lambda: False,
        avoids: Avoids | None = None,
        count: int | None = None,
    ) -> LookupResult:
        """Send `message` to peers ever closer to its key until the closest have answered.

        Args:
            timeout_s: seconds; when they pass, the result is what is known by then.
            judge: looks at each answer. A `ProtocolViolation` makes it a failed request.
            enough: asked after each answer, and when somebody is late; True ends the lookup.
            lacking: asked when the lookup has ended by itself; as long as it is True, the slow ones among
                the R closest are waited for. A dial that began before a cut healed may hang so long.
            avoids: whom it neither asks nor finds, as if they were not there.
            count: of the closest peers that are wanted, up to k; k unless told.
        """
        target = key_of(message.key)
        query = self._query(target, avoids, count)
        run = QueryRun(
            query,
            lambda entry: self._request(entry, message),
            lambda outcome: self._take(outcome, query, judge, avoids),
        )
        took_s = await run.walk(
            timeout_s=timeout_s,
            enough=enough,
            lacking=lambda: lacking() and self._awaits_close(target, run.asked()),
        )
        asked = run.asked()
        for entry in asked:
            if entry.outcome == "abandoned" and entry.took_s >= self._peers.slow_after_s(entry.peer):
                self._peers.doubt(entry.peer)
        result = query.result()
        trace = Trace(message.key, asked, result.stopped, took_s)
        answered = set(result.answered)
        return LookupResult(tuple(peer for peer in result.closest_peers if peer in answered), trace)

    def _awaits_close(self, target: Key, asked: Iterable[Asked]) -> bool:
        """Whether one of the R closest that have not failed owes its answer."""
        owing = [entry.peer for entry in asked if entry.outcome == "abandoned"]
        answered = [entry.peer for entry in asked if entry.outcome == "answered"]
        closest = nearest_of([*owing, *answered], target, self._config.replication_factor)
        return not set(closest).isdisjoint(owing)

    def _query(self, target: Key, avoids: Avoids | None, count: int | None) -> AnyQuery:
        avoided = {peer for peer in self._peers.table.peers() if avoids(peer)} if avoids is not None else ()
        seeds = self._peers.closest(
            target, limits.QUERY_SEEDS_FACTOR * self._config.k_bucket_size, exclude=avoided
        )
        slow_after_s, late_after_s = self._peers.slow_after_s, self._peers.late_after_s
        own, paths = {self._peers.peer_id}, self._config.disjoint_paths
        bounds = self._limits if count is None else replace(self._limits, result_size=count)
        if paths == 1:
            return Query(
                target, seeds, bounds,
                slow_after_s=slow_after_s, late_after_s=late_after_s, exclude=own,
            )  # fmt: skip
        return DisjointQueries(
            target, seeds, bounds, paths=paths,
            slow_after_s=slow_after_s, late_after_s=late_after_s, exclude=own,
        )  # fmt: skip

    async def _request(self, entry: Asked, message: Message) -> Outcome:
        reply, error = None, None
        dialled = not self._peers.is_connected(entry.peer)
        began = trio.current_time()
        try:
            reply = await self._rpc.request(entry.peer, message, timeout_s=self._request_timeout_s)
        except RemoteError as failure:
            error = failure
        return Outcome(replace(entry, took_s=trio.current_time() - began), dialled, reply, error)

    def _take(
        self, outcome: Outcome, query: AnyQuery, judge: Judge, avoids: Avoids | None
    ) -> tuple[Asked, list[PeerId]]:
        """Report `outcome` to the query and the routing table.

        Returns its line of the trace, and the peers that it told of.
        """
        now = trio.current_time()
        asked, reply, error = outcome.asked, outcome.reply, outcome.error
        verdict: Verdict = "nothing"
        if reply is not None:
            try:
                verdict = judge(asked.peer, reply)
            except ProtocolViolation as violation:
                error = violation
        if reply is None or error is not None:
            assert error is not None
            self._peers.failed(asked.peer, error)
            query.on_failed(asked.peer, now)
            return replace(asked, outcome=_outcome_of(error)), []
        self._peers.answered(asked.peer, took_s=asked.took_s, dialled=outcome.dialled)
        # Of a peer that names more nobody is heard of: each may cost a dial.
        closer = self._usable(reply.closer_peers)[: self._closer_max]
        self._peers.hear(closer)
        named = [info.id for info in closer if avoids is None or not avoids(info.id)]
        query.on_answered(asked.peer, named, now)
        return replace(asked, outcome="answered", closer=len(closer), has_value=verdict == "value"), named

    def _usable(self, infos: Iterable[PeerInfo]) -> list[PeerInfo]:
        """Drop closer peers that this network's rules forbid (go: query and diversity filters)."""
        if self._config.network_kind != "public":
            return list(infos)
        public = [info for info in infos if any(map(addrs.is_public, info.addrs))]
        return without_crowded_groups(public, _ips_of)


def nearest_of(peers: Iterable[PeerId], target: Key, n: int) -> list[PeerId]:
    """Return the `n` of `peers` closest to `target`, closest first."""
    return sorted(peers, key=lambda peer: key_of(peer) ^ target)[:n]


def _ips_of(info: PeerInfo) -> list[str]:
    return [str(ip) for addr in info.addrs if (ip := addrs.ip_of(addr)) is not None]


def _outcome_of(error: RemoteError) -> AskOutcome:
    if isinstance(error, PeerTimeout):
        return "timeout"
    return "violation" if isinstance(error, ProtocolViolation) else "unreachable"
