"""The daemon: puts data directory, node and control socket together, and ends them in order."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import structlog
import trio

from primedht import control_addr, limits, paths
from primedht.assembly import open_node
from primedht.config import Config
from primedht.control.listeners import Access, ControlListener, open_listeners
from primedht.control.server import ControlServer, open_control
from primedht.control_addr import ControlAddr, UnixAddr
from primedht.datadir import DataDir, open_data_dir
from primedht.errors import LocalError
from primedht.node import Node

log = structlog.get_logger(__name__)

_SAME_SIGNAL_S = 0.5  # process managers signal us and our process group, which is us again


def run(config: Config) -> None:
    """Run a node and its control socket until SIGTERM or SIGINT; a second signal ends it at once.

    Prints one JSON line on standard output when both are ready. Raises the `LocalError` that keeps
    it from starting, with nothing half-done.
    """
    _allow_descriptors()
    directory = config.node.data_dir or paths.default_data_dir()
    with (
        open_data_dir(directory, allow_network_fs=config.node.allow_network_fs) as data_dir,
        open_listeners(_control_addrs(config, data_dir), _access(config)) as listeners,
        _recorded(data_dir, listeners),
    ):
        try:
            trio.run(_serve, config, data_dir, listeners)
        except ExceptionGroup as group:
            failure = _local_error(group)
            if failure is None:
                raise
            raise failure from None


def _allow_descriptors() -> None:
    """Let this process have the descriptors that its limits on connections add up to.

    The usual soft limit of 1024 is for programs that use select(2). Source: Go's runtime does so too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.FILE_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, limits.FILE_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _local_error(group: ExceptionGroup[Exception]) -> LocalError | None:
    """Return the first of the caller's mistakes in a group that has nothing else."""
    ours, rest = group.split(LocalError)
    if rest is not None:
        return None
    error: BaseException | None = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, LocalError) else None


async def _serve(config: Config, data_dir: DataDir, listeners: list[ControlListener]) -> None:
    """Run until told to stop, then: accept nothing, finish requests and hand over, close."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_signals, signals, stop)
            await _run_node(config, data_dir, listeners, stop)
            nursery.cancel_scope.cancel()


async def _run_node(
    config: Config, data_dir: DataDir, listeners: list[ControlListener], stop: trio.Event
) -> None:
    async with (
        open_node(config, data_dir=data_dir) as node,
        open_control(node, listeners, tcp_trusted=config.control.tcp_trusted) as control,
    ):
        _announce(node, listeners)
        await stop.wait()
        _notify_systemd("STOPPING=1")
        with trio.move_on_after(config.node.grace) as grace:
            await _leave(node, control, config.node.grace)
        log.info("node_stopping", in_time=not grace.cancelled_caught)


async def _leave(node: Node, control: ControlServer, grace_s: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.finish)
        nursery.start_soon(node.drain, grace_s)


async def _watch_signals(signals: AsyncIterator[int], stop: trio.Event) -> None:
    first_at = -math.inf
    async for number in signals:
        now = trio.current_time()
        if not stop.is_set():
            log.info("signal_received", signal=signal.Signals(number).name)
            stop.set()
            first_at = now
        elif now - first_at > _SAME_SIGNAL_S:
            log.warning("stopping_at_once", signal=signal.Signals(number).name)
            # Nothing acknowledged is lost: what is stored survives even SIGKILL.
            os._exit(128 + number)


def _announce(node: Node, listeners: list[ControlListener]) -> None:
    ready = {
        "event": "ready",
        "peer_id": str(node.peer_id),
        "addrs": node.addrs,
        "control": str(listeners[0].addr),
    }
    log.info("node_ready", peer_id=ready["peer_id"], addrs=ready["addrs"], control=ready["control"])
    with suppress(BrokenPipeError):  # whoever started us may not listen
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
    _notify_systemd("READY=1")


def _notify_systemd(state: str) -> None:
    """Tell systemd (`Type=notify`) how far we are; nothing happens elsewhere. Source: sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        try:
            notify.connect(address)
            notify.send(state.encode())
        except OSError as error:
            log.warning("systemd_not_notified", reason=error.strerror)


def _control_addrs(config: Config, data_dir: DataDir) -> list[ControlAddr]:
    if config.control.listen:
        return [control_addr.parse(text) for text in config.control.listen]
    return [UnixAddr(str(data_dir.control_socket_path()))]


def _access(config: Config) -> Access:
    return Access(mode=config.control.mode, group=config.control.group)


@contextmanager
def _recorded(data_dir: DataDir, listeners: list[ControlListener]) -> Iterator[None]:
    """Let clients that know only the data directory find the sockets."""
    data_dir.record_control([str(each.addr) for each in listeners])
    try:
        yield
    finally:
        data_dir.forget_control()
