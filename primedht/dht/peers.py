"""The peers of one node: who is in the routing table, who should be, and who has gone.

A peer enters the table only when identify lists our protocol and it has answered a request
(`answered`). Candidates come from connections, from other peers' replies and from those that have
gone; a few tasks ask each for the peers closest to us, which verifies it and, in a small network,
introduces the next ones at once. A member that fails a request leaves the table and is tried again
with growing pauses (departed.py), so that a healed partition needs no bootstrap peer.

Source: go-libp2p-kad-dht, dht.go (validPeerFound, lookupCheck) and subscriber_notifee.go; probing of
neighbours is ours: repair must not wait for a TCP reset to notice a dead holder.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Collection, Iterable
from typing import Literal, NoReturn

import structlog
import trio

from primedht import limits
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.departed import Departed
from primedht.dht.ports import Ports
from primedht.dht.work_queue import WorkQueue
from primedht.errors import RemoteError
from primedht.ids import PeerId
from primedht.kad.departures import DepartureRate
from primedht.kad.diversity import IpDiversity
from primedht.kad.key import Key, distance, key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.kad.rtt import Rtt
from primedht.kad.table import Added, Full, RoutingTable, usefulness_grace_s
from primedht.wire import addrs

log = structlog.get_logger(__name__)

How = Literal["bootstrap", "mdns", "remembered", "lookup", "inbound", "connect"]


class Peers:
    """Owns the routing table. Implements `PeerListener`; `serve` runs its tasks."""

    def __init__(self, ports: Ports, config: DhtConfig) -> None:
        self._rpc = ports.rpc
        self._book = ports.address_book
        self._connections = ports.connections
        self._config = config
        self.peer_id = ports.connections.peer_id
        self.table = RoutingTable(
            self.peer_id,
            bucket_size=config.k_bucket_size,
            diversity=IpDiversity() if config.network_kind == "public" else None,
        )
        self.found: dict[PeerId, How] = {}
        self._partners: Collection[PeerId] = ()
        self._watchful = trio.Event()
        now = trio.current_time()
        self.departures_lately = DepartureRate(
            now, window_s=limits.DEPARTURES_LATELY_S, assumed=1, assumed_s=limits.DEPARTURES_LATELY_ASSUMED_S
        )
        self.departures = DepartureRate(
            now,
            window_s=limits.DEPARTURES_WINDOW_S,
            assumed=limits.DEPARTURES_ASSUMED,
            assumed_s=limits.DEPARTURES_ASSUMED * limits.DEPARTURES_ASSUMED_LIFE_S,
        )
        self._departed = Departed(self.table.self_key)
        self._retries_granted = 0
        self._returned = trio.Event()
        self._passed_over: dict[PeerId, float] = {}  # answered, found no place: when they may try again
        self._ask_closed_at: dict[PeerId, float] = {}  # members that closed: when the next time counts
        self._queued: set[PeerId] = set()
        # Those that we are connected to or know do not queue behind those that others told us of.
        self._checks = WorkQueue(
            self._verify_queued, at_once=limits.CHECKS_AT_ONCE, waiting_max=limits.ADMISSION_QUEUE_MAX
        )
        self._admissions = WorkQueue(
            self._verify_queued, at_once=limits.ADMISSIONS_AT_ONCE, waiting_max=limits.ADMISSION_QUEUE_MAX
        )
        self._joined: list[Callable[[PeerId], None]] = []
        self._left: list[Callable[[PeerId], None]] = []
        self._reconnected: list[Callable[[PeerId], None]] = []
        self._cut_off: dict[PeerId, None] = {}  # members whose connection was lost, until they answer again
        self._addrs_changed: list[Callable[[], None]] = []
        self._request_timeout_s = seconds(config.request_timeout)
        self._dials = Rtt()  # of a dial and the request after it
        self._answers = Rtt()  # of requests to peers that we were connected to
        self._doubted: set[PeerId] = set()  # members that were slow when last asked
        ports.connections.subscribe(self)

    def watch(
        self,
        *,
        joined: Callable[[PeerId], None] | None = None,
        left: Callable[[PeerId], None] | None = None,
        reconnected: Callable[[PeerId], None] | None = None,
        addrs_changed: Callable[[], None] | None = None,
    ) -> None:
        """Call these when a peer enters or leaves the table, or our own addresses change.

        reconnected: a member answers again after its connection was lost; it may have started anew.
        """
        if joined is not None:
            self._joined.append(joined)
        if left is not None:
            self._left.append(left)
        if reconnected is not None:
            self._reconnected.append(reconnected)
        if addrs_changed is not None:
            self._addrs_changed.append(addrs_changed)

    @property
    def partners(self) -> Collection[PeerId]:
        """Those we share records with, whose death must be noticed soon; repair says who."""
        return self._partners

    @partners.setter
    def partners(self, peers: Collection[PeerId]) -> None:
        self._partners = peers
        self._watchful.set()

    # --- what others ask ------------------------------------------------------------------------

    def info(self, peer: PeerId) -> PeerInfo:
        """Return `peer` with the addresses that we know, or our own."""
        own = peer == self.peer_id
        return PeerInfo(peer, self._book.own_addrs() if own else self._book.addrs(peer))

    def infos(self, peers: Iterable[PeerId]) -> list[PeerInfo]:
        """Return other `peers` with the addresses that we know, without those of whom we know none."""
        return self._book.infos(peers)

    def closest(
        self, target: Key, n: int, *, exclude: Collection[PeerId] = (), with_self: bool = False
    ) -> list[PeerId]:
        """Return the `n` members closest to `target`; `with_self` ranks this node among them."""
        closest = self.table.find_closest(target, n, exclude=exclude)
        if with_self:
            rank = bisect(
                closest,
                distance(key_of(self.peer_id), target),
                key=lambda peer: distance(key_of(peer), target),
            )
            closest.insert(rank, self.peer_id)
            del closest[n:]
        return closest

    def is_connected(self, peer: PeerId) -> bool:
        """Whether a request to `peer` can go at once: there is a connection, and identify is done."""
        return self._connections.serves_kad(peer) is not None

    def slow_after_s(self, peer: PeerId) -> float:
        """Return how long a lookup waits for `peer` before it gives its slot to another one.

        A peer that must be dialled first gets as long as dials have been taking: over 300 ms a
        handshake and the request after it are some seven round trips, and the peer is not slow at all. Not
        so one that has not even taken the connection when a usual dial would be over.
        """
        member = self.table.member(peer)
        if not self.is_connected(peer):
            reached = self._connections.is_reached(peer)
            patience_s = max(limits.SLOW_AFTER_S, self._dials.patience_s if reached else self._dials.usual_s)
            if self._dials.count < limits.DIALS_KNOWN_MIN:
                patience_s = max(limits.SLOW_DIAL_S, self._dials.patience_s)
        elif member is None or member.rtt_s is None:
            patience_s = limits.SLOW_AFTER_S
        else:
            patience_s = max(limits.SLOW_AFTER_S_MIN, limits.SLOW_AFTER_RTTS * member.rtt_s)
        return min(patience_s, self._request_timeout_s)

    def late_after_s(self, peer: PeerId) -> float:
        """Return how long a lookup waits for `peer` before it asks others in its place as well.

        Most answers come sooner. Of a dial the connection is a small part: a peer that has not even taken
        one when half of a usual dial has passed is hardly there.
        """
        if peer in self._doubted:
            return 0.0
        if not self.is_connected(peer):
            if self._dials.count < limits.DIALS_KNOWN_MIN:
                return limits.SLOW_DIAL_S
            usual_s = max(limits.LATE_AFTER_S_MIN, self._dials.usual_s)
            return usual_s if self._connections.is_reached(peer) else usual_s / 2
        member = self.table.member(peer)
        if member is None or member.rtt_s is None:
            few = self._answers.count < limits.DIALS_KNOWN_MIN
            return limits.SLOW_AFTER_S if few else max(limits.LATE_AFTER_S_MIN, self._answers.usual_s)
        return max(limits.LATE_AFTER_S_MIN, limits.LATE_AFTER_RTTS * member.rtt_s)

    # --- what happened -----------------------------------------------------------------------------

    def answered(self, peer: PeerId, *, took_s: float | None = None, dialled: bool = False) -> None:
        """`peer` answered a request of ours: it enters the table if identify lists our protocol.

        took_s: seconds from the request to its answer; `dialled`: a dial was part of that.
        """
        if dialled and took_s is not None:
            self._dials.note(took_s)
        elif took_s is not None:
            self._answers.note(took_s)
        self._doubted.discard(peer)
        self._welcome(peer)
        if not self._connections.serves_kad(peer):
            return
        now = trio.current_time()
        outcome = self.table.update(
            peer, now, ips=self._ips_to_count(peer), answered=True, rtt_s=None if dialled else took_s
        )
        if isinstance(outcome, Added):
            self._on_joined(peer)
        elif peer in self._cut_off:
            del self._cut_off[peer]
            for call in self._reconnected:
                call(peer)
        elif isinstance(outcome, Full):
            self._pass_over(peer)
            self._check_oldest(outcome.oldest, outcome.oldest_seen)

    def doubt(self, peer: PeerId) -> None:
        """`peer` was slow and nobody waited for it: a member is verified, so that a dead one goes."""
        if peer in self.table:
            self._doubted.add(peer)
            self.consider(peer)

    def failed(self, peer: PeerId, error: RemoteError) -> None:
        """`peer` failed a request of ours: a member leaves the table, to be tried again later."""
        was_member, is_near = peer in self.table, self.is_near(peer)
        if was_member:
            log.debug("peer_dropped", peer=str(peer), code=error.code)
            self._drop(peer)
        now = trio.current_time()
        if not self._departed.note_failure(peer, now, was_member=was_member, is_near=is_near):
            self._pass_over(peer)
        self._watchful.set()

    def set_aside(self, peer: PeerId) -> None:
        """Somebody disconnects `peer`: it leaves the table and is not looked for, for `SET_ASIDE_S`."""
        was_member = peer in self.table
        if was_member:
            self._drop(peer)
        self._departed.set_aside(peer, trio.current_time(), was_member=was_member)
        self._watchful.set()

    def heard_from(self, peer: PeerId) -> None:
        """`peer` sent us a request: a member stays fresh; others must first answer one of ours."""
        now = trio.current_time()
        if peer in self.table:
            self.table.update(peer, now)
        elif self._departed.may_be_back(peer, now):
            self._try_out_of_turn(peer)

    def hear(self, infos: Iterable[PeerInfo], *, how: How = "lookup") -> None:
        """Remember peers that others told us of, and verify those that belong into the table."""
        others = [info for info in infos if info.id != self.peer_id]
        self._book.add_all(others, ttl_s=limits.HEARD_ADDRS_TTL_S)
        own, near = self.table.self_key, self._near_distance()
        for peer in [info.id for info in others if key_of(info.id) ^ own <= near]:  # most are far
            if peer in self._departed:
                if self._departed.may_be_back(peer, trio.current_time()):
                    self._try_out_of_turn(peer)
                continue
            if peer in self.table or self._is_passed_over(peer):
                continue
            if self._connections.serves_kad(peer) is not False:
                self.note_found(peer, how)
                self.consider(peer)

    def remember_addrs(self, info: PeerInfo, *, ttl_s: float) -> None:
        """Remember the addresses of a peer without considering it for the table."""
        if info.addrs and info.id != self.peer_id:
            self._book.add(info.id, info.addrs, ttl_s=ttl_s)

    def note_found(self, peer: PeerId, how: How) -> None:
        """Remember how `peer` was found first; whatever else is known says more than that it connected.

        Of too many the oldest that is no member is forgotten.
        """
        if self.found.get(peer, "inbound") != "inbound":
            return
        if peer not in self.found and len(self.found) >= limits.FOUND_PEERS_MAX:
            oldest = next((known for known in self.found if known not in self.table), None)
            if oldest is None:
                return
            del self.found[oldest]
        self.found[peer] = how

    def consider(self, peer: PeerId) -> None:
        """Have `peer` verified soon. Dropped when too many wait: it will be met again."""
        if peer in self._queued or peer == self.peer_id:
            return
        known = peer in self.table or self.is_connected(peer) or self._departed.was_member(peer)
        queue = self._checks if known else self._admissions
        if queue.put(peer):
            self._queued.add(peer)

    # --- PeerListener ------------------------------------------------------------------------------

    def on_identified(self, peer: PeerId, protocols: frozenset[str]) -> None:
        if self._config.network_id in protocols:
            self.note_found(peer, "inbound")
            if peer not in self.table and not self._departed.is_set_aside(peer, trio.current_time()):
                self._welcome(peer)
                self._meet(peer)
        elif peer in self.table:
            log.debug("peer_left_server_mode", peer=str(peer))
            self._drop(peer)

    def on_disconnected(self, peer: PeerId) -> None:
        """A member may be dead, or have too many connections: a far one is asked once an interval.

        In networks of thousands, tables are larger than what hosts keep open. Whoever dials each member
        that closes makes that one, or the next one, close another.
        """
        if peer not in self.table:
            return
        self._cut_off[peer] = None
        now = trio.current_time()
        if self.is_near(peer) or now >= self._ask_closed_at.get(peer, -math.inf):
            self._ask_closed_at[peer] = now + limits.MEMBER_CLOSED_S
            self.consider(peer)

    def on_own_addrs_changed(self) -> None:
        for call in self._addrs_changed:
            call()

    # --- tasks ---------------------------------------------------------------------------------------

    async def serve(self) -> NoReturn:
        """Verify candidates and probe members. Only cancellation ends it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._checks.serve)
            nursery.start_soon(self._admissions.serve)
            nursery.start_soon(self._serve_liveness)
            nursery.start_soon(self._serve_returns)
        raise AssertionError("unreachable: its tasks never return")

    async def _verify_queued(self, peer: PeerId) -> None:
        try:
            await self.verify(peer)
        finally:
            self._queued.discard(peer)

    async def verify(self, peer: PeerId) -> bool:
        """Ask `peer` for the peers closest to us; it enters, stays in or leaves the table by its answer."""
        question = Message(MessageType.FIND_NODE, key=bytes(self.peer_id))
        started, connected = trio.current_time(), self.is_connected(peer)
        try:
            reply = await self._rpc.request(peer, question, timeout_s=self._request_timeout_s)
        except RemoteError as error:
            self.failed(peer, error)
            return False
        others = [info for info in reply.closer_peers if info.id != self.peer_id]
        if not others and len(self.table) >= self._config.k_bucket_size and peer not in self.table:
            return False  # knows nobody: of no use to a table that is not small (go's lookupCheck)
        self.answered(peer, took_s=trio.current_time() - started, dialled=not connected)
        if peer not in self.table:
            self._pass_over(peer)
        self.hear(others[: limits.QUERY_PEERS_PER_REPLY_FACTOR * self._config.k_bucket_size])
        return True

    async def _serve_liveness(self) -> NoReturn:
        grace_s = usefulness_grace_s(
            bucket_size=self._config.k_bucket_size,
            concurrency=self._config.alpha,
            refresh_interval_s=seconds(self._config.refresh_interval),
        )
        scan_s = limits.LIVENESS_SCAN_TICKS * limits.LIVENESS_TICK_S
        scan_at = trio.current_time() + scan_s
        while True:
            await self._rest(scan_at)
            now = trio.current_time()
            patience_s = self.departures_lately.patience_s(self._config.replication_factor)
            for partner in self.partners:
                member = self.table.member(partner)
                if member is not None and now - member.last_seen > patience_s + self._waits_s(partner, 1):
                    self.consider(partner)
            if now >= scan_at:
                scan_at = now + scan_s
                neighbours = set(self.table.nearest(self._config.k_bucket_size))
                self.departures_lately.watch(now, len(neighbours))
                self.departures.watch(now, len(neighbours))
                for member in self.table.members():
                    patience_s = grace_s
                    if member.peer in neighbours:
                        waits_s = self._waits_s(member.peer, limits.LIVENESS_SCAN_TICKS)
                        patience_s = limits.NEIGHBOUR_PROBE_S + waits_s
                    if now - member.last_seen > patience_s:
                        self.consider(member.peer)
            for peer in self._departed.due(now):
                self.consider(peer)

    async def _rest(self, scan_at: float) -> None:
        """Sleep for a tick, or until `scan_at` while there is nobody to look for sooner."""
        with trio.move_on_at(scan_at):
            if not (self._partners or len(self._departed)):
                self._watchful = trio.Event()
                await self._watchful.wait()
            await trio.sleep(limits.LIVENESS_TICK_S)

    def _waits_s(self, neighbour: PeerId, ticks: int) -> float:
        """Return how much later `neighbour` is asked than it might be: of two, one asks first.

        Its question tells the other that it is there. Which one is as good as random, and known to both.
        """
        own, other = self.table.self_key, key_of(neighbour)
        asks_first = (own < other) == bool(distance(own, other) & 1)
        return 0.0 if asks_first else ticks * limits.LIVENESS_TICK_S

    async def _serve_returns(self) -> NoReturn:
        """After a lost member has returned, try others that were lost, spread over about a second."""
        while True:
            await self._returned.wait()
            self._returned = trio.Event()
            while self._retries_granted:
                peer = self._departed.closest_out_of_turn(trio.current_time(), exclude=self._queued)
                if peer is None:
                    self._retries_granted = 0
                    break
                self._retries_granted -= 1
                self._try_out_of_turn(peer)
                await trio.sleep(limits.RETURN_RETRY_STAGGER_S)

    # --- inner -----------------------------------------------------------------------------------------

    def _meet(self, peer: PeerId) -> None:
        """Verify a stranger that connected, unless its bucket needs neither members nor replacements.

        In large networks most who connect are no more than that; a question to each of them would be half of
        all messages. The member that was silent longest is asked as if the stranger had answered.
        """
        now, table = trio.current_time(), self.table
        if table.has_room(peer):
            self.consider(peer)
        elif not self._is_passed_over(peer):
            if table.waiting_since(peer, now - limits.REPLACEMENT_FRESH_S) < limits.REPLACEMENTS_WANTED:
                self.consider(peer)
            elif (oldest := table.least_recently_seen(peer)) is not None:
                self._check_oldest(oldest.peer, oldest.last_seen)

    def _check_oldest(self, member: PeerId, last_seen: float) -> None:
        if trio.current_time() - last_seen > limits.EVICTION_PING_AGE_S:
            self.consider(member)

    def _welcome(self, peer: PeerId) -> None:
        """`peer` is there. If it is a member that was lost, others may be back too."""
        if self._departed.forget(peer):
            self._retries_granted = min(
                self._retries_granted + limits.RETURN_RETRIES, limits.DEPARTED_PEERS_MAX
            )
            self._returned.set()

    def _try_out_of_turn(self, peer: PeerId) -> None:
        if peer not in self._queued:
            self._departed.try_out_of_turn(peer, trio.current_time())
            self.consider(peer)

    def _is_passed_over(self, peer: PeerId) -> bool:
        """Whether `peer` answered lately and found no place: every neighbour names it again and again."""
        return self._passed_over.get(peer, -math.inf) > trio.current_time()

    def _ips_to_count(self, peer: PeerId) -> list[str]:
        """Return the addresses by which the table may refuse `peer`; those of members are counted."""
        if self._config.network_kind != "public" or peer in self.table:
            return []
        return [str(ip) for addr in self._book.addrs(peer) if (ip := addrs.ip_of(addr))]

    def _pass_over(self, peer: PeerId) -> None:
        self._passed_over.pop(peer, None)
        if len(self._passed_over) >= limits.PASSED_OVER_PEERS_MAX:
            del self._passed_over[next(iter(self._passed_over))]
        self._passed_over[peer] = trio.current_time() + limits.PASSED_OVER_S

    def is_near(self, peer: PeerId) -> bool:
        """Whether `peer` belongs among our k closest, or the table is still small."""
        return distance(key_of(peer), self.table.self_key) <= self._near_distance()

    def _near_distance(self) -> float:
        """Return how far from us the farthest of our k closest is; endless while the table is small."""
        k = self._config.k_bucket_size
        nearest = self.table.nearest(k)
        return math.inf if len(nearest) < k else distance(key_of(nearest[-1]), self.table.self_key)

    def _on_joined(self, peer: PeerId) -> None:
        log.debug("peer_joined", peer=str(peer), table=len(self.table))
        self._connections.protect(peer, True)
        for call in self._joined:
            call(peer)

    def _drop(self, peer: PeerId) -> None:
        if self.is_near(peer):
            self.departures_lately.note()
            self.departures.note()
        self._ask_closed_at.pop(peer, None)
        promoted = self.table.remove(peer)
        self._doubted.discard(peer)
        self._cut_off.pop(peer, None)
        self._connections.protect(peer, False)
        for call in self._left:
            call(peer)
        if promoted is not None:
            self._on_joined(promoted)
            self.consider(promoted)
