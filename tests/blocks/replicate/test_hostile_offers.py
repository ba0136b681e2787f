"""Permitted peers that offer with ill intent, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from replication_lab import NETWORK, VALUE, Party, World, converse, holders_of, run_at_once, until

from primedht.blocks.replicate.replicas import ReplicaQuotas, Replicas
from primedht.cids import Cid
from primedht.errors import StoreUnavailable
from primedht.ids import PeerId
from primedht.pb import replicate_pb2 as pb
from primedht.records.keys import prime_key
from primedht.records.pointer import open_pointer
from primedht.records.receipt import verified_receipt
from primedht.records.record import Content
from primedht.records.signatures import SignatureCache
from primedht.records.signed import Envelope, sign_envelope
from primedht.records.statement import Statement, sign_statement


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(trio.to_thread, "run_sync", run_at_once)
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()


async def statement_of(party: Party, root: Cid, *, life_s: float) -> pb.Offer:
    stat = await party.blocks.stat(root)
    expires_unix_ms = int((party.clock.now + life_s) * 1000)
    statement = Statement(root, stat.bytes, stat.blocks, expires_unix_ms)
    record = sign_statement(party.identity, NETWORK, statement)
    return pb.Offer(record=record, expires_unix_ms=expires_unix_ms)


async def pointer_of(party: Party, data: bytes, *, sequence: int, life_s: float) -> pb.Offer:
    """Import `data`, and offer it for a day under a record of the party's own key."""
    value = await party.write(data, key=b"%d" % sequence)
    pointer = open_pointer(value.record, NETWORK, value.key, SignatureCache())
    assert pointer is not None
    now_ms = int(party.clock.now * 1000)
    expires_ms = now_ms + int(life_s * 1000)
    envelope = Envelope(Content.POINTER, NETWORK, sequence, now_ms, expires_ms, pointer)
    key = prime_key("model", party.peer_id, "weights")
    record = sign_envelope(party.identity, key, envelope)
    return pb.Offer(key=key, record=record, expires_unix_ms=now_ms + 86_400_000)


async def keep(offerer: Party, holder: Party, offer: pb.Offer) -> pb.Response:
    return await converse(offerer, holder, pb.Request(offer=offer))


async def test_a_statement_that_ends_during_a_repair_ends_nothing_else(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever offered it chose its end, and how long its providers take to answer a challenge."""
    writer = await world.add()
    others = [await world.add() for _ in range(3)]
    root = await writer.write_dag(VALUE)
    offer = await statement_of(writer, root, life_s=60)
    for party in others:
        assert (await keep(writer, party, offer)).HasField("receipt")
    farthest = [party for party in world.closest_first(root) if party is not writer][-1]
    await writer.member.kill()
    live_holders = farthest.replication._live_holders

    async def answered_late(root: Cid) -> list[PeerId]:
        holders = (await live_holders(root))[:1]
        world.clock.now += 120
        return holders

    monkeypatch.setattr(farthest.replication, "_live_holders", answered_late)
    farthest.replication.on_departed(writer.peer_id)
    await trio.sleep(600)
    assert farthest.replication.status()["repairing"] == 0


async def test_one_word_that_is_not_valid_keeps_no_other_from_being_repaired(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await world.add()
    for _ in range(5):
        await world.add()
    root = await writer.write_dag(VALUE)
    kept = await (await writer.replication.publish(root, writer.peer_id)).wait()
    await writer.member.kill()
    lost = world.party(kept.receipts[0])
    await lost.member.kill()
    for peer in kept.receipts[1:]:
        replication = world.party(peer).replication
        values = replication._values

        async def with_a_bad_one(values=values):  # type: ignore[no-untyped-def]
            found = await values()
            return [type(found[0])(b"", b"no statement", found[0].expires_unix_s, own=False), *found]

        monkeypatch.setattr(replication, "_values", with_a_bad_one)
        replication.on_departed(lost.peer_id)

    async def are_three() -> bool:
        return len(await holders_of(world, root)) == 3

    began = trio.current_time()
    await until(are_three)
    assert trio.current_time() - began < 600


async def test_an_old_pointer_that_is_offered_again_displaces_no_newer_one(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Its writer signed it once, and anybody may have it; the holder signed for the newer one since."""
    writer, other, holder = [await world.add() for _ in range(3)]
    old = await pointer_of(writer, VALUE, sequence=1, life_s=86_400)
    new = await pointer_of(writer, VALUE[::-1], sequence=2, life_s=86_400)
    assert (await keep(writer, holder, old)).HasField("receipt")
    assert (await keep(writer, holder, new)).HasField("receipt")
    kept = [pin.cid async for pin in holder.blocks.pins.all()]
    assert len(kept) == 1, "the newer one alone"
    assert (await keep(other, holder, old)).refused.reason == "stale_record"
    assert [pin.cid async for pin in holder.blocks.pins.all()] == kept


async def test_offers_of_one_key_at_a_time_leave_one_value_pinned(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Those left over would be kept until they expire, and no quota would count them."""
    writer, holder = await world.add(), await world.add()
    offers = [
        await pointer_of(writer, bytes([sequence]) + VALUE[1:], sequence=sequence, life_s=86_400)
        for sequence in (1, 2, 3)
    ]
    async with trio.open_nursery() as nursery:
        for offer in offers:
            nursery.start_soon(keep, writer, holder, offer)
    assert len(await holder.pins()) == 1
    [replica] = holder.replication._replicas.all()
    assert replica.record == offers[-1].record


async def test_a_replica_is_kept_no_longer_than_its_record_is_valid(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    writer, holder = await world.add(), await world.add()
    offer = await pointer_of(writer, VALUE, sequence=1, life_s=3600)
    receipt = verified_receipt((await keep(writer, holder, offer)).receipt)
    assert receipt.expires_unix_ms == int(world.clock.now * 1000) + 3_600_000


async def test_nobody_shortens_the_life_of_what_is_kept(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """The receipt of whoever had it kept longer holds."""
    writer, other, holder = [await world.add() for _ in range(3)]
    root = await writer.write_dag(VALUE)
    offer = await statement_of(writer, root, life_s=86_400)
    receipt = verified_receipt((await keep(writer, holder, offer)).receipt)
    soon = pb.Offer(record=offer.record, expires_unix_ms=int((world.clock.now + 1) * 1000))
    assert (await keep(other, holder, soon)).HasField("receipt")
    [pin] = [pin async for pin in holder.blocks.pins.all()]
    assert pin.expires_unix_s == receipt.expires_unix_ms / 1000
    assert [each.requester for each in holder.replication._replicas.all()] == [writer.peer_id]


async def release(peer: Party, holder: Party, root: Cid) -> pb.Response:
    return await converse(peer, holder, pb.Request(release=pb.Release(root=bytes(root))))


async def test_what_two_have_kept_is_kept_until_both_let_it_go(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Two may publish the same model; each has a receipt."""
    first, second, holder = [await world.add() for _ in range(3)]
    root = await first.write_dag(VALUE)
    assert await second.write_dag(VALUE) == root
    assert (await keep(first, holder, await statement_of(first, root, life_s=3600))).HasField("receipt")
    assert (await keep(second, holder, await statement_of(second, root, life_s=7200))).HasField("receipt")
    on_disk = Replicas(holder.kv, ReplicaQuotas(0, 1.0, 1.0))
    await on_disk.load()
    assert set(on_disk.all()) == set(holder.replication._replicas.all())
    assert (await release(second, holder, root)).HasField("released")
    [pin] = [pin async for pin in holder.blocks.pins.all()]
    assert pin.cid == root
    assert (await release(second, holder, root)).refused.reason == "not_permitted"
    assert (await release(first, holder, root)).HasField("released")
    assert await holder.pins() == []


async def test_who_repeats_an_offer_of_another_cannot_have_it_let_go(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Every holder has the statement: one of them could have all others drop what they signed for."""
    writer, other, holder = [await world.add() for _ in range(3)]
    root = await writer.write_dag(VALUE)
    offer = await statement_of(writer, root, life_s=3600)
    assert (await keep(writer, holder, offer)).HasField("receipt")
    assert (await keep(other, holder, offer)).HasField("receipt")
    assert (await release(other, holder, root)).refused.reason == "not_permitted"
    assert len(await holder.pins()) == 1


async def test_offers_of_one_key_at_a_time_all_count(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Each would have had the peer's whole share while it was fetched."""
    writer = await world.add()
    holder = await world.add(quotas=ReplicaQuotas(1_000_000, 0.5, 1.0))
    offers = [
        await pointer_of(writer, bytes([sequence]) + VALUE[1:], sequence=sequence, life_s=86_400)
        for sequence in (1, 2, 3)
    ]
    answers: list[pb.Response] = []

    async def offer(offer: pb.Offer) -> None:
        answers.append(await keep(writer, holder, offer))

    async with trio.open_nursery() as nursery:
        for each in offers:
            nursery.start_soon(offer, each)
    assert "store_full" in [each.refused.reason for each in answers]


async def test_what_is_renewed_as_it_expires_stays(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder signed for the new life while the old one's end was being written down."""
    writer, holder = await world.add(), await world.add()
    root = await writer.write_dag(VALUE)
    assert (await keep(writer, holder, await statement_of(writer, root, life_s=60))).HasField("receipt")
    longer = await statement_of(writer, root, life_s=86_400)
    world.clock.now += 61
    put = holder.kv.put

    async def slow(changes: dict[bytes, bytes | None]) -> None:
        await put(changes)
        if None in changes.values():
            await trio.sleep(5)

    monkeypatch.setattr(holder.kv, "put", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(holder.replication._values)
        await trio.sleep(1)
        assert (await keep(writer, holder, longer)).HasField("receipt")
    assert [each.record for each in holder.replication._replicas.all()] == [longer.record]


async def test_providers_that_cannot_be_looked_up_end_no_node(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, holder = await world.add(), await world.add()
    root = await writer.write_dag(VALUE)
    assert (await keep(writer, holder, await statement_of(writer, root, life_s=86_400))).HasField("receipt")

    async def away(multihash: bytes, **_: object) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("it is away")
        yield

    monkeypatch.setattr(holder, "find_providers", away)
    for value in await holder.replication._values():
        with pytest.raises(StoreUnavailable):
            await holder.replication.tend(value)
