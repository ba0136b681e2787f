"""Which stream ids the peer has used. Sans-IO.

An id must never be used again, and frames for one that was never opened are a violation. The ids of
new streams are nearly, not strictly, ascending: go-yamux assigns one under a lock and sends the
first frame outside it. So the ids that were passed over are remembered, the latest of them.
"""

from __future__ import annotations

from primedht import limits


class RemoteIds:
    """The ids that a peer, the client (odd) or the server (even), has opened."""

    __slots__ = ("_highest", "_skipped")

    def __init__(self, *, peer_is_client: bool) -> None:
        self._highest = -1 if peer_is_client else 0
        self._skipped: dict[int, None] = {}  # in ascending order

    def belongs(self, stream_id: int) -> bool:
        """Whether the peer may open `stream_id` at all."""
        return stream_id > 0 and (stream_id ^ self._highest) & 1 == 0

    def was_opened(self, stream_id: int) -> bool:
        return stream_id <= self._highest and stream_id not in self._skipped

    def open(self, stream_id: int) -> bool:
        """Note that the peer opens `stream_id`, which belongs to it; return False if it did before."""
        if stream_id <= self._highest:
            if stream_id not in self._skipped:
                return False
            del self._skipped[stream_id]
            return True
        if stream_id > self._highest + 2:
            self._skip(self._highest + 2, stream_id)
        self._highest = stream_id
        return True

    def _skip(self, start: int, end: int) -> None:
        skipped = self._skipped
        latest = range(max(start, end - 2 * limits.YAMUX_SKIPPED_IDS_MAX), end, 2)
        skipped.update(dict.fromkeys(latest))
        if len(skipped) > limits.YAMUX_SKIPPED_IDS_MAX:
            for stream_id in list(skipped)[: -limits.YAMUX_SKIPPED_IDS_MAX]:
                del skipped[stream_id]
