"""All checks of a running node, side by side, told in one order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from primedht.doctor import machine, network, store
from primedht.findings import Finding
from primedht.node import Node

Check = Callable[[Node], Awaitable[Sequence[Finding]]]


async def check_machine(node: Node) -> list[Finding]:
    """Check what the daemon stands on, as its own process sees it."""
    findings = []
    if node.data_dir is not None:
        findings += [
            machine.check_file_system(node.data_dir),
            machine.check_disk(node.data_dir, growth_bytes_max=store.growth_bytes_max(node)),
        ]
    return [
        *findings,
        machine.check_descriptors(
            machine.open_descriptors(),
            machine.descriptors_max(),
            connections_max=node.config.limits.connections_max,
        ),
        machine.check_memory(machine.resident_bytes(), machine.memory_bytes_max()),
        machine.check_clock(
            synchronised=machine.clock_is_synchronised(),
            stepped_s=node.clock_steps.stepped_s(),
            uptime_s=node.uptime_s,
            writers_ahead_s=node.dht.copies.writer_clocks.ahead_s(),
        ),
    ]


CHECKS: tuple[Check, ...] = (
    check_machine,
    store.check_store,
    network.check_listening,
    network.check_reachable,
    network.check_bootstrap,
    network.check_table,
    network.check_round_trip,
)


async def examine(node: Node) -> list[Finding]:
    """Run all checks and return what they found, in the order of `CHECKS`."""
    outcomes: dict[Check, Sequence[Finding]] = {}

    async def run(check: Check) -> None:
        outcomes[check] = await check(node)

    async with trio.open_nursery() as nursery:
        for check in CHECKS:
            nursery.start_soon(run, check)
    return [finding for check in CHECKS for finding in outcomes[check]]
