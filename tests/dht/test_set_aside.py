"""A peer that somebody disconnected is not looked for at once; anything explicit ends that."""

from __future__ import annotations

from collections.abc import Callable

import trio

from primedht.assembly import open_node
from primedht.config import Config, NetworkConfig, NodeConfig

CONFIG = Config(
    network=NetworkConfig(name="aside"), node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False)
)


async def eventually(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - seen from outside
            await trio.sleep(0.01)


async def test_a_disconnected_member_stays_out_until_somebody_connects() -> None:
    async with open_node(CONFIG) as a, open_node(CONFIG) as b, open_node(CONFIG) as c:
        await a.connect(b.addrs[0])
        await c.connect(b.addrs[0])
        await eventually(lambda: {b.peer_id, c.peer_id} <= set(a.dht.routing_table.peers()))
        dials = a.host.swarm.dialer.counts.total()
        await a.disconnect(b.peer_id)
        assert b.peer_id not in a.dht.routing_table
        # b sees that it was disconnected, and asks whether a is alive: that is its right.
        await eventually(lambda: a.host.swarm.connection_to(b.peer_id) is not None)
        a.dht.peers.hear([a.dht.peers.info(b.peer_id)])  # as c would tell it
        await eventually(lambda: a.host.connections.facts(b.peer_id) is not None)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert b.peer_id not in a.dht.routing_table
        connection = a.host.swarm.connection_to(b.peer_id)
        assert connection is not None
        assert connection.inbound
        assert a.host.swarm.dialer.counts.total() == dials
        await a.connect(b.addrs[0])
        await eventually(lambda: b.peer_id in a.dht.routing_table)
