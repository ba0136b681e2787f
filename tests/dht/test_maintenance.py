"""What goes on in the background, where no numbered behaviour covers it."""

import trio
from engine_lab import LINKS

from primedht import limits
from primedht.sim.world import SimWorld


async def test_a_crash_seconds_after_joining_forgets_nobody(autojump_clock):
    """The table is remembered as it fills: a killed node needs no bootstrap peer to come back."""
    async with SimWorld(50, 8, links=LINKS) as world:
        await world.settle()
        await trio.sleep(4 * limits.SNAPSHOT_PAUSE_S)
        node = world.nodes[5]
        await world.nodes[0].crash()
        node.bootstrap = ()
        await node.restart()
        await world.until(lambda: len(node.dht.routing_table) == 6, limit_s=30)


async def test_a_table_that_does_not_change_is_not_written_again(autojump_clock):
    """An idle node leaves its disk alone."""
    async with SimWorld(51, 3, links=LINKS) as world:
        await world.settle()
        node = world.nodes[1]
        await trio.sleep(2 * limits.SNAPSHOT_INTERVAL_S)
        ((key, _),) = await node.disk.scan(b"t/")
        await node.disk.put({key: b"as it was"})
        await trio.sleep(3 * limits.SNAPSHOT_INTERVAL_S)
        assert await node.disk.get(key) == b"as it was"
