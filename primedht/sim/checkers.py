"""Oracles: what must hold in a world whatever the engine does, told apart from the engine.

They look at the world from above (all nodes, all stores, true time), which no node can, and say
with `CheckFailed` what is wrong. Source of the idea: TigerBeetle, src/testing/*_checker.zig.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import trio

from primedht.ids import PeerId
from primedht.results import FoundValue, PutResult
from primedht.sim.clock import true_unix_now
from primedht.sim.node import SimNode
from primedht.sim.world import SimWorld


class CheckFailed(AssertionError):
    """The engine did what it must not do, or left undone what it must."""


def check_closest(world: SimWorld, asker: SimNode, target: bytes, found: Sequence[PeerId]) -> None:
    """`found` must be the k serving nodes closest to `target`, the asker aside, closest first."""
    k = asker.config.k_bucket_size
    wanted = [node.peer for node in world.closest(target, k + 1) if node is not asker][:k]
    if list(found) != wanted:
        missing = [world.node_of(peer) for peer in wanted if peer not in found]
        raise CheckFailed(f"{asker} missed {missing}; found {len(found)} of {len(wanted)}")


def check_tables(world: SimWorld) -> None:
    """No table may hold its own node, or a node that runs as a client."""
    serving = {node.peer: node for node in world.serving()}
    for node in world.running():
        for peer in node.dht.routing_table.peers():
            known = [other for other in world.nodes if other.peer == peer]
            if peer == node.peer:
                raise CheckFailed(f"{node} has itself in its table")
            if known and known[0].running and peer not in serving:
                raise CheckFailed(f"{node} has {known[0]}, a client, in its table")


def check_tasks(world: SimWorld, *, per_node_max: int) -> None:
    """Nodes at rest may keep only so many tasks, however much they have done before."""
    living = trio.lowlevel.current_statistics().tasks_living
    allowed = per_node_max * max(1, len(world.running())) + 50
    if living > allowed:
        raise CheckFailed(f"{living} tasks live, {allowed} are allowed for {len(world.running())} nodes")


async def holders(world: SimWorld, key: bytes, *, value: bytes | None = None) -> list[SimNode]:
    """Return the running nodes that hold an unexpired record of `key` (with this value)."""
    found = []
    for node in world.running():
        record = await node.dht.storage.get(key)
        if record is None or record.tombstone:
            continue
        if value is None or record.value == value:
            found.append(node)
    return found


@dataclass(frozen=True, slots=True)
class _Written:
    """The last thing acknowledged for a key. value None: it was deleted. Times are true Unix seconds."""

    value: bytes | None
    expires_unix_s: float


class Ledger:
    """What the network has acknowledged, and so must answer. Clocks may err by `skew_s` either way."""

    def __init__(self, *, skew_s: float = 0.0) -> None:
        self._skew_s = skew_s
        self._written: dict[bytes, _Written] = {}

    @property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(self._written)

    def on_put(self, result: PutResult, value: bytes) -> None:
        """Note an acknowledged put."""
        self._written[result.key] = _Written(value, result.expires_unix_s)

    def on_delete(self, key: bytes) -> None:
        """Note an acknowledged deletion."""
        self._written[key] = _Written(None, 0.0)

    def check(self, key: bytes, found: FoundValue | None) -> None:
        """`found`, or its absence, must be what the ledger says of `key` now."""
        written = self._written[key]
        now = true_unix_now()
        if found is None:
            if written.value is not None and now < written.expires_unix_s - self._skew_s:
                raise CheckFailed(f"an acknowledged value of {key!r} was not found")
        elif written.value is None:
            raise CheckFailed(f"{key!r} was deleted, and {found.value[:40]!r} was found")
        elif now > written.expires_unix_s + self._skew_s:
            raise CheckFailed(f"{key!r} has expired, and was found")
        elif found.value != written.value:
            raise CheckFailed(f"{key!r} gave {found.value[:40]!r} instead of {written.value[:40]!r}")

    async def check_lives(self, nodes: Iterable[SimNode]) -> None:
        """No copy anywhere may outlive what its put acknowledged: repair lengthens no life."""
        for node in nodes:
            for key, written in self._written.items():
                record = await node.dht.storage.get(key)
                if record is None or record.value != written.value:
                    continue
                if record.expires_unix_s > written.expires_unix_s + 2 * self._skew_s + 1:
                    late_s = record.expires_unix_s - written.expires_unix_s
                    raise CheckFailed(f"{node}'s copy of {key!r} lives {late_s:.1f} s too long")
