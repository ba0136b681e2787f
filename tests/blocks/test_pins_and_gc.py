"""Pins, and a collector that never removes what is pinned or under way."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import Clock, block_files, imported, node, open_store

from primedht.blocks.block import Block, make_block
from primedht.blocks.files import DiskBlockFiles
from primedht.blocks.gc import Collector
from primedht.blocks.pins import Pins, walk
from primedht.blocks.store import LocalBlockstore, open_blockstore
from primedht.cids import DAG_CBOR, DAG_PB, Cid
from primedht.errors import BlockNotFound, InvalidArgument, StoreCorrupt, StoreUnavailable, Unsupported
from primedht.limits import PIN_NAME_BYTES_MAX
from primedht.stores.kv import KeyValue
from primedht.stores.memory import MemoryKeyValue


@dataclass
class Lab:
    store: LocalBlockstore
    kv: KeyValue
    clock: Clock
    pins: Pins
    collector: Collector

    async def here(self, *blocks: Block) -> list[bool]:
        return [await self.store.has(block.cid) for block in blocks]


@asynccontextmanager
async def open_lab(path: Path | None = None) -> AsyncIterator[Lab]:
    async with open_store(path) as (store, kv):
        clock = Clock()
        pins = Pins(kv, store, clock)
        yield Lab(store, kv, clock, pins, Collector(store, pins, clock))


A, B, C = (make_block(letter.encode() * 20_000) for letter in "abc")
MID = node(A.cid, B.cid)
TOP = node(MID.cid, C.cid)
ALL = (A, B, C, MID, TOP)


async def test_a_recursive_pin_keeps_all_and_a_direct_one_a_block(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        await lab.store.put(ALL)
        await lab.pins.add(MID.cid)
        await lab.pins.add(TOP.cid, name="top", recursive=False)
        collected = await lab.collector.collect()
        assert (collected.blocks, collected.bytes, collected.kept) == (1, len(C.data), 4)
        assert await lab.here(*ALL) == [True, True, False, True, True]
        assert len(block_files(tmp_path)) == 2


async def test_without_pins_all_goes(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        await lab.store.put(ALL)
        assert (await lab.collector.collect()).blocks == 5
        assert (lab.store.counts.blocks, lab.store.counts.bytes_used) == (0, 0)
        assert block_files(tmp_path) == []


async def test_what_is_held_stays_and_goes_afterwards() -> None:
    async with open_lab() as lab:
        with lab.store.hold() as hold:
            await lab.store.put([A, MID], hold=hold)
            hold.add([B.cid])
            await lab.store.put([B, C])
            assert (await lab.collector.collect()).blocks == 1
            assert await lab.here(A, B, C, MID) == [True, True, False, True]
        assert (await lab.collector.collect()).blocks == 3


async def test_pins_have_names_and_the_last_one_keeps() -> None:
    async with open_lab() as lab:
        await lab.store.put(ALL)
        await lab.pins.add(TOP.cid, name="v1")
        await lab.pins.add(TOP.cid, name="v2")
        await lab.pins.add(TOP.cid, name="v2")
        assert sorted(pin.name for pin in await lab.pins.of(TOP.cid)) == ["v1", "v2"]
        assert await lab.pins.remove(TOP.cid, name="v1") == 1
        assert await lab.pins.remove(TOP.cid, name="v1") == 0
        assert (await lab.collector.collect()).blocks == 0
        assert await lab.pins.remove(Cid(0, DAG_PB, TOP.cid.multihash)) == 1
        assert (await lab.collector.collect()).blocks == 5


async def test_an_expired_pin_keeps_nothing() -> None:
    async with open_lab() as lab:
        await lab.store.put(ALL)
        await lab.pins.add(TOP.cid, expires_unix_s=lab.clock.now + 10)
        assert (await lab.collector.collect()).blocks == 0
        lab.clock.now += 10
        assert await lab.pins.of(TOP.cid) == []
        assert (await lab.collector.collect()).blocks == 5
        assert [pin.cid for pin in await lab.pins.remove_expired()] == [TOP.cid]
        assert [pin async for pin in lab.pins.all()] == []
        for end in (lab.clock.now, float("nan")):
            with pytest.raises(InvalidArgument, match="expired already"):
                await lab.pins.add(TOP.cid, expires_unix_s=end)


@pytest.mark.parametrize("name", ["x" * (PIN_NAME_BYTES_MAX + 1), "line\nbreak", "\x00"])
async def test_a_name_has_limits(name: str) -> None:
    async with open_lab() as lab:
        with pytest.raises(InvalidArgument, match="name"):
            await lab.pins.add(TOP.cid, name=name, partial=True)


async def test_what_is_not_here_cannot_be_pinned_whole() -> None:
    async with open_lab() as lab:
        await lab.store.put([A, MID, TOP, C])
        with pytest.raises(BlockNotFound):
            await lab.pins.add(TOP.cid)
        assert [pin async for pin in lab.pins.all()] == []
        await lab.pins.add(TOP.cid, recursive=False)


async def test_what_cannot_be_followed_cannot_be_pinned_recursively() -> None:
    block = make_block(b"{}", 0x0129)
    async with open_lab() as lab:
        await lab.store.put([block])
        with pytest.raises(Unsupported):
            await lab.pins.add(block.cid)
        await lab.pins.add(block.cid, recursive=False)
        assert (await lab.collector.collect()).blocks == 0


async def test_a_partial_pin_keeps_what_there_is() -> None:
    async with open_lab() as lab:
        await lab.pins.add(TOP.cid, partial=True)
        await lab.store.put([TOP, MID, A])
        assert (await lab.collector.collect()).blocks == 0
        await lab.store.put([B, C])
        await lab.pins.add(TOP.cid)
        assert [pin.partial for pin in await lab.pins.of(TOP.cid)] == [False]


async def test_dag_cbor_links_are_followed() -> None:
    # {"a": link, "b": [link, {"c": 1}], "d": "text"}
    def link(cid: Cid) -> bytes:
        raw = b"\x00" + bytes(cid)
        return b"\xd8\x2a\x58" + bytes((len(raw),)) + raw

    raw = b"\xa3\x61a" + link(MID.cid) + b"\x61b\x82" + link(C.cid) + b"\xa1\x61c\x01" + b"\x61d\x64text"
    manifest = make_block(raw, DAG_CBOR)
    async with open_lab() as lab:
        await lab.store.put([A, B, C, MID, manifest])
        await lab.pins.add(manifest.cid)
        assert (await lab.collector.collect()).blocks == 0
        assert [cid async for cid in walk(lab.store, manifest.cid)] == [
            manifest.cid, MID.cid, A.cid, B.cid, C.cid,
        ]  # fmt: skip


async def test_a_broken_pin_spares_all_that_was_here_and_is_named(tmp_path: Path) -> None:
    fresh = make_block(b"an import that failed")
    async with open_lab(tmp_path) as lab:
        await lab.store.put(ALL)
        await lab.pins.add(TOP.cid)
        await lab.kv.put({b"b/d/" + MID.cid.multihash: b"damaged"})
        multihash = Cid.of(b"stray").multihash
        name = base64.b32encode(multihash).decode().rstrip("=").lower()
        stray = min(block_files(tmp_path)).parents[1] / f"{multihash[-1]:02x}" / name
        stray.write_bytes(b"of a crash")
        await lab.store.put([fresh])
        assert (await lab.collector.collect({fresh.cid.multihash})).blocks == 1
        collected = await lab.collector.collect()
        assert not stray.exists(), "it goes on with what no pin can need"
        assert [(broken.cid, broken.code) for broken in collected.broken] == [(MID.cid, "block_not_found")]
        in_doubt = [block for block in ALL if block not in (TOP, MID)]
        assert 0 < collected.undecided <= len(in_doubt)
        assert 0 < collected.undecided_bytes <= sum(len(block.data) for block in in_doubt)
        assert await lab.here(A, B, C, TOP) == [True] * 4
        await lab.store.put([MID])
        assert (await lab.collector.collect()).broken == ()


async def test_a_damaged_pin_stops_the_collector() -> None:
    async with open_lab() as lab:
        await lab.store.put(ALL)
        pin = await lab.pins.add(TOP.cid)
        (key, _), *_ = await lab.kv.scan(b"b/p/")
        await lab.kv.put({key: b"rubbish"})
        with pytest.raises(StoreCorrupt):
            await lab.collector.collect()
        assert await lab.here(*ALL) == [True] * 5
        assert pin.recursive


async def test_a_damaged_pin_is_named_and_can_be_given_up_or_made_anew() -> None:
    async with open_lab() as lab:
        await lab.store.put(ALL)
        await lab.pins.add(MID.cid)
        for mend in (lab.pins.add, lab.pins.remove):
            await lab.pins.add(TOP.cid, name="two words")
            for key, _ in await lab.kv.scan(b"b/p/"):
                if b"two words" in key:
                    await lab.kv.put({key: b"rubbish"})
            with pytest.raises(StoreCorrupt, match=f"unpin {TOP.cid} --name 'two words'"):
                await lab.collector.collect()
            assert [pin.cid for pin in await lab.pins.of(MID.cid)] == [MID.cid]
            assert await lab.pins.names() == {"", "two words"}
            await mend(TOP.cid, name="two words")  # type: ignore[operator]
            assert (await lab.collector.collect()).blocks == (2 if mend == lab.pins.remove else 0)


async def test_one_file_that_cannot_be_removed_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab(tmp_path) as lab:
        await lab.store.put(ALL)
        real = Path.unlink
        stubborn = max(block_files(tmp_path))

        def unlink(self: Path, missing_ok: bool = False) -> None:
            if self == stubborn:
                raise PermissionError(1, "not now")
            real(self, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink)
            collected = await lab.collector.collect()
        assert (collected.blocks, collected.failed) == (5, 1)
        assert block_files(tmp_path) == [stubborn]
        assert (await lab.collector.collect()).failed == 0
        assert block_files(tmp_path) == []


class _Failing(MemoryKeyValue):
    """Fails the n-th put, before or after it was applied: a crash, as seen from the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1
        self.applied = False

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.left -= 1
        if self.left == 0:
            if self.applied:
                await super().put(changes)
            raise StoreUnavailable("crash")
        await super().put(changes)


@pytest.mark.parametrize("applied", [False, True])
async def test_a_crash_at_any_write_loses_nothing_that_is_pinned(applied: bool, tmp_path: Path) -> None:
    """Every write of put, pin and collect fails once; after a restart the pinned DAG is whole."""
    garbage = [make_block(bytes((index,)) * 20_000) for index in range(5)]
    for crash_at in range(1, 7):
        root = tmp_path / str(crash_at)
        kv = _Failing()
        kv.applied = applied
        files = DiskBlockFiles(root / "blocks", disk_free_bytes_min=0)
        store = await open_blockstore(kv, files, bytes_max=None)
        pins = Pins(kv, store, Clock())
        kv.left = crash_at
        pinned = False
        try:
            await store.put(ALL)
            await pins.add(TOP.cid)
            pinned = True
            await store.put(garbage)
            await Collector(store, pins, Clock()).collect()
        except StoreUnavailable:
            pass
        kv.left = -1
        files = DiskBlockFiles(root / "blocks", disk_free_bytes_min=0)
        store = await open_blockstore(kv, files, bytes_max=None)
        pins = Pins(kv, store, Clock())
        collected = await Collector(store, pins, Clock()).collect()
        assert collected.broken == ()
        if pinned:
            for block in ALL:
                assert await store.get(block.cid) == block.data
            assert len(block_files(root)) == 3
        else:
            assert len(block_files(root)) in (0, 3)
        here = {multihash async for multihash in store.multihashes()}
        assert len(here) == store.counts.blocks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
async def test_any_dag_and_pins_keep_what_is_reachable_whatever_happens_meanwhile(seed: int) -> None:
    """Puts, pins and holds go on while collections run; afterwards all that is pinned is whole."""
    rng = random.Random(seed)
    blocks = [make_block(bytes((index,))) for index in range(10)]
    for index in range(20):
        linked = rng.sample(blocks, rng.randint(1, 4))
        blocks.append(node(*(block.cid for block in linked), data=bytes((index,))))
    by_cid = {block.cid: block for block in blocks}

    async with open_lab() as lab:

        async def below(block: Block) -> list[Block]:
            async with open_store() as (whole, _):
                await whole.put(blocks)
                return [by_cid[cid] async for cid in walk(whole, block.cid)]

        async def add(index: int) -> None:
            block = blocks[index]
            needed = await below(block)
            with lab.store.hold() as hold:
                for each in reversed(needed):
                    await lab.store.put([each], hold=hold)
                    for _ in range(rng.randrange(3)):
                        await trio.lowlevel.checkpoint()
                await lab.pins.add(block.cid, name=str(index))

        async def collect() -> None:
            for _ in range(4):
                assert (await lab.collector.collect()).broken == ()

        chosen = rng.sample(range(len(blocks)), 6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            for index in chosen:
                nursery.start_soon(add, index)
        await lab.store.put(blocks)
        await lab.collector.collect()
        wanted = {block.cid.multihash for index in chosen for block in await below(blocks[index])}
        assert {multihash async for multihash in lab.store.multihashes()} == wanted


async def test_an_import_is_safe_while_it_runs(tmp_path: Path) -> None:
    root, blocks = imported(bytes(range(256)) * 1000)
    async with open_lab(tmp_path) as lab:
        with lab.store.hold() as hold:
            for block in blocks:
                await lab.store.put([block], hold=hold)
                await lab.collector.collect()
            await lab.pins.add(root)
        await lab.collector.collect()
        assert len([cid async for cid in walk(lab.store, root)]) == len({block.cid for block in blocks})
