"""Two real daemons, and the command line: what one stores the other reads, before and after kills."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from processes import Daemon, clean_environment, daemon, one_line_error, primedht, wait_until

from primedht.client import Client
from primedht.limits import UNIX_SOCKET_PATH_BYTES_MAX

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    folder = tmp_path_factory.mktemp("pair")
    with daemon(folder / "a") as a, daemon(folder / "b", bootstrap=[a.addr.partition("/p2p/")[0]]) as b:
        for one, other in ((a, b), (b, a)):
            wait_until(lambda one=one, other=other: knows(one, other), what="they know each other")
        yield a, b


def knows(one: Daemon, other: Daemon) -> bool:
    with Client(data_dir=one.data_dir) as client:
        return other.peer_id in {str(peer.id) for peer in client.peers() if peer.in_routing_table}


def test_a_value_put_on_one_is_read_from_the_other(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    result = a.call_json("put", "greeting", "hello")
    assert sorted(result["holders"]) == sorted([a.peer_id, b.peer_id])
    assert b.call("get", "greeting").stdout == b"hello"
    assert b.call("delete", "greeting").returncode == 0
    assert a.call("get", "greeting").returncode == 3


def test_a_signed_value_can_be_written_by_its_owner_only(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    key = f"/prime/model/{a.peer_id}/resnet"
    assert a.call("put", key, "v1").returncode == 0
    found = b.call_json("get", key)
    assert (found["value_base64"], found["authenticated"]) == ("djE=", True)
    assert "[not_permitted]" in one_line_error(b.call("put", key, "v2"))


def test_providers_and_peers(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    assert a.call("provide", CID).returncode == 0
    assert b.call("find-providers", CID).stdout.decode().split()[0] == a.peer_id
    assert a.call("find-peer", b.peer_id).stdout.decode().split() == [b.addr]
    assert b.call_json("ping", a.peer_id)["round_trip_s"] < 30
    assert a.call_json("closest-peers", "any")[0]["peer"] in (a.peer_id, b.peer_id)
    status = b.call_json("status")
    assert (status["peer_id"], status["routing_table"]["peers"]) == (b.peer_id, 1)
    assert "1 in the routing table" in b.call("status").stdout.decode()


def test_the_ready_line_and_the_socket(pair: tuple[Daemon, Daemon]) -> None:
    a, _ = pair
    assert set(a.ready) == {"event", "peer_id", "addrs", "control"}
    assert a.ready["event"] == "ready"
    assert a.addr.startswith("/ip4/127.0.0.1/tcp/")
    assert a.addr.endswith(f"/p2p/{a.peer_id}")
    path = Path(a.ready["control"].removeprefix("/unix"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(a.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((a.data_dir / "identity").stat().st_mode) == 0o600


def test_a_second_daemon_on_the_same_directory_is_refused(pair: tuple[Daemon, Daemon]) -> None:
    a, _ = pair
    result = primedht("run", "--data-dir", a.data_dir, "--no-mdns")
    assert (result.returncode, result.stdout) == (1, b"")
    assert f"in use by process {a.process.pid}" in one_line_error(result)
    assert a.call("id").returncode == 0, "the first one is not disturbed"


def test_a_value_of_any_size_is_put_and_got(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    a, b = pair
    value = os.urandom(3_000_000)
    result = a.call("put", "big", "-", "--json", input=value)
    assert result.returncode == 0, result.stderr
    root = json.loads(result.stdout)["root"]
    assert b.call("get", "big").stdout == value
    found = json.loads(b.call("get", "big", "--json", "-o", tmp_path / "got", "--max-bytes", "3MB").stdout)
    assert (found["bytes"], found["root"]) == (3_000_000, root)
    assert (tmp_path / "got").read_bytes() == value
    result = b.call("get", "big", "--max-bytes", "2MB")
    assert (result.returncode, result.stdout) == (1, b"")
    assert "[value_too_large]" in one_line_error(result)


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    with daemon(tmp_path / "d") as first:
        first.call("put", "k", "v")
        peer_id = first.peer_id
        first.process.kill()
    assert (tmp_path / "d" / "control.sock").exists(), "nobody could clean up"
    with daemon(tmp_path / "d") as second:
        assert second.peer_id == peer_id
        assert second.call("get", "k").stdout == b"v"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_fills_up_loses_nothing_and_stops_nothing(small_disk: Path) -> None:
    with daemon(small_disk / "d") as node:
        assert node.call("put", "before", "v").returncode == 0
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        result = node.call("put", "during", "-", input=os.urandom(8000))
        assert (result.returncode, one_line_error(result)[:19]) == (1, "error [store_full]:")
        assert node.call("get", "before").stdout == b"v"
        assert node.call("get", "during").returncode == 3, "nothing was half-written"
        (small_disk / "filler").unlink()
        assert node.call("put", "after", "v").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_in_time(tmp_path: Path, number: signal.Signals) -> None:
    with daemon(tmp_path / "d") as node:
        node.call("put", "k", "v")
        started = time.monotonic()
        node.process.send_signal(number)
        assert node.process.wait(timeout=60) == 0
        assert time.monotonic() - started < 15
        assert not (tmp_path / "d" / "control.sock").exists()
        assert not (tmp_path / "d" / "control").exists()
        assert "Traceback" not in node.log.read_text()


def test_the_leaving_node_hands_its_records_over(tmp_path: Path) -> None:
    """SIGTERM hands over the records within `grace_s`; nothing but the leaver held this one."""
    with daemon(tmp_path / "a") as a:
        a.call("put", "k", "v", "--once")
        with daemon(tmp_path / "b", bootstrap=[a.addr]) as b:
            wait_until(lambda: knows(a, b) and knows(b, a), what="they know each other")
            a.process.terminate()
            assert a.process.wait(timeout=60) == 0
            assert b.call("get", "k").stdout == b"v"


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    with daemon(tmp_path / "d") as node, Client(data_dir=node.data_dir) as client:
        client.identify()
        node.process.terminate()
        node.process.wait(timeout=60)
        assert primedht("id", "--data-dir", node.data_dir).returncode == 4


def test_a_long_path_gets_a_short_socket_in_the_runtime_directory(tmp_path: Path) -> None:
    data_dir = tmp_path / ("deep-" * 20) / "data"
    assert len(os.fsencode(data_dir)) > UNIX_SOCKET_PATH_BYTES_MAX
    data_dir.parent.mkdir(parents=True)
    with daemon(data_dir) as node:
        assert len(node.ready["control"]) < 100
        assert (data_dir / "control").read_text().strip() == node.ready["control"]
        assert node.call("id").returncode == 0
        node.process.terminate()
        node.process.wait(timeout=60)
    assert not Path(node.ready["control"].removeprefix("/unix")).exists()


def test_a_control_socket_over_tcp(tmp_path: Path) -> None:
    with daemon(tmp_path / "d", "--control", "/ip4/127.0.0.1/tcp/0") as node:
        assert node.ready["control"].startswith("/ip4/127.0.0.1/tcp/")
        assert primedht("put", "k", "v", "--control", node.ready["control"]).returncode == 0
        assert node.call("get", "k").stdout == b"v", "found by the data directory too"
        assert "[not_permitted]" in one_line_error(node.call("drain"))
        assert "control_over_tcp" in node.log.read_text()


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(60)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "primedht.cli", "run", "--data-dir", str(tmp_path / "d")),
                *("--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json"),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=clean_environment(NOTIFY_SOCKET=str(tmp_path / "notify")),
        )  # fmt: skip
        try:
            assert notify.recv(100) == b"READY=1"
            process.terminate()
            assert notify.recv(100) == b"STOPPING=1"
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events[-2:] == ["signal_received", "node_stopping"]
    assert "node_ready" in events
