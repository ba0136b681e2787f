"""zstd of values: what comes out is bounded, and is one whole frame or an error."""

from __future__ import annotations

import os
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.blocks.compression import Compressor, Decompressor, is_worthwhile, zstd
from primedht.errors import DecompressionFailed
from primedht.records.pointer import compressed_bytes_max

TEXT = b"it was the best of times, it was the worst of times; " * 4000


def compress(pieces: list[bytes], *, announce: bool = True) -> bytes:
    compressor = Compressor(sum(map(len, pieces)) if announce else None)
    return b"".join([*(compressor.add(piece) for piece in pieces), compressor.finish()])


def decompress(frame: bytes, content_bytes: int, *, piece_bytes: int = 1000) -> bytes:
    """Return all that comes out, each time no more than may."""
    decompressor = Decompressor(content_bytes)
    out = []
    for start in range(0, len(frame), piece_bytes):
        decompressor.add(frame[start : start + piece_bytes])
        while data := decompressor.read():
            assert len(data) <= limits.CONTROL_CHUNK_BYTES
            out.append(data)
    decompressor.finish()
    return b"".join(out)


@given(
    st.lists(st.binary(max_size=300) | st.integers(0, 200_000).map(bytes), max_size=8),
    st.integers(1, 5000),
    st.booleans(),
)
def test_what_was_compressed_comes_out_and_took_no_more_than_the_bound(
    pieces: list[bytes], piece_bytes: int, announce: bool
) -> None:
    whole = b"".join(pieces)
    frame = compress(pieces, announce=announce)
    assert len(frame) <= compressed_bytes_max(len(whole))
    assert decompress(frame, len(whole), piece_bytes=piece_bytes) == whole


@given(st.binary(max_size=400), st.integers(0, 1000))
def test_any_bytes_are_what_was_said_or_an_error(raw: bytes, content_bytes: int) -> None:
    with suppress(DecompressionFailed):
        assert len(decompress(raw, content_bytes)) == content_bytes


@given(st.data())
def test_a_frame_that_was_changed_gives_no_more_than_was_said(data: st.DataObject) -> None:
    frame = bytearray(compress([TEXT]))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DecompressionFailed):
        assert len(decompress(bytes(frame), len(TEXT))) == len(TEXT)


@given(st.integers(1, 400))
def test_a_frame_that_is_cut_short_is_an_error(missing: int) -> None:
    frame = compress([os.urandom(300), TEXT])
    with pytest.raises(DecompressionFailed, match="cut short"):
        decompress(frame[: -min(missing, len(frame))], 300 + len(TEXT))


@pytest.mark.parametrize(
    "behind", [b"\x00", compress([b"more"]), compress([b""]), b"\x50\x2a\x4d\x18" + bytes(4)]
)
def test_there_is_nothing_behind_the_frame(behind: bytes) -> None:
    """Not even a frame that gives nothing, or one to be skipped: a value has one compressed form here."""
    frame = compress([TEXT])
    for piece_bytes in (1000, len(frame), len(frame) + 1):
        with pytest.raises(DecompressionFailed, match="behind"):
            decompress(frame + behind, len(TEXT), piece_bytes=piece_bytes)
    with pytest.raises(DecompressionFailed):
        decompress(behind + frame, len(TEXT))


@pytest.mark.parametrize("change", [-len(TEXT), -1, 1, 1 << 40])
def test_another_size_than_was_said_is_an_error(change: int) -> None:
    for announce in (False, True):
        with pytest.raises(DecompressionFailed, match=r"more bytes|bytes less"):
            decompress(compress([TEXT], announce=announce), len(TEXT) + change)


def test_a_bomb_gives_one_byte_more_than_was_said() -> None:
    bomb = compress([bytes(1 << 20)] * 1024)
    assert len(bomb) < 1 << 17
    decompressor = Decompressor(100_000)
    decompressor.add(bomb)
    given_bytes = 0
    with pytest.raises(DecompressionFailed, match="more bytes"):
        while data := decompressor.read():
            given_bytes += len(data)
    assert given_bytes <= 100_000


def test_a_header_that_lies_about_the_size_is_an_error() -> None:
    """The size in a frame's header is nothing to reserve memory for."""
    block = b"\x09\x00\x00x"  # last, raw, one byte
    header = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40)  # single segment: a window of that size
    with pytest.raises(DecompressionFailed, match="no zstd that is taken"):
        decompress(header + block, 1)


def test_windows_beyond_8_mib_and_dictionaries_are_refused() -> None:
    parameters = zstd.CompressionParameter
    for window_log, goes in ((limits.ZSTD_WINDOW_LOG_MAX, True), (limits.ZSTD_WINDOW_LOG_MAX + 1, False)):
        compressor = zstd.ZstdCompressor(options={parameters.window_log: window_log})
        frame = compressor.compress(TEXT) + compressor.flush()
        if goes:
            assert decompress(frame, len(TEXT)) == TEXT
        else:
            with pytest.raises(DecompressionFailed):
                decompress(frame, len(TEXT))
    dictionary = zstd.train_dict([TEXT[i : i + 400] + os.urandom(20) for i in range(0, 40_000, 40)], 4000)
    frame = zstd.compress(TEXT, zstd_dict=dictionary)
    with pytest.raises(DecompressionFailed):
        decompress(frame, len(TEXT))


def test_only_what_saves_a_tenth_is_worth_it() -> None:
    assert is_worthwhile(TEXT)
    assert not is_worthwhile(os.urandom(100_000))
    assert not is_worthwhile(os.urandom(95_000) + bytes(5000))
    assert is_worthwhile(os.urandom(80_000) + bytes(20_000))
    assert not is_worthwhile(os.urandom(limits.COMPRESSION_PROBE_BYTES) + TEXT * 10), "its beginning decides"
