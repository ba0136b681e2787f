"""A storage backend by itself, and what a node keeps in its own: records with an end."""

import trio

from primedht import open_node
from primedht.stores.memory import MemoryKeyValue


async def main() -> None:
    storage = MemoryKeyValue()
    await storage.put({b"key": b"value"})
    print(f"Found: {await storage.get(b'key')!r}")

    # Any backend goes into a node, which adds validation, expiry and quotas.
    async with open_node(storage=storage) as node:
        await node.put("short_lived", b"gradient", ttl=0.1)
        print(f"Stored keys: {len(node.dht.storage)}")
        await trio.sleep(0.2)
        assert await node.get("short_lived") is None


if __name__ == "__main__":
    trio.run(main)
