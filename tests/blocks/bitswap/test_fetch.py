"""Fetching and serving over links of given rates, in virtual time."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from fake_swarm import FakeSwarm, Member
from stores import open_store

from primedht import limits
from primedht.blocks.bitswap import bitswap
from primedht.blocks.bitswap.bitswap import Bitswap, open_bitswap
from primedht.blocks.bitswap.messages import BITSWAP_120, BitswapMessage, Want, decode, encode
from primedht.blocks.block import Block, make_block
from primedht.blocks.blockstore import Fetched
from primedht.blocks.importer import import_file
from primedht.blocks.pins import walk
from primedht.blocks.profiles import PROFILES
from primedht.blocks.store import LocalBlockstore
from primedht.cids import DAG_CBOR, DAG_PB, RAW, Cid
from primedht.errors import (
    BlockNotFound,
    OperationTimeout,
    PeerUnreachable,
    StoreUnavailable,
    ValueTooLarge,
)
from primedht.records import dagcbor
from primedht.wire.frames import FrameReader, encode_frame

# Blocks that are kept inside the store: a thread has no place in virtual time.
SMALL = replace(PROFILES["unixfs-v1-2025"], name="small", chunk_bytes=16_000, links_max=100)


class Party:
    """One member with a store and, unless it is to be played by the test, bitswap."""

    def __init__(self, member: Member, store: LocalBlockstore) -> None:
        self.member = member
        self.store = store
        self.bitswap: Bitswap = None  # type: ignore[assignment]

    async def add(self, data: bytes) -> Cid:
        importing = import_file(io.BytesIO(data), SMALL)
        while True:
            try:
                await self.store.put([next(importing).block])
            except StopIteration as end:
                return end.value.cid

    async def fetch(self, root: Cid, **options: Any) -> Fetched:
        with self.store.hold() as hold:
            options = {"recursive": True, "timeout_s": 600.0, **options}
            return await self.bitswap.fetch(root, hold=hold, **options)

    async def has_all(self, root: Cid) -> bool:
        async for cid in walk(self.store, root):
            assert await self.store.has(cid)
        return True


@asynccontextmanager
async def open_swarm() -> AsyncIterator[tuple[FakeSwarm, Callable[..., Any]]]:
    """Yield the swarm and `open_party(compresses=False, **link)`."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        swarm = FakeSwarm(nursery)

        async def open_party(*, compresses: bool = False, **link: float) -> Party:
            store, _ = await stack.enter_async_context(open_store())
            party = Party(swarm.add(**link), store)
            ports = (party.member, party.member, store, swarm.find_providers)
            party.bitswap = await stack.enter_async_context(
                open_bitswap(*ports, compresses=compresses)  # type: ignore[arg-type]
            )
            return party

        yield swarm, open_party
        nursery.cancel_scope.cancel()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def test_a_dag_comes_from_its_provider(autojump_clock: trio.testing.MockClock) -> None:
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(), await open_party()
        root = await holder.add(noise(1_000_000))
        swarm.providers = [holder.member.peer_id]
        fetched = await reader.fetch(root)
        assert await reader.has_all(root)
        assert fetched.blocks == 64
        assert [share.peer for share in fetched.peers] == [holder.member.peer_id]
        again = await reader.fetch(root)
        assert again.blocks == 0, "what is there is not fetched again"
        await reader.member.kill()
        await trio.sleep(1)
        assert holder.bitswap.status()["bytes_sent"] == fetched.bytes, "a peer that left is counted still"


async def test_a_block_that_comes_while_links_are_followed_is_not_asked_for_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifests link to files, and so do their directories: both find the same block missing."""
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(), await open_party()
        shared = make_block(noise(1000))
        parents = [
            make_block(dagcbor.encode({"links": [shared.cid], "pad": noise(size)}), DAG_CBOR)
            for size in (10, 15_000)
        ]
        root = make_block(dagcbor.encode({"links": [each.cid for each in parents]}), DAG_CBOR)
        await holder.store.put([shared, *parents, root])
        swarm.providers = [holder.member.peer_id]
        has = reader.store.has

        async def has_slowly(cid: Cid) -> bool:
            await trio.sleep(1)
            return await has(cid)

        monkeypatch.setattr(reader.store, "has", has_slowly)
        size = sum(len(block.data) for block in (shared, *parents, root))
        fetched = await reader.fetch(root.cid, bytes_max=size)
        assert (fetched.blocks, fetched.bytes) == (4, size)
        assert holder.bitswap.status()["bytes_sent"] == size


async def test_large_messages_are_hashed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BITSWAP_DECODE_AT_ONCE_BYTES", 8_000)
    sizes: dict[bool, list[int]] = {True: [], False: []}
    here = threading.get_ident()

    def decode_noting(frame: bytes, protocol: str) -> BitswapMessage:
        sizes[threading.get_ident() == here].append(len(frame))
        return decode(frame, protocol)

    monkeypatch.setattr(bitswap, "decode", decode_noting)
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(), await open_party()
        root = await holder.add(noise(100_000))
        swarm.providers = [holder.member.peer_id]
        with trio.fail_after(60):
            await reader.fetch(root)
        assert await reader.has_all(root)
    assert max(sizes[True]) <= 8_000 < min(sizes[False])
    assert sum(sizes[False]) > 90_000


async def test_a_message_that_is_decoded_while_the_node_stops_is_left_unanswered() -> None:
    """Its thread ends when those tasks are gone that would answer it."""
    want = encode_frame(encode(BitswapMessage(wants=[Want(make_block(b"anything").cid)])))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, open_store() as (store, _):
            swarm = FakeSwarm(nursery)
            member, peer = swarm.add(), swarm.add()
            async with open_bitswap(member, member, store, swarm.find_providers):  # type: ignore[arg-type]
                stream = await peer.open(member.peer_id, [BITSWAP_120], timeout_s=1)
            await stream.send(want)
            await stream.finish()
    assert len(member.streams) == 1


async def test_a_connected_peer_that_nobody_announced_is_found_by_asking(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_swarm() as (_, open_party):
        holder, reader, bystander = await open_party(), await open_party(), await open_party()
        root = await holder.add(noise(100_000))
        for party in (holder, bystander):
            await reader.member.connect(party.member.peer_id, timeout_s=1)
        started = trio.current_time()
        fetched = await reader.fetch(root)
        assert await reader.has_all(root)
        assert all(share.peer == holder.member.peer_id for share in fetched.peers if share.blocks)
        assert trio.current_time() - started < 2, "the root, sent in place of HAVE, says who has the rest"


@pytest.mark.parametrize(("liar", "killed"), [(0, 1), (0, 2), (2, 0)])
async def test_unequal_links_one_lying_one_killed(
    liar: int, killed: int, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The liar is named, and what the honest links can carry is used to four fifths."""
    data, links_mb_per_s = noise(48_000_000), (20.0, 20.0, 2.0)
    honest_mb_per_s = sum(rate for number, rate in enumerate(links_mb_per_s) if number != liar)
    async with open_swarm() as (swarm, open_party):
        reader = await open_party()
        parties = [await open_party(bytes_per_s=rate * 1e6) for rate in links_mb_per_s]
        for party in parties:
            root = await party.add(data)
            swarm.providers.append(party.member.peer_id)
        true_get = parties[liar].store.get

        async def wrong(cid: Cid) -> bytes:
            return (await true_get(cid))[:-1] + b"!"

        monkeypatch.setattr(parties[liar].store, "get", wrong)
        killed_at = 0.0

        async def kill_at_40_percent() -> None:
            nonlocal killed_at
            while reader.store.counts.bytes_used < 0.4 * len(data):  # noqa: ASYNC110
                await trio.sleep(0.01)
            killed_at = trio.current_time()
            await parties[killed].member.kill()

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_at_40_percent)
            fetched = await reader.fetch(root)
        ended = trio.current_time()
        assert await reader.has_all(root)
        gone = {share.peer: share.gone for share in fetched.peers if share.gone}
        assert gone.keys() == {parties[liar].member.peer_id, parties[killed].member.peer_id}
        assert "other bytes" in gone[parties[liar].member.peer_id]
        assert gone[parties[killed].member.peer_id] == "disconnected"
        carried_mb = honest_mb_per_s * (ended - started) - links_mb_per_s[killed] * (ended - killed_at)
        assert len(data) / 1e6 / carried_mb >= 0.8
        assert sum(share.bytes for share in fetched.peers) < 1.02 * fetched.bytes


@pytest.mark.parametrize(("true", "said"), [(DAG_PB, RAW), (RAW, DAG_PB)])
async def test_how_a_block_is_read_is_not_for_its_sender_to_say(
    true: int, said: int, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codec beside a block is no part of its hash: who changes it ends no fetch, and cuts none short."""
    async with open_swarm() as (swarm, open_party):
        liar, reader = await open_party(), await open_party()
        root = await liar.add(noise(1_000_000))
        swarm.providers.append(liar.member.peer_id)

        async def read(cid: Cid) -> Block:
            codec = said if cid.codec == true else cid.codec
            return Block(Cid(1, codec, cid.multihash), await liar.store.get(cid))

        monkeypatch.setattr(liar.bitswap._server, "_read", read)
        fetched = await reader.fetch(root)
        assert fetched.bytes == liar.store.counts.bytes_used
        assert await reader.has_all(root)


async def test_a_fetch_that_was_cut_off_goes_on_where_it_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    data = noise(8_000_000)
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(bytes_per_s=1e6), await open_party()
        root = await holder.add(data)
        swarm.providers = [holder.member.peer_id]
        with pytest.raises(OperationTimeout):
            await reader.fetch(root, timeout_s=5)
        before = holder.member.sent_bytes
        assert 3_000_000 < before < 6_000_000
        await reader.fetch(root)
        assert await reader.has_all(root)
        assert holder.member.sent_bytes < 1.02 * len(data)


async def test_a_disk_slower_than_the_network_slows_the_asking_down(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for and not stored is lost by a kill: under 2 % of what was there, or a few MiB."""
    data = noise(48_000_000)
    async with open_swarm() as (swarm, open_party):
        holders = [await open_party(bytes_per_s=50e6), await open_party(bytes_per_s=50e6)]
        reader = await open_party()
        for holder in holders:
            root = await holder.add(data)
            swarm.providers.append(holder.member.peer_id)
        true_put = reader.store.put
        unstored_bytes: list[int] = []

        async def slow_put(blocks: list[Block], **options: Any) -> list[Cid]:
            await trio.sleep(sum(len(block.data) for block in blocks) / 20e6)
            sent = sum(holder.bitswap.status()["bytes_sent"] for holder in holders)  # type: ignore[misc]
            unstored_bytes.append(sent - reader.store.counts.bytes_used)
            return await true_put(blocks, **options)

        monkeypatch.setattr(reader.store, "put", slow_put)
        started = trio.current_time()
        await reader.fetch(root)
        assert await reader.has_all(root)
        assert max(unstored_bytes) <= 1.1 * limits.FETCH_UNSTORED_BYTES_MIN
        assert trio.current_time() - started < 1.1 * len(data) / 20e6, "the disk is never idle"


async def test_what_nobody_has_is_not_found(autojump_clock: trio.testing.MockClock) -> None:
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(), await open_party()
        swarm.providers = [holder.member.peer_id]
        with pytest.raises(BlockNotFound):
            await reader.fetch(Cid.of(b"nowhere"))


async def test_a_dag_beyond_its_announced_size_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(), await open_party()
        root = await holder.add(noise(1_000_000))
        swarm.providers = [holder.member.peer_id]
        with pytest.raises(ValueTooLarge):
            await reader.fetch(root, bytes_max=300_000)


async def test_a_silent_provider_costs_patience_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(), await open_party()
        silent = swarm.add()

        async def say_nothing(stream: Any) -> None:
            await trio.sleep_forever()

        silent.serve(BITSWAP_120, say_nothing)
        root = await holder.add(noise(2_000_000))
        swarm.providers = [silent.peer_id, holder.member.peer_id]
        started = trio.current_time()
        await reader.fetch(root)
        assert await reader.has_all(root)
        assert trio.current_time() - started < 30


class Played:
    """A peer that the test plays by hand."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self._got, self._messages = trio.open_memory_channel[BitswapMessage](100)
        member.serve(BITSWAP_120, self._serve)

    async def _serve(self, stream: Any) -> None:
        reader = FrameReader(4 << 20)
        while data := await stream.receive():
            reader.feed(data)
            while (frame := reader.next_frame()) is not None:
                await self._got.send(decode(frame))

    async def send(self, party: Party, message: BitswapMessage) -> None:
        stream = await self.member.open(party.member.peer_id, [BITSWAP_120], timeout_s=1)
        await stream.send(encode_frame(encode(message)))

    async def next(self) -> BitswapMessage:
        with trio.fail_after(50):
            return await self._messages.receive()

    async def nothing(self) -> bool:
        with trio.move_on_after(30):
            await self._messages.receive()
            return False
        return True


LARGE, TINY = make_block(bytes(5000)), make_block(b"tiny")


@asynccontextmanager
async def open_served(*blocks: Block) -> AsyncIterator[tuple[Party, Played]]:
    async with open_swarm() as (swarm, open_party):
        party = await open_party()
        await party.store.put(blocks)
        yield party, Played(swarm.add())


async def test_wants_are_answered_as_the_specification_says(autojump_clock: trio.testing.MockClock) -> None:
    absent = Cid.of(b"absent")
    async with open_served(LARGE, TINY) as (party, peer):
        await peer.send(party, BitswapMessage(wants=[Want(LARGE.cid, have=True)]))
        assert await peer.next() == BitswapMessage([], False, [], [LARGE.cid], [])
        await peer.send(party, BitswapMessage(wants=[Want(TINY.cid, have=True)]))
        assert (await peer.next()).blocks == [TINY], "a small block goes at once"
        await peer.send(party, BitswapMessage(wants=[Want(LARGE.cid)]))
        assert (await peer.next()).blocks == [LARGE]
        await peer.send(party, BitswapMessage(wants=[Want(absent)]))
        assert (await peer.next()).dont_haves == [absent]


async def test_a_want_is_remembered_until_the_block_comes_or_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_served() as (party, peer):
        wants = [Want(block.cid, send_dont_have=False) for block in (LARGE, TINY)]
        await peer.send(party, BitswapMessage(wants=wants))
        assert await peer.nothing()
        await peer.send(party, BitswapMessage(wants=[Want(TINY.cid, cancel=True)]))
        await trio.sleep(1)
        await party.store.put([LARGE, TINY])
        assert (await peer.next()).blocks == [LARGE]
        assert await peer.nothing()


async def test_a_want_while_the_store_is_away_is_answered_and_ends_nothing(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_served(LARGE) as (party, peer):

        async def away(key: bytes) -> bytes | None:
            raise StoreUnavailable("lost the Redis server")

        with monkeypatch.context() as patch:
            patch.setattr(party.store._kv, "get", away)
            await peer.send(party, BitswapMessage(wants=[Want(LARGE.cid)]))
            assert (await peer.next()).dont_haves == [LARGE.cid]
        await peer.send(party, BitswapMessage(wants=[Want(LARGE.cid)]))
        assert (await peer.next()).blocks == [LARGE]


async def test_wants_that_nothing_is_said_to_hide_no_others(autojump_clock: trio.testing.MockClock) -> None:
    async with open_served(LARGE) as (party, peer):
        absent = [Want(Cid.of(b"%d" % n), priority=9, send_dont_have=False) for n in range(500)]
        await peer.send(party, BitswapMessage(wants=[*absent, Want(LARGE.cid)]))
        assert (await peer.next()).blocks == [LARGE]


async def test_a_full_wantlist_replaces_the_one_before(autojump_clock: trio.testing.MockClock) -> None:
    async with open_served() as (party, peer):
        await peer.send(party, BitswapMessage(wants=[Want(LARGE.cid, send_dont_have=False)]))
        await peer.send(party, BitswapMessage(wants=[Want(TINY.cid, send_dont_have=False)], full=True))
        await trio.sleep(1)
        await party.store.put([LARGE, TINY])
        assert (await peer.next()).blocks == [TINY]


async def test_a_block_that_nobody_asked_for_bans_its_sender(autojump_clock: trio.testing.MockClock) -> None:
    async with open_served(LARGE) as (party, peer):
        await peer.send(party, BitswapMessage(blocks=[TINY]))
        await trio.sleep(1)
        assert not await party.store.has(TINY.cid)
        with pytest.raises(PeerUnreachable):
            await peer.send(party, BitswapMessage(wants=[Want(LARGE.cid)]))
        assert party.bitswap.status()["banned"] == 1


async def test_a_block_that_comes_again_and_again_bans_its_sender(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BITSWAP_REPEATED_BYTES_MAX", 3 * len(LARGE.data))
    async with open_swarm() as (swarm, open_party):
        party = await open_party()
        peer = Played(swarm.add())
        swarm.providers = [peer.member.peer_id]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(party.fetch, LARGE.cid)
            assert [want.cid for want in (await peer.next()).wants] == [LARGE.cid]
            for _ in range(3):
                await peer.send(party, BitswapMessage(blocks=[LARGE]))
        await trio.sleep(1)
        assert party.bitswap.status()["banned"] == 0, "an honest peer may answer twice"
        for _ in range(3):
            await peer.send(party, BitswapMessage(blocks=[LARGE]))
        await trio.sleep(1)
        assert party.bitswap.status()["banned"] == 1


async def test_a_ban_holds_on_streams_that_are_open_already(autojump_clock: trio.testing.MockClock) -> None:
    async with open_served(LARGE) as (party, peer):
        await peer.send(party, BitswapMessage(wants=[Want(TINY.cid, have=True)]))
        assert (await peer.next()).dont_haves == [TINY.cid]
        (open_already,) = [each for each in peer.member.streams if each.peer == party.member.peer_id][:1]
        await peer.send(party, BitswapMessage(blocks=[TINY]))
        await trio.sleep(1)
        with pytest.raises(PeerUnreachable):
            for _ in range(10):
                await open_already.send(encode_frame(encode(BitswapMessage(wants=[Want(LARGE.cid)]))))
                await trio.sleep(1)
        assert await peer.nothing()


async def test_a_wantlist_without_end_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with open_served() as (party, peer):
        for start in range(0, 5000, 1000):
            wants = [Want(Cid.of(str(start + n).encode()), send_dont_have=False) for n in range(1000)]
            await peer.send(party, BitswapMessage(wants=wants))
        await trio.sleep(1)
        (ledger,) = party.bitswap._server.ledgers.values()
        assert len(ledger.wants) == 1024
