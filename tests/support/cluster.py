"""Real daemons on loopback: started, asked, killed, paused and started again.

    async with open_cluster(tmp_path, 5, replication_factor=3) as cluster:
        await cluster.nodes[0].put("key", b"value")
        await cluster.nodes[1].kill()

Each node is a process with its own data directory; whatever still runs at the end is killed by its
process id. A node that is started again listens where it did before, as a configured one does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio
from control_client import ControlClient

from primedht.client import _ops
from primedht.client._ops import Call
from primedht.errors import ValueNotFound
from primedht.ids import PeerId
from primedht.results import DiscoveredPeer, FoundValue, PutResult

T = TypeVar("T")
READY_TIMEOUT_S = 120.0  # twenty at once on two cores take some 15 s
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Daemon:
    """One `primedht run`, over all its lives. `options` are command line flags beside the usual ones."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        network: str,
        settings: Mapping[str, object],
        options: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.data_dir = folder / name
        self.log = folder / f"{name}.log"
        self.bootstrap: tuple[str, ...] = ()
        self._network = network
        self._options = tuple(options)
        self._environment = _environment(settings)
        self._listen = "/ip4/127.0.0.1/tcp/0"
        self._process: trio.Process | None = None
        self._client: ControlClient | None = None
        self._ready: dict[str, Any] = {}
        self.paused = False

    def __repr__(self) -> str:
        return f"Daemon({self.name})"

    # --- life ----------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def process_id(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def peer_id(self) -> PeerId:
        return PeerId.from_text(self._ready["peer_id"])

    @property
    def addr(self) -> str:
        """Its first address, ending in `/p2p`."""
        text = self._ready["addrs"][0]
        assert isinstance(text, str)
        return text

    @property
    def host_port(self) -> str:
        parts = self.addr.split("/")
        return f"{parts[2]}:{parts[4]}"

    async def start(self, bootstrap: Sequence[str] | None = None) -> None:
        """Start it and wait until it is ready; without `bootstrap`, with that of its last life."""
        assert self._process is None, f"{self.name} is running"
        if bootstrap is not None:
            self.bootstrap = tuple(bootstrap)
        command = [
            *(sys.executable, "-m", "primedht.cli", "run", "--data-dir", str(self.data_dir)),
            *("--network", self._network, "--listen", self._listen, "--no-mdns"),
            *(part for addr in self.bootstrap for part in ("--bootstrap", addr)),
            *self._options,
        ]
        with self.log.open("ab") as log:
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the tests, which end their nodes themselves
            )
        self._process, self.paused = process, False
        assert process.stdout is not None
        with trio.move_on_after(READY_TIMEOUT_S):
            received = b""
            while b"\n" not in received:
                data = await process.stdout.receive_some(4096)
                if not data:
                    raise AssertionError(f"{self.name} ended while starting:\n{self.tail()}")
                received += data
            self._ready = json.loads(received.split(b"\n", 1)[0])
            self._listen = self.addr.partition("/p2p/")[0]
            self._client = ControlClient(self._ready["control"])
            return
        raise AssertionError(f"{self.name} was not ready within {READY_TIMEOUT_S:g} s:\n{self.tail()}")

    async def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            await self._ended()

    async def terminate(self, *, timeout_s: float = _STOP_TIMEOUT_S) -> int:
        """End it with SIGTERM; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        with trio.fail_after(timeout_s):
            return await self._ended()

    def pause(self) -> None:
        """Stop it with SIGSTOP: connections stay open and nothing answers, as behind a dead link."""
        os.kill(self.process_id, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        os.kill(self.process_id, signal.SIGCONT)
        self.paused = False

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def last_logged(self, event: str) -> dict[str, Any]:
        """Return the last such event of a log in JSON, or an empty one."""
        for line in reversed(self.log.read_text("utf-8", "replace").splitlines()):
            if f'"{event}"' in line:
                entry = json.loads(line)
                assert isinstance(entry, dict)
                return entry
        return {}

    def has_ended(self) -> bool:
        """Whether it ended without being told to."""
        return self._process is not None and self._process.poll() is not None

    def fate(self) -> str:
        """Say whether it still runs and, if it ended by itself, how."""
        if self._process is None:
            return f"{self.name} was ended"
        status = self._process.poll()
        return f"{self.name} runs" if status is None else f"{self.name} ended with {status}:\n{self.tail()}"

    async def _ended(self) -> int:
        assert self._process is not None
        process, self._process, self.paused = self._process, None, False
        with trio.CancelScope(shield=True):
            status = await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()
            if self._client is not None:
                await self._client.close()
        return status

    # --- operations ------------------------------------------------------------------------------------

    async def call(self, call: Call[T]) -> T:
        """Do any operation of `primedht.client._ops`."""
        assert self._client is not None
        return await self._client.one(call)

    async def call_every(self, call: Call[T]) -> list[T]:
        assert self._client is not None
        return await self._client.every(call)

    async def put(self, key: bytes | str, value: bytes, **options: Any) -> PutResult:
        return await self.call(_ops.put(key, value, **options))

    async def get_record(self, key: bytes | str, **options: Any) -> FoundValue:
        return await self.call(_ops.get_record(key, **options))

    async def get(self, key: bytes | str, **options: Any) -> bytes | None:
        try:
            return (await self.get_record(key, **options)).payload
        except ValueNotFound:
            return None

    async def status(self) -> dict[str, Any]:
        return await self.call(_ops.status())

    async def peers(self) -> list[DiscoveredPeer]:
        return await self.call_every(_ops.peers())

    async def table_peers(self) -> set[PeerId]:
        """Return the members of its routing table."""
        return {peer.id for peer in await self.peers() if peer.in_routing_table}

    # --- what it costs ---------------------------------------------------------------------------------

    def cpu_s(self) -> float:
        """Return the CPU seconds used in this life."""
        stat = Path(f"/proc/{self.process_id}/stat").read_text("ascii", "replace")
        fields = stat.rpartition(")")[2].split()  # from the third, the name may hold anything
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_anon_bytes(self) -> int:
        """Return the anonymous resident memory: what the process itself takes, without mapped files."""
        status = Path(f"/proc/{self.process_id}/status").read_text("ascii", "replace")
        line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024


class Cluster:
    """Daemons of one network. Node 0 is the one that the others join through."""

    def __init__(self, folder: Path, *, network: str, settings: Mapping[str, object]) -> None:
        self.network = network
        self.nodes: list[Daemon] = []
        self._folder = folder
        self._settings = settings

    @property
    def running(self) -> list[Daemon]:
        return [node for node in self.nodes if node.running]

    def add(self, *, settings: Mapping[str, object] | None = None, options: Sequence[str] = ()) -> Daemon:
        """Add a node that is not started yet."""
        name = f"node-{len(self.nodes)}"
        merged = {**self._settings, **(settings or {})}
        node = Daemon(name, self._folder, network=self.network, settings=merged, options=options)
        self.nodes.append(node)
        return node

    async def start(self, count: int) -> None:
        """Add and start `count` nodes, and wait until all know each other."""
        await self.start_apart(count)
        await self.wait_met()

    async def start_apart(self, count: int) -> None:
        """Add and start `count` nodes without waiting until they meet."""
        fresh = [self.add() for _ in range(count)]
        if not self.running:
            await fresh.pop(0).start()
        first = self.nodes[0].addr
        await at_once(fresh, lambda node: node.start([first]))

    async def wait_met(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until each running node has every other one in its table, and no dead one."""
        everyone = {node.peer_id for node in self.running if not node.paused}

        async def met(node: Daemon) -> None:
            async def complete() -> bool:
                return await node.table_peers() == everyone - {node.peer_id}

            await until(complete, timeout_s=timeout_s, what=lambda: f"{node.name} meets all\n{node.tail()}")

        await at_once([node for node in self.running if not node.paused], met)

    async def kill(self, nodes: Iterable[Daemon]) -> None:
        """SIGKILL all of them at the same moment."""
        victims = list(nodes)
        for node in victims:
            os.kill(node.process_id, signal.SIGKILL)
        for node in victims:
            await node.kill()

    def ended(self) -> list[str]:
        """Return what is known of the nodes that ended without being told to."""
        return [node.fate() for node in self.running if node.has_ended()]

    def cpu_s(self) -> float:
        """Return the CPU seconds of all running nodes, each in its present life."""
        return sum(node.cpu_s() for node in self.running)


@asynccontextmanager
async def open_cluster(
    folder: Path, size: int, *, network: str = "soak", **settings: object
) -> AsyncIterator[Cluster]:
    """Run a network of `size` nodes that know each other; 0 for none yet.

    settings: configuration by dotted key with `__` for the dot, or of section `dht` without it:
    `replication_factor=6`, `node__grace=2`.
    """
    cluster = Cluster(folder, network=network, settings=settings)
    with _nodes_end_with_us(cluster):
        async with _killed_at_the_end(cluster):
            if size:
                await cluster.start(size)
            yield cluster


@asynccontextmanager
async def _killed_at_the_end(cluster: Cluster) -> AsyncIterator[None]:
    try:
        yield
        ended = cluster.ended()
        assert not ended, ended
    except BaseException as error:
        for fate in cluster.ended():
            error.add_note(fate)
        raise
    finally:
        with trio.CancelScope(shield=True):
            await cluster.kill(cluster.running)


@contextmanager
def _nodes_end_with_us(cluster: Cluster) -> Iterator[None]:
    """Kill the nodes when SIGTERM ends the tests: nobody else would."""

    def on_signal(number: int, frame: object) -> None:
        for node in cluster.running:
            os.kill(node.process_id, signal.SIGKILL)
        signal.signal(number, previous)
        os.kill(os.getpid(), number)

    previous = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PRIMEDHT_")}
    for name, value in settings.items():
        section, _, key = name.rpartition("__")
        environment[f"PRIMEDHT_{section or 'dht'}_{key}".upper()] = str(value)
    return environment


# --- waiting and doing many things ------------------------------------------------------------------


class NotYet(AssertionError):
    """What was waited for did not come about in time."""


async def until(
    holds: Callable[[], Awaitable[bool]],
    *,
    timeout_s: float = 30.0,
    pause_s: float = _POLL_S,
    what: Callable[[], str] | str = "the condition",
) -> float:
    """Ask until the answer is yes; return the seconds it took. Raises `NotYet`."""
    began = trio.current_time()
    with trio.move_on_after(timeout_s):
        while not await holds():  # noqa: ASYNC110 - another process cannot set our events
            await trio.sleep(pause_s)
        return trio.current_time() - began
    raise NotYet(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")


async def at_once(items: Iterable[T], do: Callable[[T], Awaitable[object]], *, limit: int = 64) -> None:
    """Do something with each item, up to `limit` of them at the same time."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    async with trio.open_nursery() as nursery:
        for _ in range(limit):
            nursery.start_soon(work)
