"""A world of real engines: `Dht` objects with memory stores on a simulated network.

    async with SimWorld(seed=7, nodes=64) as world:
        await world.settle()
        await world.nodes[3].dht.put_value(b"key", b"value")
        await world.nodes[5].crash()

The engine cannot tell it from the real thing: it is opened with the same ports. One seed decides
every delay, loss, id and scheduling order, so a run that failed can be run again; what fails inside
the block carries the seed and the digest in its notes.

Fast start: with `start="prefilled"` nobody bootstraps; each table is filled with random peers per
bucket, as a long-lived network's would be. Source of the idea: libtorrent, simulation/setup_dht.cpp.
"""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from types import TracebackType
from typing import Literal, Self

import trio

from primedht import limits
from primedht.dht.config import DhtConfig
from primedht.dht.ports import RequestHandler
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key, distance, key_of
from primedht.kad.messages import PeerInfo
from primedht.sim.addresses import AddrFilter, host_addr, private_ip
from primedht.sim.determinism import deterministic_scheduling
from primedht.sim.faults import Faults, Links
from primedht.sim.network import SimNetwork, open_network
from primedht.sim.node import SimNode
from primedht.sim.peer import KeyPair, SimPeer
from primedht.tasks import open_background_nursery
from primedht.wire import addrs as multiaddrs

_SETTLE_STEP_S = 0.25
_DRAWS = 16  # before all nodes are looked at
_STRANGERS_FROM = 1_000_000
"""Scripted peers have ids and addresses from this number on, so that they never shift a node's."""


class NotSettled(AssertionError):
    """The condition did not come true within its virtual time."""


class SimWorld(AbstractAsyncContextManager["SimWorld"]):
    """Nodes, links and faults of one simulation; an async context manager.

    Args:
        seed: decides everything random. nodes: started on entry, one after the other.
        links, faults: see their classes. config: of every node that has none of its own.
        start: "bootstrapped" through node 0, or "prefilled" tables without any bootstrapping.
        ip_of: the IP address of a node, by index. accepts: the address filter of all hosts.
        connections_max: per host; None leaves connections open for ever.
    """

    def __init__(
        self,
        seed: int = 0,
        nodes: int = 0,
        *,
        links: Links | None = None,
        faults: Faults | None = None,
        config: DhtConfig | None = None,
        start: Literal["bootstrapped", "prefilled"] = "bootstrapped",
        ip_of: Callable[[int], str] = private_ip,
        accepts: AddrFilter | None = None,
        connections_max: int | None = None,
    ) -> None:
        self.seed = seed
        self.links = links or Links()
        self.faults = faults or Faults()
        self.config = config or DhtConfig()
        self.ip_of = ip_of
        self.accepts = accepts
        self.connections_max = connections_max
        self.nodes: list[SimNode] = []
        self.peers: list[SimPeer] = []
        self.network: SimNetwork
        self.nursery: trio.Nursery
        self._nodes_count = nodes
        self._start = start
        self._rng = random.Random(f"world {seed}")
        self._block = self._open()

    async def __aenter__(self) -> Self:
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, trace)

    # --- building -------------------------------------------------------------------------------------

    def keypair(self, index: int) -> KeyPair:
        """Return the key of the node with this index; it depends on the seed and the index only."""
        return KeyPair.from_seed(hashlib.sha256(f"key {self.seed}/{index}".encode()).digest())

    async def add_node(
        self,
        *,
        config: DhtConfig | None = None,
        bootstrap: Sequence[str] | None = None,
        dialable: bool = True,
        start: bool = True,
    ) -> SimNode:
        """Add a node; it bootstraps through node 0 unless `bootstrap` says otherwise."""
        index = len(self.nodes)
        if bootstrap is None:
            bootstrap = [self.nodes[0].addr] if self.nodes else []
        node = SimNode(self, index, self.keypair(index), config or self.config, bootstrap)
        node.clock.skew_s = self._rng.uniform(-1, 1) * self.faults.clock_skew_s
        node.store_faults.error_rate = self.faults.store_error_rate
        node.dialable = dialable
        self.nodes.append(node)
        if start:
            await node.start()
        return node

    async def add_peer(
        self,
        script: RequestHandler,
        *,
        serves: bool = True,
        keys: KeyPair | None = None,
        addrs: Sequence[bytes] | None = None,
        dialable: bool = True,
        protocol: str | None = None,
        reply_bytes_max: int = limits.MESSAGE_BYTES_MAX,
    ) -> SimPeer:
        """Add a scripted peer that nobody knows yet (see `meet` and `prefill`); it knows every node."""
        number = _STRANGERS_FROM + len(self.peers)
        keys = keys or self.keypair(number)
        host = self.network.add_host(
            keys.peer,
            (host_addr(self.ip_of(number)),) if addrs is None else addrs,
            protocol=protocol or self.config.network_id,
            dialable=dialable,
            reply_bytes_max=reply_bytes_max,
        )
        peer = SimPeer(keys, host, script)
        for node in self.nodes:
            host.address_book.add(node.peer, node.addrs, ttl_s=math.inf)
        await peer.start(serves=serves)
        self.peers.append(peer)
        return peer

    async def meet(self, peer: SimPeer, nodes: Iterable[SimNode], *, timeout_s: float = 10.0) -> None:
        """Connect `peer` to `nodes`, which then decide by themselves whether to admit it."""
        for node in nodes:
            await peer.host.connect(node.peer, node.addrs, timeout_s=timeout_s)

    def prefill(self, node: SimNode, peers: Iterable[PeerInfo]) -> None:
        """Put `peers` into the routing table of `node` as if they had answered lately."""
        now = trio.current_time()
        for info in peers:
            node.host.address_book.fill(info.id, tuple((addr, math.inf) for addr in info.addrs))
            ips = _ips_of(info) if self.config.network_kind == "public" else ()
            seen_at = now - self._rng.uniform(0, limits.NEIGHBOUR_PROBE_S)
            node.dht.routing_table.update(info.id, seen_at, ips=ips, answered=True)

    def prefill_all(self) -> None:
        """Fill every running node's table: up to k random serving peers per common prefix length.

        Where there are more, a few wait for a place, as in a network that has long been up.
        """
        serving = [
            *(node.info for node in self.serving()),
            *(peer.info for peer in self.peers if peer.serves),
        ]
        ranked = sorted((key_of(info.id), info) for info in serving)
        keys = [key for key, _ in ranked]
        for node in self.nodes:
            if node.running:
                self.prefill(node, [ranked[at][1] for at in self._picks(node, keys)])
                node.dht.assume_joined()

    # --- looking at it ----------------------------------------------------------------------------------

    def running(self) -> list[SimNode]:
        """Return the nodes that are up."""
        return [node for node in self.nodes if node.running]

    def some_node(self, rng: random.Random) -> SimNode:
        """Return a running node at random. Raises `IndexError` if there is none."""
        for _ in range(_DRAWS):
            drawn = rng.choice(self.nodes)
            if drawn.running:
                return drawn
        return rng.choice(self.running())

    def serving(self) -> list[SimNode]:
        """Return the nodes that are up and in server mode."""
        return [node for node in self.nodes if node.serving]

    def node_of(self, peer: PeerId) -> SimNode:
        """Return the node with this id. Raises `KeyError`."""
        for node in self.nodes:
            if node.peer == peer:
                return node
        raise KeyError(str(peer))

    def closest(self, target: Key | bytes, n: int) -> list[SimNode]:
        """Return the `n` serving nodes closest to `target` (a key, or its preimage), by brute force."""
        point = key_of(target) if isinstance(target, bytes) else target
        return sorted(self.serving(), key=lambda node: distance(node.key, point))[:n]

    # --- time ---------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], *, limit_s: float = 60.0, what: str = "") -> float:
        """Let time pass until `holds()`; return how much did. Raises `NotSettled` after `limit_s`."""
        started = trio.current_time()
        while not holds():
            if trio.current_time() - started >= limit_s:
                raise NotSettled(f"not within {limit_s:g} virtual seconds: {what or holds.__name__}")
            await trio.sleep(_SETTLE_STEP_S)
        return trio.current_time() - started

    async def settle(self, *, limit_s: float = 120.0) -> float:
        """Let time pass until every table knows its neighbourhood (`unsettled`); return how much did."""
        return await self.until(lambda: not self.unsettled(), limit_s=limit_s, what="tables converge")

    def unsettled(self) -> list[SimNode]:
        """Return the running nodes that do not know their neighbourhood, or fewer than k peers there are.

        The smallest subtree around a node with k others in it has an inner half of fewer than k, all of
        which must be in the table; the outer half may be more than a bucket holds.
        """
        keys = sorted(node.key for node in self.serving())
        found = []
        for node in self.running():
            k = node.config.k_bucket_size
            members = {member.key for member in node.dht.routing_table.members()}
            inner = {key for key in _inner_half(keys, node.key, k + 1) if key != node.key}
            others = len(keys) - node.serving
            if not inner <= members or len(members) < min(k, others):
                found.append(node)
        return found

    # --- inner --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        with deterministic_scheduling(self.seed):
            async with open_network(self.links, seed=self.seed) as self.network:
                try:
                    async with open_background_nursery() as self.nursery:
                        try:
                            await self._start_all()
                            yield
                        finally:
                            self.network.go_dark()  # nobody is left to hand anything over to, or to notice
                except BaseException as error:
                    digest = self.network.digest
                    error.add_note(
                        f"simulation: seed {self.seed}, {len(self.nodes)} nodes,"
                        f" {digest.events_count} events, digest {digest.hexdigest()}"
                    )
                    raise

    async def _start_all(self) -> None:
        prefilled = self._start == "prefilled"
        for _ in range(self._nodes_count):
            await self.add_node(bootstrap=() if prefilled else None)
        if prefilled:
            self.prefill_all()

    def _picks(self, node: SimNode, keys: Sequence[Key]) -> list[int]:
        """Return positions in sorted `keys`: up to k at random of each common prefix length with `node`.

        And a few more of each that has more than k.
        """
        k = node.config.k_bucket_size
        most = k + limits.REPLACEMENTS_WANTED
        picks: list[int] = []
        for cpl in range(KEY_BITS):
            shift = KEY_BITS - cpl - 1
            first = (node.key >> shift ^ 1) << shift
            low, high = bisect_left(keys, first), bisect_left(keys, first + (1 << shift))
            picks += (
                range(low, high)
                if high - low <= k
                else self._rng.sample(range(low, high), min(high - low, most))
            )
            own = (node.key >> shift) << shift
            if bisect_left(keys, own + (1 << shift)) - bisect_left(keys, own) <= 1:
                break  # nobody else shares so long a prefix
        return picks


@lru_cache(maxsize=65_536)
def _ips_of(info: PeerInfo) -> tuple[str, ...]:
    return tuple(str(ip) for addr in info.addrs if (ip := multiaddrs.ip_of(addr)) is not None)


def _inner_half(keys: Sequence[Key], target: Key, n: int) -> Sequence[Key]:
    """Return those of sorted `keys` in the largest subtree around `target` that has fewer than `n`."""
    low, high = 0, len(keys)
    for shift in range(KEY_BITS, -1, -1):
        first = target >> shift << shift
        low, high = bisect_left(keys, first, low, high), bisect_left(keys, first + (1 << shift), low, high)
        if high - low < n:
            break
    return keys[low:high]
