"""Programs that use a simulated network: they look up, write and read, and everything is measured."""

from __future__ import annotations

from random import Random

from primedht.errors import PrimeDhtError, ValueNotFound
from primedht.sim.census import Census
from primedht.sim.checkers import closest_by_force
from primedht.sim.ledger import Judgement, Ledger
from primedht.sim.measures import Measures
from primedht.sim.node import SimNode
from primedht.sim.world import SimWorld

_VALUE_BYTES = 200


class Workload:
    """Operations on the nodes of one world. `ledger` holds what was acknowledged."""

    def __init__(
        self,
        world: SimWorld,
        measures: Measures,
        rng: Random,
        *,
        skew_s: float = 0.0,
        timeout_s: float = 60.0,
    ) -> None:
        self.world = world
        self.measures = measures
        self.rng = rng
        self.ledger = Ledger(skew_s=skew_s)
        self._timeout_s = timeout_s

    def node(self) -> SimNode:
        """Return a running node at random."""
        return self.world.some_node(self.rng)

    def value(self) -> bytes:
        """Return a value that no other write has."""
        return self.rng.randbytes(_VALUE_BYTES)

    async def look_up(self, node: SimNode, target: bytes, census: Census, *, kind: str = "lookup") -> float:
        """Look `target` up at `node`; return which share of the closest peers that there are it found."""
        with self.measures.operation(kind) as operation:
            result = await node.dht.closest_peers(target, timeout_s=self._timeout_s)
            operation.ok = bool(result.closest)
            operation.hops = result.trace.hops
        wanted = closest_by_force(census, node, target)
        return len(set(result.closest) & set(wanted)) / len(wanted) if wanted else 1.0

    async def put(self, node: SimNode, key: bytes, *, value: bytes | None = None, kind: str = "put") -> bool:
        """Write a new value; return whether it was acknowledged."""
        written = self.value() if value is None else value
        self.ledger.on_attempt(key, written)
        with self.measures.operation(kind) as operation:
            try:
                result = await node.dht.put_value(key, written, keep=False, timeout_s=self._timeout_s)
            except (PrimeDhtError, RuntimeError):  # RuntimeError: the node is down by now
                return False
            operation.ok = True
            operation.hops = result.trace.hops if result.trace else 0
        self.ledger.on_put(result, written)
        return True

    async def get(self, node: SimNode, key: bytes, *, kind: str = "get") -> Judgement | None:
        """Read `key`, whose first write was acknowledged, and count the read by what it brought.

        A reader that crashes meanwhile is no live node: its read does not count, and None is returned.
        """
        reading, life = self.ledger.begin_read(key), node.starts_count
        found = None
        with self.measures.operation(kind) as operation:
            try:
                found = await node.dht.get_value(key, timeout_s=self._timeout_s)
            except ValueNotFound:
                pass
            except (PrimeDhtError, RuntimeError):
                if not node.goes_on(life):
                    return None
            judgement = self.ledger.judge(key, found, reading)
            operation.ok = judgement == "ok"
            operation.hops = found.trace.hops if found is not None and found.trace is not None else 0
        if not node.goes_on(life):
            return None
        self.measures.read(judgement)
        return judgement

    async def provide(self, node: SimNode, multihash: bytes) -> bool:
        """Announce that `node` has `multihash`; return whether anybody was told."""
        with self.measures.operation("provide") as operation:
            try:
                result = await node.dht.provide(multihash, timeout_s=self._timeout_s)
            except (PrimeDhtError, RuntimeError):
                return False
            operation.ok = bool(result.told)
            operation.hops = result.trace.hops if result.trace else 0
        return operation.ok

    async def find_provider(self, node: SimNode, multihash: bytes, provider: SimNode) -> bool:
        """Look for providers of `multihash`; return whether `provider` is among them."""
        with self.measures.operation("find_providers") as operation:
            found = node.dht.find_providers(multihash, limit=0, timeout_s=self._timeout_s)
            try:
                async for info in found:
                    operation.ok |= info.id == provider.peer
            except (PrimeDhtError, RuntimeError):  # the searcher went down
                return operation.ok
        return operation.ok
