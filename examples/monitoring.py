"""A health report of a running node: peers and how they were found, records, expiry."""

import trio

from primedht import Node, open_node


async def monitor_dht_health(node: Node) -> None:
    routing_table, storage = node.dht.routing_table, node.dht.storage
    print("DHT Health Report:")
    print(f"  Active peers: {len(routing_table)}")
    print(f"  Stored keys: {len(storage)}")
    print(f"  Bucket distribution: {routing_table.bucket_sizes()}")
    print(f"  Expired records removed: {await storage.cleanup_expired()}")
    for peer in node.discovery.get_peers():
        print(f"  Found {peer.id} by {peer.how} at {', '.join(peer.addrs)}")


async def main() -> None:
    async with open_node() as first, open_node(bootstrap=first.addrs[:1]) as second:
        await second.put("checkpoint_epoch_10", b"model_state_dict")
        await monitor_dht_health(second)


if __name__ == "__main__":
    trio.run(main)
