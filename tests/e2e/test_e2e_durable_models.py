"""A pushed model outlives the process that pushed it, and who may keep it is said."""

from __future__ import annotations

from pathlib import Path

from cluster import open_cluster, until
from durable_models import client_of, push_kill_and_pull, write_psk, write_safetensors
from processes import daemon, wait_until


async def test_a_model_of_64_mb_survives_the_node_that_pushed_it(tmp_path: Path) -> None:
    await push_kill_and_pull(tmp_path, 64 << 20)


async def test_holders_that_are_killed_are_replaced_though_the_publisher_is_too(tmp_path: Path) -> None:
    key = write_psk(tmp_path / "swarm.key")
    write_safetensors(tmp_path / "model.safetensors", 4 << 20)
    async with open_cluster(tmp_path, 6, network__psk_file=key, replication_factor=3) as cluster:
        a = cluster.nodes[0]
        async with client_of(a) as client:
            pushed = await client.models.push(tmp_path / "model.safetensors", "me/durable")
            kept = await pushed.wait(timeout=60)
        assert len(kept.receipts) == 3
        await a.kill()
        holders = [node for node in cluster.nodes if node.peer_id in kept.receipts]
        rest = [node for node in cluster.nodes[1:] if node not in holders]
        await holders[0].kill()

        async def has_been_taken_over() -> bool:
            statuses = [await node.status() for node in rest]
            return any(status["replicate"]["kept_for_others"] for status in statuses)

        await until(has_been_taken_over, timeout_s=120, what="the model is kept by three again")


def test_a_push_and_a_put_say_who_keeps_the_blocks(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", 1 << 20)
    push = ("model", "push", tmp_path / "model.safetensors", "--name", "me/m")
    with daemon(tmp_path / "a") as a:
        alone = a.call(*push).stdout.decode()
        assert "only this node keeps the blocks (no more peers yet)" in alone
        with daemon(tmp_path / "b", bootstrap=[a.addr]) as b:
            wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
            put = a.call("put", "weights", "--file", tmp_path / "model.safetensors").stdout.decode()
            for said in (put, a.call(*push).stdout.decode()):
                assert "only this node keeps the blocks (1 refused: not_permitted)" in said
                assert "network.psk_file" in said
                assert "replicate.allow" in said
        settings = {"PRIMEDHT_REPLICATE_ALLOW": a.peer_id}
        with daemon(tmp_path / "c", bootstrap=[a.addr], **settings) as c:
            wait_until(lambda: c.call("ping", a.peer_id).returncode == 0, what="c knows a")
            pushed = a.call_json(*push)
            assert pushed["kept"]["receipts"] == [c.peer_id]
            assert "kept" not in a.call_json(*push, "--no-wait")
