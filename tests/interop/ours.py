"""Our node behind the face of the go and js peers, so that one test serves every pairing.

`open_any("ours" | "go" | "js", ...)` opens either; `call` takes the ops of peers/README.md.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import trio
from peers import Peer, available, connect, in_table, open_peer, until
from peers.driver import Reply

from primedht.assembly import open_node
from primedht.blocks.profiles import PROFILES
from primedht.cids import Cid
from primedht.config import BlocksConfig, Config, LimitsConfig, NetworkConfig, NodeConfig
from primedht.errors import ValueNotFound
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import Message
from primedht.node import Node
from primedht.records.keys import pk_key
from primedht.wire import addrs as wire

AnyKind = Literal["ours", "go", "js"]
TEST = "/test"  # a prefix of our own, where go and js take /test/ keys
IPFS = "/ipfs"  # /pk and /ipns only, as go insists
SIZES_KB = (1, 8, 60)


class OurPeer:
    """`Node` with the methods of `peers.Peer`. Make one with `open_ours`."""

    kind: AnyKind = "ours"

    def __init__(self, node: Node) -> None:
        self.node = node
        self.peer_id = str(node.peer_id)

    @property
    def addr(self) -> str:
        """The first listen address, ending in /p2p/<peer id>."""
        return self.node.addrs[0]

    async def call(self, op: str, *, timeout_s: float = 30, **fields: Any) -> Reply:
        """Run `op` as a go or js peer would."""
        with trio.fail_after(timeout_s):
            return await getattr(self, f"_{op}")(**fields) or {}

    def knows(self, peer: Peer | OurPeer) -> bool:
        """Whether `peer` is in our routing table."""
        return PeerId.from_text(peer.peer_id) in self.node.dht.routing_table

    async def _connect(self, addr: str) -> None:
        await self.node.connect(addr)

    async def _disconnect(self, peer: str) -> None:
        await self.node.disconnect(PeerId.from_text(peer))

    async def _peers(self) -> Reply:
        return {
            "connected": [str(info.id) for info in self.node.connected_peers()],
            "table": [str(peer) for peer in self.node.dht.routing_table.peers()],
        }

    async def _ping(self, peer: str) -> Reply:
        return {"rtt_ms": 1000 * await self.node.ping(peer)}

    async def _identify(self, peer: str) -> Reply:
        id = PeerId.from_text(peer)
        connections = self.node.host.connections
        while (facts := connections.facts(id)) is None:  # noqa: ASYNC110 (as the other peers' identify)
            await trio.sleep(0.02)
        return {
            "protocols": list(facts.protocols),
            "agent": facts.agent_version,
            "addrs": [wire.format_addr(addr) for addr in self.node.dht.peers.info(id).addrs],
        }

    async def _find_peer(self, peer: str) -> Reply:
        return {"addrs": [wire.format_addr(addr) for addr in (await self.node.find_peer(peer)).addrs]}

    async def _closest_peers(self, key: bytes) -> Reply:
        return {"peers": [str(info.id) for info in await self.node.closest_peers(key)]}

    async def _put(self, key: bytes, value: bytes) -> Reply:
        return {"stored": len((await self.node.dht.put_value(key, value)).holders)}

    async def _get(self, key: bytes, quorum: int = 0) -> Reply:
        try:
            return {"value": (await self.node.dht.get_value(key, quorum=quorum)).value}
        except ValueNotFound:
            return {"value": None}

    async def _local_record(self, key: bytes) -> Reply:
        held = await self.node.dht.storage.get(key)
        return {"value": None if held is None else held.value}

    async def _provide(self, multihash: bytes) -> None:
        await self.node.dht.provide(multihash)

    async def _find_providers(self, multihash: bytes, count: int = 0) -> Reply:
        found = [info async for info in self.node.dht.find_providers(multihash, limit=count)]
        return {
            "providers": [
                {"id": str(info.id), "addrs": [wire.format_addr(addr) for addr in info.addrs]}
                for info in found
            ]
        }

    async def _local_providers(self, multihash: bytes) -> Reply:
        held = self.node.dht.providers.held(multihash)
        return {"providers": [{"id": str(info.id), "addrs": []} for info in held]}

    async def _add_file(self, path: str, profile: str) -> Reply:
        async with self.node.blocks.adding(PROFILES[profile]) as adding:
            async with await trio.open_file(path, "rb") as file:
                await adding.file("", file.wrapped)
            added = await adding.finish()
            await self.node.blocks.keep(added, announce=False)
        return {"cid": bytes(added.cid)}

    async def _fetch(self, cid: bytes) -> Reply:
        """Get a whole DAG, then read the file."""
        root = Cid.from_bytes(cid)
        started, cpu_before_s = time.monotonic(), time.process_time()
        await self.node.blocks.fetch(root)
        took_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_before_s
        digest, size_bytes = hashlib.sha256(), 0
        async for piece in self.node.blocks.read_file(root):
            digest.update(piece)
            size_bytes += len(piece)
        return {"seconds": took_s, "cpu_s": cpu_s, "bytes_n": size_bytes, "sha256": digest.hexdigest()}

    async def _exchanged(self) -> Reply:
        """Return what went over bitswap so far."""
        return cast("Reply", self.node.blocks.status()["exchange"])

    async def _publish_pk(self) -> Reply:
        public_key = self.node.peer_id.inline_public_key()
        assert public_key is not None
        key = pk_key(self.node.peer_id)
        return {"key": key, "value": public_key, **await self._put(key, public_key)}


AnyPeer = Peer | OurPeer


@asynccontextmanager
async def open_ours(
    *,
    prefix: str = TEST,
    mode: Literal["server", "client"] = "server",
    data_dir: Path | None = None,
    compression: Literal["none", "zstd"] = "none",
    upload_rate: int | None = None,
) -> AsyncIterator[OurPeer]:
    """Run a node of ours in this process; without a data directory it keeps everything in memory."""
    config = Config(
        network=NetworkConfig(protocol_prefix=prefix),
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, mode=mode),
        blocks=BlocksConfig(compression=compression),
        limits=LimitsConfig(upload_rate=upload_rate),
    )
    async with open_node(config, data_dir=data_dir) as node:
        yield OurPeer(node)


def open_any(kind: AnyKind, *, prefix: str = TEST, **options: Any) -> AbstractAsyncContextManager[AnyPeer]:
    """Open a peer of any kind; go and js take `/test/` keys unless they are under `/ipfs`."""
    if kind == "ours":
        return open_ours(prefix=prefix, **options)
    if not available(kind):
        pytest.skip(f"no toolchain for the {kind} peer")
    return open_peer(kind, prefix=prefix, validators=() if prefix == IPFS else ("test",), **options)


@asynccontextmanager
async def open_pair(
    dialer: AnyKind, listener: AnyKind, *, prefix: str = TEST
) -> AsyncIterator[tuple[AnyPeer, AnyPeer]]:
    """Two connected DHT servers, each in the other's table."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(open_any(dialer, prefix=prefix))
        b = await stack.enter_async_context(open_any(listener, prefix=prefix))
        await join(a, b)
        yield a, b


@asynccontextmanager
async def open_star(
    *kinds: Literal["go", "js"], prefix: str = TEST, **options: Any
) -> AsyncIterator[tuple[Any, ...]]:
    """A node of ours, and go and js peers that know nobody else at first: (ours, *peers)."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(open_ours(prefix=prefix))
        peers = [await stack.enter_async_context(open_any(kind, prefix=prefix, **options)) for kind in kinds]
        for peer in peers:
            await join(peer, ours)
        yield ours, *peers


async def join(dialer: AnyPeer, listener: AnyPeer) -> None:
    """Connect two servers and wait until each is in the other's table."""
    await connect(dialer, listener)  # type: ignore[arg-type]
    await in_table(dialer, listener)  # type: ignore[arg-type]
    await in_table(listener, dialer)  # type: ignore[arg-type]


async def providers_of(peer: AnyPeer, op: str, multihash: bytes, **fields: Any) -> dict[str, list[str]]:
    """Return providers and their addresses once there are any: ADD_PROVIDER is not acknowledged."""
    found: dict[str, list[str]] = {}

    async def some() -> bool:
        reply = await peer.call(op, multihash=multihash, **fields)
        found.update({provider["id"]: provider["addrs"] for provider in reply["providers"]})
        return bool(found)

    await until(some, what=f"providers by {op} at {peer.kind}")
    return found


async def ask(peer: Peer, ours: OurPeer, *messages: Message | bytes, **fields: Any) -> Reply:
    """Send kad messages of any making to us over one stream of `peer`; see `raw_request`."""
    frames = [codec.encode(item) if isinstance(item, Message) else item for item in messages]
    protocol = ours.node.dht.config.network_id
    fields.setdefault("read_frames", len(frames))
    return await peer.call("raw_request", peer=ours.peer_id, protocol=protocol, frames_b64=frames, **fields)


def digest_of(text: str) -> bytes:
    """Return a sha2-256 multihash: js takes no others as provider keys."""
    return b"\x12\x20" + hashlib.sha256(text.encode()).digest()


def host_addr(addr: str) -> str:
    """Return a multiaddr without its /p2p part."""
    return addr.rsplit("/p2p/")[0]


def value_of(kilobytes: int, mark: str) -> bytes:
    """Return a value of so many KB; those with a greater mark are greater."""
    return (mark.encode() + b"\0").ljust(1000 * kilobytes, hashlib.sha256(mark.encode()).digest()[:1])
