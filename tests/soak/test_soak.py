"""Twenty processes on one machine: what they must survive, and what that costs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cluster import open_cluster
from conftest import Sizes
from probe import open_probe
from report import Report
from scenarios import (
    blackhole,
    idle,
    kill_at_once,
    kill_one_by_one,
    late_replica,
    put_read_and_count,
    restart_all,
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


async def test_values_outlive_kills_silence_and_a_restart_of_all(
    tmp_path: Path, report: Report, sizes: Sizes
) -> None:
    """R = 6: put, read, one silent, five killed at once, all restarted, an old replica back: all found."""
    rng = random.Random(1)
    async with (
        open_cluster(tmp_path, sizes.nodes, replication_factor=6) as cluster,
        open_probe("soak") as probe,
    ):
        written = await put_read_and_count(cluster, probe, report, rng, replicas=6, count=sizes.values)
        await blackhole(cluster, report, rng, written)
        await kill_at_once(cluster, report, rng, written, count=5)
        await restart_all(cluster, report, rng, written)
        await late_replica(cluster, probe, report, rng, written)


async def test_repair_keeps_values_while_one_node_after_another_dies(
    tmp_path: Path, report: Report, sizes: Sizes
) -> None:
    """R = 3: one node killed every 20 s, ten times; all found, because the rest repair."""
    rng = random.Random(2)
    kills = min(10, sizes.nodes - 3)
    async with (
        open_cluster(tmp_path, sizes.nodes, replication_factor=3) as cluster,
        open_probe("soak") as probe,
    ):
        await kill_one_by_one(
            cluster, probe, report, rng, replicas=3, count=sizes.values, kills=kills, every_s=20.0
        )


async def test_an_idle_node_costs_next_to_nothing(tmp_path: Path, report: Report, sizes: Sizes) -> None:
    """A node idle for ten minutes with 50 peers stays under 100 MB RssAnon and 1 % of a core."""
    async with open_cluster(tmp_path, 0) as cluster:
        await idle(cluster, report, peers=sizes.peers, seconds=sizes.idle_s)
