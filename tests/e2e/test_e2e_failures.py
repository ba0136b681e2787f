"""What goes wrong with blocks and models between daemons: one clear error each, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from model_lab import content, forgeries, layers, open_nodes, publish_forged
from model_lab import write_model as write_shards
from processes import Daemon, daemon, one_line_error, wait_until
from transfers import anonymous_memory, blocks_of, digests, write_model

from primedht.blocks import unixfs
from primedht.blocks.block import Block, make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.cids import DAG_PB
from primedht.client import Client

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


def test_a_file_that_is_changed_under_us(model: Path, tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as a:
        assert a.call("model", "push", model, "--name", "me/m", "--in-place").returncode == 0
        with (model / "model.safetensors").open("r+b") as file:
            file.write(b"other")
        verified = a.call("model", "verify", "me/m")
        assert one_line_error(verified).startswith("error [file_changed]")
        assert blocks_of(a)["referenced_bytes"] < MIB


def test_dags_that_lie(tmp_path: Path) -> None:
    """Names and links that lead elsewhere, and claims of 2^40 bytes: nothing is written."""
    leaf, link = make_block(b"x" * 1000), _node(unixfs.symlink_data("../../etc/passwd"))
    escape = _folder("../../escaped", leaf)
    terabyte = _node(unixfs.file_data([1 << 40]), Link(leaf.cid, 1000))
    lies = escape, _folder("a", escape), _folder("link", link), terabyte, _folder("huge", terabyte)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with daemon(tmp_path / "a") as a, daemon(tmp_path / "b", bootstrap=[a.addr]) as b:
        client = Client(data_dir=a.data_dir)
        for block in (leaf, link, *lies):
            assert client.put_block(block.data, codec=block.cid.codec) == block.cid
        wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
        before = sorted(each for each in tmp_path.rglob("*") if not each.is_relative_to(b.data_dir))
        with anonymous_memory(b) as most_bytes:
            for lie in lies:
                fetched = b.call("fetch", lie.cid, "-o", tmp_path / "deep" / "er" / "out")
                line = one_line_error(fetched)
                assert line.startswith(("error [invalid_dag]", "error [disk_full]")), line
            assert one_line_error(b.call("cat", terabyte.cid)).startswith("error [invalid_dag]")
        assert most_bytes[0] < 300 * MIB
        assert sorted(each for each in tmp_path.rglob("*") if not each.is_relative_to(b.data_dir)) == before


def _node(data: bytes, *links: Link) -> Block:
    return make_block(encode_node(links, data), DAG_PB)


def _folder(name: str, block: Block) -> Block:
    return _node(unixfs.directory_data(), Link(block.cid, len(block.data), name))


async def test_manifests_that_lie(tmp_path: Path) -> None:
    """Of sizes, 2^40 bytes, files that are not there and paths that lead elsewhere; signed by the owner."""
    folder = write_shards(tmp_path / "m", {"model.safetensors": layers(1)})
    async with open_nodes(1) as (owner,):
        found = (await owner.models.push(folder, "me/m")).found
        with daemon(tmp_path / "b", network="models", bootstrap=owner.addrs[:1]) as b:

            async def call(*arguments: object) -> subprocess.CompletedProcess[bytes]:
                return await trio.to_thread.run_sync(lambda: b.call(*arguments))

            with trio.fail_after(60):
                while (await call("ping", owner.peer_id)).returncode != 0:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            for lie, manifest in forgeries(found.manifest).items():
                await publish_forged(owner, found, manifest)
                pulled = await call("model", "pull", f"{owner.peer_id}/m", "-o", tmp_path / "out")
                line = one_line_error(pulled)
                assert line.startswith(("error [invalid_manifest]", "error [disk_full]")), (lie, line)
                assert sorted(os.listdir(tmp_path)) == ["b", "b.log", "m"], lie
            assert (await call("model", "ls", "--json")).stdout == b""
            assert (await call("gc")).returncode == 0
            assert (await trio.to_thread.run_sync(blocks_of, b))["blocks"] == 0
            await publish_forged(owner, found, found.manifest)
            assert (await call("model", "pull", f"{owner.peer_id}/m", "-o", tmp_path / "out")).returncode == 0
            assert content(tmp_path / "out") == content(folder)
