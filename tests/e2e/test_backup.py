"""docs/operations.md, "Backup and restore": a copy of the data directory is the node."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from processes import daemon, primedht


def test_a_node_that_is_restored_is_itself_and_has_its_records(tmp_path: Path) -> None:
    with daemon(tmp_path / "node") as before:
        assert primedht("key", "new", "release", "--data-dir", before.data_dir).returncode == 0
        assert before.call("put", "greeting", "hello").returncode == 0
        peer_id = before.peer_id
        before.process.send_signal(signal.SIGTERM)
        assert before.process.wait(timeout=60) == 0
    shutil.copytree(tmp_path / "node", tmp_path / "copy")
    shutil.rmtree(tmp_path / "node")
    with daemon(tmp_path / "copy") as after:
        assert after.peer_id == peer_id
        assert after.call("get", "greeting").stdout == b"hello"
        assert primedht("key", "ls", "--data-dir", after.data_dir).stdout.startswith(b"release  12D3Koo")


def test_identity_and_keys_can_be_copied_while_the_node_runs(tmp_path: Path) -> None:
    with daemon(tmp_path / "node") as running:
        assert primedht("key", "new", "release", "--data-dir", running.data_dir).returncode == 0
        copy = tmp_path / "copy"
        copy.mkdir(mode=0o700)
        shutil.copy2(running.data_dir / "identity", copy)
        shutil.copytree(running.data_dir / "keys", copy / "keys")
        peer_id = running.peer_id
    with daemon(copy) as after:
        assert after.peer_id == peer_id
        assert primedht("key", "ls", "--data-dir", copy).stdout.startswith(b"release  12D3Koo")
