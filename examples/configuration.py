"""DHT parameters: the defaults spelt out, the two presets, and what is refused."""

from datetime import timedelta

import trio

from primedht import DhtConfig, open_node
from primedht.errors import ConfigInvalid

config = DhtConfig(
    k_bucket_size=20,  # peers per bucket, and in a lookup's result
    alpha=3,  # requests of one lookup in flight
    replication_factor=3,  # holders of a value
    refresh_interval=timedelta(hours=1),
    ttl=timedelta(days=1),
)
large_network = DhtConfig.high_performance()
small_network = DhtConfig.low_latency()
faster_lookups = config.with_changes(alpha=8)


async def main() -> None:
    for chosen in (config, large_network, small_network, faster_lookups):
        assert chosen.alpha <= chosen.k_bucket_size
        assert chosen.replication_factor >= 1
        async with open_node(dht=chosen) as node:
            parameters = node.dht.config
            print(f"k={parameters.k_bucket_size} alpha={parameters.alpha} R={parameters.replication_factor}")
    try:
        DhtConfig(alpha=30)
    except ConfigInvalid as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    trio.run(main)
