"""IPNS names of real nodes on loopback: numbering, keys, lives, and what is signed anew."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from primedht import limits
from primedht.assembly import open_node
from primedht.config import Config, NetworkConfig, NodeConfig
from primedht.errors import InvalidArgument, KeyNotFound, NotPermitted, ValueNotFound
from primedht.keys import PrivateKey
from primedht.keystore import Keystore
from primedht.names import content_path
from primedht.node import Node
from primedht.records.ipns import make_ipns_record, parse_ipns_record
from primedht.records.keys import ipns_key

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@asynccontextmanager
async def open_one(data_dir: Path | None = None, *bootstrap: str) -> AsyncIterator[Node]:
    config = Config(
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False), network=NetworkConfig(name="test")
    )
    async with open_node(config, data_dir=data_dir, bootstrap=bootstrap) as node:
        yield node


async def meet(*nodes: Node) -> None:
    with trio.fail_after(60):
        for node in nodes:
            while len(node.dht.routing_table) < len(nodes) - 1:  # noqa: ASYNC110
                await trio.sleep(0.02)


async def test_a_name_is_numbered_on_and_resolves_elsewhere() -> None:
    async with open_one() as a, open_one(None, a.addrs[0]) as b:
        await meet(a, b)
        first = await a.publish_name(CID, lifetime=3600)
        assert (first.record.value, first.record.sequence) == (f"/ipfs/{CID}", 0)
        assert first.record.expires_unix_s == pytest.approx(time.time() + 3600, abs=30)
        assert set(first.put.holders) == {a.peer_id, b.peer_id}
        second = await a.publish_name("/ipns/docs.example.org/guide")
        assert second.record.sequence == 1
        for node in (a, b):
            found = await node.resolve_name(f"/ipns/{a.peer_id}", quorum=2)
            assert (found.value, found.sequence) == ("/ipns/docs.example.org/guide", 1)
            assert set(found.sources) == {a.peer_id, b.peer_id}
        with pytest.raises(ValueNotFound):
            await b.resolve_name(b.peer_id)


async def test_an_owner_who_lost_everything_but_the_key_goes_on_from_what_others_hold(tmp_path: Path) -> None:
    owner = PrivateKey.generate()
    async with open_one(tmp_path / "a") as holder:
        record = make_ipns_record(
            owner, b"/ipfs/old", sequence=41, validity_unix_ns=time.time_ns() + 10**15, ttl_ns=0
        )
        await holder.dht.put_value(ipns_key(owner.peer_id), record)
        async with open_one(tmp_path / "b", holder.addrs[0]) as node:
            Keystore(tmp_path / "b" / "keys").add("site", owner)
            published = await node.publish_name("/ipfs/new", key="site")
            assert (published.record.name, published.record.sequence) == (owner.peer_id, 42)
            assert (await holder.resolve_name(owner.peer_id)).value == "/ipfs/new"


async def test_what_is_kept_alive_is_signed_anew_and_once_ends_that() -> None:
    async with open_one() as node:
        published = await node.publish_name("/ipfs/x", lifetime=600)
        key = ipns_key(node.peer_id)
        before = await node.dht.storage.own_record(key)
        assert before is not None
        assert before.republish_unix_s < published.record.expires_unix_s
        assert await node.dht.values.republish(key)
        after = await node.dht.storage.own_record(key)
        assert after is not None
        old, new = parse_ipns_record(before.value), parse_ipns_record(after.value)
        assert (new.sequence, new.value) == (old.sequence, old.value)
        assert new.validity_unix_ns > old.validity_unix_ns
        await node.publish_name("/ipfs/x", once=True)
        assert await node.dht.storage.own_record(key) is None
        assert not await node.dht.values.republish(key)


async def test_renewing_never_brings_the_end_nearer() -> None:
    """The engine republishes within 48 hours; the signature may be good for longer."""
    async with open_one() as node:
        published = await node.publish_name("/ipfs/x", lifetime=30 * 86400)
        assert await node.dht.values.republish(ipns_key(node.peer_id))
        renewed = await node.resolve_name(node.peer_id)
        assert renewed.expires_unix_s >= published.record.expires_unix_s - 1e-3


async def test_records_whose_key_is_elsewhere_are_put_again_as_they_are() -> None:
    owner = PrivateKey.generate()
    async with open_one() as node:
        record = make_ipns_record(
            owner, b"/ipfs/x", sequence=1, validity_unix_ns=time.time_ns() + 10**13, ttl_ns=0
        )
        await node.put(f"/ipns/{owner.peer_id}", record)
        assert await node.dht.values.republish(ipns_key(owner.peer_id))
        held = await node.dht.storage.own_record(ipns_key(owner.peer_id))
        assert held is not None
        assert held.value == record


async def test_what_cannot_be_published() -> None:
    async with open_one() as node:
        for value in ("", "x", "/", "/ipfs", "/ipfs/", "ipfs/x", "/ipfs/\x00", "/ipfs/\ud800"):
            with pytest.raises(InvalidArgument):
                await node.publish_name(value)
        for lifetime in (0, -1, float("nan"), limits.IPNS_LIFETIME_S_MAX + 1):
            with pytest.raises(InvalidArgument):
                await node.publish_name("/ipfs/x", lifetime=lifetime)
        with pytest.raises(InvalidArgument):
            await node.publish_name(f"/ipfs/{'x' * limits.IPNS_RECORD_BYTES_MAX}")
        with pytest.raises(KeyNotFound):
            await node.publish_name("/ipfs/x", key="any")
        with pytest.raises(NotPermitted):
            await node.delete(f"/ipns/{node.peer_id}")


def test_content_paths() -> None:
    assert content_path(CID) == f"/ipfs/{CID}".encode()
    assert content_path("/ipfs/bafy/a b/ü") == "/ipfs/bafy/a b/ü".encode()
