"""What goes wrong with blocks and models between daemons: one clear error each, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import Daemon, daemon, one_line_error, wait_until
from transfers import blocks_of, digests, write_model

MIB = 1 << 20
SIZE_BYTES = 12 * MIB


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a file system of that size."""
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        pytest.skip("no right to mount")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m", SIZE_BYTES)


@contextmanager
def publisher_and(tmp_path: Path, model: Path, **settings: str) -> Iterator[tuple[str, Daemon]]:
    """Yield the name of a model that one daemon has, and another daemon."""
    with daemon(tmp_path / "a") as a, daemon(tmp_path / "b", bootstrap=[a.addr], **settings) as b:
        assert a.call("model", "push", model, "--name", "me/m").returncode == 0
        wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
        yield f"{a.peer_id}/m", b


def test_a_target_on_a_full_disk(model: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8 * MIB) as disk, publisher_and(tmp_path, model) as (name, b):
        pulled = b.call("model", "pull", name, "-o", disk / "out")
        assert one_line_error(pulled).startswith("error [disk_full]")
        assert os.listdir(disk) == []
        assert blocks_of(b)["referenced_bytes"] == 0
        cid = b.call_json("model", "info", name)["root"]
        fetched = b.call("fetch", f"{cid}/model.safetensors", "-o", disk / "file")
        assert one_line_error(fetched).startswith("error [disk_full]")
        assert os.listdir(disk) == []
        assert b.call("model", "pull", name, "-o", tmp_path / "out").returncode == 0
        assert digests(tmp_path / "out") == digests(model)


def test_a_data_directory_on_a_full_disk(model: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 100 * MIB) as disk, daemon(disk / "a") as a:
        added = a.call("model", "push", model, "--name", "me/m")
        assert one_line_error(added).startswith("error [disk_full]")
        assert blocks_of(a)["blocks"] == 0
        assert a.call("ls").stdout == b""
        assert a.call("model", "push", model, "--name", "me/m", "--in-place").returncode == 0


def test_a_quota_that_is_reached(model: Path, tmp_path: Path) -> None:
    quota = {"PRIMEDHT_QUOTAS_BLOCKS_BYTES_MAX": "4MiB"}
    with publisher_and(tmp_path, model, **quota) as (name, b):
        pushed = b.call("model", "push", model, "--name", "me/mine")
        assert one_line_error(pushed).startswith("error [store_full]")
        assert blocks_of(b)["blocks"] == 0
        cid = b.call_json("model", "info", name)["cid"]
        pinned = b.call("pin", cid)
        assert one_line_error(pinned).startswith("error [store_full]")
        b.call("unpin", cid)
        assert b.call("gc").returncode == 0
        assert blocks_of(b)["blocks"] == 0
        pulled = b.call("model", "pull", name, "-o", tmp_path / "out")
        assert pulled.returncode == 0, "a file in place takes none of the quota"
        assert digests(tmp_path / "out") == digests(model)


def test_a_block_that_nobody_has(model: Path, tmp_path: Path) -> None:
    """What came is kept for the next try, until the model is given up."""
    with publisher_and(tmp_path, model) as (name, b):
        lost = max((tmp_path / "a" / "blocks").glob("*/*"), key=lambda path: path.stat().st_size)
        lost.unlink()
        pulled = b.call("model", "pull", name, "-o", tmp_path / "out", "--timeout", "50s", "--json")
        assert one_line_error(pulled).startswith("error [block_not_found]")
        assert not (tmp_path / "out").exists()
        assert b.call_json("model", "ls")["partial"]
        assert b.call("model", "rm", name).returncode == 0
        assert b.call("gc").returncode == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.log", "b", "b.log", "m"]
        assert blocks_of(b)["blocks"] == 0


def test_a_file_that_is_changed_under_us(model: Path, tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as a:
        assert a.call("model", "push", model, "--name", "me/m", "--in-place").returncode == 0
        with (model / "model.safetensors").open("r+b") as file:
            file.write(b"other")
        verified = a.call("model", "verify", "me/m")
        assert one_line_error(verified).startswith("error [file_changed]")
        assert blocks_of(a)["referenced_bytes"] < MIB
