"""Every example runs as written; the seed's property checks hold."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import Config, DhtConfig, open_node
from primedht.config import NodeConfig

EXAMPLES = Path(__file__).parent.parent / "examples"
NEED_A_SERVER = {"redis_storage.py"}  # run by the storage contract suite


@pytest.mark.parametrize(
    "name", sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in NEED_A_SERVER)
)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


@given(st.integers(5, 100), st.integers(1, 10), st.integers(1, 20))
def test_the_config_accepts_what_fits_together(k_bucket: int, alpha: int, replication: int) -> None:
    if alpha <= k_bucket and replication <= k_bucket:
        config = DhtConfig(
            k_bucket_size=k_bucket,
            alpha=alpha,
            replication_factor=replication,
            refresh_interval=3600,
            ttl=86400,
        )
        assert config.alpha <= config.k_bucket_size
        assert config.replication_factor >= 1


async def test_put_get_consistency() -> None:
    """The seed's property: what was put is what is got, whatever the bytes of key and value."""
    rng = random.Random(1)
    async with open_node(Config(node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",)))) as node:
        for _ in range(200):
            key, value = (rng.randbytes(rng.randrange(1, 300)) for _ in range(2))
            await node.put(key, value)
            assert await node.get(key) == value
