"""How fast the engine answers, transport aside: microseconds of CPU per request, and per lookup.

Twenty-five real engines in the simulator; requests go from bytes to bytes through codec and handlers.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable

import structlog
import trio
from trio.testing import MockClock

from primedht.dht.ports import Requester
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType
from primedht.sim.world import SimWorld

REQUESTS = 5000
LOOKUPS = 50


async def measure() -> dict[str, float]:
    results: dict[str, float] = {}
    async with SimWorld(seed=1, nodes=25) as world:
        await world.settle()
        node, other = world.nodes[0], world.nodes[1]
        await node.dht.put_value(b"held", bytes(1000))
        requester = Requester(other.peer, "10.0.0.2", 4 << 20)
        kinds: dict[str, Callable[[], Message]] = {
            "find_node_us": lambda: Message(MessageType.FIND_NODE, os.urandom(32)),
            "get_value_missing_us": lambda: Message(MessageType.GET_VALUE, os.urandom(16)),
            "get_value_1kb_us": lambda: Message(MessageType.GET_VALUE, b"held"),
        }
        for name, make in kinds.items():
            requests = [codec.encode(make()) for _ in range(REQUESTS)]
            started = time.process_time()
            for request in requests:
                reply = await node.dht.mode.handler(requester, codec.decode(request))
                assert reply is not None
                codec.encode(reply)
            results[name] = (time.process_time() - started) / REQUESTS * 1e6
        started = time.process_time()
        for _ in range(LOOKUPS):
            await node.dht.closest_peers(os.urandom(32))
        results["lookup_of_25_nodes_ms"] = (time.process_time() - started) / LOOKUPS * 1e3
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    results = trio.run(measure, clock=MockClock(autojump_threshold=0))
    if arguments.json:
        print(json.dumps(results))
        return
    for name, figure in results.items():
        print(f"{name:24} {figure:10.1f}")


if __name__ == "__main__":
    main()
