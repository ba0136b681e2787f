"""How fast the control socket answers: 10,000 small gets over one connection, and over 100 at once.

One node in memory, in a process of its own, that holds the value and knows no peer: what is measured is
the daemon, not a network. The engine's part of its CPU time is what the same gets cost inside that
process, without a socket; the rest is the socket's: frames, protobuf, scheduling, system calls.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import structlog
import trio

from primedht.assembly import open_node
from primedht.client import AsyncClient, Client
from primedht.config import Config, NodeConfig
from primedht.control.listeners import Access, open_listeners
from primedht.control.server import open_control
from primedht.control_addr import UnixAddr
from primedht.node import Node

KEY, VALUE = b"learning_rate", b"0.001"
WARM_UP = 500


# --- the daemon's process -----------------------------------------------------------------------------


async def serve(path: str) -> None:
    """Answer on the socket; on standard input, `cpu` and `engine GETS AT_ONCE` ask for CPU seconds."""
    config = Config(node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False))
    with open_listeners([UnixAddr(path)], Access()) as listeners:
        async with open_node(config) as node, open_control(node, listeners):
            await node.put(KEY, VALUE)
            say({"ready": True})
            async for line in trio.wrap_file(sys.stdin):
                words = line.split()
                if words[0] == "engine":
                    say(await engine_cpu_s(node, gets=int(words[1]), at_once=int(words[2])))
                else:
                    say(time.process_time())


async def engine_cpu_s(node: Node, *, gets: int, at_once: int) -> float:
    async def some() -> None:
        for _ in range(gets // at_once):
            await node.get_record(KEY)

    await node.get_record(KEY)
    started = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(some)
    return time.process_time() - started


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


class Daemon:
    def __init__(self, folder: Path) -> None:
        self.control = f"/unix{folder}/c.sock"
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", f"{folder}/c.sock"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


# --- the clients ----------------------------------------------------------------------------------------


def over_one_connection(control: str, gets: int) -> list[float]:
    """Return each get's seconds, one after another by the blocking client."""
    took: list[float] = []
    with Client(control) as client:
        for _ in range(gets):
            started = time.perf_counter()
            assert client.get(KEY) == VALUE
            took.append(time.perf_counter() - started)
    return took


async def over_many(control: str, gets: int, *, connections: int) -> list[float]:
    """Return each get's seconds; every connection has one under way at any time."""
    took: list[float] = []

    async def one() -> None:
        async with AsyncClient(control) as client:
            for _ in range(gets // connections):
                started = time.perf_counter()
                assert await client.get(KEY) == VALUE
                took.append(time.perf_counter() - started)

    async with anyio.create_task_group() as tasks:
        for _ in range(connections):
            tasks.start_soon(one)
    return took


def measure(gets: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder))
        try:
            ways: dict[str, tuple[int, Callable[[int], list[float]]]] = {
                "one_connection": (1, partial(over_one_connection, daemon.control)),
                "hundred_connections": (100, partial(run_many, daemon.control)),
            }
            results = {}
            for name, (at_once, run) in ways.items():
                run(WARM_UP)
                results[name] = figures(daemon, partial(run, gets), gets=gets, at_once=at_once)
            return results
        finally:
            daemon.end()


def run_many(control: str, gets: int) -> list[float]:
    many: Callable[[], Awaitable[list[float]]] = partial(over_many, control, gets, connections=100)
    return anyio.run(many, backend="trio")


def figures(daemon: Daemon, run: Callable[[], list[float]], *, gets: int, at_once: int) -> dict[str, float]:
    engine_s = daemon.ask(f"engine {gets} {at_once}")
    daemon_before_s, client_before_s = daemon.ask("cpu"), time.process_time()
    started = time.perf_counter()
    took = sorted(run())
    elapsed_s = time.perf_counter() - started
    client_s = time.process_time() - client_before_s
    daemon_s = daemon.ask("cpu") - daemon_before_s
    return {
        "gets": len(took),
        "gets_per_s": len(took) / elapsed_s,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[len(took) * 99 // 100] * 1e3,
        "daemon_us_per_get": daemon_s / len(took) * 1e6,
        "engine_us_per_get": engine_s / len(took) * 1e6,
        "socket_us_per_get": (daemon_s - engine_s) / len(took) * 1e6,
        "client_us_per_get": client_s / len(took) * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--gets", type=int, default=10_000, help="in each of the two ways; a multiple of 100")
    parser.add_argument("--serve", metavar="PATH", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if arguments.serve:
        trio.run(serve, arguments.serve)
        return
    results = measure(arguments.gets)
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{'':24}" + "".join(f"{name.replace('_', ' '):>22}" for name in results))
    for figure in results["one_connection"]:
        print(f"{figure:24}" + "".join(f"{each[figure]:22.2f}" for each in results.values()))


if __name__ == "__main__":
    main()
