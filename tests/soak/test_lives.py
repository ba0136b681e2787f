"""Hours of repair, in virtual time: no number of copies lengthens a life."""

from __future__ import annotations

import random

import pytest
import trio
from report import Report
from trio.testing import MockClock

from primedht import limits
from primedht.dht.config import DhtConfig
from primedht.sim.clock import true_unix_now
from primedht.sim.faults import ConstantLatency, Links
from primedht.sim.world import SimWorld

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

_NODES = 10
_VALUES = 50
_ROUNDS = 3
_ROUNDING_S = 1.0  # lives travel in whole seconds


async def test_rounds_of_repair_lengthen_no_life(autojump_clock: MockClock, report: Report) -> None:
    """Three rounds of repair, while holders die and come back: every value ends in time."""
    rng, config = random.Random(4), DhtConfig(ttl=12_000)
    ends_unix_s: dict[bytes, float] = {}
    longest_s, copies_seen = 0.0, 0
    async with SimWorld(4, _NODES, links=Links(ConstantLatency(0.01)), config=config) as world:
        await world.settle()
        for number in range(_VALUES):
            key = b"key %d" % number
            node = rng.choice(world.nodes)
            ends_unix_s[key] = (await node.dht.put_value(key, b"value", keep=False)).expires_unix_s
        sent = 0
        for _ in range(_ROUNDS):
            for _ in range(4):
                victim = rng.choice(world.running())
                sent += victim.dht.repair.sent
                await victim.crash()
                await trio.sleep(limits.REPAIR_INTERVAL_S / 4)
                await victim.start()
            for node in world.running():
                for entry in node.dht.storage.entries():
                    longest_s = max(longest_s, entry.expires_unix_s - ends_unix_s[entry.key])
                    copies_seen += 1
        sent += sum(node.dht.repair.sent for node in world.running())
        found = sum([(await _is_found(world, key, rng)) for key in ends_unix_s])
        await trio.sleep(max(ends_unix_s.values()) + _ROUNDING_S - true_unix_now())
        left = sum([(await _is_found(world, key, rng)) for key in ends_unix_s])
        report.add(
            "three rounds of repair (simulated)",
            nodes=_NODES,
            values=_VALUES,
            rounds=_ROUNDS,
            copies_sent_by_repair=sent,
            copies_checked=copies_seen,
            longest_beyond_the_original_s=longest_s,
            found_before_the_end=found,
            found_after_the_end=left,
        )
    assert sent > 0
    assert longest_s <= _ROUNDING_S
    assert found == _VALUES
    assert left == 0


async def _is_found(world: SimWorld, key: bytes, rng: random.Random) -> bool:
    held = await rng.choice(world.running()).dht.values.find(key, timeout_s=60)
    return held is not None
