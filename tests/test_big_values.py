"""Values above the inline limit, between real nodes on loopback."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import trio

from primedht.assembly import open_node
from primedht.blocks.big_values import pin_name
from primedht.blocks.block import make_block
from primedht.blocks.importer import import_file, root_of
from primedht.blocks.index import PIN
from primedht.blocks.profiles import DEFAULT_NAME, PROFILES
from primedht.config import BlocksConfig, Config, NetworkConfig, NodeConfig, QuotasConfig
from primedht.errors import (
    InvalidArgument,
    InvalidDag,
    QuorumNotReached,
    StoreCorrupt,
    StoreFull,
    ValueTooLarge,
)
from primedht.node import Node
from primedht.records.pointer import MARK, Pointer, decode_pointer, sign_open_pointer

VALUE = os.urandom(3_500_000)
OTHER = os.urandom(100_000)


@asynccontextmanager
async def open_one(
    data_dir: Path | None = None,
    *bootstrap: str,
    blocks_bytes_max: int = 1 << 30,
    transit: Literal["none", "zstd"] = "none",
) -> AsyncIterator[Node]:
    config = Config(
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False),
        network=NetworkConfig(name="test"),
        quotas=QuotasConfig(blocks_bytes_max=blocks_bytes_max),
        blocks=BlocksConfig(compression=transit),
    )
    async with open_node(config, data_dir=data_dir, bootstrap=bootstrap) as node:
        yield node


@asynccontextmanager
async def open_two() -> AsyncIterator[tuple[Node, Node]]:
    async with open_one() as first, open_one(None, first.addrs[0]) as second:
        with trio.fail_after(60):
            while not (len(first.dht.routing_table) and len(second.dht.routing_table)):  # noqa: ASYNC110
                await trio.sleep(0.02)
        yield first, second


async def pinned_roots(node: Node) -> set[bytes]:
    return {bytes(pin.cid) async for pin in node.blocks.pins.all()}


async def test_a_large_value_is_put_on_one_node_and_got_on_another() -> None:
    async with open_two() as (a, b):
        for key in ("weights", f"/prime/model/{a.peer_id}/weights".encode()):
            put = await a.put(key, VALUE)
            assert put.root == bytes(root_of(import_file(io.BytesIO(VALUE), PROFILES[DEFAULT_NAME])).cid)
            found = await b.get_record(key)
            assert found.payload == VALUE
            assert found.root == put.root
            assert found.authenticated is (key != "weights")
            assert await a.get(key) == VALUE
            record = await b.dht.get_value(found.key)
            assert decode_pointer(record.payload).size_bytes == len(VALUE), "the record itself is small"
            with pytest.raises(ValueTooLarge, match=str(len(VALUE))):
                await b.get(key, max_bytes=len(VALUE) - 1)
        with pytest.raises(ValueTooLarge):
            await b.put("small", b"12345") and await b.get("small", max_bytes=4)


async def test_a_value_that_comes_in_pieces_takes_memory_for_a_batch_only() -> None:
    async with open_one() as node:
        async with node.open_sink("weights", size=len(VALUE)) as sink:
            for start in range(0, len(VALUE), 70_001):
                await sink.write(VALUE[start : start + 70_001])
            put = await sink.commit(timeout=60)
        source = await node.open_source("weights")
        assert source.size == len(VALUE)
        assert source.found.root == put.root
        pieces = []
        while piece := await source.read():
            pieces.append(piece)
        await source.aclose()
        assert b"".join(pieces) == VALUE


async def test_what_is_not_committed_leaves_nothing() -> None:
    async with open_one() as node:
        async with node.open_sink("weights") as sink:
            await sink.write(VALUE)
            await sink.write(VALUE)
            assert node.blocks.store.counts.blocks
        assert node.blocks.store.counts.blocks == 0
        with pytest.raises(InvalidArgument, match="announced"):
            async with node.open_sink("weights", size=len(VALUE) + 1) as sink:
                await sink.write(VALUE)
                await sink.commit(timeout=60)
        assert node.blocks.store.counts.blocks == 0
        assert await node.get("weights") is None


async def test_a_put_without_room_is_refused_at_once_and_leaves_nothing() -> None:
    async with open_one(blocks_bytes_max=3_000_000) as node:
        with pytest.raises(StoreFull, match="blocks_bytes_max"):
            async with node.open_sink("weights", size=1 << 40):
                pass
        with pytest.raises(StoreFull):
            async with node.open_sink("weights") as sink:
                while True:
                    await sink.write(os.urandom(1_000_000))
        assert node.blocks.store.counts.blocks == 0


async def test_a_new_value_a_small_one_and_a_delete_let_go_of_the_old_blocks() -> None:
    async with open_one() as node:
        first = (await node.put("weights", VALUE)).root
        kept = (await node.put("other", OTHER)).root
        assert await pinned_roots(node) == {first, kept}
        second = (await node.put("weights", VALUE[1:])).root
        assert await pinned_roots(node) == {second, kept}
        assert (await node.put("weights", VALUE[1:])).root == second
        assert await pinned_roots(node) == {second, kept}
        await node.put("weights", b"small")
        assert await pinned_roots(node) == {kept}
        await node.delete("other")
        assert await pinned_roots(node) == set()
        await node.blocks.collect()
        assert node.blocks.store.counts.blocks == 0


async def test_a_put_once_keeps_its_blocks_as_long_as_its_record() -> None:
    async with open_one() as node:
        put = await node.put("weights", VALUE, once=True, ttl=600)
        [pin] = [pin async for pin in node.blocks.pins.all()]
        assert pin.expires_unix_s is not None
        assert abs(pin.expires_unix_s - put.expires_unix_s) < 60
        assert pin.name == pin_name(b"weights")


async def test_a_put_that_reached_too_few_keeps_the_blocks_of_what_is_kept_alive() -> None:
    async with open_one() as node:
        await node.put("weights", OTHER)
        with pytest.raises(QuorumNotReached):
            await node.put("weights", VALUE, min_holders=3)
        assert await node.get("weights") == VALUE, "it is on the schedule"
        assert len(await pinned_roots(node)) == 1
        with pytest.raises(QuorumNotReached):
            await node.put("passing", OTHER, min_holders=3, once=True)
        assert len(await pinned_roots(node)) == 1


async def test_blocks_of_keys_that_are_kept_alive_no_more_are_swept(tmp_path: Path) -> None:
    async with open_one(tmp_path / "a") as node:
        await node.put("weights", VALUE)
        await node.put("other", OTHER)
    async with open_one(tmp_path / "a") as node:
        await node._values.sweep([b"weights"])
        assert len(await pinned_roots(node)) == 2, "they are too young"
        node.blocks.pins._clock = _Later()
        await node._values.sweep([b"weights"])
        assert len(await pinned_roots(node)) == 1
        await node.put("weights", b"small")
        assert await pinned_roots(node) == set(), "the pins of an earlier life are known"


async def test_a_node_starts_though_a_pin_is_damaged(tmp_path: Path) -> None:
    async with open_one(tmp_path / "a") as node:
        await node.put("weights", VALUE)
        [pin] = [pin async for pin in node.blocks.pins.all()]
        kv = node.blocks.pins._kv
        (key, _), *_ = await kv.scan(PIN)
        await kv.put({key: b"rubbish"})
    async with open_one(tmp_path / "a") as node:
        assert await node.get("weights") == VALUE
        with pytest.raises(StoreCorrupt, match="primedht unpin"):
            await node.blocks.collect()
        assert await node.blocks.unpin(pin.cid) == 1
        await node.blocks.collect()


async def test_a_pin_that_a_user_calls_like_those_of_values_is_not_swept() -> None:
    async with open_one() as node:
        block = make_block(b"a user's own")
        await node.blocks.put_block(block)
        await node.blocks.pin(block.cid, name="value:best")
        node.blocks.pins._clock = _Later()
        await node._values.sweep([])
        assert [pin.name for pin in await node.blocks.pins.of(block.cid)] == ["value:best"]


class _Later:
    def unix_now(self) -> float:
        return 4e9


async def test_a_plain_value_is_never_taken_for_a_pointer() -> None:
    """Whatever bytes are put are got: also those that a pointer's record has."""
    async with open_one() as node:
        await node.put("weights", VALUE)
        pointer = (await node.dht.get_value(b"weights")).value
        for value in (pointer, MARK, MARK + b"text"):
            put = await node.put("weights", value)
            assert put.root is not None
            assert await node.get("weights") == value
        for key in ("weights", f"/prime/model/{node.peer_id}/weights".encode()):
            await node.put(key, pointer[1:])
            assert await node.get(key) == pointer[1:]


@pytest.mark.parametrize("change", [-1, 1])
async def test_a_pointer_that_lies_about_the_size_is_refused(change: int) -> None:
    async with open_two() as (a, b):
        root = (await a.put("weights", OTHER)).root
        assert root is not None
        truth = decode_pointer((await a.dht.get_value(b"weights")).payload)
        lie = Pointer(truth.root, truth.size_bytes + change, truth.dag_bytes + 1, truth.blocks)
        signed = sign_open_pointer(a.signing.identity, a.dht.config.network_id, b"lie", lie)
        await a.dht.put_value(b"lie", signed)
        with pytest.raises(InvalidDag, match="pointer says"):
            await b.get("lie")
        short = Pointer(truth.root, 10, 10, 1)
        signed = sign_open_pointer(a.signing.identity, a.dht.config.network_id, b"short", short)
        await a.dht.put_value(b"short", signed)
        with pytest.raises(InvalidDag, match="pointer says"):
            await b.get("short")
