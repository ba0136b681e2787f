"""Joining the network and staying joined: bootstrap peers, remembered peers, low-peer fixer.

One task. While the table is empty it tries every bootstrap and remembered peer with growing pauses;
while it is small it tries again now and then those that it lacks, and the bootstrap peers among them once a
refresh interval in any case; when our addresses change it walks to our own key, so that our neighbours learn
them. It walks now and then too, ever more seldom, and when a quarter of our neighbours have come or gone. It
remembers how each attempt ended,
because "why is my routing table empty" is the first question an operator has.

Source: go-libp2p-kad-dht, dht.go (fixLowPeersRoutine: fewer than 10 peers, every 2 minutes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog
import trio

from primedht import limits
from primedht.dht.config import DhtConfig, seconds
from primedht.dht.lookup import Lookups
from primedht.dht.peers import Peers
from primedht.dht.ports import Ports
from primedht.errors import InvalidArgument, PrimeDhtError, StoreUnavailable
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.stores.kv import KeyValue
from primedht.wire import addrs

log = structlog.get_logger(__name__)

_SNAPSHOT_NAME = b"t/snapshot"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How the last attempt to reach one bootstrap address ended. code: "ok", or an error's."""

    addr: str
    code: str
    detail: str = ""


class Bootstrap:
    """Keeps the routing table from being empty. `serve` runs its task."""

    def __init__(
        self, ports: Ports, peers: Peers, lookups: Lookups, config: DhtConfig, addrs: Sequence[str]
    ) -> None:
        self._connections = ports.connections
        self._book = ports.address_book
        self._peers = peers
        self._lookups = lookups
        self.addrs = tuple(addrs)
        self._peer_of: dict[str, PeerId] = {}
        self.remembered: tuple[PeerInfo, ...] = ()
        self.attempts: dict[str, Attempt] = {}
        self.tried = trio.Event()
        """Set when the first round of attempts has ended, however it ended."""
        self.joined = trio.Event()
        """Set when peers were met and asked for our neighbours: the table is filled."""
        self._wake = trio.Event()
        self._changed = trio.Event()
        self._refresh_interval_s = seconds(config.refresh_interval)
        self._rests_first_s = 0.0
        self.on_walked: Callable[[], None] = lambda: None
        self._changes_allowed = limits.WALK_CHANGES_SHARE * config.k_bucket_size
        self._joined_at = trio.current_time()  # when bootstrap peers were last tried
        self._changes = 0  # neighbours that came or went since the last walk
        peers.watch(joined=self._on_change, left=self._on_change, addrs_changed=self._on_addrs_changed)

    def why_empty(self) -> str | None:
        """Say why the routing table is empty, or None if it is not."""
        if len(self._peers.table):
            return None
        if not self.addrs and not self.remembered:
            return "no bootstrap peer is configured and none is remembered; waiting to be found"
        if not self.tried.is_set():
            return "the first bootstrap attempt is still under way"
        ends = [f"{attempt.addr}: {attempt.detail}" for attempt in self.attempts.values()]
        if any(attempt.code == "ok" for attempt in self.attempts.values()):
            return "bootstrap peers were reached and have gone again: " + "; ".join(ends)
        if ends and all(attempt.code == "no_kad" for attempt in self.attempts.values()):
            return "no bootstrap peer speaks this network's protocol: " + "; ".join(ends)
        return "no bootstrap peer answered: " + "; ".join(ends)

    def assume_joined(self, *, walk_in_s: float) -> None:
        """Take this node for one that joined long ago and next walks to its own key in `walk_in_s`."""
        self.tried.set()
        self.joined.set()
        self._rests_first_s = walk_in_s

    async def serve(self) -> NoReturn:
        """Only cancellation ends it."""
        pause_s = walk_pause_s = limits.BOOTSTRAP_PAUSE_S
        while True:
            self._wake, self._changed = trio.Event(), trio.Event()
            if self._rests_first_s and len(self._peers.table):
                with trio.move_on_after(self._rests_first_s):
                    await self._changed.wait()
                self._rests_first_s, walk_pause_s = 0.0, limits.LOW_PEERS_INTERVAL_S
                self._wake, self._changed = trio.Event(), trio.Event()
            await self._join()
            if not self.tried.is_set():
                self.tried.set()
                if (why := self.why_empty()) is not None and self.addrs:
                    log.warning("routing_table_empty", why=why)
            if len(self._peers.table):
                pause_s = limits.BOOTSTRAP_PAUSE_S
                # Soon again at first: nobody tells us of those that join at the same moment as we.
                await self._rest(walk_pause_s)
                is_low = len(self._peers.table) < limits.LOW_PEERS
                pause_s_max = limits.LOW_PEERS_INTERVAL_S if is_low else self._refresh_interval_s
                walk_pause_s = min(limits.WALK_PAUSE_GROWTH * walk_pause_s, pause_s_max)
            else:
                walk_pause_s = limits.BOOTSTRAP_PAUSE_S
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, limits.BOOTSTRAP_PAUSE_S_MAX)

    async def _rest(self, pause_s: float) -> None:
        """Let `pause_s` pass; less, but `LOW_PEERS_INTERVAL_S`, once many neighbours came or went."""
        with trio.move_on_after(min(pause_s, limits.LOW_PEERS_INTERVAL_S)):
            await self._wake.wait()
            return
        if pause_s > limits.LOW_PEERS_INTERVAL_S:
            with trio.move_on_after(pause_s - limits.LOW_PEERS_INTERVAL_S):
                await self._changed.wait()

    async def walk_to_self(self) -> None:
        """Look up our own key: neighbours are met, and they meet us (go: self-walk)."""
        self._changes = 0
        await self._lookups.closest_peers(bytes(self._peers.peer_id), timeout_s=limits.WALK_TIMEOUT_S)
        self.on_walked()

    async def _join(self) -> None:
        now = trio.current_time()
        is_low = len(self._peers.table) < limits.LOW_PEERS
        # Halves that have long forgotten each other find together through bootstrap peers.
        if is_low or now - self._joined_at >= self._refresh_interval_s:
            self._joined_at = now
            async with trio.open_nursery() as nursery:
                at_once = trio.CapacityLimiter(limits.ADMISSIONS_AT_ONCE)
                for addr in self.addrs:
                    peer = self._peer_of.get(addr)
                    if peer is None or peer not in self._peers.table:
                        nursery.start_soon(self._try_addr, addr, at_once)
                for info in self.remembered if is_low else ():
                    if info.id not in self._peers.table:
                        nursery.start_soon(self._try_remembered, info, at_once)
        if len(self._peers.table):
            await self.walk_to_self()
            self.joined.set()

    async def attempt(self, addr: str) -> Attempt:
        """Try one bootstrap address now; how it ended is returned, and remembered."""
        self.attempts[addr] = attempt = await self._attempt(addr)
        return attempt

    async def _attempt(self, addr: str) -> Attempt:
        try:
            peer = await self._connections.connect_addr(addr, timeout_s=limits.BOOTSTRAP_DIAL_S)
        except PrimeDhtError as error:
            log.info("bootstrap_failed", addr=addr, code=error.code, error=str(error))
            return Attempt(addr, error.code, str(error))
        self._peer_of[addr] = peer
        self._peers.note_found(peer, "bootstrap")
        if peer == self._peers.peer_id:
            return Attempt(addr, "self", "this is our own address")
        if self._connections.serves_kad(peer) is False:
            return Attempt(addr, "no_kad", "connected, but it does not serve this network's protocol")
        if await self._peers.verify(peer):
            return Attempt(addr, "ok", "answered")
        return Attempt(addr, "peer_unreachable", "connected, then failed a request")

    async def _try_addr(self, addr: str, at_once: trio.CapacityLimiter) -> None:
        async with at_once:
            await self.attempt(addr)

    async def _try_remembered(self, info: PeerInfo, at_once: trio.CapacityLimiter) -> None:
        async with at_once:
            self._book.add(info.id, info.addrs, ttl_s=limits.HEARD_ADDRS_TTL_S)
            self._peers.note_found(info.id, "remembered")
            await self._peers.verify(info.id)

    def _on_change(self, peer: PeerId) -> None:
        if self._peers.is_near(peer):
            self._changes += 1
            if self._changes >= min(self._changes_allowed, len(self._peers.table) / 2):
                self._changed.set()
        if not len(self._peers.table):
            self._wake.set()

    def _on_addrs_changed(self) -> None:
        self._wake.set()
        self._changed.set()


async def save_snapshot(store: KeyValue, peers: Peers, network_id: str) -> None:
    """Remember the table's peers for the next start. Raises `StoreUnavailable`, `StoreFull`."""
    members = sorted(peers.table.members(), key=lambda member: -member.last_seen)
    known = [peers.info(member.peer) for member in members[: limits.SNAPSHOT_PEERS_MAX]]
    snapshot = {
        "network": network_id,
        "peers": {info.id.hex(): [addr.hex() for addr in info.addrs[:8]] for info in known if info.addrs},
    }
    await store.put({_SNAPSHOT_NAME: json.dumps(snapshot).encode()})
    log.debug("table_remembered", peers=len(snapshot["peers"]))


async def load_snapshot(store: KeyValue, network_id: str) -> tuple[PeerInfo, ...]:
    """Return the peers remembered for this network; none if the snapshot is another network's or damaged."""
    try:
        raw = await store.get(_SNAPSHOT_NAME)
        if raw is None:
            return ()
        snapshot = json.loads(raw)
        if snapshot["network"] != network_id:
            return ()
        return tuple(
            PeerInfo(PeerId(bytes.fromhex(peer)), tuple(map(bytes.fromhex, known)))
            for peer, known in snapshot["peers"].items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, InvalidArgument, StoreUnavailable) as error:
        log.warning("snapshot_ignored", error=str(error))
        return ()


def texts_of(info: PeerInfo) -> tuple[str, ...]:
    """Return the addresses of `info` as text; those of unknown protocols are left out."""
    texts = []
    for addr in info.addrs:
        try:
            texts.append(addrs.format_addr(addr))
        except InvalidArgument:
            continue
    return tuple(texts)
