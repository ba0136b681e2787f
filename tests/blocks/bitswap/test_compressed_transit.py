"""Blocks that travel compressed between nodes that both do so, and as ever to all others."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest
import trio
from fake_swarm import FakeSwarm, Member
from test_fetch import Party, noise, open_swarm

from primedht import limits
from primedht.blocks.bitswap import outbox
from primedht.blocks.bitswap.messages import (
    BITSWAP_120,
    BITSWAP_ZSTD,
    PROTOCOLS,
    BitswapMessage,
    Want,
    decode,
    encode,
)
from primedht.blocks.block import make_block
from primedht.blocks.compression import may_shrink, shrink, zstd
from primedht.cids import Cid
from primedht.errors import BlockNotFound
from primedht.wire.frames import FrameReader, encode_frame

DICE = random.Random(5)
VOCABULARY = json.dumps({f"Ġ{DICE.randbytes(3).hex()}": number for number in range(30_000)}).encode()


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time goes on while a thread works, and peers would lose patience."""
    monkeypatch.setattr(limits, "COMPRESSION_INLINE_BYTES_MAX", limits.BITSWAP_MESSAGE_BYTES_MAX)


def status_of(party: Party) -> dict[str, int]:
    return {key: int(str(value)) for key, value in party.bitswap.status().items()}


async def test_two_nodes_that_compress_send_less_and_count_both(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(compresses=True), await open_party(compresses=True)
        root = await holder.add(VOCABULARY)
        swarm.providers = [holder.member.peer_id]
        fetched = await reader.fetch(root)
        assert await reader.has_all(root)
        (share,) = fetched.peers
        assert share.bytes == fetched.bytes >= len(VOCABULARY)
        assert share.wire_bytes < 0.7 * share.bytes
        sent, received = status_of(holder), status_of(reader)
        assert sent["bytes_sent"] == received["bytes_received"] == share.bytes
        assert sent["wire_bytes_sent"] == received["wire_bytes_received"] == share.wire_bytes
        ledger = holder.bitswap._server.ledgers[reader.member.peer_id]
        assert (ledger.sent_bytes, ledger.sent_wire_bytes) == (share.bytes, share.wire_bytes)
        assert share.wire_bytes < holder.member.sent_bytes < share.wire_bytes + 20_000


@pytest.mark.parametrize("who", ["holder", "reader", "neither"])
async def test_a_node_that_does_not_compress_is_sent_what_it_always_was(
    who: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_swarm() as (swarm, open_party):
        holder = await open_party(compresses=who == "holder")
        reader = await open_party(compresses=who == "reader")
        root = await holder.add(VOCABULARY)
        swarm.providers = [holder.member.peer_id]
        (share,) = (await reader.fetch(root)).peers
        assert share.wire_bytes == share.bytes
        assert holder.member.sent_bytes > len(VOCABULARY)
        for party in (holder, reader):
            assert {stream.protocol for stream in party.member.streams} == {BITSWAP_120}


async def test_one_fetch_from_nodes_that_do_and_do_not(autojump_clock: trio.testing.MockClock) -> None:
    async with open_swarm() as (swarm, open_party):
        reader = await open_party(compresses=True)
        holders = [await open_party(compresses=compresses, bytes_per_s=1e6) for compresses in (True, False)]
        for holder in holders:
            root = await holder.add(VOCABULARY * 5 + noise(1_000_000))
            swarm.providers.append(holder.member.peer_id)
        fetched = await reader.fetch(root)
        assert await reader.has_all(root)
        shares = {share.peer: share for share in fetched.peers}
        first, second = (shares[holder.member.peer_id] for holder in holders)
        assert first.wire_bytes < first.bytes
        assert second.wire_bytes == second.bytes > 0


class Recorder:
    """A peer of another implementation: it wants blocks, and keeps every byte that it is sent."""

    def __init__(self, swarm: FakeSwarm, protocol: str) -> None:
        self.member: Member = swarm.add()
        self.protocol = protocol
        self.received = b""
        self.protocols: list[str] = []
        self.member.serve(protocol, self._serve)

    async def _serve(self, stream: Any) -> None:
        self.protocols.append(stream.protocol)
        while data := await stream.receive():
            self.received += data

    async def send(self, party: Party, message: bytes) -> None:
        stream = await self.member.open(party.member.peer_id, [self.protocol], timeout_s=1)
        await stream.send(encode_frame(message))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_kubo_is_sent_is_the_same_byte_for_byte(
    protocol: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether this node compresses or not; no block is so much as looked at for that."""
    conversations = []
    monkeypatch.setattr(outbox, "may_shrink", None)
    for compresses in (False, True):
        async with open_swarm() as (swarm, open_party):
            party = await open_party(compresses=compresses)
            blocks = [make_block(VOCABULARY[start : start + 16_000]) for start in range(0, 160_000, 16_000)]
            await party.store.put(blocks)
            kubo = Recorder(swarm, protocol)
            wants = [Want(block.cid) for block in blocks] + [Want(Cid.of(b"absent"))]
            await kubo.send(party, encode(BitswapMessage(wants=wants), protocol))
            with trio.move_on_after(30):
                swarm.providers = [kubo.member.peer_id]
                await party.fetch(Cid.of(b"wanted"), recursive=False)
            conversations.append((kubo.received, kubo.protocols))
    assert conversations[0] == conversations[1]
    assert len(conversations[0][0]) > 160_000


async def test_who_says_that_it_compresses_no_more_is_sent_plain_blocks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_swarm() as (swarm, open_party):
        holder, reader = await open_party(compresses=True), await open_party(compresses=True)
        swarm.providers = [holder.member.peer_id]
        await reader.fetch(await holder.add(VOCABULARY))
        await trio.sleep(2 * limits.BITSWAP_STREAM_IDLE_S)
        holder.bitswap.on_identified(reader.member.peer_id, frozenset(PROTOCOLS))
        (share,) = (await reader.fetch(await holder.add(VOCABULARY[1:]))).peers
        assert share.wire_bytes == share.bytes


@pytest.mark.parametrize("frame", [b"", zstd.compress(b"x" * 1001), zstd.compress(b"y" * 1000)])
async def test_a_liar_that_compresses_is_no_better_than_others(
    frame: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """A frame that is not what was said ends the stream; one of other bytes is a lie, and banned for."""
    async with open_swarm() as (swarm, open_party):
        reader, holder = await open_party(compresses=True), await open_party()
        block = make_block(b"x" * 1000)
        await holder.store.put([block])
        liar = swarm.add()

        async def lie(stream: Any) -> None:
            frames = FrameReader(4 << 20)
            while data := await stream.receive():
                frames.feed(data)
                while (raw := frames.next_frame()) is not None:
                    if decode(raw, stream.protocol).wants:
                        answer = await liar.open(reader.member.peer_id, [BITSWAP_ZSTD], timeout_s=1)
                        message = BitswapMessage(blocks=[block])
                        await answer.send(encode_frame(encode(message, BITSWAP_ZSTD, [frame])))

        liar.serve(BITSWAP_ZSTD, lie)
        swarm.providers = [liar.peer_id]
        with trio.move_on_after(20), suppress(BlockNotFound):
            await reader.fetch(block.cid, recursive=False)
        assert not await reader.store.has(block.cid)
        assert status_of(reader)["banned"] == (frame == zstd.compress(b"y" * 1000))
        swarm.providers = [liar.peer_id, holder.member.peer_id]
        await reader.fetch(block.cid, recursive=False)


def test_only_blocks_that_shrink_are_compressed() -> None:
    weights = b"".join(DICE.randbytes(3) + b"\x3c" for _ in range(64_000))
    for data, tried in (
        (VOCABULARY, True),
        (noise(300_000), False),
        (bytes(5000), True),
        (bytes(100), False),
    ):
        assert may_shrink(data) is tried
    assert may_shrink(weights), "a byte in four is always the same"
    frame = shrink(VOCABULARY)
    assert frame is not None
    assert zstd.decompress(frame) == VOCABULARY
    assert shrink(noise(100_000) + bytes(5000)) is None
    header_and_noise = VOCABULARY[:5000] + noise(300_000)
    assert not may_shrink(header_and_noise), "its beginning alone does not decide"
