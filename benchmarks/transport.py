"""The host's transport against py-libp2p's own, in one run: connections, requests, bulk, memory.

Every stack runs as a server and a client, each a process of its own, on loopback. Ratios are made of
CPU time, client and server together, because wall-clock time moves with whatever else the machine does.

A request is 100 bytes and its reply 1500, each behind a varint; one at a time, both ends share a core (and
`_two_cores`, do not). Bulk is written 64 KiB at a time.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Protocol

import structlog
import trio
from harness import machine
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamEOF, StreamError
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from primedht.host import HostConfig, generate_private_key, open_host
from primedht.wire.frames import FrameReader, encode_frame

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
RPC, SINK = "/bench/rpc", "/bench/sink"
REQUEST, REPLY = encode_frame(bytes(100)), encode_frame(bytes(1500))
PIECE = bytes(64 << 10)
STACKS = ("primedht", "pylibp2p")
CONCURRENCIES = (1, 10, 100)
ROWS = (
    "setup",
    *(f"rpc_{kind}_c{concurrency}" for concurrency in CONCURRENCIES for kind in ("reused", "new")),
    *(f"rpc_{kind}_c1_two_cores" for kind in ("reused", "new")),
    "bulk_1",
    "bulk_8",
)
RATIOS = ("bulk_1", "bulk_8", "rpc_new_c10", "rpc_reused_c1", "rpc_reused_c10", "setup_cpu", "idle_memory")

Handler = Callable[["ByteStream"], Awaitable[None]]


class ByteStream(Protocol):
    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes:
        """Return some bytes, none at the end."""
        ...

    async def finish(self) -> None: ...

    async def close(self) -> None: ...


class Stack(Protocol):
    addr: str

    def serve(self, protocol: str, handler: Handler) -> None: ...

    async def connect(self, addr: str) -> None: ...

    async def disconnect(self) -> None: ...

    async def open(self, protocol: str) -> ByteStream: ...


# --- the two stacks -----------------------------------------------------------------------------------


class Ours:
    def __init__(self, host: Any) -> None:
        self._host = host
        self._peer: Any = None
        self.addr = f"{host.listen_addrs[0]}/p2p/{host.peer_id}" if host.listen_addrs else ""

    def serve(self, protocol: str, handler: Handler) -> None:
        self._host.streams.serve(protocol, handler, streams_per_peer_max=1000)

    async def connect(self, addr: str) -> None:
        self._peer = await self._host.connect_addr(addr)

    async def disconnect(self) -> None:
        await self._host.connections.disconnect(self._peer)

    async def open(self, protocol: str) -> ByteStream:
        stream: Any = await self._host.swarm.connection_to(self._peer).new_stream()
        stream.propose(protocol)
        return stream


class StockStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.send = stream.write
        self.finish = stream.close_write
        self.close = stream.close

    async def receive(self) -> bytes:
        try:
            data: bytes = await self._stream.read(1 << 20)
        except StreamEOF:
            return b""
        return data


class Stock:
    def __init__(self, host: Any) -> None:
        self._host = host
        self._peer: Any = None
        self.addr = str(host.get_addrs()[0])

    def serve(self, protocol: str, handler: Handler) -> None:
        async def handle(stream: Any) -> None:
            await handler(StockStream(stream))
            await stream.close()

        self._host.set_stream_handler(TProtocol(protocol), handle)

    async def connect(self, addr: str) -> None:
        info = info_from_p2p_addr(Multiaddr(addr))
        self._peer = info.peer_id
        await self._host.connect(info)

    async def disconnect(self) -> None:
        await self._host.disconnect(self._peer)

    async def open(self, protocol: str) -> ByteStream:
        return StockStream(await self._host.new_stream(self._peer, [TProtocol(protocol)]))


@asynccontextmanager
async def running(stack: str) -> AsyncIterator[Stack]:
    if stack == "primedht":
        config = HostConfig(listen=(LOOPBACK,), kad_protocol="/bench/kad/1.0.0", transport="primedht")
        async with open_host(generate_private_key(), config) as host:
            yield Ours(host)
    else:
        listen = [Multiaddr(LOOPBACK)]
        stock = new_host(listen_addrs=listen)
        async with stock.run(listen_addrs=listen):
            yield Stock(stock)


# --- the server ---------------------------------------------------------------------------------------


async def answer(stream: ByteStream) -> None:
    reader = FrameReader(1 << 16)
    try:
        while data := await stream.receive():
            reader.feed(data)
            while reader.next_frame() is not None:
                await stream.send(REPLY)
    except StreamError:  # py-libp2p's, for an end that comes with a reset
        pass


async def swallow(stream: ByteStream) -> None:
    """Take everything in, then say how much it was."""
    size = 0
    while data := await stream.receive():
        size += len(data)
    await stream.send(encode_frame(size.to_bytes(8, "big")))
    await stream.finish()


def anonymous_memory() -> int:
    """Return this process's RssAnon in bytes."""
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


async def serve(stack: str) -> None:
    """Serve until standard input ends; answer each line of it, `cpu` or `memory`, with a figure."""
    async with running(stack) as host, trio.open_nursery() as nursery:
        host.serve(RPC, answer)
        host.serve(SINK, swallow)
        print(host.addr, flush=True)

        async def report() -> None:
            while wanted := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                print(time.process_time() if wanted == "cpu\n" else anonymous_memory(), flush=True)
            nursery.cancel_scope.cancel()

        nursery.start_soon(report)


class Server:
    """The server process, as its client sees it."""

    def __init__(self, stack: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", stack],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addr = self._line()

    @contextmanager
    def on_one_core(self) -> Iterator[None]:
        """Keep both ends on one core, as long as they take turns anyway.

        Across two, each message wakes a core that sleeps: tens of microseconds, of the kernel or the
        hypervisor and not of the stack, and differently many from run to run.
        """
        cores = os.sched_getaffinity(0)
        try:
            for pid in (0, self._process.pid):
                os.sched_setaffinity(pid, {min(cores)})
            yield
        finally:
            for pid in (0, self._process.pid):
                os.sched_setaffinity(pid, cores)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def figure(self, wanted: str) -> float:
        """Return its `cpu` time in seconds, or its `memory` in bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{wanted}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


# --- the client ---------------------------------------------------------------------------------------


async def measure(server: Server, operations: int, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Run `work`; return CPU seconds per operation on both sides, and operations per second."""
    server_before = server.figure("cpu")
    before, started = time.process_time(), time.perf_counter()
    await work()
    elapsed, cpu_s = time.perf_counter() - started, time.process_time() - before
    server_after = server.figure("cpu")
    return {
        "client_cpu_s": cpu_s / operations,
        "server_cpu_s": (server_after - server_before) / operations,
        "per_s": operations / elapsed,
    }


async def at_once(count: int, work: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(work)


async def ask(stream: ByteStream, reader: FrameReader) -> None:
    await stream.send(REQUEST)
    while reader.next_frame() is None:
        data = await stream.receive()
        assert data, "the server ended the stream"
        reader.feed(data)


async def bulk(host: Stack, size: int) -> None:
    stream = await host.open(SINK)
    for _ in range(size // len(PIECE)):
        await stream.send(PIECE)
    await stream.finish()
    reader = FrameReader(64)
    while (frame := reader.next_frame()) is None:
        reader.feed(await stream.receive())
    assert int.from_bytes(frame, "big") == size // len(PIECE) * len(PIECE)
    await stream.close()


async def run_client(stack: str, scale: float, rows: Sequence[str]) -> dict[str, dict[str, float]]:
    """Measure `rows`, of all but memory. `scale`: 1 for full sizes."""
    results: dict[str, dict[str, float]] = {}
    server = Server(stack)
    speed = 1.0 if stack == "primedht" else 0.2  # the same patience for both
    try:
        async with running(stack) as host:

            async def connect_often(count: int) -> None:
                for _ in range(count):
                    await host.connect(server.addr)
                    await host.disconnect()

            connections = max(2, int(40 * scale))
            if "setup" in rows:
                await connect_often(2)
                results["setup"] = await measure(server, connections, lambda: connect_often(connections))
            await host.connect(server.addr)
            for concurrency in CONCURRENCIES:
                each = max(3, int(4000 * scale * speed / max(concurrency, 4)))

                async def on_one_stream(each: int = each) -> None:
                    stream = await host.open(RPC)
                    reader = FrameReader(1 << 16)
                    for _ in range(each):
                        await ask(stream, reader)
                    await stream.close()

                async def on_new_streams(each: int = each) -> None:
                    for _ in range(each):
                        stream = await host.open(RPC)
                        await ask(stream, FrameReader(1 << 16))
                        await stream.close()

                for kind, work in (("rpc_reused", on_one_stream), ("rpc_new", on_new_streams)):
                    alone = {"": server.on_one_core, "_two_cores": nullcontext}
                    for suffix, place in (alone if concurrency == 1 else {"": nullcontext}).items():
                        name = f"{kind}_c{concurrency}{suffix}"
                        if name not in rows:
                            continue
                        with place():
                            results[name] = await measure(
                                server,
                                concurrency * each,
                                lambda work=work, concurrency=concurrency: at_once(concurrency, work),
                            )
            size = max(8 << 20, int((512 << 20) * scale * speed))
            for streams in (1, 8):
                if f"bulk_{streams}" not in rows:
                    continue
                results[f"bulk_{streams}"] = await measure(
                    server,
                    size,
                    lambda streams=streams: at_once(streams, lambda: bulk(host, size // streams)),
                )
    finally:
        server.close()
    return results


async def memory_per_connection(stack: str, connections: int) -> float:
    """Return the bytes that a server of `stack` needs for each idle connection. Its clients are ours."""
    server = Server(stack)
    try:
        async with trio.open_nursery() as nursery:

            async def hold(task_status: trio.TaskStatus[None]) -> None:
                async with open_host(
                    generate_private_key(), HostConfig(listen=(), transport="primedht")
                ) as client:
                    await client.connect_addr(server.addr)
                    task_status.started()
                    await trio.sleep_forever()

            for _ in range(20):  # what is allocated once is there
                await nursery.start(hold)
            await trio.sleep(1)
            before = server.figure("memory")
            for _ in range(connections):
                await nursery.start(hold)
            await trio.sleep(2)
            after = server.figure("memory")
            nursery.cancel_scope.cancel()
        return (after - before) / connections
    finally:
        server.close()


# --- the report ---------------------------------------------------------------------------------------


def cpu_s(result: dict[str, float]) -> float:
    return result["client_cpu_s"] + result["server_cpu_s"]


def all_ratios(results: dict[str, Any]) -> dict[str, float]:
    """How many times less CPU than py-libp2p an operation takes; for set-up and memory, what share.

    CPU of both ends together. For set-up and memory less is better, for the others more.
    """
    ours, stock = results["primedht"], results["pylibp2p"]
    names = [name for name in ours if name.startswith(("bulk", "rpc"))]
    found = {name: cpu_s(stock[name]) / cpu_s(ours[name]) for name in names}
    if "setup" in ours:
        found["setup_cpu"] = cpu_s(ours["setup"]) / cpu_s(stock["setup"])
    if "idle_memory_bytes" in ours:
        found["idle_memory"] = ours["idle_memory_bytes"] / stock["idle_memory_bytes"]
    return found


def split_ratios(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    found = all_ratios(results)
    return {
        "ratios_vs_pylibp2p": {name: found[name] for name in RATIOS if name in found},
        "further_ratios_vs_pylibp2p": {name: found[name] for name in found if name not in RATIOS},
    }


def median(runs: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    return {
        name: {key: statistics.median(run[name][key] for run in runs) for key in runs[0][name]}
        for name in runs[0]
    }


def child(*arguments: str) -> Any:
    """Run this program with `arguments` in a process of its own; return its JSON."""
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def run_all(repeat: int, scale: float, connections: int, rows: Sequence[str]) -> dict[str, Any]:
    about = machine()
    runs: dict[str, list[Any]] = {stack: [] for stack in STACKS}
    for _ in range(repeat):
        for stack in STACKS:
            runs[stack].append(child("--client", stack, "--scale", str(scale), "--rows", *rows))
    results = {stack: median(runs[stack]) for stack in STACKS}
    for stack in STACKS if "idle_memory" in rows else ():
        results[stack]["idle_memory_bytes"] = child("--memory", stack, "--connections", str(connections))
    return {**split_ratios(results), "results": results, "machine": about}


def print_report(report: dict[str, Any]) -> None:
    results = report["results"]
    print(
        f"{'':24}" + "".join(f"{stack + ': CPU cli / srv':>28}{'rate':>12}" for stack in STACKS) + "   ratio"
    )
    for name, ratio in (report["ratios_vs_pylibp2p"] | report["further_ratios_vs_pylibp2p"]).items():
        if name == "idle_memory":
            cells = [f"{results[stack]['idle_memory_bytes'] / 1024:25.1f} KB" + " " * 12 for stack in STACKS]
        else:
            result_name = "setup" if name == "setup_cpu" else name
            cells = [row(name, results[stack][result_name]) for stack in STACKS]
        print(f"{name:24}" + "".join(cells) + f"{ratio:8.2f}")


def row(name: str, result: dict[str, float]) -> str:
    if name.startswith("bulk"):
        cpu = f"{result['client_cpu_s'] * 1e9:.2f} / {result['server_cpu_s'] * 1e9:.2f} s/GB"
        return f"{cpu:>28}{result['per_s'] / 1e6:>7.0f} MB/s"
    cpu = f"{result['client_cpu_s'] * 1e6:.0f} / {result['server_cpu_s'] * 1e6:.0f} us"
    return f"{cpu:>28}{result['per_s']:>10.0f}/s"


def main() -> None:
    every_row = (*ROWS, "idle_memory")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each stack, in turn; medians count")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amount of work")
    parser.add_argument("--connections", type=int, default=100, help="idle ones, for their memory")
    parser.add_argument(
        "--rows", nargs="+", choices=every_row, default=every_row, metavar="ROW", help="only these"
    )
    for name in ("serve", "client", "memory"):
        parser.add_argument(f"--{name}", choices=STACKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if arguments.serve:
        trio.run(serve, arguments.serve)
    elif arguments.client:
        print(json.dumps(trio.run(run_client, arguments.client, arguments.scale, arguments.rows)))
    elif arguments.memory:
        print(trio.run(memory_per_connection, arguments.memory, arguments.connections))
    else:
        report = run_all(arguments.repeat, arguments.scale, arguments.connections, arguments.rows)
        if arguments.json:
            print(json.dumps(report))
        else:
            print_report(report)


if __name__ == "__main__":
    main()
