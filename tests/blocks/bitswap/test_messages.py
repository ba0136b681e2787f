"""Bitswap messages: bytes and back, earlier versions, and what is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.blocks.bitswap.messages import (
    BITSWAP_100,
    BITSWAP_110,
    BITSWAP_120,
    BITSWAP_ZSTD,
    BitswapMessage,
    Want,
    decode,
    encode,
    is_long_to_decode,
)
from primedht.blocks.block import make_block
from primedht.blocks.compression import zstd
from primedht.cids import DAG_PB, RAW, Cid
from primedht.errors import ProtocolViolation
from primedht.pb import bitswap_pb2 as pb

TOO_LARGE = bytes(limits.BLOCK_BYTES_MAX + 1)
CIDS = st.builds(Cid.of, st.binary(max_size=8), st.sampled_from([RAW, DAG_PB]))
WANTS = st.builds(Want, CIDS, st.integers(-(2**31), 2**31 - 1), st.booleans(), st.booleans(), st.booleans())
BLOCKS = st.builds(make_block, st.binary(max_size=64), st.sampled_from([RAW, DAG_PB]))
MESSAGES = st.builds(
    BitswapMessage,
    st.lists(WANTS, max_size=4),
    st.booleans(),
    st.lists(BLOCKS, max_size=4),
    st.lists(CIDS, max_size=4),
    st.lists(CIDS, max_size=4),
)


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: BitswapMessage) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    with suppress(ProtocolViolation):
        decode(raw)


def test_a_block_of_version_0_keeps_its_cid() -> None:
    block = make_block(b"x", DAG_PB, version=0)
    for protocol in (BITSWAP_120, BITSWAP_110, BITSWAP_100):
        (found,) = decode(encode(BitswapMessage(blocks=[block]), protocol)).blocks
        assert found == block


def test_before_1_2_0_there_are_no_presences_and_every_want_is_for_the_block() -> None:
    cid = Cid.of(b"x")
    message = BitswapMessage(wants=[Want(cid, have=True)], haves=[cid], dont_haves=[cid])
    found = decode(encode(message, BITSWAP_110))
    assert not found.haves
    assert not found.dont_haves
    assert found.wants == [Want(cid, have=False, send_dont_have=False)]


def test_a_block_is_named_by_its_bytes_whatever_its_sender_wanted() -> None:
    block = make_block(b"right")
    raw = encode(BitswapMessage(blocks=[block])).replace(b"right", b"wrong")
    assert decode(raw).blocks[0].cid == Cid.of(b"wrong")


@pytest.mark.parametrize(
    "bad",
    [
        pb.Message(blocks=[pb.Message.Block(prefix=b"", data=b"x")]),
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x01\x55\x12\x14", data=b"x")]),  # a cut digest
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x01\x55\x00\x01", data=b"x")]),  # identity
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x09\x55\x12\x20", data=b"x")]),
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x01\x55\x12\x20", data=TOO_LARGE)]),
        pb.Message(presences=[pb.Message.Presence(cid=b"nonsense")]),
        pb.Message(presences=[pb.Message.Presence(cid=bytes(limits.BITSWAP_CID_BYTES_MAX + 1))]),
        pb.Message(presences=[pb.Message.Presence()] * (limits.BITSWAP_ENTRIES_MAX + 1)),
    ],
)  # fmt: skip
def test_malformed_parts_are_refused(bad: pb.Message) -> None:
    with pytest.raises(ProtocolViolation):
        decode(bad.SerializeToString())


# --- compressed, between our nodes --------------------------------------------------------------------

TEXT = b"the same few words again and again " * 100


@given(
    st.lists(st.tuples(st.integers(0, 3000).map(bytes) | st.binary(max_size=300), st.booleans()), max_size=5)
)
def test_blocks_that_travel_as_frames_come_back_as_they_were(parts: list[tuple[bytes, bool]]) -> None:
    message = BitswapMessage(blocks=[make_block(data) for data, _ in parts])
    frames = [zstd.compress(data) if packed and data else None for data, packed in parts]
    raw = encode(message, BITSWAP_ZSTD, frames)
    found = decode(raw, BITSWAP_ZSTD)
    assert found.blocks == message.blocks
    data = [
        block.data if frame is None else frame for block, frame in zip(message.blocks, frames, strict=True)
    ]
    assert list(found.wire_bytes) == list(map(len, data))


@given(MESSAGES)
def test_without_frames_it_is_the_message_of_1_2_0(message: BitswapMessage) -> None:
    assert encode(message, BITSWAP_ZSTD) == encode(message, BITSWAP_120)
    assert encode(message, BITSWAP_ZSTD, [None] * len(message.blocks)) == encode(message, BITSWAP_120)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_compressed_message_or_refused(raw: bytes) -> None:
    with suppress(ProtocolViolation):
        decode(raw, BITSWAP_ZSTD)


@given(st.binary(max_size=60), st.integers(1, 2**64 - 1))
def test_any_frame_is_what_was_said_or_refused(frame: bytes, content_bytes: int) -> None:
    with suppress(ProtocolViolation):
        (block,) = decode(framed(frame, content_bytes), BITSWAP_ZSTD).blocks
        assert len(block.data) == content_bytes


PREFIX = bytes([1, RAW, 0x12, 32])


def framed(frame: bytes, content_bytes: int, *, times: int = 1) -> bytes:
    block = pb.Message.Block(prefix=PREFIX, data=frame, content_bytes=content_bytes)
    return pb.Message(blocks=[block] * times).SerializeToString()


def in_window(log: int, data: bytes = TEXT) -> bytes:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    return compressor.compress(data) + compressor.flush()


DICTIONARY = zstd.train_dict([b"word %d %d" % (i, i * i) for i in range(20_000)], 2000)
FRAME = zstd.compress(TEXT)
LARGEST = zstd.compress(bytes(limits.BLOCK_BYTES_MAX))


@pytest.mark.parametrize(
    "raw",
    [
        framed(zstd.compress(bytes(1 << 30), 1), 1000),
        framed(zstd.compress(bytes(limits.BLOCK_BYTES_MAX + 1)), limits.BLOCK_BYTES_MAX + 1),
        framed(LARGEST, 1 << 40),
        framed(FRAME, len(TEXT) - 1),
        framed(FRAME, len(TEXT) + 1),
        framed(FRAME[:-1], len(TEXT)),
        framed(FRAME + b"\x00", len(TEXT)),
        framed(FRAME + FRAME, 2 * len(TEXT)),
        framed(b"", 5),
        framed(in_window(24), len(TEXT)),
        framed(LARGEST, limits.BLOCK_BYTES_MAX, times=3),
        framed(zstd.compress(TEXT, zstd_dict=DICTIONARY), len(TEXT)),
    ],
)  # fmt: skip
def test_frames_that_are_not_what_was_said_are_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode(raw, BITSWAP_ZSTD)


def test_the_largest_blocks_that_fit_are_taken() -> None:
    found = decode(framed(LARGEST, limits.BLOCK_BYTES_MAX, times=2), BITSWAP_ZSTD)
    assert [len(block.data) for block in found.blocks] == [limits.BLOCK_BYTES_MAX] * 2
    assert decode(framed(in_window(21), len(TEXT)), BITSWAP_ZSTD).blocks == [make_block(TEXT)]


def test_on_other_streams_a_frame_is_bytes_like_others() -> None:
    for protocol in (BITSWAP_120, BITSWAP_110):
        assert decode(framed(FRAME, len(TEXT)), protocol).blocks == [make_block(FRAME)]
        with pytest.raises(AssertionError):
            encode(BitswapMessage(blocks=[make_block(TEXT)]), protocol, [FRAME])


@pytest.mark.parametrize("protocol", [BITSWAP_120, BITSWAP_ZSTD])
def test_what_a_small_message_expands_to_counts_where_it_is_expanded(protocol: str) -> None:
    claims = pb.Message()
    claims.blocks.add(prefix=b"", data=b"", content_bytes=limits.BITSWAP_DECODE_AT_ONCE_BYTES + 1)
    assert is_long_to_decode(claims.SerializeToString(), protocol) is (protocol == BITSWAP_ZSTD)
    assert not is_long_to_decode(encode(BitswapMessage()), protocol)
    assert is_long_to_decode(bytes(limits.BITSWAP_DECODE_AT_ONCE_BYTES + 1), protocol)
    with pytest.raises(ProtocolViolation):
        is_long_to_decode(b"\xff", BITSWAP_ZSTD)
