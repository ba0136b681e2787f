"""Store a value in the DHT and read it back from another node."""

import trio

from primedht import open_node


async def main() -> None:
    async with (
        open_node() as first,
        open_node(bootstrap=first.addrs[:1]) as second,
    ):
        result = await second.put("model_weights_v1", b"serialized_model_data")
        print(f"Stored on {len(result.holders)} peers")

        retrieved = await first.get("model_weights_v1")
        print(f"Retrieved: {retrieved!r}")


if __name__ == "__main__":
    trio.run(main)
