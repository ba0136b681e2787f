"""A network of processes keeps what it was given: the soak scenarios with five nodes."""

from __future__ import annotations

import random
from pathlib import Path

from cluster import open_cluster
from probe import open_probe
from report import Report
from scenarios import (
    blackhole,
    kill_at_once,
    kill_one_by_one,
    late_replica,
    put_read_and_count,
    restart_all,
)


async def test_values_outlive_kills_silence_and_a_restart_of_all(tmp_path: Path) -> None:
    """R = 3 of 5 nodes: put, read, one silent, two killed at once, all restarted: all found."""
    rng, report = random.Random(1), Report()
    async with open_cluster(tmp_path, 5, replication_factor=3) as cluster, open_probe("soak") as probe:
        written = await put_read_and_count(cluster, probe, report, rng, replicas=3, count=40)
        await blackhole(cluster, report, rng, written, count=10)
        await kill_at_once(cluster, report, rng, written, count=2)
        await restart_all(cluster, report, rng, written)
        await late_replica(cluster, probe, report, rng, written)


async def test_repair_keeps_values_while_one_node_after_another_dies(tmp_path: Path) -> None:
    """R = 2 of 5 nodes, one killed after another: all found, because the rest repair."""
    rng, report = random.Random(2), Report()
    async with open_cluster(tmp_path, 5, replication_factor=2) as cluster, open_probe("soak") as probe:
        await kill_one_by_one(cluster, probe, report, rng, replicas=2, count=30, kills=2, every_s=None)
