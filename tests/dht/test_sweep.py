"""Reproviding many records: every closest peer is told, and lookups are shared by neighbours."""

from engine_lab import LINKS, multihash, small

from primedht import limits
from primedht.errors import PeerUnreachable
from primedht.kad.messages import MessageType
from primedht.sim.census import Census
from primedht.sim.world import SimWorld

KEYS = [multihash(b"%d" % number) for number in range(300)]


async def restarted_with(node, keys, *, age_s):
    """Restart `node` as one that announced `keys` so long ago."""
    for key in keys:
        await node.dht.providers.store.provide(key)
        await node.dht.providers.store.mark_provided(key, node.clock.unix_now() - age_s)
    await node.restart()


def announced(node):
    return node.host.traffic.sent[MessageType.ADD_PROVIDER]


def untold(world, provider, keys, k):
    """Return how many of the k closest nodes lack the provider record, over all `keys`."""
    census = Census(world.serving())
    missing = 0
    for key in keys:
        closest = [node for node in census.closest(key, k + 1) if node is not provider][:k]
        for node in closest:
            missing += provider.peer not in {info.id for info in node.dht.providers.held(key)}
    return missing


async def test_what_is_overdue_is_announced_to_all_closest_peers_with_few_lookups(autojump_clock):
    async with SimWorld(5, 60, links=LINKS, config=small(), start="prefilled") as world:
        provider = world.nodes[7]
        await restarted_with(provider, KEYS, age_s=23 * 3600)
        world.prefill(provider, [node.info for node in world.nodes if node is not provider])
        before = announced(provider)
        with provider.dht.events.subscribe(["reprovide"], want_trace=True) as events:
            wanted = 5 * len(KEYS)
            await world.until(lambda: announced(provider) - before >= wanted, limit_s=600)
            await world.until(lambda: untold(world, provider, KEYS, 5) == 0, limit_s=10)
            ended = [events._receive.receive_nowait() for _ in KEYS]
        assert {event.key for event in ended} == set(KEYS)
        assert all(event.outcome == "ok" and len(event.peers) == 5 for event in ended)
        assert sum(event.trace is not None for event in ended) < 60, "keys with a lookup of their own"
        assert announced(provider) - before == wanted, "nobody is told twice"


async def test_after_a_restart_a_sweep_begins_as_soon_as_the_table_is_filled(autojump_clock):
    """Not before: with nobody to tell, all would fail and wait a minute."""
    async with SimWorld(11, 12, links=LINKS, config=small()) as world:
        await world.settle()
        provider = world.nodes[4]
        await restarted_with(provider, KEYS[:50], age_s=23 * 3600)
        took_s = await world.until(lambda: untold(world, provider, KEYS[:50], 5) == 0)
        assert took_s < 10
        assert announced(provider) == 5 * 50


async def test_a_lone_record_costs_one_lookup(autojump_clock):
    async with SimWorld(6, 30, links=LINKS, config=small(), start="prefilled") as world:
        provider = world.nodes[3]
        await restarted_with(provider, KEYS[:1], age_s=23 * 3600)
        world.prefill(provider, [node.info for node in world.nodes if node is not provider])
        with provider.dht.events.subscribe(["reprovide"], want_trace=True) as events:
            await world.until(lambda: untold(world, provider, KEYS[:1], 5) == 0, limit_s=60)
            event = await anext(events)
        assert event.trace.asked


async def test_a_peer_that_does_not_take_one_record_is_not_asked_to_take_the_next(autojump_clock):
    """Else each of many records waits for it."""
    async with SimWorld(8, 6, links=LINKS, config=small()) as world:
        await world.settle()
        provider, broken = world.nodes[0], world.nodes[3]
        await restarted_with(provider, KEYS[:100], age_s=23 * 3600)
        await world.settle()
        tried = 0
        notify = provider.host.notify

        async def failing(peer, message, *, timeout_s):
            nonlocal tried
            if peer == broken.peer:
                tried += 1
                raise PeerUnreachable("it is gone")
            await notify(peer, message, timeout_s=timeout_s)

        provider.host.notify = failing
        others = [node for node in world.nodes if node not in (provider, broken)]
        await world.until(
            lambda: all(
                provider.peer in {info.id for info in node.dht.providers.held(key)}
                for key in KEYS[:100]
                for node in others
            ),
            limit_s=120,
        )
        assert 1 <= tried <= limits.SWEEP_KEYS_AT_ONCE


async def test_a_sweep_that_tells_nobody_is_tried_again(autojump_clock):
    async with SimWorld(9, 1, links=LINKS, config=small()) as world:
        provider = world.nodes[0]
        await restarted_with(provider, KEYS[:20], age_s=23 * 3600)
        other = await world.add_node()
        await world.settle()
        await world.until(lambda: all(other.dht.providers.held(key) for key in KEYS[:20]), limit_s=300)


async def test_what_is_provided_no_more_is_not_announced_by_a_sweep_under_way(autojump_clock):
    async with SimWorld(10, 20, links=LINKS, config=small(), start="prefilled") as world:
        provider = world.nodes[2]
        await restarted_with(provider, KEYS[:200], age_s=23 * 3600)
        before = announced(provider)
        world.prefill(provider, [node.info for node in world.nodes if node is not provider])
        await world.until(lambda: announced(provider) > before, limit_s=60)
        for key in KEYS[:200]:
            await provider.dht.stop_providing(key)
        assert announced(provider) - before < 5 * 200
        await world.until(lambda: len(provider.dht.providers.store.own_provides()) == 0, limit_s=1)
