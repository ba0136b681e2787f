"""Nodes of a swarm that keep each other's blocks, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import trio
from fake_swarm import FakeSwarm, Member
from stores import Clock

from primedht.blocks.balanced import Part
from primedht.blocks.bitswap.bitswap import Bitswap, open_bitswap
from primedht.blocks.block import make_block
from primedht.blocks.blocks import Blocks, open_blocks
from primedht.blocks.profiles import PROFILES
from primedht.blocks.replicate.messages import PROTOCOL, Conversation
from primedht.blocks.replicate.offered import HeldValue
from primedht.blocks.replicate.replicas import ReplicaQuotas
from primedht.blocks.replicate.replication import Replication, open_replication
from primedht.cids import DAG_CBOR, Cid
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.kad.key import key_of
from primedht.kad.messages import PeerInfo
from primedht.keys import PrivateKey
from primedht.pb import replicate_pb2 as pb
from primedht.records import dagcbor
from primedht.records.pointer import Pointer, sign_open_pointer
from primedht.records.validator import RecordValidator
from primedht.stores.memory import MemoryKeyValue

NETWORK = "/lab/kad/1.0.0"
SMALL = replace(PROFILES["unixfs-v1-2025"], name="small", chunk_bytes=16_000, links_max=100)
VALUE = random.Random(1).randbytes(200_000)
QUOTAS = ReplicaQuotas(10_000_000, 1.0, 1.0)


class Party:
    """A node with blocks, bitswap and replication; `own` are the values that it keeps alive."""

    def __init__(self, member: Member, identity: AnyPrivateKey, world: World) -> None:
        self.member = member
        self.identity = identity
        self.world = world
        self.peer_id = identity.peer_id
        self.clock = world.clock
        self.own: list[HeldValue] = []
        self.kv = MemoryKeyValue()
        self.blocks: Blocks = None  # type: ignore[assignment]
        self.bitswap: Bitswap = None  # type: ignore[assignment]
        self.replication: Replication = None  # type: ignore[assignment]

    # --- Routing and Providing ---

    async def closest_peers(self, key: bytes, *, timeout_s: float) -> Any:
        alive = [peer for peer, member in self.world.swarm.members.items() if not member.is_dead]
        point = key_of(key)
        return SimpleNamespace(closest=sorted(alive, key=lambda peer: key_of(peer) ^ point))

    async def find_providers(
        self, multihash: bytes, *, limit: int, timeout_s: float
    ) -> AsyncIterator[PeerInfo]:
        for peer in list(self.world.providers.get(multihash, ())):
            await trio.lowlevel.checkpoint()
            yield PeerInfo(peer, ())

    async def provide(self, multihash: bytes, *, timeout_s: float) -> None:
        self.world.providers.setdefault(multihash, {})[self.peer_id] = None

    async def stop_providing(self, multihash: bytes) -> bool:
        return self.world.providers.get(multihash, {}).pop(self.peer_id, "absent") is None

    # --- what tests do ---

    async def write(self, data: bytes, *, key: bytes = b"weights", **lies: int) -> HeldValue:
        """Import `data`, and return the value that a record of `key` points at."""
        async with self.blocks.adding(SMALL) as adding:
            file = adding.pushed_file()
            await file.write(data)
            part = await file.finish()
            await self.blocks.keep(part, name="own")
        pointer = Pointer(part.cid, part.content_bytes, part.dag_bytes, file.block_count)
        record = sign_open_pointer(self.identity, NETWORK, key, replace(pointer, **lies))
        value = HeldValue(key, record, self.clock.now + 86_400, own=True)
        self.own = [value]
        return value

    async def write_dag(self, *datas: bytes) -> Cid:
        """Import some files, and pin a block of dag-cbor that links to them."""
        async with self.blocks.adding(SMALL) as adding:
            parts: list[Part] = []
            for data in datas:
                file = adding.pushed_file()
                await file.write(data)
                parts.append(await file.finish())
            block = make_block(dagcbor.encode({"files": [part.cid for part in parts]}), DAG_CBOR)
            with self.blocks.store.hold() as hold:
                await self.blocks.store.put([block], hold=hold)
                await self.blocks.pins.add(block.cid, name="own")
        return block.cid

    async def offer(self, value: HeldValue, **options: Any) -> Any:
        return await self.replication.place(value, timeout_s=600, **options)

    async def got(self, root: Cid) -> bytes:
        return b"".join([piece async for piece in self.blocks.read_file(root)])

    async def pins(self) -> list[str]:
        return [pin.name async for pin in self.blocks.pins.all()]


class World:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.swarm = FakeSwarm(nursery)
        self.clock = Clock()
        self.providers: dict[bytes, dict[PeerId, None]] = {}
        self.parties: list[Party] = []

    async def add(self, **options: Any) -> Party:
        """Return a node of its own task: what it opens it closes."""
        party: Party = await self.nursery.start(partial(self._run, **options))
        return party

    async def _run(
        self, *, identity: AnyPrivateKey | None = None, quotas: ReplicaQuotas = QUOTAS, has_psk: bool = True,
        allowed: tuple[PeerId, ...] = (),
        task_status: trio.TaskStatus[Party],
    ) -> None:  # fmt: skip
        identity = identity or PrivateKey(bytes([len(self.parties) + 1]) * 32)
        member = self.swarm.add()
        del self.swarm.members[member.peer_id]
        member.peer_id = identity.peer_id
        self.swarm.members[member.peer_id] = member
        party = Party(member, identity, self)
        self.parties.append(party)

        async def own_values() -> list[HeldValue]:
            return list(party.own)

        async with open_blocks(party.kv, self.clock, providing=party) as party.blocks:
            ports = (member, member, party.blocks.store, party.find_providers)
            async with open_bitswap(*ports) as party.bitswap:  # type: ignore[arg-type]
                party.blocks.exchange = party.bitswap
                async with open_replication(
                    *(member, party, party.blocks, party.kv, self.clock, random.Random(2), identity),
                    RecordValidator(network_id=NETWORK, network_kind="private", ipfs_keys_only=False),
                    own_values,
                    network_id=NETWORK, copies=3, quotas=quotas, has_psk=has_psk, allowed=frozenset(allowed),
                ) as party.replication:  # type: ignore[arg-type] # fmt: skip
                    task_status.started(party)
                    await trio.sleep_forever()

    def party(self, peer: PeerId) -> Party:
        return next(party for party in self.parties if party.peer_id == peer)

    def closest_first(self, root: Cid) -> list[Party]:
        point = key_of(root.multihash)
        return sorted(self.parties, key=lambda party: key_of(party.peer_id) ^ point)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait in virtual time."""
    with trio.fail_after(10_000):
        while not await condition():  # noqa: ASYNC110 - nobody announces what is waited for
            await trio.sleep(1)


async def run_at_once(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    """Take the place of worker threads, for which virtual time does not wait."""
    await trio.lowlevel.checkpoint()
    return function(*args)


async def holders_of(world: World, root: Cid) -> set[PeerId]:
    """The parties that are alive and have all of it pinned."""
    return {
        party.peer_id
        for party in world.parties
        if not party.member.is_dead and await party.blocks.pins.of(root)
    }


async def converse(party: Party, target: Party, request: pb.Request) -> pb.Response:
    """Send `request` to `target` and return its answer."""
    conversation = Conversation(await party.member.open(target.peer_id, (PROTOCOL,), timeout_s=5))
    await conversation.send(request)
    response = await conversation.receive(pb.Response)
    while response.HasField("working"):
        response = await conversation.receive(pb.Response)
    return response
