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

_OPTIONS = {int(zstd.DecompressionParameter.window_log_max): limits.ZSTD_WINDOW_LOG_MAX}


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
        self._zstd = zstd.ZstdDecompressor(options=_OPTIONS)
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


def is_worthwhile(sample: bytes) -> bool:
    """Return whether zstd saves enough of a value that begins like this."""
    sample = sample[: limits.COMPRESSION_PROBE_BYTES]
    compressed = zstd.compress(sample, limits.ZSTD_LEVEL)
    return len(compressed) <= len(sample) * (1 - limits.COMPRESSION_SAVED_SHARE_MIN)


def _decompress(decompressor: zstd.ZstdDecompressor, data: bytes, bytes_max: int) -> bytes:
    try:
        return decompressor.decompress(data, bytes_max)
    except zstd.ZstdError as error:
        raise DecompressionFailed(f"it is no zstd that is taken here: {error}") from None
