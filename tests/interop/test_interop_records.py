"""Our node and real go and js peers: values and provider records, each way."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytest
from ours import (
    IPFS,
    SIZES_KB,
    AnyKind,
    OurPeer,
    digest_of,
    host_addr,
    join,
    open_any,
    open_ours,
    open_pair,
    open_star,
    providers_of,
    value_of,
)
from peers import Peer, until

from primedht.clock import SystemClock
from primedht.errors import QuorumNotReached, StaleRecord
from primedht.keys import PrivateKey
from primedht.names import Names
from primedht.records.ipns import make_ipns_record, parse_ipns_record
from primedht.records.keys import ipns_key, peer_of

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

OtherKind = Literal["go", "js"]
PATH = b"/ipfs/bafkqaaa"

either_kind = pytest.mark.parametrize("kind", ["go", "js"])
# Each pair once: who dials makes no difference to records.
either_pair = pytest.mark.parametrize(("dialer", "listener"), [("go", "ours"), ("ours", "js")])


@either_pair
async def test_values_under_an_own_prefix(dialer: AnyKind, listener: AnyKind) -> None:
    """1, 8 and 60 KB under binary keys, put and put again; the other holds and finds them."""
    async with open_pair(dialer, listener) as (a, b):
        for writer, reader in ((a, b), (b, a)):
            for kilobytes in SIZES_KB:
                key = b"/test/" + bytes([kilobytes, 0xFF, 0x00]) + writer.kind.encode()
                for mark in ("one", "two"):
                    value = value_of(kilobytes, mark)
                    await writer.call("put", key=key, value=value)
                    assert (await reader.call("local_record", key=key))["value"] == value
                    assert (await reader.call("get", key=key))["value"] == value
                    assert (await writer.call("get", key=key))["value"] == value
            assert (await reader.call("get", key=b"/test/missing"))["value"] is None


@either_kind
async def test_identical_value_put_again_is_accepted_and_renews_its_life(kind: OtherKind) -> None:
    async with open_star(kind) as (ours, peer):
        for _ in range(2):
            await peer.call("put", key=b"/test/twice", value=b"value")
            held = await ours.node.dht.storage.get(b"/test/twice")
            assert held is not None
            assert held.received_unix_s == pytest.approx(time.time(), abs=5)
        first = held.received_unix_s
        stored = await peer.call("put", key=b"/test/twice", value=b"value")
        held = await ours.node.dht.storage.get(b"/test/twice")
        assert held is not None
        assert held.received_unix_s > first
        assert stored.get("stored", 1) == 1  # js counts; go ignores refusals

        for _ in range(2):
            result = await ours.node.dht.put_value(b"/test/ours", b"value")
            assert result.refused == ()
            assert len(result.holders) == 2


@either_pair
async def test_public_keys_and_ipns_under_ipfs(dialer: AnyKind, listener: AnyKind) -> None:
    """Binary keys; of two IPNS records the later one wins, whoever is asked."""
    async with open_pair(dialer, listener, prefix=IPFS) as (a, b):
        for writer, reader in ((a, b), (b, a)):
            published = await writer.call("publish_pk")
            assert (await reader.call("local_record", key=published["key"]))["value"] == published["value"]
            assert (await reader.call("get", key=published["key"]))["value"] == published["value"]

            key, old, new = await make_ipns_pair(writer)
            await writer.call("put", key=key, value=old)
            assert (await reader.call("local_record", key=key))["value"] == old
            await writer.call("put", key=key, value=new)
            assert (await reader.call("local_record", key=key))["value"] == new
            assert (await reader.call("get", key=key))["value"] == new
            if isinstance(writer, OurPeer):
                with pytest.raises(StaleRecord):
                    await writer.call("put", key=key, value=old)


async def make_ipns_pair(writer: Peer | OurPeer) -> tuple[bytes, bytes, bytes]:
    """Return the key of an IPNS name and two records of it, the second one later."""
    if isinstance(writer, Peer):
        made = [await writer.call("make_ipns", value=PATH, seq=seq, lifetime_s=3600) for seq in (1, 2)]
        return made[0]["key"], made[0]["record"], made[1]["record"]
    private = PrivateKey.generate()
    ends_unix_ns = time.time_ns() + 3_600_000_000_000
    records = [
        make_ipns_record(private, PATH, sequence=seq, validity_unix_ns=ends_unix_ns, ttl_ns=60_000_000_000)
        for seq in (1, 2)
    ]
    return ipns_key(private.peer_id), records[0], records[1]


@pytest.mark.parametrize(("writer_kind", "reader_kind"), [("go", "js"), ("js", "go")])
async def test_what_one_stored_in_us_the_other_reads_when_the_writer_has_gone(
    writer_kind: OtherKind, reader_kind: OtherKind
) -> None:
    """Public keys and IPNS records of one implementation, validated by us and then by the other."""
    async with open_ours(prefix=IPFS) as ours:
        async with open_any(writer_kind, prefix=IPFS) as writer:
            await join(writer, ours)
            published = await writer.call("publish_pk")
            made = await writer.call("make_ipns", value=PATH, seq=7, lifetime_s=3600)
            await writer.call("put", key=made["key"], value=made["record"])
        assert parse_ipns_record(made["record"]).sequence == 7
        async with open_any(reader_kind, prefix=IPFS) as reader:
            await join(reader, ours)
            assert (await reader.call("get", key=published["key"]))["value"] == published["value"]
            assert (await reader.call("get", key=made["key"]))["value"] == made["record"]
            assert (await ours.call("get", key=made["key"]))["value"] == made["record"]


async def test_what_we_stored_in_go_and_js_they_serve_when_we_have_gone() -> None:
    key, _, ipns = await make_ipns_pair_of_ours()
    values = {b"/test/%d" % kilobytes: value_of(kilobytes, "ours") for kilobytes in SIZES_KB}
    async with open_any("go") as go, open_any("js") as js:
        async with open_ours() as ours:
            for peer in (go, js):
                await join(ours, peer)
            for name, value in values.items():
                result = await ours.node.dht.put_value(name, value)
                assert len(result.holders) == 3
                assert not result.degraded
            await ours.call("put", key=key, value=ipns)
        await join(go, js)
        for peer in (go, js):
            for name, value in values.items():
                assert (await peer.call("get", key=name))["value"] == value
            assert (await peer.call("get", key=key))["value"] == ipns
        async with open_ours() as newcomer:
            await join(newcomer, go)
            for name, value in values.items():
                assert (await newcomer.call("get", key=name, quorum=2))["value"] == value


async def make_ipns_pair_of_ours() -> tuple[bytes, bytes, bytes]:
    async with open_ours() as ours:
        return await make_ipns_pair(ours)


@either_pair
async def test_provider_records(dialer: AnyKind, listener: AnyKind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for provider, seeker in ((a, b), (b, a)):
            digest = digest_of(provider.peer_id)
            assert (await seeker.call("find_providers", multihash=digest))["providers"] == []
            await provider.call("provide", multihash=digest)
            assert list(await providers_of(seeker, "local_providers", digest)) == [provider.peer_id]
            found = await providers_of(seeker, "find_providers", digest)
            assert list(found) == [provider.peer_id]
            assert host_addr(provider.addr) in map(host_addr, found[provider.peer_id])


@pytest.mark.parametrize(("provider_kind", "seeker_kind"), [("go", "js"), ("js", "go")])
async def test_provider_of_one_kind_is_found_through_us_by_the_other(
    provider_kind: OtherKind, seeker_kind: OtherKind
) -> None:
    """With its addresses, which nobody else could have told; and the provider finds itself."""
    async with open_star(provider_kind) as (ours, provider), open_any(seeker_kind) as seeker:
        digest = digest_of("content")
        await provider.call("provide", multihash=digest)
        await providers_of(ours, "local_providers", digest)
        await join(seeker, ours)
        found = await providers_of(seeker, "find_providers", digest, count=1)
        assert list(found) == [provider.peer_id]
        assert host_addr(provider.addr) in map(host_addr, found[provider.peer_id])
        assert provider.peer_id in await providers_of(provider, "find_providers", digest)


@either_kind
async def test_put_right_after_provide_on_one_reused_stream(kind: OtherKind) -> None:
    """An answer to ADD_PROVIDER would be taken for that of the next request, and crash go."""
    async with open_star(kind) as (ours, peer):
        for number in range(5):
            key = b"/test/after-provide-%d" % number
            await peer.call("provide", multihash=digest_of(f"{number}"))
            stored: dict[str, Any] = await peer.call("put", key=key, value=b"value")
            assert stored.get("stored", 1) == 1
            assert (await ours.call("local_record", key=key))["value"] == b"value"
            assert (await peer.call("get", key=key))["value"] == b"value"

            # And the other way: ours must not take an echo, if any, for the next answer.
            await ours.call("provide", multihash=digest_of(f"ours {number}"))
            result = await ours.node.dht.put_value(b"/test/by-us-%d" % number, b"value")
            assert result.refused == ()

        async def all_known() -> bool:
            held = [await ours.call("local_providers", multihash=digest_of(f"{n}")) for n in range(5)]
            return all(reply["providers"] for reply in held)

        await until(all_known, what="five provider records")


async def test_keys_that_go_and_js_refuse_are_stored_on_our_nodes() -> None:
    """Plain and owned keys on a mixed network: refusals move on to the next closest, and cost nobody."""
    async with open_star("go", "js") as (ours, go, js), open_ours() as second, open_ours() as third:
        for other in (second, third):
            await join(other, ours)
            for peer in (go, js):
                await join(other, peer)
        own = f"/prime/model/{ours.peer_id}/resnet"
        for key in ("model_weights_v1", own):
            result = await ours.node.put(key, b"weights")
            assert {str(holder) for holder in result.holders} == {
                ours.peer_id,
                second.peer_id,
                third.peer_id,
            }
            assert await third.node.get(key, quorum=3) == b"weights"
        assert ours.knows(go)
        assert ours.knows(js)
        await go.call("put", key=b"/test/k", value=b"value")
        assert (await ours.call("get", key=b"/test/k"))["value"] == b"value"


async def test_value_that_we_delete_is_gone_for_us_though_go_keeps_it() -> None:
    """go and js know no tombstones: to them it is an empty value, which go's validator here refuses.
    Ours outranks the copies that they still return."""
    async with open_star("go", "js") as (ours, go, js), open_ours() as reader:
        await ours.call("put", key=b"/test/k", value=b"value")
        with pytest.raises(QuorumNotReached) as refused:
            await ours.node.dht.delete_value(b"/test/k")
        assert refused.value.found == 2
        await join(reader, go)
        await join(reader, ours)
        for node in (ours, reader):
            assert (await node.call("get", key=b"/test/k"))["value"] is None
        assert (await go.call("local_record", key=b"/test/k"))["value"] == b"value"
        assert (await js.call("local_record", key=b"/test/k"))["value"] == b""


async def test_a_name_that_we_publish_go_and_js_resolve_and_the_reverse() -> None:
    """Signed by the node and by it again; then numbered on from what the others hold."""
    async with open_ours(prefix=IPFS) as ours, open_any("go", prefix=IPFS) as go:
        async with open_any("js", prefix=IPFS) as js:
            for peer in (go, js):
                await join(peer, ours)
            key = ipns_key(ours.node.peer_id)
            for sequence, path in enumerate(("/ipfs/bafkqaaa", "/ipfs/bafkqabtimvwgy3yk")):
                published = await ours.node.publish_name(path, lifetime=3600)
                assert (published.record.sequence, published.put.refused) == (sequence, ())
                for peer in (go, js):
                    record = (await peer.call("get", key=key))["value"]
                    assert parse_ipns_record(record).value == path.encode()

            for peer in (go, js):
                made = await peer.call("make_ipns", value=PATH, seq=7, lifetime_s=3600)
                await peer.call("put", key=made["key"], value=made["record"])
                resolved = await ours.node.resolve_name(peer_of(made["key"]), quorum=2)
                assert (resolved.value, resolved.sequence) == (PATH.decode(), 7)

        async with open_ours(prefix=IPFS) as elsewhere:  # as after the loss of a data directory
            await join(elsewhere, go)
            names = Names(elsewhere.node.dht, lambda owner: None, SystemClock())
            moved = await names.publish(
                ours.node.signing.identity, "/ipfs/bafkqaaa", lifetime_s=60, keep=False, timeout_s=30
            )
            assert moved.record.sequence == 2
            record = (await go.call("get", key=key))["value"]
            assert parse_ipns_record(record).sequence == 2
