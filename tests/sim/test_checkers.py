"""Every oracle catches what it is there for."""

import pytest
import trio

from primedht.results import FoundValue
from primedht.sim.checkers import CheckFailed, check_closest, check_tables, check_tasks
from primedht.sim.clock import true_unix_now
from primedht.sim.ledger import Ledger
from primedht.sim.world import SimWorld


def found(key, value):
    return FoundValue(key=key, value=value, payload=value, authenticated=False, sources=())


async def test_a_lookup_that_misses_a_close_node_is_caught(autojump_clock):
    async with SimWorld(seed=1, nodes=6, start="prefilled") as world:
        asker = world.nodes[0]
        right = [node.peer for node in world.closest(b"x", 6) if node is not asker]
        check_closest(world, asker, b"x", right)
        for wrong in (right[1:], list(reversed(right)), [*right[:-1], asker.peer]):
            with pytest.raises(CheckFailed):
                check_closest(world, asker, b"x", wrong)


async def test_a_client_in_a_table_is_caught(autojump_clock):
    async with SimWorld(seed=2, nodes=3, start="prefilled") as world:
        check_tables(world)
        client = await world.add_node(config=world.config.with_changes(mode="client"), bootstrap=())
        world.prefill(world.nodes[0], [client.info])
        with pytest.raises(CheckFailed, match="client"):
            check_tables(world)


async def test_leaked_tasks_are_caught(autojump_clock):
    async with SimWorld(seed=3, nodes=1) as world:
        check_tasks(world, per_node_max=60)
        for _ in range(200):
            world.nursery.start_soon(trio.sleep_forever)
        with pytest.raises(CheckFailed, match="tasks"):
            check_tasks(world, per_node_max=60)


async def test_lost_stale_expired_and_deleted_values_are_caught(autojump_clock):
    async with SimWorld(seed=4, nodes=3) as world:
        await world.settle()
        ledger = Ledger()
        dht = world.nodes[0].dht
        ledger.on_put(await dht.put_value(b"key", b"v1", ttl_s=600, keep=False), b"v1")
        ledger.check(b"key", await dht.get_value(b"key"))
        for wrong in (None, found(b"key", b"v0")):
            with pytest.raises(CheckFailed):
                ledger.check(b"key", wrong)
        await trio.sleep(601)
        ledger.check(b"key", None)
        with pytest.raises(CheckFailed, match="expired"):
            ledger.check(b"key", found(b"key", b"v1"))
        ledger.on_put(await dht.put_value(b"gone", b"v", keep=False), b"v")
        await dht.delete_value(b"gone")
        ledger.on_delete(b"gone")
        ledger.check(b"gone", None)
        with pytest.raises(CheckFailed, match="deleted"):
            ledger.check(b"gone", found(b"gone", b"v"))


async def test_a_lengthened_life_is_caught(autojump_clock):
    async with SimWorld(seed=5, nodes=1) as world:
        (node,) = world.nodes
        ledger = Ledger()
        result = await node.dht.put_value(b"key", b"v", ttl_s=600, keep=False)
        ledger.on_put(result, b"v")
        await ledger.check_lives(world.nodes)
        await trio.sleep(300)
        await node.dht.put_value(b"key", b"v", ttl_s=600, keep=False)
        assert true_unix_now() + 599 > result.expires_unix_s + 100
        with pytest.raises(CheckFailed, match="too long"):
            await ledger.check_lives(world.nodes)
