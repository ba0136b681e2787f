"""A control socket in front of a fake node, as a process: `fake_daemon.py CONTROL_MULTIADDR`."""

from __future__ import annotations

import sys

import trio
from fake_node import FakeNode

from primedht import control_addr
from primedht.control.listeners import Access, open_listeners
from primedht.control.server import open_control
from primedht.logs import configure_logs


async def main(listeners: list) -> None:
    async with open_control(FakeNode(), listeners):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    configure_logs("warning", "console")
    with open_listeners([control_addr.parse(sys.argv[1])], Access()) as opened:
        trio.run(main, opened)
