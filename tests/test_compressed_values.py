"""Values that are compressed before they become blocks, between real nodes on loopback."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import trio
from test_big_values import MARK, open_one, open_two, pinned_roots

from primedht import limits
from primedht.blocks.balanced import Part
from primedht.blocks.compression import zstd
from primedht.blocks.importer import import_file, root_of
from primedht.blocks.profiles import DEFAULT_NAME, PROFILES
from primedht.cids import Cid
from primedht.config import Config
from primedht.errors import (
    ConfigInvalid,
    DecompressionFailed,
    InvalidArgument,
    StoreFull,
    UnknownCodec,
    ValueTooLarge,
)
from primedht.node import Node
from primedht.records.pointer import Pointer, decode_pointer, sign_open_pointer
from primedht.results import PutResult

Transit = Literal["none", "zstd"]
TEXT = b"".join(b"token %d of the vocabulary\n" % number for number in range(100_000))
RANDOM = os.urandom(1_500_000)


def file_of(data: bytes) -> Part:
    return root_of(import_file(io.BytesIO(data), PROFILES[DEFAULT_NAME]))


async def pointer_of(node: Node, key: str) -> Pointer:
    return decode_pointer((await node.dht.get_value(key.encode())).payload)


async def test_a_compressed_value_is_small_on_every_disk_and_whole_for_who_gets_it() -> None:
    async with open_two() as (a, b):
        for key in ("vocabulary", f"/prime/model/{a.peer_id}/vocabulary"):
            put = await a.put(key, TEXT, compress="zstd")
            assert (put.value_bytes, put.codec) == (len(TEXT), "zstd")
            assert put.stored_bytes is not None
            assert 5 * put.stored_bytes < len(TEXT)
            found = await b.get_record(key)
            assert (found.payload, found.root) == (TEXT, put.root)
            assert await a.get(key, max_bytes=len(TEXT)) == TEXT
            pointer = await pointer_of(b, key)
            assert (pointer.codec, pointer.content_bytes) == ("zstd", len(TEXT))
            assert 5 * pointer.size_bytes < len(TEXT)
            with pytest.raises(ValueTooLarge, match=str(len(TEXT))):
                await b.get(key, max_bytes=len(TEXT) - 1)
        assert a.blocks.store.counts.bytes_used < pointer.dag_bytes + 1000
        stored = b"".join([piece async for piece in b.blocks.read_file(pointer.root)])
        assert zstd.decompress(stored) == TEXT, "any zstd reads what is in the blocks"


async def test_each_of_many_is_compressed_if_it_is_large() -> None:
    async with open_one() as node:
        small, large = await node.put_many({"small": b"text", "large": TEXT}, compress="zstd")
        assert isinstance(small.result, PutResult)
        assert isinstance(large.result, PutResult)
        assert (small.result.codec, small.result.value_bytes) == ("", None)
        assert (large.result.codec, large.result.value_bytes) == ("zstd", len(TEXT))
        assert await node.get("large") == TEXT


async def test_it_comes_and_goes_in_pieces_of_any_size() -> None:
    async with open_one() as node:
        for compress, size, step in (
            ("zstd", len(TEXT), 70_001),
            ("auto", None, 1_300_000),
            ("zstd", None, 9),
        ):
            value = TEXT if step > 9 else TEXT[:20_000]
            async with node.open_sink("vocabulary", size=size, compress=compress) as sink:
                for start in range(0, len(value), step):
                    await sink.write(value[start : start + step])
                await sink.commit(timeout=60)
            assert (await pointer_of(node, "vocabulary")).codec == "zstd"
            source = await node.open_source("vocabulary")
            assert source.size == len(value)
            pieces = []
            while piece := await source.read():
                assert len(piece) <= limits.CONTROL_CHUNK_BYTES
                pieces.append(piece)
            await source.aclose()
            assert b"".join(pieces) == value


async def test_auto_compresses_what_begins_compressible_and_nothing_else() -> None:
    async with open_one() as node:
        for value, codec in (
            (TEXT, "zstd"), (TEXT[:20_000], "zstd"), (TEXT[: 1 << 20] + RANDOM, "zstd"),
            (RANDOM, ""), (RANDOM[:20_000], ""), (RANDOM + TEXT, ""),
        ):  # fmt: skip
            put = await node.put("value", value, compress="auto")
            assert (await pointer_of(node, "value")).codec == codec
            assert await node.get("value") == value
            if not codec:
                assert put.root == bytes(file_of(value).cid), "the CID that kubo gives it"
            put = await node.put("value", value, compress="zstd")
            assert (await pointer_of(node, "value")).codec == "zstd", "whatever it saves"
            assert await node.get("value") == value


async def test_small_values_stay_in_their_records_as_they_are() -> None:
    async with open_one() as node:
        for compress in ("zstd", "auto"):
            assert (await node.put("small", b"text" * 500, compress=compress)).root is None
            assert (await node.dht.get_value(b"small")).value == b"text" * 500
            assert (await node.put("small", MARK + b"text", compress=compress)).root is not None
            assert await node.get("small") == MARK + b"text"
        with pytest.raises(InvalidArgument, match="none, auto, zstd"):
            await node.put("small", b"text", compress="gzip")


async def test_the_configuration_says_what_puts_do_that_say_nothing() -> None:
    config = Config(records={"compression": "auto"})
    async with open_one() as node:
        assert node.config.records.compression == "none"
        node.config = node.config.model_copy(update={"records": config.records})
        await node.put("value", TEXT)
        assert (await pointer_of(node, "value")).codec == "zstd"
        await node.put("value", TEXT, compress="none")
        assert (await pointer_of(node, "value")).codec == ""
        assert await node.get("value") == TEXT
    with pytest.raises((ConfigInvalid, ValueError)):
        Config(records={"compression": "gzip"})


async def test_the_quota_counts_what_is_stored() -> None:
    async with open_one(blocks_bytes_max=1_000_000) as node:
        await node.put("value", TEXT, compress="zstd")
        assert await node.get("value") == TEXT
        with pytest.raises(StoreFull):
            await node.put("value", RANDOM, compress="zstd")
        assert len(await pinned_roots(node)) == 1
        assert await node.get("value") == TEXT


async def test_the_blocks_of_a_compressed_value_are_let_go_of_like_others(tmp_path: Path) -> None:
    async with open_one() as node:
        first = (await node.put("value", TEXT, compress="zstd")).root
        second = (await node.put("value", TEXT)).root
        assert first != second
        assert await pinned_roots(node) == {second}
        async with node.open_sink("value", compress="zstd") as sink:
            await sink.write(TEXT)
        await node.delete("value")
        await node.blocks.collect()
        assert node.blocks.store.counts.blocks == 0, "what is not committed leaves nothing either"


async def put_lie(node: Node, key: str, stored: bytes, *, content_bytes: int, codec: str = "zstd") -> None:
    """Put a pointer that says what its writer likes about a file that is there."""
    async with node.blocks.adding(PROFILES[DEFAULT_NAME]) as adding:
        part = await adding.file("", io.BytesIO(stored))
        await adding.finish()
        await node.blocks.keep(part)
    blocks = len(list(import_file(io.BytesIO(stored), PROFILES[DEFAULT_NAME])))
    lie = Pointer(part.cid, part.content_bytes, part.dag_bytes, blocks, codec, content_bytes)
    signed = sign_open_pointer(node.signing.identity, node.dht.config.network_id, key.encode(), lie)
    await node.dht.put_value(key.encode(), signed)


FRAME = zstd.compress(TEXT)
WIDE = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
LIES = {
    "a bomb": (zstd.compress(bytes(500 << 20), 1), 100_000),
    "one byte more": (FRAME, len(TEXT) - 1),
    "one byte less": (FRAME, len(TEXT) + 1),
    "cut short": (FRAME[:-5], len(TEXT)),
    "something behind": (FRAME + b"\x00", len(TEXT)),
    "a frame behind": (FRAME + zstd.compress(b""), len(TEXT)),
    "not zstd": (RANDOM, len(RANDOM)),
    "a window of 16 MiB": (WIDE.compress(TEXT) + WIDE.flush(), len(TEXT)),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
async def test_what_is_not_what_the_pointer_says_is_an_error_and_leaves_nothing(name: str) -> None:
    stored, content_bytes = LIES[name]
    async with open_two() as (a, b):
        await put_lie(a, "lie", stored, content_bytes=content_bytes)
        source = await b.open_source("lie")
        given_bytes = 0
        with pytest.raises(DecompressionFailed, match="ask its writer") as failed:
            while data := await source.read():
                given_bytes += len(data)
        await source.aclose()
        assert given_bytes <= content_bytes
        assert failed.value.code == "decompression_failed"
        await b.blocks.collect()
        assert b.blocks.store.counts.blocks == 0


async def test_a_codec_of_another_version_is_a_clear_error_before_a_byte_is_fetched() -> None:
    async with open_two() as (a, b):
        await put_lie(a, "new", FRAME, content_bytes=len(TEXT), codec="zstd-grouped")
        with pytest.raises(UnknownCodec, match="zstd-grouped"):
            await b.get("new")
        await put_lie(a, "huge", FRAME, content_bytes=1 << 40)
        with pytest.raises(ValueTooLarge, match=str(1 << 40)):
            await b.get("huge")
        assert b.blocks.store.counts.blocks == 0


async def test_a_get_that_is_given_up_half_way_lets_go_of_the_blocks() -> None:
    async with open_two() as (a, b):
        await a.put("value", TEXT, compress="zstd")
        source = await b.open_source("value")
        with trio.move_on_after(5):
            await source.read()
        await source.aclose()
        await b.blocks.collect()
        assert b.blocks.store.counts.blocks == 0


# --- blocks in transit ---------------------------------------------------------------------------------


def exchanged(node: Node) -> dict[str, int]:
    return {name: int(str(count)) for name, count in cast("Any", node.blocks.status()["exchange"]).items()}


@pytest.mark.parametrize(("here", "there"), [("zstd", "zstd"), ("zstd", "none"), ("none", "zstd")])
async def test_blocks_travel_compressed_between_two_that_say_so(here: Transit, there: Transit) -> None:
    """Over Noise, Yamux and identify as they are; CIDs and what is stored are the same anyway."""
    async with open_one(transit=here) as a, open_one(None, a.addrs[0], transit=there) as b:
        for key, value in (("vocabulary", TEXT * 3), ("noise", RANDOM)):
            put = await a.put(key, value)
            assert put.root == bytes(file_of(value).cid)
            before = exchanged(b)["wire_bytes_received"]
            assert await b.get(key) == value
            wire_bytes = exchanged(b)["wire_bytes_received"] - before
            if here == there and key == "vocabulary":
                assert wire_bytes < len(value) / 3
            else:
                assert len(value) <= wire_bytes < 1.01 * len(value)
            assert await b.blocks.store.get(Cid.from_bytes(put.root)) == await a.blocks.store.get(
                Cid.from_bytes(put.root)
            )
        sent, received = exchanged(a), exchanged(b)
        assert sent["bytes_sent"] == received["bytes_received"]
        assert sent["wire_bytes_sent"] == received["wire_bytes_received"]
