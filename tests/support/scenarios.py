"""What a cluster must survive, at any size: `tests/e2e` runs it small, `tests/soak` in full.

Each scenario measures first, adds its figures to the report, and then asserts, so that a failed run
is reported as well.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from cluster import Cluster, Daemon, NotYet, at_once, until
from probe import Copy, Probe
from report import Report, Value, percentile

from primedht import limits
from primedht.errors import PrimeDhtError
from primedht.kad.key import distance, key_of

MIB = 1 << 20


@dataclass
class Written:
    """What was put: the newest value of each key, its life's end, and who put it."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    expires_unix_s: dict[bytes, float] = field(default_factory=dict)
    writers: dict[bytes, Daemon] = field(default_factory=dict)


@dataclass
class Outcome:
    """How many operations went: each one's seconds, and what went wrong."""

    count: int = 0
    took_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cpu_s: float = 0.0

    def figures(self, what: str) -> dict[str, Value]:
        done = self.count - len(self.failures)
        return {
            f"{what}_success": f"{done} of {self.count}",
            f"{what}_p50_ms": 1000 * percentile(self.took_s, 0.5),
            f"{what}_p95_ms": 1000 * percentile(self.took_s, 0.95),
            f"{what}_max_ms": 1000 * max(self.took_s, default=0.0),
            f"{what}_cpu_per_operation_ms": 1000 * self.cpu_s / max(1, self.count),
        }


class Traffic:
    """Kad requests that nodes sent in some stretches of time, by their `status`."""

    def __init__(self) -> None:
        self._requests = 0
        self._node_minutes = 0.0

    @asynccontextmanager
    async def counted(self, cluster: Cluster) -> AsyncIterator[None]:
        """Count what is sent during the block; nodes that end in it are left out."""
        nodes = cluster.running
        before = {node: await requests_sent(node) for node in nodes}
        began = time.monotonic()
        yield
        left = [node for node in nodes if node.running]
        minutes = (time.monotonic() - began) / 60
        for node in left:
            self._requests += await requests_sent(node) - before[node]
        self._node_minutes += len(left) * minutes

    def per_node_per_minute(self) -> float:
        return self._requests / self._node_minutes


async def requests_sent(node: Daemon) -> int:
    status = await node.status()
    return int(status["host"]["rpc"].get("requests", 0))


# --- operations --------------------------------------------------------------------------------------


async def put_values(
    cluster: Cluster, rng: random.Random, *, count: int, size_bytes: int
) -> tuple[Written, Outcome]:
    """Put `count` values, each from a random node."""
    written, outcome = Written(), Outcome(count)
    nodes = cluster.running
    cpu_s = cluster.cpu_s()

    async def put(number: int) -> None:
        key, value = f"key-{number}".encode(), rng.randbytes(size_bytes)
        writer = rng.choice(nodes)
        began = time.perf_counter()
        try:
            result = await writer.put(key, value)
        except PrimeDhtError as error:
            outcome.failures.append(f"{key!r}: {error.code}: {error}; {writer.fate()}")
            return
        outcome.took_s.append(time.perf_counter() - began)
        written.values[key] = value
        written.expires_unix_s[key] = result.expires_unix_s
        written.writers[key] = writer

    await at_once(range(count), put, limit=1)
    outcome.cpu_s = cluster.cpu_s() - cpu_s
    return written, outcome


async def get_values(
    cluster: Cluster, rng: random.Random, written: Written, *, count: int | None = None, clients: int = 1
) -> Outcome:
    """Get each value, or `count` of them, at a random running node that did not put it."""
    keys = list(written.values) if count is None else rng.sample(list(written.values), count)
    outcome = Outcome(len(keys))
    nodes = [node for node in cluster.running if not node.paused]
    cpu_s = cluster.cpu_s()

    async def get(key: bytes) -> None:
        reader = rng.choice([node for node in nodes if node is not written.writers[key]])
        began = time.perf_counter()
        try:
            found = await reader.get(key)
        except PrimeDhtError as error:
            outcome.failures.append(f"{key!r}: {error.code}: {error}; {reader.fate()}")
            return
        outcome.took_s.append(time.perf_counter() - began)
        if found != written.values[key]:
            problem = "not found" if found is None else "another value"
            outcome.failures.append(f"{key!r} at {reader.name}: {problem}")

    await at_once(keys, get, limit=clients)
    outcome.cpu_s = cluster.cpu_s() - cpu_s
    return outcome


def closest_nodes(cluster: Cluster, key: bytes, count: int) -> list[Daemon]:
    """Return the running nodes that are closest to `key`: those that should hold its record."""
    point = key_of(key)
    return sorted(cluster.running, key=lambda node: distance(key_of(node.peer_id), point))[:count]


def copy_counts(copies: Mapping[bytes, list[Copy]], written: Written) -> Counter[int]:
    """Return how many keys have how many copies of their newest value."""
    return Counter(sum(copy.value == written.values[key] for copy in held) for key, held in copies.items())


def longer_lives(
    copies: Mapping[bytes, list[Copy]], written: Written, *, slack_s: float = 2.0
) -> list[bytes]:
    """Return the keys that have a copy which outlives what their writer was told.

    slack_s: a life starts when the put arrives, and travels in whole seconds.
    """
    return [
        key
        for key, held in copies.items()
        if any(copy.expires_unix_s > written.expires_unix_s[key] + slack_s for copy in held)
    ]


def _spread(counts: Counter[int]) -> str:
    return ", ".join(f"{copies}: {keys}" for copies, keys in sorted(counts.items()))


# --- scenarios ---------------------------------------------------------------------------------------


async def put_read_and_count(
    cluster: Cluster, probe: Probe, report: Report, rng: random.Random, *, replicas: int, count: int
) -> Written:
    """Values of 1 KB put from random nodes are read from others, and have R to R + 2 copies."""
    written, puts = await put_values(cluster, rng, count=count, size_bytes=1024)
    fresh = copy_counts(await probe.copies(cluster.running, written.values), written)
    gets = await get_values(cluster, rng, written)
    copies = await probe.copies(cluster.running, written.values)
    settled = copy_counts(copies, written)
    memory = [node.rss_anon_bytes() / MIB for node in cluster.running]
    report.add(
        f"put and read, R = {replicas}",
        nodes=len(cluster.running),
        values=count,
        value_bytes=1024,
        **puts.figures("put"),
        **gets.figures("get"),
        copies_after_put=_spread(fresh),
        copies_after_read=_spread(settled),
        rss_anon_max_mib=max(memory),
        rss_anon_median_mib=percentile(memory, 0.5),
    )
    assert not puts.failures, puts.failures[:5]
    assert not gets.failures, gets.failures[:5]
    for counts in (fresh, settled):
        assert set(counts) <= set(range(replicas, replicas + 3)), counts
    assert not longer_lives(copies, written)
    return written


async def kill_at_once(
    cluster: Cluster, report: Report, rng: random.Random, written: Written, *, count: int
) -> None:
    """Nodes killed at the same moment: every value is still found, at once."""
    victims = rng.sample(cluster.running, count)
    await cluster.kill(victims)
    gets = await get_values(cluster, rng, written)
    report.add("killed at once", killed=count, left=len(cluster.running), **gets.figures("get"))
    assert not gets.failures, gets.failures[:5]


async def blackhole(
    cluster: Cluster, report: Report, rng: random.Random, written: Written, *, count: int | None = None
) -> None:
    """One peer goes silent with its connections open: every value is found, or `count` of them."""
    victim = rng.choice(cluster.running)
    victim.pause()
    gets = await get_values(cluster, rng, written, count=count)
    victim.resume()
    report.add("one peer blackholed", **gets.figures("get"))
    assert not gets.failures, gets.failures[:5]


async def restart_all(cluster: Cluster, report: Report, rng: random.Random, written: Written) -> None:
    """All nodes are killed and started again: every value is found."""
    nodes = list(cluster.nodes)
    await cluster.kill(cluster.running)
    began = time.monotonic()
    await at_once(nodes, lambda node: node.start())
    ready_s = time.monotonic() - began
    await cluster.wait_met()
    met_s = time.monotonic() - began - ready_s
    gets = await get_values(cluster, rng, written)
    report.add(
        "restart of all",
        nodes=len(nodes),
        all_ready_s=ready_s,
        all_met_after_another_s=met_s,
        **gets.figures("get"),
    )
    assert not gets.failures, gets.failures[:5]


async def kill_one_by_one(
    cluster: Cluster,
    probe: Probe,
    report: Report,
    rng: random.Random,
    *,
    replicas: int,
    count: int,
    kills: int,
    every_s: float | None,
) -> None:
    """One node after another is killed: the rest repair, and every value is found every time.

    every_s: seconds between kills, half of them left to repair alone; None waits for repair instead.
    """
    written, puts = await put_values(cluster, rng, count=count, size_bytes=1024)
    assert not puts.failures, puts.failures[:5]
    traffic = Traffic()
    took_s: list[float] = []
    lost: list[str] = []
    repairs_s: list[float] = []
    for _ in range(kills):
        victim = rng.choice(cluster.running)
        bereft = [key for key in written.values if victim in closest_nodes(cluster, key, replicas)]
        began = trio.current_time()
        async with traffic.counted(cluster):
            await cluster.kill([victim])
            repaired_s = await _repaired(cluster, probe, bereft, replicas, within_s=(every_s or 60) / 2)
            if repaired_s is not None:
                repairs_s.append(repaired_s)
            if every_s is not None:
                await trio.sleep_until(began + every_s / 2)
        gets = await get_values(cluster, rng, written, clients=4)
        took_s += gets.took_s
        lost += gets.failures
        if every_s is not None:
            await trio.sleep_until(began + every_s)
    copies = await probe.copies(cluster.running, written.values)
    report.add(
        f"one killed after another, R = {replicas}",
        nodes=len(cluster.nodes),
        values=count,
        kills=kills,
        left=len(cluster.running),
        seconds_between=every_s if every_s is not None else "until repaired",
        readers_at_once=4,
        reads=len(took_s) + len(lost),
        lost=len(lost),
        get_p50_ms=1000 * percentile(took_s, 0.5),
        get_p95_ms=1000 * percentile(took_s, 0.95),
        copies_at_the_end=_spread(copy_counts(copies, written)),
        r_closest_hold_all_again=f"after {len(repairs_s)} of {kills} kills",
        repair_p50_s=percentile(repairs_s, 0.5),
        repair_max_s=max(repairs_s, default=math.nan),
        requests_per_node_per_minute_after_a_kill=traffic.per_node_per_minute(),
    )
    assert not lost, lost[:5]
    assert len(repairs_s) == kills
    assert not longer_lives(copies, written)


async def _repaired(
    cluster: Cluster, probe: Probe, keys: list[bytes], replicas: int, *, within_s: float
) -> float | None:
    """Wait until the R closest nodes of each key hold it; return the seconds that took, None if too long."""
    lacking = [(key, node) for key in keys for node in closest_nodes(cluster, key, replicas)]

    async def all_hold() -> bool:
        nonlocal lacking
        lacking = [(key, node) for key, node in lacking if await probe.copy(node, key) is None]
        return not lacking

    await probe.connect(cluster.running)
    try:
        return await until(all_hold, timeout_s=within_s)
    except NotYet:
        return None


async def late_replica(
    cluster: Cluster, probe: Probe, report: Report, rng: random.Random, written: Written
) -> None:
    """A holder that slept through newer puts comes back with old copies: they never win."""
    sleeper = rng.choice(cluster.nodes[1:])
    held = await probe.copies([sleeper], written.values)
    keys = [key for key, copies in held.items() if copies]
    await sleeper.kill()
    for key in keys:
        writer = rng.choice(cluster.running)
        written.values[key] = rng.randbytes(1024)
        result = await writer.put(key, written.values[key])
        written.expires_unix_s[key], written.writers[key] = result.expires_unix_s, writer
    await sleeper.start()
    wrong: list[str] = []

    async def read(place: tuple[bytes, Daemon]) -> None:
        key, node = place
        if await node.get(key) != written.values[key]:
            wrong.append(f"{key!r} at {node.name}")

    await at_once([(key, node) for key in keys for node in cluster.running], read, limit=4)

    async def all_new() -> bool:
        copies = await probe.copies(cluster.running, keys)
        return all(copy.value == written.values[key] for key in keys for copy in copies[key])

    settled_s = await until(all_new, timeout_s=60, what="no old copy is left")
    report.add(
        "an old replica comes back",
        old_copies=len(keys),
        reads=len(keys) * len(cluster.running),
        old_values_read=len(wrong),
        old_copies_gone_after_s=settled_s,
    )
    assert not wrong, wrong[:5]


async def idle(cluster: Cluster, report: Report, *, peers: int, seconds: float) -> None:
    """Nodes that nobody uses stay small and quiet. Node 0 is connected to all `peers` others.

    The first time, in which nodes meet and refresh their buckets, does not count.
    """
    await cluster.start_apart(peers + 1)
    first = cluster.nodes[0]

    async def has_all_peers() -> bool:
        return int((await first.status())["host"]["peers"]) >= peers

    await until(has_all_peers, timeout_s=120, what=lambda: f"node 0 has {peers} peers")
    await trio.sleep(1.5 * limits.REFRESH_TICK_S)
    cpu_s = {node: node.cpu_s() for node in cluster.running}
    traffic, began = Traffic(), time.monotonic()
    async with traffic.counted(cluster):
        await trio.sleep(seconds)
    took_s = time.monotonic() - began
    shares = {node: (node.cpu_s() - before) / took_s for node, before in cpu_s.items()}
    status = await first.status()
    memory = [node.rss_anon_bytes() for node in cluster.running]
    report.add(
        "idle",
        nodes=len(cluster.running),
        seconds=took_s,
        node_0_connected_peers=int(status["host"]["peers"]),
        node_0_table_peers=int(status["routing_table"]["peers"]),
        node_0_cpu_percent=100 * shares[first],
        node_0_rss_anon_mb=first.rss_anon_bytes() / 1e6,
        cpu_percent_median=100 * percentile(list(shares.values()), 0.5),
        cpu_percent_max=100 * max(shares.values()),
        rss_anon_mb_median=percentile(memory, 0.5) / 1e6,
        rss_anon_mb_max=max(memory) / 1e6,
        requests_per_node_per_minute=traffic.per_node_per_minute(),
    )
    assert max(memory) < 100e6
    assert max(shares.values()) < 0.01
