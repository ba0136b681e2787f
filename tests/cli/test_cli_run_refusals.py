"""What keeps `primedht run` from starting: one line, a code, what to do, and nothing harmed."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import clean_environment, one_line_error, primedht

from primedht.datadir import open_data_dir


def run(data_dir: Path, *arguments: object, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return primedht(
        "run", "--data-dir", data_dir, "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", *arguments, **environ
    )


def refused(result: subprocess.CompletedProcess[bytes], status: int, code: str, *said: object) -> None:
    assert (result.returncode, result.stdout) == (status, b""), result.stderr
    line = one_line_error(result)
    assert line.startswith(f"error [{code}]: ")
    for part in said:
        assert str(part) in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--network", "a/b"], "network.name"),
        (["--mode", "both"], "node.mode"),
        (["--profile", "fast"], "node.profile"),
        (["--listen", "/ip4/127.0.0.1"], "4101"),
        (["--bootstrap", "nowhere"], "HOST:PORT"),
        (["--control", "/ip4/0.0.0.0/tcp/0"], "loopback"),
        (["--config", "/no/such/file.toml"], "/no/such/file.toml"),
    ],
)
def test_wrong_options(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = run(tmp_path / "d", *arguments)
    assert result.returncode == 2
    line = one_line_error(result)
    assert "[config_invalid]" in line or "[invalid_argument]" in line
    assert said in line or arguments[1] in line


def test_an_unknown_option() -> None:
    refused(primedht("run", "--datadir", "x"), 2, "usage", "--data-dir")


def test_an_unknown_config_key(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("[dht]\naplha = 3\n")
    result = run(tmp_path / "d", "--config", tmp_path / "node.toml")
    refused(result, 2, "config_invalid", tmp_path / "node.toml", "dht.aplha", "did you mean dht.alpha?")
    refused(run(tmp_path / "d", PRIMEDHT_NODE_MODES="x"), 2, "config_invalid", "PRIMEDHT_NODE_MODE")
    assert not (tmp_path / "d").exists()


def test_a_locked_data_directory(tmp_path: Path) -> None:
    with open_data_dir(tmp_path):
        refused(run(tmp_path), 1, "data_dir_locked", "in use by process")


def test_a_data_directory_of_a_newer_version(tmp_path: Path) -> None:
    with open_data_dir(tmp_path):
        (tmp_path / "version").write_text("2\n")
    refused(run(tmp_path), 1, "data_dir_too_new", "layout 2")


def test_a_data_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(run(tmp_path / "file"), 1, "data_dir_unusable", "not a directory")
    refused(run(tmp_path), 1, "data_dir_unusable", "not a PrimeDHT data directory")
    refused(run(Path("/proc/primedht")), 1, "data_dir_unusable", "/proc/primedht")


def test_a_network_file_system(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"30 22 0:40 / {tmp_path} rw,relatime - nfs4 server:/export rw\n")
    program = (
        "import pathlib, sys\nfrom primedht import mounts\n"
        "mounts.MOUNT_TABLE = pathlib.Path(sys.argv.pop(1))\nfrom primedht.cli import main\nmain()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(table), "run", "--data-dir", str(tmp_path / "d")],
        capture_output=True, env=clean_environment(), timeout=60,
    )  # fmt: skip
    refused(result, 1, "network_file_system", "nfs4", "--allow-network-fs")
    assert not (tmp_path / "d").exists()


def test_a_corrupt_identity(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        data_dir.identity()
    (tmp_path / "identity").write_bytes(b"garbage")
    refused(run(tmp_path), 1, "identity_corrupt", "restore it from a backup")
    assert (tmp_path / "identity").read_bytes() == b"garbage"


def test_an_exposed_identity(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        data_dir.identity()
    (tmp_path / "identity").chmod(0o644)
    refused(run(tmp_path), 1, "key_file_exposed", "chmod 600")


def test_a_corrupt_database(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        data_dir.identity()
        data_dir.store_path.mkdir()
        (data_dir.store_path / "data.mdb").write_bytes(b"\xff" * 8192)
    result = run(tmp_path)
    refused(result, 1, "store_corrupt")
    assert (tmp_path / "store" / "data.mdb").read_bytes() == b"\xff" * 8192


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


def test_a_full_disk(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(b"x" * (4 << 20))
    refused(run(small_disk / "d"), 1, "disk_full", "free some space")
    assert list((small_disk / "d").iterdir()) == []


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        addr = f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"
        result = primedht("run", "--data-dir", tmp_path / "d", "--no-mdns", "--listen", addr)
    refused(result, 1, "listen_failed", addr.rpartition("/")[2], "is another node running?")


def test_a_control_socket_that_is_taken(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "c.sock"))
        taken.listen()
        result = run(tmp_path / "d", "--control", f"/unix{tmp_path}/c.sock")
    refused(result, 1, "address_in_use", "another process listens on it")
    (tmp_path / "file").write_text("mine")
    result = run(tmp_path / "d", "--control", f"/unix{tmp_path}/file")
    refused(result, 1, "address_in_use", "no socket")


def test_an_unknown_storage_backend(tmp_path: Path) -> None:
    result = run(tmp_path / "d", PRIMEDHT_STORAGE_BACKEND="papyrus")
    assert result.returncode == 2
    assert "papyrus" in one_line_error(result)


def test_a_pre_shared_key_that_cannot_be_used(tmp_path: Path) -> None:
    refused(run(tmp_path / "d", "--psk", tmp_path / "absent"), 1, "psk_unreadable", "network.psk_file")
    (tmp_path / "file").write_text("/key/swarm/psk/1.0.0/\n/base16/\nabcd\n")
    refused(run(tmp_path / "d", "--psk", tmp_path / "file"), 1, "malformed_key", "32 bytes, not 2")
    assert run(tmp_path / "d", LIBP2P_FORCE_PNET="1").returncode == 2
