"""Ids ground to surround a key are noticed by their density, and read and written around."""

from random import Random

import pytest

from primedht.dht.config import DhtConfig
from primedht.dht.region import Crowd, crowd_of
from primedht.ids import PeerId
from primedht.kad.key import common_prefix_length, key_of
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
            found = closest(peers, target, 20)
            assert crowd_of(found, target, network_size=400, bucket_size=20) is None


def test_ground_keys_are_crowded():
    rng = Random(2)
    target = key_of(b"target")
    sybils = [grind(rng, target, 9).peer for _ in range(20)]
    found = closest([*random_peers(rng, 400), *sybils], target, 20)
    crowd = crowd_of(found, target, network_size=400, bucket_size=20)
    assert crowd is not None
    assert crowd.cpl >= 9
    assert crowd.region_cpl == 4
    assert crowd.sides == range(4, crowd.cpl + 1)
    assert crowd_of(found[:19], target, network_size=400, bucket_size=20) is None, "not a whole lookup"
    assert crowd_of(found, target, network_size=15, bucket_size=20) is None, "everybody is found anyway"


def test_a_very_deep_crowd_is_looked_up_from_few_sides():
    """Hardly an honest key is beyond them, and each costs a lookup."""
    assert Crowd(cpl=200, region_cpl=4).sides == range(4, 11)
    assert Crowd(cpl=200, region_cpl=14).sides == range(14, 16), "REFRESH_CPL_MAX"
    assert Crowd(cpl=200, region_cpl=30).sides == range(15, 16)


@pytest.mark.parametrize("lookups", [0, 8])
@pytest.mark.parametrize("written", ["before", "after"])
async def test_a_surrounded_value_is_found(autojump_clock, written, lookups):
    """By nodes that have looked nothing up before, too: their tables tell how dense the network is."""
    async with SimWorld(seed=1, nodes=60, config=CONFIG, start="prefilled") as world:
        writer, reader = world.nodes[0], world.nodes[1]
        for number in range(lookups):
            for node in (writer, reader):
                await node.dht.closest_peers(b"warm up %d" % number)
        if written == "before":
            await writer.dht.put_value(b"key", b"value", keep=False)
        for sybil in await add_sybils(world, b"key", K + 2, plan=Plan.WITHHOLD, seed=1):
            await world.meet(sybil, world.closest(b"key", 5))
        if written == "after":
            await writer.dht.put_value(b"key", b"value", keep=False)
        assert (await reader.dht.get_value(b"key")).value == b"value"


async def test_a_crowd_that_is_larger_than_a_lookup_takes_no_copy_s_place(autojump_clock):
    """Of forty ground keys k are found; the others must not be what is asked and written around them."""
    async with SimWorld(seed=3, nodes=60, config=CONFIG, start="prefilled") as world:
        for sybil in await add_sybils(world, b"key", 5 * K, plan=Plan.WITHHOLD, seed=1):
            await world.meet(sybil, world.closest(b"key", 5))
        result = await world.nodes[0].dht.put_value(b"key", b"value", keep=False)
        honest = {node.peer for node in world.nodes}
        assert len(honest.intersection(result.holders)) >= CONFIG.replication_factor
        assert (await world.nodes[1].dht.get_value(b"key")).value == b"value"


async def test_a_side_in_which_others_crowd_is_searched_too(autojump_clock):
    """Ids ground for a second key, on the side where the value belongs, must not end the lookup there."""
    async with SimWorld(seed=2, nodes=60, config=CONFIG, start="prefilled") as world:
        home = world.closest(b"key", 1)[0].key
        shared = common_prefix_length(home, key_of(b"key"))
        beside = next(
            preimage
            for preimage in (b"beside %d" % number for number in range(100_000))
            if common_prefix_length(key_of(preimage), key_of(b"key")) == shared
        )
        for target in (b"key", beside):
            for sybil in await add_sybils(world, target, 3 * K, plan=Plan.WITHHOLD, seed=1):
                await world.meet(sybil, world.closest(target, 5))
        responsible = {node.peer for node in world.closest(b"key", CONFIG.replication_factor)}
        for writer in world.nodes[:20]:
            result = await writer.dht.put_value(b"key", b"value", keep=False)
            assert responsible.intersection(result.holders)


async def test_puts_at_crowded_keys_do_not_make_the_network_seem_larger(autojump_clock):
    """Who writes little else would take the crowd for the network's density, and write to the crowd alone."""
    async with SimWorld(seed=4, nodes=60, config=CONFIG, start="prefilled") as world:
        writer, honest = world.nodes[0], {node.peer for node in world.nodes}
        for number in range(6):
            key = b"key %d" % number
            for sybil in await add_sybils(world, key, K + 2, plan=Plan.WITHHOLD, seed=number):
                await world.meet(sybil, world.closest(key, 5))
        for number in range(6):
            result = await writer.dht.put_value(b"key %d" % number, b"value", keep=False)
            assert len(honest.intersection(result.holders)) >= CONFIG.replication_factor
        assert writer.dht.lookups.assumed_network_size() < 150
