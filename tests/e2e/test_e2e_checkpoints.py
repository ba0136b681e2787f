"""Checkpoints between real daemons: trained in one process, looked at and loaded from others."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from checkpoint_wire import publish_and_load_two_steps
from cluster import open_cluster
from durable_models import client_of, write_psk
from model_lab import content, layers
from processes import clean_environment, daemon, one_line_error, primedht, wait_until

from primedht.client import Client
from primedht.tensors.state_files import load_state


def test_a_second_step_moves_only_what_changed_on_the_wire(tmp_path: Path) -> None:
    """One layer of 24 changed: under 6 % of the TCP bytes between two daemons."""
    moved = publish_and_load_two_steps(tmp_path, 24 * 192 << 10)
    assert moved["first_bytes"] > moved["state_bytes"], "all of it went through the proxies"
    assert moved["second_bytes"] > moved["state_bytes"] / 24
    assert moved["second_bytes"] < 0.06 * moved["first_bytes"]


def test_a_run_is_looked_at_and_pulled_by_command(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as a, daemon(tmp_path / "b", bootstrap=[a.addr]) as b:
        wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
        run = f"{a.peer_id}/run42"
        assert b.call("checkpoint", "ls", run).stdout == b""
        none = b.call("checkpoint", "latest", run)
        assert none.returncode == 3
        one_line_error(none)
        with Client(data_dir=a.data_dir) as trainer:
            for step in (100, 200, 300, 400):
                job = trainer.checkpoints.publish("run42", step, {"step": step}, metadata={"loss": f"{step}"})
                job.wait()
                if step == 100:
                    assert a.call("checkpoint", "pin", "run42@100").returncode == 0
        listed = b.call("checkpoint", "ls", run).stdout.decode().splitlines()
        assert [line.split()[0] for line in listed] == ["100", "200", "300", "400"]
        assert [line.endswith("pinned") for line in listed] == [True, False, False, False]
        assert a.call("checkpoint", "pin", "run42@100", "--undo").returncode == 0
        assert not a.call_json("checkpoint", "latest", "run42@100")["pinned"]
        shown = b.call("checkpoint", "latest", run).stdout.decode()
        assert f"{run} step 400" in shown
        assert "loss: 400" in shown
        pulled = b.call("checkpoint", "pull", f"{run}@300", "-o", tmp_path / "out")
        assert pulled.returncode == 0, pulled.stderr
        assert list(content(tmp_path / "out")) == ["state.safetensors"]
        assert load_state(tmp_path / "out" / "state.safetensors") == {"step": 300}
        assert a.call_json("checkpoint", "rm", "run42@400") == {"pins": 1}
        assert b.call_json("checkpoint", "latest", run)["step"] == 300
        for wrong in (("rm", "run42"), ("latest", "run42@x"), ("pin", "run42"), ("latest", "a b")):
            refused = a.call("checkpoint", *wrong)
            assert refused.returncode == 2, wrong
            one_line_error(refused)
        assert a.call("checkpoint", "rm", "run42", "--all").returncode == 0
        assert b.call("checkpoint", "ls", run).stdout == b""


RANK = """
import sys
from pathlib import Path
from primedht.client import Client
data_dir, rank, step = sys.argv[1:]
with Client(data_dir=Path(data_dir)) as client:
    shard = (int(rank), 3)
    job = client.checkpoints.publish("run", int(step), {"rank": int(rank)}, shard=shard, key="shared")
    print("published", flush=True)
    job.wait(timeout=60)
    print("whole", flush=True)
"""


def test_ranks_on_several_daemons_commit_though_one_daemon_is_killed(tmp_path: Path) -> None:
    """A daemon that is killed between its rank's part and the commit leaves no half step, and goes on."""

    def rank(data_dir: Path, index: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", RANK, str(data_dir), str(index), "5"],
            stdout=subprocess.PIPE, env=clean_environment(),
        )  # fmt: skip

    def line(process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    with daemon(tmp_path / "a") as a, daemon(tmp_path / "c", bootstrap=[a.addr]) as c:
        owner = a.call_json("key", "new", "shared")["peer_id"]
        key = a.call("key", "export", "shared").stdout
        with daemon(tmp_path / "b", bootstrap=[a.addr]) as b:
            for each in (b, c):
                assert each.call("key", "import", "shared", "-", input=key).returncode == 0
            first, second = rank(a.data_dir, 0), rank(b.data_dir, 1)
            assert line(first) == line(second) == b"published"
            with Client(data_dir=c.data_dir) as reader:
                assert reader.checkpoints.latest(f"{owner}/run") is None
            b.process.send_signal(signal.SIGKILL)
            b.process.wait()
            second.wait(60)
        third = rank(c.data_dir, 2)
        assert line(third) == b"published"
        with daemon(tmp_path / "b", bootstrap=[a.addr]) as b:
            again = rank(b.data_dir, 1)
            for process in (first, third, again):
                assert line(process) in (b"published", b"whole")
                process.wait(100)
                assert process.returncode == 0
            with Client(data_dir=c.data_dir) as reader:
                assert reader.checkpoints.load(f"{owner}/run") == [{"rank": i} for i in range(3)]


async def test_checkpoints_outlive_the_nodes_that_published_them(tmp_path: Path) -> None:
    """On a network with a key others keep them: a whole one, and one of two ranks on two machines."""
    psk = write_psk(tmp_path / "swarm.key")
    async with open_cluster(tmp_path, 5, network__psk_file=psk, replication_factor=2) as cluster:
        a, b, *rest = cluster.nodes
        exported = primedht("key", "new", "shared", "--data-dir", a.data_dir)
        assert exported.returncode == 0, exported.stderr
        key = primedht("key", "export", "shared", "--data-dir", a.data_dir).stdout
        assert primedht("key", "import", "shared", "-", "--data-dir", b.data_dir, input=key).returncode == 0
        model = layers(2, elements=100_000)
        async with client_of(a) as first, client_of(b) as second:
            alone = await first.checkpoints.publish("alone", 1, model)
            kept = (await alone.wait(timeout=60)).kept
            assert len(kept.receipts) == 2
            jobs = [
                await client.checkpoints.publish("ranks", 7, [index, model], shard=(index, 2), key="shared")
                for index, client in enumerate((first, second))
            ]
            for job in jobs:
                published = await job.wait(timeout=60)
                assert len(published.kept.receipts) == 2
        await a.kill()
        await b.kill()
        async with client_of(rest[0]) as reader:
            loaded = await reader.checkpoints.load(f"{a.peer_id}/alone")
            np.testing.assert_array_equal(loaded["model.layers.1.weight"], model["model.layers.1.weight"])
            states = await reader.checkpoints.load(published.found.run)
            assert [index for index, _ in states] == [0, 1]
            np.testing.assert_array_equal(
                states[1][1]["model.layers.0.weight"], model["model.layers.0.weight"]
            )
