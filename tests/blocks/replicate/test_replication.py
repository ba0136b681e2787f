"""Offers, receipts, challenges and repair between nodes of a swarm, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from fake_swarm import FakeSwarm, Member
from stores import Clock

from primedht import limits
from primedht.blocks.bitswap.bitswap import Bitswap, open_bitswap
from primedht.blocks.blocks import Blocks, open_blocks
from primedht.blocks.profiles import PROFILES
from primedht.blocks.replicate.messages import PROTOCOL, Conversation
from primedht.blocks.replicate.replicas import ReplicaQuotas
from primedht.blocks.replicate.replication import HeldValue, Replication, open_replication
from primedht.cids import Cid
from primedht.errors import PeerUnreachable, ProtocolViolation
from primedht.ids import PeerId
from primedht.kad.key import key_of
from primedht.kad.messages import PeerInfo
from primedht.keys import PrivateKey
from primedht.pb import replicate_pb2 as pb
from primedht.records.keys import prime_key
from primedht.records.pointer import Pointer, sign_open_pointer
from primedht.records.receipt import verified_receipt
from primedht.records.validator import RecordValidator
from primedht.stores.memory import MemoryKeyValue

NETWORK = "/lab/kad/1.0.0"
SMALL = replace(PROFILES["unixfs-v1-2025"], name="small", chunk_bytes=16_000, links_max=100)
VALUE = random.Random(1).randbytes(200_000)
QUOTAS = ReplicaQuotas(10_000_000, 1.0, 1.0)


class Party:
    """A node with blocks, bitswap and replication; `own` are the values that it keeps alive."""

    def __init__(self, member: Member, identity: PrivateKey, world: World) -> None:
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
        self, *, quotas: ReplicaQuotas = QUOTAS, has_psk: bool = True, allowed: tuple[PeerId, ...] = (),
        task_status: trio.TaskStatus[Party],
    ) -> None:  # fmt: skip
        identity = PrivateKey(bytes([len(self.parties) + 1]) * 32)
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

    def closest_first(self, root: Cid) -> list[Party]:
        point = key_of(root.multihash)
        return sorted(self.parties, key=lambda party: key_of(party.peer_id) ^ point)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()


def root_of(value: HeldValue, party: Party) -> Cid:
    return party.replication._pointer(value).root


async def test_the_closest_peers_keep_a_value_and_sign_for_it(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, *others = [await world.add() for _ in range(7)]
    value = await writer.write(VALUE)
    root = root_of(value, writer)
    kept = await writer.offer(value)
    expected = [party for party in world.closest_first(root) if party is not writer][:3]
    assert {receipt.holder for receipt in kept.receipts} == {party.peer_id for party in expected}
    assert kept.refused == ()
    for receipt in kept.receipts:
        assert receipt.network_id == NETWORK
        assert (receipt.root, receipt.size_bytes) == (bytes(root), len(VALUE))
        assert receipt.record_digest == sha256(value.record).digest()
        assert receipt.requester == writer.peer_id
        assert receipt.expires_unix_ms == int(value.expires_unix_s * 1000)
    await writer.member.kill()
    for party in others:
        party.blocks.exchange = None
        if party in expected:
            assert await party.got(root) == VALUE
            [pin] = [pin async for pin in party.blocks.pins.all()]
            assert pin.expires_unix_s == value.expires_unix_s
        else:
            assert await party.pins() == []
    assert set(world.providers[root.multihash]) == {
        writer.peer_id, *(party.peer_id for party in expected)
    }  # fmt: skip


async def test_the_next_closest_takes_the_place_of_one_that_refuses(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add()
    none = ReplicaQuotas(0, 1.0, 1.0)
    small = ReplicaQuotas(100_000, 1.0, 1.0)
    for quotas in (none, small, QUOTAS, QUOTAS, QUOTAS):
        await world.add(quotas=quotas)
    stranger = await world.add(has_psk=False)
    leaving = await world.add()
    leaving.replication._keeper.is_draining = True
    value = await writer.write(VALUE)
    kept = await writer.offer(value, copies=4)
    assert {receipt.holder for receipt in kept.receipts} == {party.peer_id for party in world.parties[3:6]}
    assert {refusal.peer: refusal.code for refusal in kept.refused} == {
        world.parties[1].peer_id: "value_too_large",
        world.parties[2].peer_id: "value_too_large",
        stranger.peer_id: "not_permitted",
        leaving.peer_id: "draining",
    }


async def test_without_a_network_key_allowed_peers_and_writers_are_kept(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add(has_psk=False)
    await world.add(has_psk=False, allowed=(writer.peer_id,))
    await world.add(has_psk=False)
    value = await writer.write(VALUE)
    kept = await writer.offer(value)
    assert [receipt.holder for receipt in kept.receipts] == [world.parties[1].peer_id]
    assert [refusal.code for refusal in kept.refused] == ["not_permitted"]
    relayed = replace(value, own=False)
    again = await world.parties[1].replication.place(relayed, timeout_s=60)
    assert {refusal.code for refusal in again.refused} == {"not_permitted"}


async def test_quotas_count_what_is_kept_and_what_is_being_fetched(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, other = await world.add(), await world.add()
    holder = await world.add(quotas=ReplicaQuotas(500_000, 0.8, 1.0))
    for party in (writer, other):
        party.world = SimpleWorld(world, holder)  # type: ignore[assignment]
    first, second = await writer.write(VALUE), await writer.write(VALUE[::-1], key=b"second")
    third = await other.write(VALUE[1:] + b"x", key=b"third")
    kept = await writer.offer(first)
    assert len(kept.receipts) == 1
    assert [refusal.code for refusal in (await writer.offer(second)).refused] == ["store_full"]
    assert len((await other.offer(third)).receipts) == 1
    assert len((await writer.offer(first)).receipts) == 1, "what is kept already takes no more"
    assert holder.replication.status()["kept_for_others"] == 2
    fourth = await other.write(VALUE[2:] + b"xy", key=b"third")
    assert [refusal.code for refusal in (await other.offer(fourth)).refused] == []
    assert len(await holder.pins()) == 2, "a new value of a key takes the place of the old one"


class SimpleWorld:
    """A world in which there is one holder."""

    def __init__(self, world: World, holder: Party) -> None:
        self.swarm = SimpleNamespace(members={holder.peer_id: holder.member})
        self.providers = world.providers


@pytest.mark.parametrize("lies", [{"size_bytes": 199_999}, {"size_bytes": 10, "dag_bytes": 50_000}])
async def test_an_offer_that_lies_about_the_size_is_not_kept(
    world: World, autojump_clock: trio.testing.MockClock, lies: dict[str, int]
) -> None:
    writer, holder = await world.add(), await world.add()
    value = await writer.write(VALUE, **lies)
    writer.own = []  # collecting uses threads, and virtual time would come to the next offer meanwhile
    kept = await writer.offer(value)
    assert kept.receipts == ()
    assert kept.refused[0].code in ("invalid_dag", "value_too_large")
    assert await holder.pins() == []
    await holder.blocks.collect()
    assert holder.blocks.store.counts.blocks == 0


async def test_blocks_are_fetched_from_the_offerer_only(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Others that are connected, and announced as providers, are not asked."""
    writer, holder, bystander = [await world.add() for _ in range(3)]
    value = await bystander.write(VALUE)
    root = root_of(value, bystander)
    await holder.member.connect(bystander.peer_id, timeout_s=1)
    record = sign_open_pointer(writer.identity, NETWORK, b"weights", writer.replication._pointer(value))
    sent = bystander.member.sent_bytes
    writer.world = SimpleWorld(world, holder)  # type: ignore[assignment]
    kept = await writer.offer(replace(value, record=record))
    assert (kept.receipts, [refusal.code for refusal in kept.refused]) == ((), ["block_not_found"])
    assert bystander.member.sent_bytes == sent
    assert not await holder.blocks.store.has(root)


async def converse(party: Party, target: Party, request: pb.Request) -> pb.Response:
    conversation = Conversation(await party.member.open(target.peer_id, (PROTOCOL,), timeout_s=5))
    await conversation.send(request)
    response = await conversation.receive(pb.Response)
    while response.HasField("working"):
        response = await conversation.receive(pb.Response)
    return response


async def test_only_pointers_that_their_writer_signed_are_taken(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, holder = await world.add(), await world.add()
    value = await writer.write(VALUE)
    prime = prime_key("model", writer.peer_id, "x")
    expires = int(value.expires_unix_s * 1000)
    for offer in (
        pb.Offer(key=b"other", record=value.record, expires_unix_ms=expires),
        pb.Offer(key=b"weights", record=b"plain", expires_unix_ms=expires),
        pb.Offer(key=prime, record=value.record, expires_unix_ms=expires),
        pb.Offer(key=b"weights", record=value.record, expires_unix_ms=1),
        pb.Offer(),
    ):
        response = await converse(writer, holder, pb.Request(offer=offer))
        assert response.refused.reason in ("invalid_record", "invalid_key")
    for bad in (pb.Request(), None):
        with pytest.raises((ProtocolViolation, PeerUnreachable)):
            await converse(writer, holder, bad or pb.Response(proof=b"x"))  # type: ignore[arg-type]


async def test_a_receipt_for_something_else_counts_for_nothing(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from primedht.blocks.replicate import keeper

    writer, _ = await world.add(), await world.add()
    value = await writer.write(VALUE)
    sign = keeper.sign_receipt
    for field, content in (
        ("size_bytes", 1), ("root", b"x"), ("record_digest", bytes(32)), ("network_id", "/other"),
        ("expires_unix_ms", 1 << 50), ("requester", PrivateKey(b"\x09" * 32).peer_id),
    ):  # fmt: skip
        monkeypatch.setattr(
            keeper,
            "sign_receipt",
            lambda key, receipt, change={field: content}: sign(key, replace(receipt, **change)),
        )
        kept = await writer.offer(value)
        assert (kept.receipts, kept.refused[0].code) == ((), "protocol_violation"), field

    def forged(key: PrivateKey, receipt: Any) -> Any:
        wire = sign(key, receipt)
        wire.expires_unix_ms -= 1
        return wire

    monkeypatch.setattr(keeper, "sign_receipt", forged)
    assert (await writer.offer(value)).receipts == ()
    with pytest.raises(ProtocolViolation, match="key"):
        verified_receipt(pb.Receipt(public_key=writer.identity.public_key.serialized, holder=b"x"))


async def holders_of(world: World, root: Cid) -> set[PeerId]:
    """The parties that are alive and have all of it pinned."""
    return {
        party.peer_id
        for party in world.parties
        if not party.member.is_dead and await party.blocks.pins.of(root)
    }


async def test_the_holders_replace_those_that_die_with_the_writer_gone(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add()
    for _ in range(7):
        await world.add()
    value = await writer.write(VALUE)
    root = root_of(value, writer)
    kept = await writer.offer(value)
    await writer.member.kill()
    first = next(p for p in world.closest_first(root) if p.peer_id == kept.receipts[0].holder)
    await first.member.kill()
    assert len(await holders_of(world, root)) == 2
    await trio.sleep(2 * limits.REPLICATE_INTERVAL_S)
    alive = await holders_of(world, root)
    assert len(alive) == 3, "no more than needed, though every holder tends it"
    last = next(party for party in world.parties if party.peer_id in alive)
    last.blocks.exchange = None
    assert await last.got(root) == VALUE


async def test_a_holder_that_has_lost_its_blocks_does_not_count(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add()
    for _ in range(6):
        await world.add()
    value = await writer.write(VALUE)
    root = root_of(value, writer)
    kept = await writer.offer(value)
    await writer.member.kill()
    farthest = [p for p in world.closest_first(root) if p.peer_id in {r.holder for r in kept.receipts}][-1]
    await farthest.blocks.store.remove([cid async for cid in farthest.blocks.store.multihashes()])
    await trio.sleep(2 * limits.REPLICATE_INTERVAL_S)
    whole = [party for party in world.parties if not (await party.blocks.stat(root)).missing]
    assert len([party for party in whole if not party.member.is_dead]) == 3


async def test_the_writer_renews_what_others_keep(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, holder = await world.add(), await world.add()
    value = await writer.write(VALUE)
    await writer.offer(value)
    writer.own = [replace(value, expires_unix_s=value.expires_unix_s + 5000)]
    await trio.sleep(2 * limits.REPLICATE_INTERVAL_S)
    [pin] = [pin async for pin in holder.blocks.pins.all()]
    assert pin.expires_unix_s == value.expires_unix_s + 5000
    world.clock.now += 2 * 86_400
    writer.own = []
    await trio.sleep(2 * limits.REPLICATE_INTERVAL_S)
    assert await holder.pins() == []
    assert holder.replication.status() == {"kept_for_others": 0, "bytes": 0}


async def test_a_node_that_leaves_hands_its_values_over(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add()
    for _ in range(6):
        await world.add()
    value = await writer.write(VALUE)
    root = root_of(value, writer)
    assert await writer.replication.hand_over() == (1, 0)
    assert len(await holders_of(world, root) - {writer.peer_id}) == 3
    holder = next(p for p in world.closest_first(root) if p is not writer)
    await writer.member.kill()
    assert await holder.replication.hand_over() == (1, 0)
    assert len(await holders_of(world, root) - {holder.peer_id}) == 3
    lonely = [party for party in world.parties if party.peer_id not in await holders_of(world, root)]
    for party in lonely:
        await party.member.kill()
    survivors = [party for party in world.parties if not party.member.is_dead]
    assert await survivors[0].replication.hand_over() in {(0, 1), (1, 0)}


async def test_what_is_kept_for_others_is_known_after_a_restart(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, holder = await world.add(), await world.add()
    value = await writer.write(VALUE)
    await writer.offer(value)
    from primedht.blocks.replicate.replicas import Replicas

    again = Replicas(holder.kv, QUOTAS)
    await again.load()
    assert [(each.key, each.record, each.requester) for each in again.all()] == [
        (value.key, value.record, writer.peer_id)
    ]
