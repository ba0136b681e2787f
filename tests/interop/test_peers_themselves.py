"""The go and js peers against each other, so that a failure with PrimeDHT is PrimeDHT's."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from peers import Peer, PeerError, available, connect, in_table, open_peer, until
from peers.driver import KeyType, Kind

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

PAIRS: list[tuple[Kind, Kind]] = [("go", "js"), ("js", "go")]
either_way = pytest.mark.parametrize(("dialer", "listener"), PAIRS)
any_pair = pytest.mark.parametrize(("dialer", "listener"), [*PAIRS, ("go", "go"), ("js", "js")])
either_kind = pytest.mark.parametrize("kind", ["go", "js"])

# kad-dht messages, written by hand: field 1 is the type, 2 the key.
FIND_NODE = 4
GET_VALUE = 1


def host_addr(addr: str) -> str:
    return addr.rsplit("/p2p/")[0]


def message(kind: int, key: bytes) -> bytes:
    return bytes([0x08, kind, 0x12, len(key)]) + key


@asynccontextmanager
async def open_pair(
    dialer: Kind, listener: Kind, *, prefix: str = "/test", validators: tuple[str, ...] = ("test",)
) -> AsyncIterator[tuple[Peer, Peer]]:
    """Two connected DHT servers, each in the other's table."""
    for kind in (dialer, listener):
        if not available(kind):
            pytest.skip(f"no toolchain for the {kind} peer")
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(open_peer(dialer, prefix=prefix, validators=validators))
        b = await stack.enter_async_context(open_peer(listener, prefix=prefix, validators=validators))
        await connect(a, b)
        await in_table(a, b)
        await in_table(b, a)
        yield a, b


@any_pair
async def test_connect_identify_ping(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for one, other in ((a, b), (b, a)):
            seen = await one.call("identify", peer=other.peer_id)
            assert {"/test/kad/1.0.0", "/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"} <= set(seen["protocols"])
            assert seen["agent"] == f"primedht-interop-{other.kind}"
            assert seen["protocol_version"] == "ipfs/0.1.0"
            assert host_addr(other.addr) in seen["addrs"]
            assert 0 <= (await one.call("ping", peer=other.peer_id))["rtt_ms"] < 5000
        await a.call("disconnect", peer=b.peer_id)
        assert (await a.call("peers"))["connected"] == []


@either_way
async def test_values_under_an_own_prefix(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for number, (writer, reader) in enumerate(((a, b), (b, a))):
            key = b"/test/" + bytes([number, 0xFF, 0x00])
            await writer.call("put", key=key, value=b"one")
            assert (await reader.call("local_record", key=key))["value"] == b"one"
            assert (await reader.call("get", key=key))["value"] == b"one"
            await writer.call("put", key=key, value=b"two")
            assert (await reader.call("get", key=key, quorum=1))["value"] == b"two"
        assert (await a.call("get", key=b"/test/missing"))["value"] is None
        assert (await a.call("local_record", key=b"/test/missing"))["value"] is None


@either_way
async def test_public_key_and_ipns_under_ipfs(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener, prefix="/ipfs", validators=()) as (a, b):
        for writer, reader in ((a, b), (b, a)):
            published = await writer.call("publish_pk")
            assert (await reader.call("local_record", key=published["key"]))["value"] == published["value"]
            assert (await reader.call("get", key=published["key"]))["value"] == published["value"]

            path = b"/ipfs/bafkqaaa"
            old = await writer.call("make_ipns", value=path, seq=1, lifetime_s=3600)
            new = await writer.call("make_ipns", value=path, seq=2, lifetime_s=3600)
            await writer.call("put", key=old["key"], value=old["record"])
            await writer.call("put", key=new["key"], value=new["record"])
            assert (await reader.call("get", key=old["key"]))["value"] == new["record"]


@either_way
async def test_provider_records(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for provider, seeker in ((a, b), (b, a)):
            digest = b"\x12\x20" + hashlib.sha256(provider.peer_id.encode()).digest()
            await provider.call("provide", multihash=digest)
            assert await ids_of(seeker, "local_providers", multihash=digest) == [provider.peer_id]
            assert await ids_of(seeker, "find_providers", multihash=digest, count=1) == [provider.peer_id]


async def ids_of(peer: Peer, op: str, **fields: Any) -> list[str]:
    # go sends ADD_PROVIDER without waiting for it to be handled.
    for _ in range(50):
        if found := (await peer.call(op, **fields))["providers"]:
            return [provider["id"] for provider in found]
        await trio.sleep(0.05)
    return []


@either_way
async def test_third_peer_is_found_through_the_second(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b), open_peer(dialer, prefix="/test") as c:
        await connect(c, b)
        await in_table(b, c)
        await in_table(c, b)

        # Not at the first try: a peer that is just being identified has no addresses for a moment.
        async def found() -> bool:
            addrs = (await a.call("find_peer", peer=c.peer_id))["addrs"]
            return host_addr(c.addr) in {host_addr(addr) for addr in addrs}

        async def among_closest() -> bool:
            closest = (await a.call("closest_peers", key=b"anything"))["peers"]
            return {b.peer_id, c.peer_id} <= set(closest)

        await until(found, what="the third peer by its id")
        await until(among_closest, what="both peers as closest to a key")


@either_way
async def test_raw_frames(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        ask: dict[str, Any] = {"peer": b.peer_id, "protocol": "/test/kad/1.0.0"}
        find = message(FIND_NODE, b"key")
        two = await a.call("raw_request", **ask, frames_b64=[find, find], read_frames=2)
        assert [len(frame) > 0 for frame in two["frames_b64"]] == [True, True]
        assert two["end"] == "open"

        half = await a.call("raw_request", **ask, frames_b64=[find], half_close=True, read_frames=2)
        # js resets a half-closed stream after its answer, unless the FIN came before it had answered.
        assert len(half["frames_b64"]) == 1
        assert half["end"] in ({"eof"} if listener == "go" else {"eof", "reset"})

        bad = await a.call("raw_request", **ask, frames_b64=[message(GET_VALUE, b"")], read_frames=1)
        assert (bad["frames_b64"], bad["end"]) == ([], "reset")

        quiet = await a.call("raw_request", **ask, read_frames=1, timeout_s=0.5)
        assert (quiet["frames_b64"], quiet["end"]) == ([], "timeout")


@either_way
async def test_echo_and_sink(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for bytes_n, chunk in ((0, 1), (1, 1), (3_000_000, 65_536)):
            size: dict[str, Any] = {"bytes_n": bytes_n, "chunk": chunk}
            echoed = await a.call("echo", peer=b.peer_id, protocol="/test/echo/1.0.0", **size)
            sunk = await a.call("sink", peer=b.peer_id, protocol="/test/sink/1.0.0", **size)
            assert echoed["bytes_n"] == sunk["bytes_n"] == bytes_n


@either_way
async def test_held_streams_leave_room_for_others(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for _ in range(13):
            await a.call("hold_stream", peer=b.peer_id, protocol="/test/kad/1.0.0")
        assert b.peer_id in (await a.call("closest_peers", key=b"anything"))["peers"]


@either_way
async def test_mode_changes_are_pushed(dialer: Kind, listener: Kind) -> None:
    async with open_pair(dialer, listener) as (a, b):
        for mode, table in (("client", []), ("server", [a.peer_id])):
            await a.call("set_mode", mode=mode)

            async def noticed(serves: bool = mode == "server") -> bool:
                protocols = (await b.call("identify", peer=a.peer_id))["protocols"]
                return ("/test/kad/1.0.0" in protocols) is serves

            await until(noticed, what=f"mode {mode}")
            if listener == "go":  # js keeps a peer that became a client

                async def followed(table: list[str] = table) -> bool:
                    return (await b.call("peers"))["table"] == table

                await until(followed, what="the table to follow")


@either_way
async def test_client_is_not_put_in_the_table(dialer: Kind, listener: Kind) -> None:
    async with (
        open_peer(dialer, prefix="/test", mode="client") as client,
        open_peer(listener, prefix="/test") as server,
    ):
        await connect(client, server)
        await in_table(client, server)
        assert (await server.call("peers"))["table"] == []


@pytest.mark.parametrize(
    ("dialer", "listener", "key_type"),
    [(dialer, listener, key_type) for dialer, listener in PAIRS for key_type in ("rsa", "secp256k1")]
    + [("go", "go", "ecdsa")],  # js-libp2p has no ECDSA peer ids
)
async def test_other_key_types_connect(dialer: Kind, listener: Kind, key_type: KeyType) -> None:
    async with (
        open_peer(dialer, prefix="/test", key_type=key_type) as a,
        open_peer(listener, prefix="/test") as b,
    ):
        await connect(a, b)
        assert (await b.call("ping", peer=a.peer_id))["rtt_ms"] >= 0


@either_kind
async def test_seed_gives_one_identity(kind: Kind) -> None:
    async with open_peer(kind, seed=1) as peer:
        assert peer.peer_id == "12D3KooWQsPzQ6wg4LbdjP54AcRhTwvG8PEwxo5TWnM5fGL62YZp"


@either_kind
async def test_requests_run_concurrently(kind: Kind) -> None:
    async with open_pair(kind, "go") as (a, b), trio.open_nursery() as nursery:
        began = trio.current_time()
        ask: dict[str, Any] = {"peer": b.peer_id, "protocol": "/test/kad/1.0.0", "read_frames": 1}
        for _ in range(5):
            nursery.start_soon(lambda: a.call("raw_request", timeout_s=1, **ask))
        await a.call("peers")
        assert trio.current_time() - began < 1


@either_kind
async def test_failures_are_errors(kind: Kind) -> None:
    async with open_peer(kind) as peer:
        with pytest.raises(PeerError, match=r"unknown op|no_such_op"):
            await peer.call("no_such_op")
        peer.kill()
        with pytest.raises(PeerError, match="gone"):
            await peer.call("peers")
    with pytest.raises(PeerError, match="did not start") as caught:
        async with open_peer(kind, prefix="/test", mode="neither"):  # type: ignore[arg-type]
            pass
    assert "unknown mode" in caught.value.__notes__[0]
