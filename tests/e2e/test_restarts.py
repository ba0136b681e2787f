"""Processes that are killed, ended and drained: what they acknowledged is there afterwards."""

from __future__ import annotations

import hashlib
import random
from functools import partial
from pathlib import Path

import trio
from cluster import Cluster, Daemon, at_once, open_cluster, until
from probe import open_probe

from primedht.client import _ops
from primedht.errors import PrimeDhtError
from primedht.kad.key import distance, key_of

_CID_HEAD = bytes((1, 0x55, 0x12, 0x20))  # CIDv1, raw, sha2-256


def cid_of(content: bytes) -> bytes:
    return _CID_HEAD + hashlib.sha256(content).digest()


def keys_closest_to(node: Daemon, cluster: Cluster, count: int) -> list[bytes]:
    """Return keys whose closest node is `node`, so that with R = 1 it is the one that holds them."""
    own, others = key_of(node.peer_id), [key_of(each.peer_id) for each in cluster.running if each is not node]
    candidates = (f"near-{number}".encode() for number in range(1_000_000))
    found: list[bytes] = []
    for key in candidates:
        point = key_of(key)
        if all(distance(own, point) < distance(other, point) for other in others):
            found.append(key)
            if len(found) == count:
                break
    return found


async def test_kill_9_during_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Extra: kill -9 during write: values and provided content, killed in mid-write again and
    again, are all there."""
    rng = random.Random(3)
    values: dict[bytes, bytes] = {}
    provided: list[bytes] = []
    async with open_cluster(tmp_path, 1) as cluster:
        (node,) = cluster.nodes

        async def write(life: int, writer: int) -> None:
            """Write until the node dies; only what it acknowledged counts."""
            number = 0
            try:
                while True:
                    number += 1
                    key = f"{life}-{writer}-{number}".encode()
                    value = rng.randbytes(rng.randrange(1, 4096))
                    await node.put(key, value)
                    values[key] = value
                    if number % 10 == 0:
                        await node.call(_ops.provide(cid_of(key)))
                        provided.append(cid_of(key))
            except PrimeDhtError as error:
                assert error.code == "no_daemon", error  # noqa: PT017 - how every writer must end

        for life in range(4):
            wanted = len(values) + rng.randrange(40, 120)
            async with trio.open_nursery() as nursery:
                for writer in range(8):
                    nursery.start_soon(write, life, writer)
                await until(partial(_at_least, values, wanted), what="the writers write")
                await node.kill()
            await node.start()
            for key, value in values.items():
                assert await node.get(key) == value, key
            status = await node.status()
            assert status["storage"]["corrupt"] == 0
            assert status["storage"]["kept_alive"] >= len(values)
            assert status["providers"]["provided"] >= len(provided)
        for cid in provided:
            found = await node.call_every(_ops.find_providers(cid))
            assert [peer.id for peer in found] == [node.peer_id]


async def _at_least(values: dict[bytes, bytes], count: int) -> bool:
    return len(values) >= count


async def test_a_killed_node_comes_back_without_its_bootstrap_peer(tmp_path: Path) -> None:
    """Extra: restart keeps the table: it is remembered as it fills, not only at a clean end."""
    async with open_cluster(tmp_path, 3, log__level="debug", log__format="json") as cluster:
        bootstrap, node, other = cluster.nodes
        await node.put("key", b"value")

        async def remembers_both() -> bool:
            return node.last_logged("table_remembered").get("peers") == 2

        await until(remembers_both, what="the table is remembered")
        await cluster.kill([bootstrap, node])
        await node.start()
        await cluster.wait_met()
        assert {peer.id: peer.how for peer in await node.peers() if peer.in_routing_table} == {
            other.peer_id: "remembered"
        }
        assert await node.get("key") == b"value"


async def test_sigterm_hands_over_within_the_grace(tmp_path: Path) -> None:
    """R = 1: the only holder is told to end, and the values are with others when it has."""
    async with open_cluster(tmp_path, 4, replication_factor=1) as cluster:
        leaver, writer = cluster.nodes[2], cluster.nodes[1]
        keys = keys_closest_to(leaver, cluster, 30)
        for key in keys:
            result = await writer.put(key, b"value of " + key, once=True)
            assert result.holders == (leaver.peer_id,)
        began = trio.current_time()
        assert await leaver.terminate() == 0
        took_s = trio.current_time() - began
        assert took_s < 8, f"it took {took_s:.1f} s"  # 4 s of grace, and a loaded machine
        for key in keys:
            assert await writer.get(key) == b"value of " + key, key


async def test_drain_leaves_nothing_behind(tmp_path: Path) -> None:
    """R = 1: after a drain says that all is safe, the holder can be killed."""
    async with open_cluster(tmp_path, 4, replication_factor=1) as cluster:
        leaver, writer = cluster.nodes[2], cluster.nodes[1]
        keys = keys_closest_to(leaver, cluster, 30)
        for key in keys:
            await writer.put(key, b"value of " + key, once=True)
        async with open_probe(cluster.network) as probe:
            assert all((await probe.copies([leaver], keys)).values())
            drained = await leaver.call(_ops.drain())
            assert drained.handed_over >= len(keys)
            assert drained.left_over == 0
            await leaver.kill()
            assert all((await probe.copies(cluster.running, keys)).values())
        for key in keys:
            assert await writer.get(key) == b"value of " + key, key


async def test_a_second_node_joins_by_host_and_port_and_is_filled(tmp_path: Path) -> None:
    """Alone, a put succeeds; who joins through HOST:PORT, without any id, holds the values in seconds."""
    async with open_cluster(tmp_path, 1) as cluster:
        first = cluster.nodes[0]
        keys = [f"key-{number}".encode() for number in range(50)]
        for key in keys:
            result = await first.put(key, b"value of " + key)
            assert result.degraded
            assert result.holders == (first.peer_id,)
        second = cluster.add()
        began = trio.current_time()
        await second.start([first.host_port])
        async with open_probe(cluster.network) as probe:

            async def filled() -> bool:
                return all((await probe.copies([second], keys)).values())

            await until(filled, timeout_s=30, what="the second node holds all values")
        took_s = trio.current_time() - began
        assert took_s < 20, f"it took {took_s:.1f} s from its start"
        await first.kill()
        for key in keys:
            assert await second.get(key) == b"value of " + key


async def test_nodes_that_start_together_before_their_bootstrap_peer_find_it(tmp_path: Path) -> None:
    """Nobody answers at the bootstrap address at first: it is tried again until somebody does."""
    async with open_cluster(tmp_path, 1) as cluster:
        first = cluster.nodes[0]
        addr = first.addr
        await first.kill()
        early = [cluster.add() for _ in range(2)]
        await at_once(early, lambda node: node.start([addr]))
        await first.start()
        await cluster.wait_met()
        await early[0].put("key", b"value")
        assert await first.get("key") == b"value"
        assert await early[1].get("key") == b"value"
