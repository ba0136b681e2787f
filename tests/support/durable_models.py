"""A model that outlives the process that pushed it, at any size."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from cluster import Daemon, open_cluster

from primedht.client.aio import AsyncClient
from primedht.results import KeptBlocks

_PIECE_BYTES = 4 << 20


def write_safetensors(path: Path, size_bytes: int, *, tensors: int = 16) -> None:
    """Write a file of float32 tensors of random numbers, `size_bytes` of them."""
    each = size_bytes // tensors // 4 * 4
    header = json.dumps(
        {
            f"model.layers.{index}.weight": {
                "dtype": "F32", "shape": [each // 4], "data_offsets": [index * each, (index + 1) * each],
            }
            for index in range(tensors)
        }
    ).encode()  # fmt: skip
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        left = each * tensors
        while left:
            left -= file.write(os.urandom(min(left, _PIECE_BYTES)))


def write_psk(path: Path) -> Path:
    """Write a new pre-shared key, and return its path."""
    path.write_text(f"/key/swarm/psk/1.0.0/\n/base16/\n{os.urandom(32).hex()}\n")
    path.chmod(0o600)
    return path


def client_of(daemon: Daemon) -> AsyncClient:
    return AsyncClient(f"/unix{daemon.data_dir}/control.sock")


async def push_kill_and_pull(folder: Path, size_bytes: int) -> dict[str, float]:
    """Push on A of five locked nodes, kill A after the receipts, pull on E; return seconds by what took them.

    Asserts that the receipts are of R others and that E gets the same bytes.
    """
    key = write_psk(folder / "swarm.key")
    write_safetensors(folder / "model.safetensors", size_bytes)
    took: dict[str, float] = {}
    async with open_cluster(folder, 5, network__psk_file=key, replication_factor=2) as cluster:
        a = cluster.nodes[0]
        async with client_of(a) as client:
            began = time.monotonic()
            pushed = await client.models.push(folder / "model.safetensors", "me/durable", timeout=120)
            took["push"] = time.monotonic() - began
            kept: KeptBlocks = await pushed.wait(timeout=1800)
            took["receipts"] = time.monotonic() - began
        assert kept.done
        assert len(kept.receipts) == 2, kept
        await a.kill()
        # one that has nothing of it yet
        e = next(node for node in cluster.nodes[1:] if node.peer_id not in kept.receipts)
        async with client_of(e) as client:
            began = time.monotonic()
            found = await client.models.pull(f"{a.peer_id}/durable", folder / "pulled", timeout=1800)
            took["pull"] = time.monotonic() - began
        assert found.cid == pushed.found.cid
        assert digest(folder / "pulled" / "model.safetensors") == digest(folder / "model.safetensors")
    return took


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
