"""The control socket under load and after kills: real daemons, and clients in processes of their own."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from processes import clean_environment, daemon, fake_daemon, wait_until

from primedht import errors
from primedht.client import Client, _ops
from primedht.client._transfer import Upload

CONNECTIONS = 1000


# --- many at once -----------------------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for our end of the connections; the daemon, started with less, makes its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_kib(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_a_thousand_connections_block_nothing_and_cost_little(tmp_path: Path, many_descriptors: None) -> None:
    """Idle ones, silent ones within a request and asking ones; the DHT and other clients go on."""
    request = _ops.get_record("k").request
    with daemon(tmp_path / "a") as a, daemon(tmp_path / "b", bootstrap=[a.addr]) as b, ExitStack() as stack:
        clients = [stack.enter_context(Client(data_dir=each.data_dir)) for each in (a, b)]
        wait_until(lambda: clients[0].put("k", b"value").holders[1:], what="they know each other")
        before_kib = resident_kib(a.process.pid)
        path = a.ready["control"].removeprefix("/unix")
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.settimeout(60)
            connection.connect(path)
        for connection in connections[: CONNECTIONS // 2]:
            connection.sendall(request)
        for connection in connections[CONNECTIONS // 2 : CONNECTIONS * 3 // 4]:
            connection.sendall(request[:-1])
        for client in clients:  # b reads through the DHT, partly from a
            assert client.get("k", timeout=30) == b"value"
        assert clients[1].put("other", b"value", timeout=30).holders[1:]
        for connection in connections[: CONNECTIONS // 2]:
            assert connection.recv(65536)
        for connection in connections[CONNECTIONS // 2 : CONNECTIONS * 3 // 4]:
            connection.sendall(request[-1:])
            assert connection.recv(65536)
        grown_kib = resident_kib(a.process.pid) - before_kib
        assert grown_kib < 64 << 10, f"{grown_kib} KiB for {CONNECTIONS} connections"
        assert clients[0].status()["storage"]["records"] == 2


# --- kills ------------------------------------------------------------------------------------------


GET = """
import sys
from primedht.client import Client
Client(sys.argv[1]).get("large/100000000000", to=sys.argv[2])
"""
PUT = """
import sys
from primedht.client import Client
Client(sys.argv[1]).put("large", open("/dev/zero", "rb"))
"""
_UNDER_WAY_BYTES = 32 << 20  # more than an interpreter reads to start


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    control = f"/unix{tmp_path}/c.sock"
    with fake_daemon(control):
        yield control


def kill_in_mid_transfer(program: str, *arguments: object, control: str) -> None:
    """Run a client, and kill -9 it once bytes are on their way."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, control, *map(str, arguments)], env=clean_environment()
    )
    try:
        wait_until(lambda: file_bytes(process.pid) > _UNDER_WAY_BYTES, what="bytes are on their way")
    finally:
        process.kill()
        process.wait()


def file_bytes(process_id: int) -> int:
    """Return what a process has read and written, sockets aside. Source: proc(5), io."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{process_id}/io").read_text().splitlines())
    return int(fields["rchar"]) + int(fields["wchar"])


def test_kill_9_of_a_client_that_gets_leaves_no_part_under_the_name(running: str, tmp_path: Path) -> None:
    out = tmp_path / "folder" / "out"
    out.parent.mkdir()
    kill_in_mid_transfer(GET, out, control=running)
    assert not out.exists()
    out.write_bytes(b"old")
    kill_in_mid_transfer(GET, out, control=running)
    assert out.read_bytes() == b"old"
    assert all(name.startswith(".primedht-") for name in os.listdir(out.parent) if name != "out")
    assert Client(running).get("large/7", to=out) == 7


def test_kill_9_of_a_client_that_puts_leaves_nothing(running: str) -> None:
    kill_in_mid_transfer(PUT, control=running)
    client = Client(running)
    assert client.get("large") is None
    assert client.identify()


def test_kill_9_of_the_daemon_in_mid_put_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """No part of the value is there, and neither socket nor lock keeps the next one from starting."""
    upload = Upload(
        "k", 100, ttl=None, min_holders=None, once=False, compress=None, timeout=60, want_trace=False
    )
    with daemon(tmp_path / "d") as first, Client(data_dir=tmp_path / "d") as client:
        client.put("k", b"before")
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.connect(first.ready["control"].removeprefix("/unix"))
            connection.sendall(upload.begin.request)
            assert connection.recv(65536)
            connection.sendall(upload.chunk(b"half"))
            assert connection.recv(65536)
            first.process.kill()
            first.process.wait()
        assert (tmp_path / "d" / "control.sock").exists(), "nobody could clean up"
        with pytest.raises(errors.DaemonUnavailable, match="no daemon answers"):
            client.get("k")
        with daemon(tmp_path / "d"):
            assert client.get("k") == b"before", "the same client goes on"


def test_a_live_daemons_socket_is_not_taken(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as first:
        address = first.ready["control"]
        result = subprocess.run(
            [
                *(sys.executable, "-m", "primedht.cli", "run", "--data-dir", str(tmp_path / "b")),
                *("--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--control", address),
            ],
            capture_output=True, env=clean_environment(), timeout=60,
        )  # fmt: skip
        assert b"[address_in_use]" in result.stderr
        assert Client(address).identify().id, "the first one is not disturbed"


def test_events_of_a_real_node(tmp_path: Path) -> None:
    with daemon(tmp_path / "d") as node, Client(data_dir=node.data_dir) as client:
        with closing(client.events(["put", "get"], want_trace=True)) as events:
            client.put("k", b"value")
            client.get("absent")
            put, get = next(events), next(events)
        assert (put.operation, put.key, put.outcome, put.value_bytes) == ("put", b"k", "ok", 5)
        assert [str(peer) for peer in put.peers] == [node.peer_id]
        assert (get.operation, get.outcome) == ("get", "value_not_found")
        assert get.trace is not None
        assert abs(put.started_unix_s - time.time()) < 60


def test_a_file_through_a_real_node(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(os.urandom(8000))
    with daemon(tmp_path / "d") as node, Client(data_dir=node.data_dir) as client:
        assert client.put("k", tmp_path / "in").holders
        assert client.get("k", to=tmp_path / "out") == 8000
        assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
        (tmp_path / "in").write_bytes(os.urandom(9000))  # above the inline limit
        assert client.put("k", tmp_path / "in").holders
        assert client.get("k", to=tmp_path / "out") == 9000
        assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
