"""Every example runs as written; the seed's property checks hold."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "support"))

from processes import Daemon, daemon, wait_until

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


def test_models_and_checkpoints_go_through_a_cluster_of_daemons(tmp_path: Path) -> None:
    """The seed's store_model and load_model, and its trainer's checkpoints, between processes."""
    with ExitStack() as stack:
        daemons = [stack.enter_context(daemon(tmp_path / "0"))]
        for index in (1, 2):
            opened = daemon(tmp_path / str(index), bootstrap=[daemons[0].addr])
            daemons.append(stack.enter_context(opened))
        for each in daemons:
            wait_until(partial(knows_two, each), what="all know each other")
        for name in ("models.py", "trainer.py"):
            ended = subprocess.run(
                [sys.executable, str(EXAMPLES / name), daemons[1].data_dir, daemons[2].data_dir],
                cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False, env=dict(os.environ),
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
        run = f"{daemons[1].peer_id}/line"
        assert daemons[0].call_json("checkpoint", "latest", run)["step"] == 10
        assert daemons[0].call("get", "meta:resnet").stdout.startswith(b'{"id": "resnet"')


def knows_two(one: Daemon) -> bool:
    return bool(one.call_json("status")["routing_table"]["peers"] == 2)


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
