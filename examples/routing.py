"""The routing table by itself, and a node's own: the peers closest to a target."""

import trio

from primedht import PrivateKey, RoutingTable, open_node


async def main() -> None:
    routing_table = RoutingTable(PrivateKey.generate().peer_id, bucket_size=20)
    for _ in range(50):
        routing_table.update(PrivateKey.generate().peer_id, trio.current_time())
    target = PrivateKey.generate().peer_id
    for peer in routing_table.find_closest(target, 3):
        print(f"close to {target}: {peer}")

    async with open_node() as first, open_node(bootstrap=first.addrs[:1]) as second:
        await second.dht.refresh_now()
        assert second.dht.routing_table.find_closest(target, 3) == [first.peer_id]


if __name__ == "__main__":
    trio.run(main)
