"""zstd, bounded in what it gives and in what memory it takes: of values, and of blocks in transit.

Whatever is decompressed is one frame that ends where its bytes end. What a decompressor gives is bounded
by who calls it, whatever the frame's header claims. No dictionaries, no checksums: what is compressed is
in blocks that are named by their hash, or becomes one.

Source: RFC 8878 (Zstandard Compression), sections 3.1.1 and 7.
"""

from __future__ import annotations

import sys

from primedht import limits
from primedht.errors import DecompressionFailed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD = "zstd"

_WINDOW = int(zstd.DecompressionParameter.window_log_max)
_PROBED_PIECES = 4


class Compressor:
    """Makes one frame of a value that comes in pieces. content_bytes: of the value, if that is known."""

    def __init__(self, content_bytes: int | None = None) -> None:
        self._zstd = zstd.ZstdCompressor(limits.ZSTD_LEVEL)
        self._zstd.set_pledged_input_size(content_bytes)

    def add(self, data: bytes) -> bytes:
        """Return the next bytes of the frame, often none."""
        return self._zstd.compress(data)

    def finish(self) -> bytes:
        """Return the rest of the frame."""
        return self._zstd.flush()


class Decompressor:
    """Gives a value of `content_bytes` out of its frame, in pieces of both.

    `add` bytes of the frame when `read` returns none, and `finish` when there are no more. All raise
    `DecompressionFailed`.
    """

    def __init__(self, content_bytes: int) -> None:
        self._zstd = zstd.ZstdDecompressor(options={_WINDOW: limits.ZSTD_WINDOW_LOG_MAX})
        self._left_bytes = content_bytes
        self._waiting = b""

    def add(self, data: bytes) -> None:
        """Take the next bytes of the frame. What was added before must have been read."""
        if self._zstd.eof and data:
            raise DecompressionFailed("there are bytes behind what was compressed")
        self._waiting = data

    def read(self) -> bytes:
        """Return the next bytes, at most `CONTROL_CHUNK_BYTES`; none when there are none yet."""
        if self._zstd.eof:
            return b""
        waiting, self._waiting = self._waiting, b""
        most = min(limits.CONTROL_CHUNK_BYTES, self._left_bytes + 1)  # one more shows a lie
        data = _decompress(self._zstd, waiting, most)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise DecompressionFailed("it has more bytes than was said")
        if self._zstd.unused_data:
            raise DecompressionFailed("there are bytes behind what was compressed")
        return data

    def finish(self) -> None:
        """Check that all of the value was read."""
        if not self._zstd.eof:
            raise DecompressionFailed("what was compressed is cut short")
        if self._left_bytes:
            raise DecompressionFailed(f"it has {self._left_bytes} bytes less than was said")


def is_worthwhile(head: bytes) -> bool:
    """Return whether zstd saves enough of a value that begins like this."""
    sample = head[: limits.COMPRESSION_PROBE_BYTES]
    return _saves(sample, zstd.compress(sample, limits.ZSTD_LEVEL))


# --- blocks in transit -------------------------------------------------------------------------------


def may_shrink(block: bytes) -> bool:
    """Return whether pieces of a block are worth compressing: some 30 us, so that few others are tried."""
    if len(block) < limits.COMPRESSED_BLOCK_BYTES_MIN:
        return False
    size = limits.COMPRESSION_PROBE_PIECE_BYTES
    step = len(block) // _PROBED_PIECES
    sample = block
    if step > size:  # none at the beginning, where the header of a file of weights is
        starts = range((step - size) // 2, len(block) - size + 1, step)
        sample = b"".join(block[start : start + size] for start in starts)
    return _saves(sample, zstd.compress(sample, limits.ZSTD_TRANSIT_LEVEL))


def shrink(block: bytes) -> bytes | None:
    """Return a block's frame, or None if that saves too little."""
    frame = zstd.compress(block, limits.ZSTD_TRANSIT_LEVEL)
    return frame if _saves(block, frame) else None


def expand(frame: bytes, content_bytes: int) -> bytes:
    """Return the block of so many bytes that `frame` is of. Raises `DecompressionFailed`."""
    decompressor = zstd.ZstdDecompressor(options={_WINDOW: limits.ZSTD_BLOCK_WINDOW_LOG_MAX})
    data = _decompress(decompressor, frame, content_bytes + 1)  # one more shows a lie
    if not decompressor.eof or decompressor.unused_data or len(data) != content_bytes:
        raise DecompressionFailed(f"a block is not the one frame of {content_bytes} bytes that was said")
    return data


def _saves(content: bytes, compressed: bytes) -> bool:
    return len(compressed) <= len(content) * (1 - limits.COMPRESSION_SAVED_SHARE_MIN)


def _decompress(decompressor: zstd.ZstdDecompressor, data: bytes, bytes_max: int) -> bytes:
    try:
        return decompressor.decompress(data, bytes_max)
    except zstd.ZstdError as error:
        raise DecompressionFailed(f"it is no zstd that is taken here: {error}") from None
