"""How long it takes to put 1 KB: on this node alone, then with a second one."""

import time

import trio

from primedht import Node, open_node

PUTS = 100


async def main() -> None:
    value = bytes(1024)
    async with open_node() as alone:
        print(f"alone: {await puts_per_s(alone, value):.0f} puts/s")
        async with open_node(bootstrap=alone.addrs[:1]) as second:
            print(f"two nodes: {await puts_per_s(second, value):.0f} puts/s")


async def puts_per_s(node: Node, value: bytes) -> float:
    started = time.perf_counter()
    for number in range(PUTS):
        await node.put(f"key_{number}", value)
    return PUTS / (time.perf_counter() - started)


if __name__ == "__main__":
    trio.run(main)
