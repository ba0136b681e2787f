"""Our node and real go and js peers: connections, identify, routing tables, finding peers."""

from __future__ import annotations

from typing import Literal

import pytest
from ours import IPFS, TEST, AnyKind, AnyPeer, host_addr, join, open_any, open_ours, open_pair, open_star
from peers import PeerError, connect, in_table, open_peer, until
from peers.driver import KeyType

from primedht.errors import RemoteError

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

OtherKind = Literal["go", "js"]
AGENTS = {"ours": "primedht/", "go": "primedht-interop-go", "js": "primedht-interop-js"}

either_way = pytest.mark.parametrize(
    ("dialer", "listener"), [("ours", "go"), ("go", "ours"), ("ours", "js"), ("js", "ours")]
)
either_kind = pytest.mark.parametrize("kind", ["go", "js"])


@either_way
async def test_each_dials_identifies_and_pings_the_other(dialer: AnyKind, listener: AnyKind) -> None:
    """And each is in the other's routing table."""
    async with open_pair(dialer, listener) as (a, b):
        for one, other in ((a, b), (b, a)):
            seen = await one.call("identify", peer=other.peer_id)
            assert {"/test/kad/1.0.0", "/ipfs/ping/1.0.0", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0"} <= set(
                seen["protocols"]
            )
            assert seen["agent"].startswith(AGENTS[other.kind])
            assert seen.get("protocol_version", "ipfs/0.1.0") == "ipfs/0.1.0"
            assert host_addr(other.addr) in seen["addrs"]
            assert 0 <= (await one.call("ping", peer=other.peer_id))["rtt_ms"] < 5000
            assert (await one.call("closest_peers", key=b"anything"))["peers"] == [other.peer_id]

        await a.call("disconnect", peer=b.peer_id)
        # Knowing each other they need no help to meet again, once they have noticed.
        await ping_again(a, b)
        await ping_again(b, a)


async def ping_again(one: AnyPeer, other: AnyPeer) -> None:
    async def answered() -> bool:
        try:
            return (await one.call("ping", peer=other.peer_id))["rtt_ms"] >= 0
        except (PeerError, RemoteError):
            return False

    await until(answered, what=f"a ping of {other.kind} by {one.kind} after their connection was closed")


@pytest.mark.parametrize(
    ("left", "middle", "right"),
    [("go", "ours", "js"), ("ours", "go", "js"), ("ours", "js", "go"), ("ours", "ours", "go")],
)
async def test_peers_find_each_other_through_a_third(left: AnyKind, middle: AnyKind, right: AnyKind) -> None:
    """Both ends know the middle only, and find each other by id and as closest to a key."""
    async with open_any(left) as a, open_any(middle) as b, open_any(right) as c:
        await join(a, b)
        await join(c, b)
        await find(a, c, among={b.peer_id, c.peer_id})
        await find(c, a, among={b.peer_id, a.peer_id})


async def find(one: AnyPeer, other: AnyPeer, *, among: set[str]) -> None:
    """Wait until `one` finds `other`: a peer that is just being identified has no addresses for a moment."""

    async def found() -> bool:
        known = (await one.call("find_peer", peer=other.peer_id))["addrs"]
        return host_addr(other.addr) in map(host_addr, known)

    async def among_closest() -> bool:
        return among <= set((await one.call("closest_peers", key=b"anything"))["peers"])

    await until(found, what=f"{other.kind} by its id, for {one.kind}")
    await until(among_closest, what=f"{other.kind} among the closest, for {one.kind}")


@either_kind
async def test_client_is_served_but_not_put_in_our_table(kind: OtherKind) -> None:
    """Behaviours 29 and 30: it is found as a target, and named to nobody as a closer peer."""
    async with (
        open_ours() as ours,
        open_any(kind, mode="client") as client,
        open_any("go" if kind == "js" else "js") as other,
    ):
        await join(other, ours)
        await connect(client, ours)
        await in_table(client, ours)
        await client.call("put", key=b"/test/of-a-client", value=b"value")
        assert (await client.call("get", key=b"/test/of-a-client"))["value"] == b"value"
        assert (await ours.call("local_record", key=b"/test/of-a-client"))["value"] == b"value"
        assert client.peer_id in (await ours.call("peers"))["connected"]
        assert not ours.knows(client)

        assert client.peer_id not in (await other.call("closest_peers", key=b"anything"))["peers"]
        await find(other, client, among={ours.peer_id})


async def test_our_client_uses_go_and_js_and_enters_no_table() -> None:
    async with open_ours(mode="client") as ours, open_any("go") as go, open_any("js") as js:
        for peer in (go, js):
            await connect(ours, peer)
            await in_table(ours, peer)
        await join(go, js)
        await ours.call("put", key=b"/test/by-our-client", value=b"value")
        for peer in (go, js):
            assert (await peer.call("get", key=b"/test/by-our-client"))["value"] == b"value"
        # js takes whoever opens a kad stream to it for one that serves the protocol.
        assert ours.peer_id not in (await go.call("peers"))["table"]
        seen = await go.call("identify", peer=ours.peer_id)
        assert "/test/kad/1.0.0" not in seen["protocols"]


@either_kind
async def test_mode_changes_are_pushed_both_ways(kind: OtherKind) -> None:
    """Behaviour 32: the routing table follows identify-push."""
    async with open_star(kind) as (ours, peer):
        await peer.call("set_mode", mode="client")

        async def gone() -> bool:
            return not ours.knows(peer)

        await until(gone, what="a client gone from our table")
        await peer.call("set_mode", mode="server")
        await in_table(ours, peer)

        serve_kad = ours.node.host.connections.serve_kad
        handler = ours.node.dht.mode.handler
        await serve_kad(None)
        # js keeps a peer that became a client.
        await follows(peer, ours, serves=False, table=[] if kind == "go" else None)
        await serve_kad(handler)
        await follows(peer, ours, serves=True, table=[ours.peer_id])


async def follows(peer: AnyPeer, ours: AnyPeer, *, serves: bool, table: list[str] | None) -> None:
    async def noticed() -> bool:
        protocols = (await peer.call("identify", peer=ours.peer_id))["protocols"]
        is_right = table is None or (await peer.call("peers"))["table"] == table
        return is_right and ("/test/kad/1.0.0" in protocols) is serves

    await until(noticed, what=f"our mode at {peer.kind}: {serves=}")


@either_kind
async def test_networks_of_other_prefixes_do_not_mix(kind: OtherKind) -> None:
    """Behaviour 33: they may connect, and stay out of each other's tables."""
    async with open_ours(prefix=TEST) as ours, open_any(kind, prefix=IPFS) as peer:
        await connect(peer, ours)
        await ours.call("identify", peer=peer.peer_id)
        assert 0 <= (await ours.call("ping", peer=peer.peer_id))["rtt_ms"] < 5000
        assert not ours.knows(peer)
        assert (await peer.call("peers"))["table"] == []
        assert (await ours.call("closest_peers", key=b"anything"))["peers"] == []


@pytest.mark.parametrize(
    ("kind", "key_type"),
    [("go", "rsa"), ("go", "secp256k1"), ("go", "ecdsa"), ("js", "rsa"), ("js", "secp256k1")],
)
async def test_other_key_types_connect_and_store_their_key(kind: OtherKind, key_type: KeyType) -> None:
    async with (
        open_ours(prefix=IPFS) as ours,
        open_any(kind, prefix=IPFS, key_type=key_type) as peer,
        open_any("go", prefix=IPFS) as reader,
    ):
        await join(peer, ours)
        published = await peer.call("publish_pk")
        assert (await ours.call("local_record", key=published["key"]))["value"] == published["value"]
        await ours.call("disconnect", peer=peer.peer_id)
        await ours.call("connect", addr=peer.addr)

        await join(reader, ours)
        assert (await reader.call("get", key=published["key"]))["value"] == published["value"]
        assert (await ours.call("get", key=published["key"]))["value"] == published["value"]


async def test_go_peer_that_also_offers_tls() -> None:
    """It offers TLS after Noise, and both ways Noise is agreed on."""
    async with open_ours() as ours, open_peer("go", prefix=TEST, tls=True) as go:
        await join(ours, go)
        await ours.call("disconnect", peer=go.peer_id)
        await connect(go, ours)  # type: ignore[arg-type]
        assert 0 <= (await go.call("ping", peer=ours.peer_id))["rtt_ms"] < 5000


async def test_another_go_peer_at_the_port_of_one_that_left() -> None:
    """The newcomer joins under its own id, the old one is found no more, and it can come back."""
    async with open_ours() as ours:
        async with open_any("go", seed=1) as first:
            await join(ours, first)
            address = host_addr(first.addr)
        async with open_any("go", seed=2, listen=address) as second:
            assert second.addr == f"{address}/p2p/{second.peer_id}" != first.addr
            await join(ours, second)

            async def replaced() -> bool:
                return (await ours.call("closest_peers", key=b"anything"))["peers"] == [second.peer_id]

            await until(replaced, what="a table without the peer that left")
            await ours.call("put", key=b"/test/k", value=b"value")
            assert (await second.call("get", key=b"/test/k"))["value"] == b"value"
        async with open_any("go", seed=1, listen=address) as again:
            assert again.peer_id == first.peer_id
            await join(again, ours)
            assert (await ours.call("ping", peer=again.peer_id))["rtt_ms"] >= 0
            await ours.call("put", key=b"/test/k2", value=b"value")
            assert (await again.call("local_record", key=b"/test/k2"))["value"] == b"value"
