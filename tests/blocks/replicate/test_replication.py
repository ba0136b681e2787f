"""Offers, receipts, challenges and repair between nodes of a swarm, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from replication_lab import NETWORK, QUOTAS, VALUE, Party, World, converse, holders_of, run_at_once, until

from primedht import limits
from primedht.blocks.block import make_block
from primedht.blocks.replicate.offered import HeldValue
from primedht.blocks.replicate.own_roots import OwnRoots
from primedht.blocks.replicate.replicas import Replica, ReplicaQuotas, Replicas
from primedht.cids import RAW, Cid
from primedht.errors import (
    BlockNotFound,
    PeerRefused,
    PeerUnreachable,
    ProtocolViolation,
    StoreFull,
    ValueTooLarge,
)
from primedht.identity_keys import IdentityKey
from primedht.keys import KeyType, PrivateKey
from primedht.pb import replicate_pb2 as pb
from primedht.records.keys import prime_key
from primedht.records.pointer import decode_pointer, open_pointer, sign_open_pointer
from primedht.records.receipt import verified_receipt
from primedht.records.signatures import SignatureCache
from primedht.records.statement import Statement, sign_statement
from primedht.stores.memory import MemoryKeyValue


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(trio.to_thread, "run_sync", run_at_once)
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()


def root_of(value: HeldValue, party: Party) -> Cid:
    return party.replication._offered(value).root


async def test_the_closest_peers_keep_a_value_and_sign_for_it(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, *others = [await world.add() for _ in range(7)]
    value = await writer.write(VALUE)
    root = root_of(value, writer)
    kept = await writer.offer(value)
    expected = [party for party in world.closest_first(root) if party is not writer][:3]
    assert {receipt.holder for receipt in kept.receipts} == {party.peer_id for party in expected}
    assert kept.refused == []
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
    assert kept.receipts == []
    assert kept.refused[0].code in ("invalid_dag", "value_too_large")
    assert await holder.pins() == []
    await holder.blocks.collect()
    assert holder.blocks.store.counts.blocks == 0


@pytest.mark.parametrize("announced", [False, True])
async def test_blocks_are_fetched_from_the_offerer_and_known_holders_only(
    world: World, autojump_clock: trio.testing.MockClock, announced: bool
) -> None:
    """Another that is connected is asked if the DHT names it for the root, and otherwise not."""
    writer, holder, bystander = [await world.add() for _ in range(3)]
    value = await bystander.write(VALUE)
    root = root_of(value, bystander)
    await trio.testing.wait_all_tasks_blocked()
    assert world.providers
    if not announced:
        world.providers.clear()
    await holder.member.connect(bystander.peer_id, timeout_s=1)
    pointer = decode_pointer(open_pointer(value.record, NETWORK, value.key, SignatureCache()) or b"")
    record = sign_open_pointer(writer.identity, NETWORK, b"weights", pointer)
    sent = bystander.member.sent_bytes
    writer.world = SimpleWorld(world, holder)  # type: ignore[assignment]
    kept = await writer.offer(replace(value, record=record))
    if announced:
        assert [receipt.holder for receipt in kept.receipts] == [holder.peer_id]
        return
    assert (kept.receipts, [refusal.code for refusal in kept.refused]) == ([], ["block_not_found"])
    assert bystander.member.sent_bytes == sent
    assert not await holder.blocks.store.has(root)


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
        assert (kept.receipts, kept.refused[0].code) == ([], "protocol_violation"), field

    def forged(key: PrivateKey, receipt: Any) -> Any:
        wire = sign(key, receipt)
        wire.expires_unix_ms -= 1
        return wire

    monkeypatch.setattr(keeper, "sign_receipt", forged)
    assert (await writer.offer(value)).receipts == []
    with pytest.raises(ProtocolViolation, match="key"):
        verified_receipt(pb.Receipt(public_key=writer.identity.public_key.serialized, holder=b"x"))


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
    assert holder.replication.status() == {
        "kept_for_others": 0, "bytes": 0, "repairing": 0, "asked_again": [],
    }  # fmt: skip


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
    again = Replicas(holder.kv, QUOTAS)
    await again.load()
    assert [(each.key, each.record, each.requester) for each in again.all()] == [
        (value.key, value.record, writer.peer_id)
    ]


async def test_a_dag_with_no_record_is_kept_for_its_publisher(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, *others = [await world.add() for _ in range(6)]
    root = await writer.write_dag(VALUE, VALUE[::-1])
    placing = await writer.replication.publish(root, writer.peer_id)
    assert await writer.replication.placing(root) is placing, (
        "whoever asks meanwhile waits for the same round"
    )
    kept = await placing.wait()
    assert (len(kept.receipts), kept.refused, kept.done, kept.wanted) == (3, (), True, 3)
    stat = await writer.blocks.stat(root)
    assert (kept.size_bytes, placing.done_bytes) == (stat.bytes, 3 * stat.bytes)
    assert placing.receipts[0].size_bytes == stat.bytes
    await writer.member.kill()
    for party in others:
        party.blocks.exchange = None
        if party.peer_id in kept.receipts:
            assert (await party.blocks.stat(root)).missing == 0
            [pin] = [pin async for pin in party.blocks.pins.all()]
            assert pin.expires_unix_s == world.clock.now + limits.SIGNED_LIFETIME_S_MAX
        else:
            assert await party.pins() == []


async def test_what_was_published_alone_is_kept_soon_after_others_come(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add()
    root = await writer.write_dag(VALUE)
    kept = await (await writer.replication.publish(root, writer.peer_id)).wait()
    assert kept.receipts == ()
    await trio.sleep(1)
    assert writer.replication.status()["asked_again"] == [
        {"root": str(root), "state": "0 of 3 other peers keep it (no more peers yet)"}
    ]
    for _ in range(3):
        await world.add()
    await trio.sleep(2 * limits.REPLICATE_RETRY_S)
    assert len(await holders_of(world, root)) == 4
    assert writer.replication.status()["asked_again"] == []


async def test_what_was_published_is_renewed_until_it_is_pinned_no_more(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, holder = await world.add(), await world.add()
    root = await writer.write_dag(VALUE)
    await (await writer.replication.publish(root, writer.peer_id)).wait()
    expected = world.clock.now + limits.SIGNED_LIFETIME_S_MAX
    world.clock.now += 5000
    await trio.sleep(2 * limits.REPLICATE_INTERVAL_S)
    [pin] = [pin async for pin in holder.blocks.pins.all()]
    assert pin.expires_unix_s == expected + 5000
    again = await (await writer.replication.placing(root)).wait()
    assert again.receipts == (holder.peer_id,), "a later call asks anew"
    other = await world.add()
    with pytest.raises(PeerRefused, match="not_permitted"):
        await other.replication._asking.release(holder.peer_id, root)
    await writer.blocks.unpin(root)

    async def is_released() -> bool:
        return not await holder.pins()

    await until(is_released)
    assert holder.replication.status()["kept_for_others"] == 0
    with pytest.raises(BlockNotFound):
        await writer.replication.placing(root)


@pytest.mark.parametrize("own", [True, False], ids=["its own key", "a named key"])
async def test_what_holders_had_others_keep_is_released_too(
    world: World, autojump_clock: trio.testing.MockClock, own: bool
) -> None:
    """Whoever signed the statement may say so itself; else the holder does that asked for it."""
    writer = await world.add()
    for _ in range(5):
        await world.add()
    owner = writer.identity if own else PrivateKey(b"\x77" * 32)
    writer.replication.signer = {owner.peer_id: owner}.get
    root = await writer.write_dag(VALUE)
    kept = await (await writer.replication.publish(root, owner.peer_id)).wait()
    lost, *rest = (world.party(peer) for peer in kept.receipts)
    await lost.member.kill()
    writer.replication._keeper.is_draining = True  # it does not keep its own for others
    for party in rest:
        party.replication.on_departed(lost.peer_id)

    async def is_repaired() -> bool:
        return len(await holders_of(world, root) - {writer.peer_id}) == 3

    await until(is_repaired)
    (recruit,) = await holders_of(world, root) - {writer.peer_id, *kept.receipts}
    (replica,) = world.party(recruit).replication._replicas.all()
    assert replica.requester in kept.receipts, "whom the writer has not asked itself"
    await writer.blocks.unpin(root)

    async def is_released() -> bool:
        return not await holders_of(world, root)

    await until(is_released)
    assert trio.current_time() < limits.REPLICATE_INTERVAL_S


async def test_only_true_and_valid_statements_are_taken(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, holder = await world.add(), await world.add(quotas=ReplicaQuotas(1 << 30, 1.0, 1.0))
    root = await writer.write_dag(VALUE)
    stat = await writer.blocks.stat(root)
    soon = int(world.clock.now * 1000) + 60_000
    true = Statement(root, stat.bytes, stat.blocks, soon)

    async def answer(record: bytes) -> pb.Response:
        offer = pb.Offer(record=record, expires_unix_ms=soon + 10**9)
        return await converse(writer, holder, pb.Request(offer=offer))

    def signed(network_id: str = NETWORK, **changes: Any) -> bytes:
        return sign_statement(writer.identity, network_id, replace(true, **changes))

    for record, code in (
        (signed(size_bytes=stat.bytes - 1), "value_too_large"),
        (signed(size_bytes=stat.bytes + 1), "invalid_dag"),
        (signed(blocks=stat.blocks + 1), "invalid_dag"),
        (signed(size_bytes=1 << 40, blocks=1 << 20), "value_too_large"),
        (signed(blocks=1), "invalid_dag"),
        (signed(blocks=0), "invalid_record"),
        (signed(size_bytes=1 << 40), "invalid_record"),
        (signed(expires_unix_ms=1), "invalid_record"),
        (signed("/other/kad/1.0.0"), "invalid_record"),
        (signed()[:-1] + b"x", "invalid_record"),
        (b"nonsense", "invalid_record"),
    ):
        assert (await answer(record)).refused.reason == code, record
        assert await holder.pins() == []
    receipt = verified_receipt((await answer(signed())).receipt)
    assert receipt.expires_unix_ms == soon, "not longer than the statement says"


async def test_holders_replace_one_that_departs_within_minutes(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """The closest leads; where it has not noticed, or cannot, the next one acts in its turn."""
    writer = await world.add()
    for _ in range(7):
        await world.add()
    root = await writer.write_dag(VALUE)
    kept = await (await writer.replication.publish(root, writer.peer_id)).wait()
    await writer.member.kill()
    lost = world.party(kept.receipts[0])
    await lost.member.kill()
    rest = [party for party in world.closest_first(root) if party.peer_id in kept.receipts[1:]]
    for party in rest:
        party.replication.on_departed(lost.peer_id)

    async def are_three() -> bool:
        return len(await holders_of(world, root)) == 3

    began = trio.current_time()
    await until(are_three)
    assert trio.current_time() - began < 300
    third = next(iter(await holders_of(world, root) - set(kept.receipts)))
    await world.party(third).member.kill()
    rest[1].replication.on_departed(third)  # and the closest has not noticed
    await trio.sleep(20)
    assert len(await holders_of(world, root)) == 2
    await until(are_three)
    assert trio.current_time() - began < 600
    sent = sum(party.member.sent_bytes for party in world.parties)
    rest[0].replication.on_departed(lost.peer_id)
    await trio.sleep(200)
    assert sum(party.member.sent_bytes for party in world.parties) == sent, "it held nothing any more"


async def test_the_publisher_replaces_a_holder_that_departs(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer = await world.add()
    for _ in range(5):
        await world.add()
    root = await writer.write_dag(VALUE)
    kept = await (await writer.replication.publish(root, writer.peer_id)).wait()
    await world.party(kept.receipts[1]).member.kill()
    writer.replication.on_departed(kept.receipts[1])

    async def are_three() -> bool:
        return len(await holders_of(world, root) - {writer.peer_id}) == 3

    await until(are_three)
    assert trio.current_time() < 300


async def test_repairs_stay_within_their_budget(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLICATE_REPAIR_BYTES_PER_S", 1000)
    monkeypatch.setattr(limits, "REPLICATE_REPAIRS_AT_ONCE", 1)
    writer, holder = await world.add(), await world.add()
    for index in range(3):
        root = await writer.write_dag(VALUE[index:])
        await (await writer.replication.publish(root, writer.peer_id)).wait()
    await writer.member.kill()
    other = await world.add()
    holder.replication.on_departed(writer.peer_id)
    await trio.sleep(100)
    assert len(await other.pins()) <= 1

    async def are_all_repaired() -> bool:
        return holder.replication.status()["repairing"] == 0 and len(await other.pins()) == 3

    await until(are_all_repaired)
    assert trio.current_time() > 400, "two of 200 KB had to be waited for"


def test_quotas_hold_in_all_for_a_peer_and_for_a_block_of_addresses() -> None:
    replicas = Replicas(MemoryKeyValue(), ReplicaQuotas(1000, 0.5, 0.6))
    peers = [PrivateKey(bytes([number]) * 32).peer_id for number in range(1, 5)]

    def offered(number: int, size: int, ip: str = "") -> Replica:
        return Replica(b"", b"r", bytes([number]), peers[number % 4], ip, size, 1e12)

    def is_taken(replica: Replica) -> bool:
        try:
            with replicas.reserving(replica):
                return True
        except StoreFull:
            return False

    with pytest.raises(ValueTooLarge), replicas.reserving(offered(1, 501)):
        pass
    with replicas.reserving(offered(1, 400, "8.8.8.7")):
        assert is_taken(offered(5, 100, "9.9.9.9"))
        assert not is_taken(offered(5, 101, "9.9.9.9")), "a peer's share"
        assert is_taken(offered(2, 200, "8.8.8.9"))
        assert not is_taken(offered(2, 201, "8.8.8.9")), "a /24's share"
        assert is_taken(offered(2, 300, "8.8.9.9"))
        with replicas.reserving(offered(2, 500)):
            assert is_taken(offered(3, 100))
            assert not is_taken(offered(3, 101)), "in all"
    assert is_taken(offered(2, 500, "8.8.8.9")), "what is not fetched any more takes no room"


def identities() -> dict[str, IdentityKey]:
    encoding, nothing = serialization.Encoding.DER, serialization.NoEncryption()
    sec1 = serialization.PrivateFormat.TraditionalOpenSSL
    made_rsa = rsa.generate_private_key(65537, 2048)
    made_ecdsa = ec.derive_private_key(7, ec.SECP256R1())
    return {
        "secp256k1": IdentityKey(KeyType.SECP256K1, b"\x01" * 32),
        "ecdsa": IdentityKey(KeyType.ECDSA, made_ecdsa.private_bytes(encoding, sec1, nothing)),
        "rsa": IdentityKey(KeyType.RSA, made_rsa.private_bytes(encoding, sec1, nothing)),
    }


async def test_keys_of_other_types_sign_pointers_statements_and_receipts(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writers = [await world.add(identity=identity) for identity in identities().values()]
    for writer in writers:
        value = await writer.write(VALUE, key=bytes(writer.peer_id))
        kept = await writer.offer(value)
        others = {party.peer_id for party in writers if party is not writer}
        assert {receipt.holder for receipt in kept.receipts} == others
        root = await writer.write_dag(VALUE[1:])
        placed = await (await writer.replication.publish(root, writer.peer_id)).wait()
        assert set(placed.receipts) == others


async def test_a_damaged_entry_keeps_neither_the_node_nor_the_other_entries_from_being_seen_to() -> None:
    kv = MemoryKeyValue()
    replicas, own_roots = Replicas(kv, QUOTAS), OwnRoots(kv)
    peer = PrivateKey(bytes(32)).peer_id
    roots = [make_block(bytes([number]), RAW).cid for number in (1, 2)]
    for root in roots:
        await replicas.add(Replica(b"", b"record", bytes(root), peer, "", 10, 1e12))
        await own_roots.add(root, peer)
    damaged = replicas.of_statements(bytes(roots[0]))[0].id
    for entry in (damaged, b"b/o/" + sha256(roots[0].multihash).digest()):
        await kv.put({entry: b"damaged"})
    read = Replicas(kv, QUOTAS)
    await read.load()
    assert [each.root for each in read.all()] == [bytes(roots[1])]
    assert await own_roots.all() == [(roots[1], peer)]
    assert await own_roots.unkept() == [roots[1]]
