"""Ids ground to surround a key are noticed by their density, and read and written around."""

from random import Random

import pytest

from primedht.dht.config import DhtConfig
from primedht.dht.region import is_crowded
from primedht.ids import PeerId
from primedht.kad.key import key_of
from primedht.sim.adversaries import Plan, add_sybils, grind
from primedht.sim.world import SimWorld

K = 8
CONFIG = DhtConfig(k_bucket_size=K, alpha=3)


def random_peers(rng, count):
    return [PeerId(b"\x12\x20" + rng.randbytes(32)) for _ in range(count)]


def closest(peers, target, n):
    return sorted(peers, key=lambda peer: key_of(peer) ^ target)[:n]


def test_honest_keys_are_never_crowded():
    rng = Random(1)
    for _ in range(20):
        peers = random_peers(rng, 400)
        for number in range(50):
            target = key_of(b"%d" % number)
            assert not is_crowded(closest(peers, target, 20), target, network_size=400, bucket_size=20)


def test_ground_keys_are_crowded():
    rng = Random(2)
    target = key_of(b"target")
    sybils = [grind(rng, target, 9).peer for _ in range(20)]
    found = closest([*random_peers(rng, 400), *sybils], target, 20)
    assert is_crowded(found, target, network_size=400, bucket_size=20)
    assert not is_crowded(found[:19], target, network_size=400, bucket_size=20), "not a whole lookup"
    assert not is_crowded(found, target, network_size=30, bucket_size=20), "all nodes are one region"


@pytest.mark.parametrize("written", ["before", "after"])
async def test_a_surrounded_value_is_found(autojump_clock, written):
    async with SimWorld(seed=1, nodes=60, config=CONFIG, start="prefilled") as world:
        writer, reader = world.nodes[0], world.nodes[1]
        for number in range(8):
            for node in (writer, reader):
                await node.dht.closest_peers(b"warm up %d" % number)
        if written == "before":
            await writer.dht.put_value(b"key", b"value", keep=False)
        for sybil in await add_sybils(world, b"key", K + 2, plan=Plan.WITHHOLD, seed=1):
            await world.meet(sybil, world.closest(b"key", 5))
        if written == "after":
            await writer.dht.put_value(b"key", b"value", keep=False)
        assert (await reader.dht.get_value(b"key")).value == b"value"
