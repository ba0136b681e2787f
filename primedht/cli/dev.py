"""`dev`: a local cluster of daemon processes in temporary folders, for a first try and for tests."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from primedht.cli import common
from primedht.cli.common import AsJson
from primedht.cli.help import App
from primedht.errors import OperationTimeout, PrimeDhtError

app = App()

_NODES_MAX = 64
_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0  # a node's own grace is 4 s
_POLL_S = 0.2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last: the terminal was closed


@dataclass(frozen=True, slots=True)
class _DevNode:
    """One daemon of the cluster. ready: what it printed when it was."""

    name: str
    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path
    ready: dict[str, Any]


class _Stopped(BaseException):
    """A signal to stop came; raised by the signal handler wherever the command is."""


@app.command(epilog="Example: primedht dev --nodes 3")
def dev(
    nodes: Annotated[
        int, typer.Option(metavar="N", min=1, max=_NODES_MAX, help="How many nodes to start.")
    ] = 3,
    network: Annotated[str, typer.Option(metavar="NAME", help="The cluster's network name.")] = "dev",
    as_json: AsJson = False,
) -> None:
    """Run a local cluster until Ctrl-C.

    Each node is a process with a temporary folder; how to talk to each is printed. They keep each
    other's large values and models.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_signals_raise())
            folder = stack.enter_context(_temporary_folder())
            cluster = _start(nodes, network, folder, stack)
            _wait_until_met(cluster)
            _print_cluster(cluster, folder, as_json=as_json)
            _watch(cluster)
        except _Stopped:
            return


def _start(count: int, network: str, folder: Path, stack: ExitStack) -> list[_DevNode]:
    """Start the first node, then the others, which join through it."""
    from primedht.datadir import prepare_data_dir

    names = [f"node-{number}" for number in range(1, count + 1)]
    everyone = [str(prepare_data_dir(folder / name).identity().peer_id) for name in names]
    cluster: list[_DevNode] = []
    for name in names:
        bootstrap = cluster[0].ready["addrs"][:1] if cluster else []
        cluster.append(_start_node(name, network, bootstrap, everyone, folder, stack))
    return cluster


def _start_node(
    name: str, network: str, bootstrap: list[str], everyone: list[str], folder: Path, stack: ExitStack
) -> _DevNode:
    """everyone: peer ids of the cluster, whose large values the node keeps."""
    data_dir, log = folder / name, folder / f"{name}.log"
    command = [
        *(sys.executable, "-m", "primedht.cli", "run", "--data-dir", str(data_dir)),
        *("--network", network, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"),
        *(part for addr in bootstrap for part in ("--bootstrap", addr)),
    ]
    with log.open("wb") as log_stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_stream,
            env=_environment() | {"PRIMEDHT_REPLICATE_ALLOW": ",".join(everyone)},
            start_new_session=True,  # Ctrl-C is for us; a node takes a second signal as "at once"
        )
    stack.callback(_stop, process)
    return _DevNode(name, process, data_dir, log, _wait_ready(name, process, log))


def _environment() -> dict[str, str]:
    """Return our environment without configuration: what we pass is all that a node of ours has."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PRIMEDHT_")}


def _wait_ready(name: str, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """Return the line that a node prints when it is ready. Raises `_NodeFailed` or `OperationTimeout`."""
    assert process.stdout is not None
    deadline = time.monotonic() + _READY_TIMEOUT_S
    received = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"\n" not in received:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise OperationTimeout(f"{name} was not ready within {_READY_TIMEOUT_S:g} s")
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                process.wait()
                raise _NodeFailed(f"{name} ended with status {process.returncode}: {_last_line(log)}")
            received += data
    ready = json.loads(received.split(b"\n", 1)[0])
    assert isinstance(ready, dict)
    return ready


class _NodeFailed(PrimeDhtError):
    """A node of the cluster ended."""

    code = "node_failed"


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1][:1000] if lines else "it said nothing"


def _wait_until_met(cluster: list[_DevNode]) -> None:
    """Return once each node has every other in its routing table."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    everyone = {node.ready["peer_id"] for node in cluster}
    for node in cluster:
        others = everyone - {node.ready["peer_id"]}
        with common.client(node.ready["control"], None) as daemon:
            while others - {str(peer.id) for peer in daemon.peers() if peer.in_routing_table}:
                _check_running([node])
                if time.monotonic() > deadline:
                    raise OperationTimeout(
                        f"{node.name} did not meet all others within {_READY_TIMEOUT_S:g} s; "
                        f"its log ends with: {_last_line(node.log)}"
                    )
                time.sleep(_POLL_S)


def _watch(cluster: list[_DevNode]) -> None:
    """Wait for the end: a signal, or a node that ends by itself."""
    while True:
        _check_running(cluster)
        time.sleep(_POLL_S)


def _check_running(cluster: list[_DevNode]) -> None:
    for node in cluster:
        if node.process.poll() is not None:
            raise _NodeFailed(
                f"{node.name} ended with status {node.process.returncode}: {_last_line(node.log)}"
            )


def _print_cluster(cluster: list[_DevNode], folder: Path, *, as_json: bool) -> None:
    if as_json:
        shown = [
            {
                "name": node.name,
                "process_id": node.process.pid,
                "data_dir": str(node.data_dir),
                "log": str(node.log),
                **{name: node.ready[name] for name in ("peer_id", "addrs", "control")},
            }
            for node in cluster
        ]
        common.print_json({"event": "ready", "nodes": shown})
        sys.stdout.flush()
        return
    print(f"{len(cluster)} nodes are running and know each other. Talk to one with --data-dir:\n")
    for node in cluster:
        print(f"  {node.name}  --data-dir {node.data_dir}")
    first, last = cluster[0], cluster[-1]
    command = "primedht" if shutil.which("primedht") else sys.argv[0]
    print(
        f"\nIn another terminal:\n\n"
        f"  {command} put greeting hello --data-dir {first.data_dir}\n"
        f"  export PRIMEDHT_CONTROL={last.ready['control']}\n"
        f"  {command} get greeting\n"
        f"  {command} peers\n"
        f"\nLogs are in {folder}.\nCtrl-C stops the nodes and removes the folder.",
        flush=True,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End one node, gracefully at first."""
    if process.stdout is not None:
        process.stdout.close()
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn the first of `_STOP_SIGNALS` into `_Stopped`; later ones do not disturb the clean-up."""

    def on_signal(number: int, frame: object) -> None:
        for each in _STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped

    previous = {each: signal.signal(each, on_signal) for each in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="primedht-dev-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
