"""Oracles: what must hold in a world whatever the engine does, told apart from the engine.

They look at the world from above (all nodes, all stores, true time), which no node can, and say
with `CheckFailed` what is wrong. Source of the idea: TigerBeetle, src/testing/*_checker.zig.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from primedht.ids import PeerId
from primedht.sim.census import Census
from primedht.sim.footprint import footprint_bytes
from primedht.sim.measures import Measures, mean
from primedht.sim.node import SimNode
from primedht.sim.world import SimWorld


class CheckFailed(AssertionError):
    """The engine did what it must not do, or left undone what it must."""


def check_closest(world: SimWorld, asker: SimNode, target: bytes, found: Sequence[PeerId]) -> None:
    """`found` must be the k serving nodes closest to `target`, the asker aside, closest first."""
    wanted = closest_by_force(Census(world.serving()), asker, target)
    if list(found) != wanted:
        missing = [world.node_of(peer) for peer in wanted if peer not in found]
        raise CheckFailed(f"{asker} missed {missing}; found {len(found)} of {len(wanted)}")


def closest_by_force(census: Census, asker: SimNode, target: bytes) -> list[PeerId]:
    """Return what a perfect lookup returns: the k closest serving nodes, the asker aside."""
    k = asker.config.k_bucket_size
    return [node.peer for node in census.closest(target, k + 1) if node is not asker][:k]


def check_tables(world: SimWorld) -> None:
    """No table may hold its own node, or a node that runs as a client."""
    clients = {node.peer: node for node in world.running() if not node.serving}
    for node in world.running():
        for peer in node.dht.routing_table.peers():
            if peer == node.peer:
                raise CheckFailed(f"{node} has itself in its table")
            if peer in clients:
                raise CheckFailed(f"{node} has {clients[peer]}, a client, in its table")


def check_tasks(world: SimWorld, *, per_node_max: int) -> None:
    """Nodes at rest may keep only so many tasks, however much they have done before."""
    living = trio.lowlevel.current_statistics().tasks_living
    allowed = per_node_max * max(1, len(world.running())) + 50
    if living > allowed:
        raise CheckFailed(f"{living} tasks live, {allowed} are allowed for {len(world.running())} nodes")


def check_memory(
    nodes: Sequence[SimNode], *, per_node_bytes_max: int, per_record_bytes_max: int,
    per_own_record_bytes_max: int, per_provider_bytes_max: int,
) -> None:  # fmt: skip
    """What a node at rest keeps must not grow with what it has done.

    Aside from its own records' dates, and from the records that it holds and the providers that others
    announced to it, which have a quota.
    """
    for node in nodes:
        kept = footprint_bytes(node.dht)
        own = len(node.dht.storage.own_entries()) + len(node.dht.providers.store.own_provides())
        announced = node.dht.providers.store.stats().records
        allowed = (
            per_node_bytes_max
            + len(node.dht.storage) * per_record_bytes_max
            + own * per_own_record_bytes_max
            + announced * per_provider_bytes_max
        )
        if kept > allowed:
            raise CheckFailed(f"{node} keeps {kept} bytes in memory, {allowed} are allowed")


def check_idle_messages(
    world: SimWorld, sent_before: Mapping[int, int], *, seconds: float, per_node_s_max: float
) -> None:
    """Nodes at rest may send only so many messages, replies included.

    sent_before: by node, what it had sent (`messages_sent`) when the `seconds` until now began.
    """
    for node in world.running():
        sent = messages_sent(world, node) - sent_before.get(node.index, 0)
        if sent > per_node_s_max * seconds:
            raise CheckFailed(
                f"{node} sent {sent} messages in {seconds:g} s at rest,"
                f" {per_node_s_max:g} a second are allowed"
            )


def messages_sent(world: SimWorld, node: SimNode) -> int:
    """Return how many requests and replies `node` has sent, in all its lives."""
    return world.network.traffic_of[node.peer].sent.total()


def check_operations(measures: Measures, *, mean_max: float, each_max: int) -> None:
    """Of each kind, an operation may set off only so many messages on average, and at most."""
    for kind, samples in measures.samples.items():
        counts = [sample.tally.messages for sample in samples]
        if mean(counts) > mean_max or max(counts, default=0) > each_max:
            raise CheckFailed(
                f"a {kind} took {mean(counts):.0f} messages, and up to {max(counts)};"
                f" {mean_max:g} and {each_max} are allowed"
            )


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
