"""How many bytes a second a node sends and receives, DHT traffic aside.

Transfers of blocks and streams of programs share the two rates; lookups, identify and pings never wait
for them. What comes in is slowed down by not reading it: the peer runs out of its window and waits.
"""

from __future__ import annotations

from collections.abc import Container

_BURST_S = 0.25  # what may go at once after a pause, in seconds of the rate
_PIECE_S = 0.05  # what is sent or read at a time, likewise: transfers take turns that often
_PIECE_BYTES_MIN = 1 << 10
_PIECE_BYTES_MAX = 64 << 10


class TokenBucket:
    """A rate in bytes per second, and who may send when. Sans-IO.

    Tokens may be owed: whoever takes them waits until they have come in, and those who come later wait
    behind. So turns are taken in order, and nothing needs to be woken.
    """

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._burst_bytes = max(bytes_per_s * _BURST_S, _PIECE_BYTES_MIN)
        self._tokens = self._burst_bytes
        self._updated_at = 0.0

    @property
    def piece_bytes(self) -> int:
        """What is best moved at a time."""
        return int(min(max(self.bytes_per_s * _PIECE_S, _PIECE_BYTES_MIN), _PIECE_BYTES_MAX))

    def take(self, size_bytes: int, now: float) -> float:
        """Take tokens for `size_bytes` at `now` (seconds, monotonic); return how long to wait for them."""
        earned = (now - self._updated_at) * self.bytes_per_s
        self._tokens = min(self._tokens + earned, self._burst_bytes) - size_bytes
        self._updated_at = now
        return max(0.0, -self._tokens / self.bytes_per_s)


class Rates:
    """The rates of one node, None where there is no limit. exempt: protocols whose streams never wait."""

    def __init__(
        self,
        upload_bytes_per_s: float | None = None,
        download_bytes_per_s: float | None = None,
        exempt: Container[str] = (),
    ) -> None:
        self._upload = None if upload_bytes_per_s is None else TokenBucket(upload_bytes_per_s)
        self._download = None if download_bytes_per_s is None else TokenBucket(download_bytes_per_s)
        self._exempt = exempt

    def of(self, protocol: str) -> tuple[TokenBucket | None, TokenBucket | None]:
        """Return what streams of `protocol` take from: to send, and for what they have read."""
        return (None, None) if protocol in self._exempt else (self._upload, self._download)
