"""Optimistic provide: most of the likely closest peers are told before the lookup ends, the others after."""

import pytest
import trio
from engine_lab import LINKS, ROUND_TRIP_S, multihash, small

from primedht.dht.announcement import Optimism
from primedht.errors import PeerUnreachable
from primedht.sim.faults import Links, PairLatency
from primedht.sim.world import SimWorld

CID = multihash(b"content")


def holders(world, provider, key=CID):
    return [
        node
        for node in world.running()
        if node is not provider and provider.peer in {info.id for info in node.dht.providers.held(key)}
    ]


@pytest.mark.parametrize("slow", [0, 1])
async def test_it_returns_before_all_are_told_and_tells_them(autojump_clock, slow):
    """Behaviour 47: returns early, and the record is findable."""
    config = small(k_bucket_size=8, optimistic_provide=True)
    async with SimWorld(47, 40, links=LINKS, config=config, start="prefilled") as world:
        provider, searcher = world.nodes[3], world.nodes[30]
        closest = [node for node in world.closest(CID, 9) if node is not provider][:8]
        if slow:  # the farthest of those that are asked in the end
            world.network.faults.slow(closest[-1].peer, 5 * ROUND_TRIP_S)
        began = trio.current_time()
        result = await provider.dht.provide(CID)
        early_s = trio.current_time() - began
        assert len(result.told) >= 4
        found = [info.id async for info in searcher.dht.find_providers(CID, limit=1)]
        assert found == [provider.peer]
        await world.until(lambda: set(closest) <= set(holders(world, provider)), limit_s=10)
        assert len(holders(world, provider)) <= 10, "hardly anybody else"
        if slow:
            assert early_s < trio.current_time() - began - ROUND_TRIP_S
        store = provider.dht.providers.store
        await world.until(lambda: [own.provided_unix_s for own in store.own_provides()] != [None], limit_s=5)


async def test_it_is_faster_across_the_world(autojump_clock):
    took = {}
    for optimistic in (False, True):
        links = Links(PairLatency(0.025, 0.150))
        config = small(k_bucket_size=10, optimistic_provide=optimistic)
        async with SimWorld(5, 60, links=links, config=config, start="prefilled") as world:
            began = trio.current_time()
            for number in range(10):
                await world.nodes[number].dht.provide(multihash(b"%d" % number))
            took[optimistic] = trio.current_time() - began
    assert took[True] < 0.85 * took[False]


async def test_alone_and_in_small_networks_it_ends(autojump_clock):
    async with SimWorld(6, 1, links=LINKS, config=small(optimistic_provide=True)) as world:
        provider = world.nodes[0]
        assert (await provider.dht.provide(CID, timeout_s=5)).told == ()
        others = [await world.add_node() for _ in range(3)]
        await world.settle()
        result = await provider.dht.provide(multihash(b"more"))
        assert result.told
        await world.until(lambda: len(holders(world, provider, multihash(b"more"))) == 3, limit_s=5)
        await world.until(lambda: set(holders(world, provider)) == set(others), limit_s=200)


async def test_peers_that_do_not_take_it_are_named(autojump_clock):
    async with SimWorld(7, 5, links=LINKS, config=small(optimistic_provide=True)) as world:
        await world.settle()
        provider = world.nodes[0]

        async def failing(peer, message, *, timeout_s):
            raise PeerUnreachable("it is gone")

        provider.host.notify = failing
        result = await provider.dht.provide(CID)
        assert result.told == ()
        assert {refusal.code for refusal in result.failed} == {PeerUnreachable.code}


def test_half_of_the_peers_that_there_are_is_enough():
    assert Optimism(bucket_size=20, network_size=1000.0).enough == 10
    assert Optimism(bucket_size=20, network_size=3.0).enough == 2
    alone = Optimism(bucket_size=20, network_size=0.0)
    assert alone.enough == 1
    assert alone.is_likely((1 << 256) - 1)
