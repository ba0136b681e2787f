"""A large value outlives the process that put it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cluster import Daemon, open_cluster

from primedht.client.aio import AsyncClient

VALUE_BYTES = 64 << 20


def client_of(daemon: Daemon) -> AsyncClient:
    return AsyncClient(f"/unix{daemon.data_dir}/control.sock")


async def test_a_value_of_64_mb_survives_the_node_that_put_it(tmp_path: Path) -> None:
    """Five processes with a network key: put on A, A is killed after the receipts, got on E."""
    key = tmp_path / "swarm.key"
    key.write_text(f"/key/swarm/psk/1.0.0/\n/base16/\n{os.urandom(32).hex()}\n")
    key.chmod(0o600)
    (tmp_path / "value").write_bytes(os.urandom(VALUE_BYTES))
    async with open_cluster(tmp_path, 5, network__psk_file=key, replication_factor=2) as cluster:
        a, e = cluster.nodes[0], cluster.nodes[-1]
        async with client_of(a) as client:
            put = await client.put("weights", tmp_path / "value", timeout=120)
        assert len(put.receipts) == 2
        await a.kill()
        async with client_of(e) as client:
            assert await client.get("weights", to=tmp_path / "got", timeout=60) == VALUE_BYTES
        assert digest(tmp_path / "got") == digest(tmp_path / "value")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
