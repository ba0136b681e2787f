"""What a network looks like from above while it runs: copies that are missing, and what repair spends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

import trio

from primedht import limits
from primedht.kad.messages import MessageType
from primedht.sim.census import Census
from primedht.sim.checkers import (
    CheckFailed,
    check_idle_messages,
    check_memory,
    check_operations,
    check_tables,
    check_tasks,
    messages_sent,
)
from primedht.sim.clock import true_unix_now
from primedht.sim.run import Run
from primedht.sim.workload import Workload
from primedht.sim.world import SimWorld

_TASKS_PER_NODE_MAX = 80
"""A node at rest has some 20, and may verify 40 peers at once."""

_NODE_BYTES_MAX = 384 << 10
"""Its engine's objects without the store; 40 to 140 KiB in networks of 50 to 1,000 nodes."""

_RECORD_BYTES_MAX = 1536
"""In the index of the value store and in repair, which knows its R holders: some 1,300 with R = 20."""

_OWN_RECORD_BYTES_MAX = 128
"""When it is announced next: a node with 10,000 provider records keeps 636 KB in all."""

_PROVIDER_BYTES_MAX = 640
"""In the index of the provider store, some 520; its quota counts 680 a record."""

_IDLE_MESSAGES_PER_S_MAX = 20.0
"""Of one node, replies included; the busiest of any scenario sends 2, and 10 after sessions of a minute."""

_OPERATION_BUCKETS_MEAN_MAX, _OPERATION_BUCKETS_MAX = 20, 50
"""Messages of one operation, in k: a lookup takes 2 to 3, and one that reads around an eclipse 20."""

_FOOTPRINTS_TAKEN = 100  # nodes whose memory is looked at
_SETTLE_S = 30.0
_CONVERGE_STEP_S = 0.5
_LACKING_SAID_MAX = 5


@dataclass(slots=True)
class RepairAudit:
    """Looks every `every_s` at each acknowledged value's R closest nodes, and at what nodes sent.

    missing: copies that those nodes lacked, at each look. losses: values that were nowhere any more, each
    counted once until it is written anew. overspent: how often a node sent more bytes of
    values between two looks than the repair budget and its own writes explain. busiest: the most
    messages that a node sent between two looks, replies included.
    """

    world: SimWorld
    work: Workload
    every_s: float = 60.0
    missing: list[int] = field(default_factory=list)
    losses: int = 0
    overspent: int = 0
    busiest: int = 0
    _lost: frozenset[bytes] = frozenset()
    _sent: dict[int, tuple[int, int]] = field(default_factory=dict)  # bytes of values, and messages

    async def serve(self) -> NoReturn:
        """Only cancellation ends it."""
        self._count_spending()
        while True:
            await trio.sleep(self.every_s)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        missing, lost = await missing_copies(self.world, self.work)
        self.missing.append(missing)
        self.losses += len(lost - self._lost)
        self._lost = lost
        self._count_spending()

    def _count_spending(self) -> None:
        for node in self.world.nodes:
            sent = self.world.network.traffic_of[node.peer].sent_bytes[MessageType.PUT_VALUE]
            messages = messages_sent(self.world, node)
            sent_before, messages_before = self._sent.get(node.index, (sent, messages))
            self._sent[node.index] = (sent, messages)
            allowed = node.config.repair_bytes_per_s * (self.every_s + limits.REPAIR_BURST_S)
            self.overspent += sent - sent_before > allowed
            self.busiest = max(self.busiest, messages - messages_before)


async def missing_copies(world: SimWorld, work: Workload) -> tuple[int, frozenset[bytes]]:
    """Return how many copies the R closest nodes lack over all values, and whose value nobody has."""
    census = Census(world.serving())
    missing, lost = 0, set()
    for key in work.ledger.keys:
        written = work.ledger.newest(key)
        newest = written.value
        if newest is None or written.expires_unix_s <= true_unix_now():
            continue
        have = 0
        wanted = census.closest(key, world.config.replication_factor)
        for node in wanted:
            record = await node.dht.storage.get(key)
            have += record is not None and work.ledger.is_current(key, record.value)
        missing += len(wanted) - have
        if not have and not await _anybody_has(world, key, newest):
            lost.add(key)
    return missing, frozenset(lost)


async def converge(world: SimWorld, work: Workload, *, limit_s: float) -> float | None:
    """Wait until no copy is missing that any is left of; return the seconds, or None after `limit_s`."""
    began = trio.current_time()
    while trio.current_time() - began < limit_s:
        missing, lost = await missing_copies(world, work)
        if missing <= len(lost) * min(world.config.replication_factor, len(world.serving())):
            return trio.current_time() - began
        await trio.sleep(_CONVERGE_STEP_S)
    return None


async def not_converged(world: SimWorld, work: Workload, *, limit_s: float, since: str) -> str:
    """Return the failure to say when `converge` gave up: some values, and the ranks that hold them."""
    census, lines = Census(world.serving()), []
    for key in work.ledger.keys:
        written = work.ledger.newest(key)
        if written.value is None or written.expires_unix_s <= true_unix_now():
            continue
        holding = []
        for rank, node in enumerate(census.closest(key, len(census))):
            record = await node.dht.storage.get(key)
            if record is not None and work.ledger.is_current(key, record.value):
                holding.append(rank)
        wanted = range(min(world.config.replication_factor, len(census)))
        if not set(wanted) <= set(holding):
            lines.append(f"{key!r} is with ranks {holding} of {len(census)}")
    return f"copies still miss {limit_s:g} s after {since}: {'; '.join(lines[:_LACKING_SAID_MAX])}"


async def check_at_rest(run: Run, world: SimWorld, work: Workload) -> None:
    """After the last operation: tables, tasks, memory, messages and lives are as they must be."""
    sent_before = {node.index: messages_sent(world, node) for node in world.running()}
    await trio.sleep(_SETTLE_S)
    run.check(
        check_idle_messages, world, sent_before, seconds=_SETTLE_S, per_node_s_max=_IDLE_MESSAGES_PER_S_MAX
    )
    run.check(check_tables, world)
    run.check(check_tasks, world, per_node_max=_TASKS_PER_NODE_MAX)
    running = world.running()
    some = running[:: max(1, len(running) // _FOOTPRINTS_TAKEN)]
    run.check(
        check_memory,
        some,
        per_node_bytes_max=_NODE_BYTES_MAX,
        per_record_bytes_max=_RECORD_BYTES_MAX,
        per_own_record_bytes_max=_OWN_RECORD_BYTES_MAX,
        per_provider_bytes_max=_PROVIDER_BYTES_MAX,
    )
    k = world.config.k_bucket_size
    run.check(
        check_operations,
        run.measures,
        mean_max=_OPERATION_BUCKETS_MEAN_MAX * k,
        each_max=_OPERATION_BUCKETS_MAX * k,
    )
    try:
        await work.ledger.check_lives(running)
    except CheckFailed as failure:
        run.failures.append(str(failure))


async def _anybody_has(world: SimWorld, key: bytes, value: bytes) -> bool:
    for node in world.running():
        record = await node.dht.storage.get(key)
        if record is not None and record.value == value:
            return True
    return False
