"""Files as blocks through the command line of a real daemon."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from block_content import content, make_tree
from processes import Daemon, daemon, one_line_error, primedht

DATA = content("e2e", 3_000_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path / "node") as started:
        yield started


def _cid(*arguments: object) -> str:
    done = primedht("add", "--only-hash", "--quiet", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_only_hash_needs_no_daemon(file: Path, tmp_path: Path) -> None:
    golden = json.loads((Path(__file__).parents[1] / "golden/blocks/cids.json").read_text("utf-8"))
    make_tree(tmp_path / "tree")
    for profile, cids in golden.items():
        assert _cid("--profile", profile, tmp_path / "tree") == cids["tree"]
    piped = primedht("add", "--only-hash", "-q", "-", input=DATA)
    assert piped.stdout.decode().strip() == _cid(file)
    refused = primedht("add", "--only-hash", tmp_path / "none")
    assert refused.returncode == 2
    assert "check the path" in one_line_error(refused)


def test_content_lives_through_the_command_line(node: Daemon, file: Path, tmp_path: Path) -> None:
    cid = _cid(file)
    added = node.call_json("add", file, "--name", "mine")
    assert (added["cid"], added["content_bytes"]) == (cid, len(DATA))
    assert node.call("cat", cid).stdout == DATA
    assert node.call("cat", f"/ipfs/{cid}", "--offset", 10, "--length", 5).stdout == DATA[10:15]
    assert node.call("fetch", cid, "-o", tmp_path / "out").returncode == 0
    assert (tmp_path / "out").read_bytes() == DATA
    assert node.call_json("ls")["name"] == "mine"
    assert node.call_json("stat", cid)["missing"] == 0
    assert node.call_json("stat")["bytes"] == added["dag_bytes"]
    assert node.call("find-providers", cid).stdout.decode().split()[0] == node.peer_id
    assert node.call_json("pin", cid, "--name", "more", "--ttl", "1h")["expires_unix_s"] > 0
    assert node.call_json("unpin", cid)["pins"] == 2
    assert node.call("gc").stdout.decode().startswith("4 blocks removed, 2.9 MiB")
    missing = node.call("cat", cid)
    assert missing.returncode == 3
    assert "block_not_found" in one_line_error(missing)


def test_a_directory_goes_in_and_out(node: Daemon, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    cid = node.call("add", tmp_path / "tree", "-q").stdout.decode().strip()
    assert cid == _cid(tmp_path / "tree")
    listed = node.call("ls", f"{cid}/b").stdout.decode().splitlines()
    assert [line.split()[-1] for line in listed] == ["c.bin", "deep", "empty.bin", "link"]
    assert node.call("fetch", cid, "-o", tmp_path / "out").returncode == 0
    assert _cid(tmp_path / "out") == cid
    exists = node.call("fetch", cid, "-o", tmp_path / "out")
    assert exists.returncode == 2
    assert "exists" in one_line_error(exists)


def test_a_block_goes_in_and_out(node: Daemon) -> None:
    cid = node.call("block", "put", "-", input=b"block").stdout.decode().strip()
    assert node.call("block", "get", cid).stdout == b"block"
    assert one_line_error(node.call("block", "put", "-", "--codec", "xml", input=b"")).startswith(
        "error [invalid_argument]"
    )


def test_a_file_in_place_takes_no_room(node: Daemon, file: Path) -> None:
    cid = node.call("add", file, "--in-place", "-q").stdout.decode().strip()
    state = node.call_json("stat")
    assert state["referenced_bytes"] == len(DATA)
    assert state["bytes"] < 0.05 * len(DATA)
    assert node.call("cat", cid).stdout == DATA
    file.write_bytes(DATA + b"more")
    changed = node.call("cat", cid)
    assert changed.returncode == 1
    assert "file_changed" in one_line_error(changed)


def test_what_was_added_survives_a_kill(node: Daemon, file: Path) -> None:
    cid = node.call("add", file, "-q").stdout.decode().strip()
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()
    with daemon(node.data_dir) as again:
        assert again.call("cat", cid).stdout == DATA
        assert again.call("gc").stdout.decode().startswith("0 blocks removed")
        assert os.listdir(node.data_dir / "blocks" / "new") == []
