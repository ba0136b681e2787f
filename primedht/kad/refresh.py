"""Which buckets to refresh now, and towards which key.

Refreshing bucket `cpl` is a lookup of a random key with that common prefix length. Deep buckets
beyond what the network can fill are skipped: after the first empty `cpl = c` only those up to
`2 * (c + 1)` are tried.

FIND_NODE carries a preimage, so a key with the wanted prefix has to be found by hashing: about
`2 ** (cpl + 1)` tries, 2**16 at most. `TargetSearch` does it in steps that an event loop can bear.

Source: go-libp2p-kad-dht, rtrefresh/rt_refresh_manager.go; go-libp2p-kbucket, table_refresh.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from math import inf

from primedht import limits
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS, Key

NONCE_BYTES = 24
TRIES_PER_STEP = 4096  # ours: about 2 ms of CPU

_SHA2_256_MULTIHASH = b"\x12\x20"


class RefreshSchedule:
    """When each bucket was last refreshed. Times are monotonic seconds.

    Every method takes the table's `sizes_by_cpl()` of the moment, so a refresh that fills a gap opens
    the buckets behind it. An empty table has nothing to refresh: it must bootstrap.
    """

    def __init__(self, *, interval_s: float, cpl_max: int = limits.REFRESH_CPL_MAX) -> None:
        self._interval_s = interval_s
        self._cpl_max = cpl_max
        self._refreshed_at: dict[int, float] = {}

    def next_due(self, sizes_by_cpl: Sequence[int], now: float) -> int | None:
        """Return the smallest `cpl` that is due for a refresh, or None."""
        for cpl in range(self._count(sizes_by_cpl)):
            if self._due_at(cpl) <= now:
                return cpl
        return None

    def next_due_at(self, sizes_by_cpl: Sequence[int]) -> float:
        """Return when the next refresh is due: `-inf` if one never ran, `inf` with an empty table."""
        return min((self._due_at(cpl) for cpl in range(self._count(sizes_by_cpl))), default=inf)

    def mark(self, cpl: int, now: float) -> None:
        """Note that a lookup towards a key of `cpl` has ended, whatever it was made for."""
        if 0 <= cpl <= self._cpl_max:
            self._refreshed_at[cpl] = now

    def _due_at(self, cpl: int) -> float:
        return self._refreshed_at.get(cpl, -inf) + self._interval_s

    def _count(self, sizes_by_cpl: Sequence[int]) -> int:
        last = min(len(sizes_by_cpl) - 1, self._cpl_max)
        gap = next((cpl for cpl in range(last) if not sizes_by_cpl[cpl]), None)
        return (last if gap is None else min(last, 2 * (gap + 1))) + 1


class TargetSearch:
    """Finds a random preimage whose key shares exactly `cpl` leading bits with `own`.

    Args:
        own: our key.
        cpl: 0 to `limits.REFRESH_CPL_MAX`.
        nonce: `NONCE_BYTES` random bytes: nobody can foretell, and so prepare for, the target.
    """

    def __init__(self, own: Key, cpl: int, nonce: bytes) -> None:
        self._shift = limits.REFRESH_CPL_MAX - cpl  # of the key's first 16 bits
        self._prefix = (own >> (KEY_BITS - 1 - cpl)) ^ 1
        self._start = _SHA2_256_MULTIHASH + nonce
        self._tried = 0

    def advance(self, tries: int = TRIES_PER_STEP) -> PeerId | None:
        """Try up to `tries` more preimages; return one that fits, or None: call again.

        It has the form of a peer id, as some implementations expect of FIND_NODE.
        """
        shift, prefix, start = self._shift, self._prefix, self._start
        for number in range(self._tried, self._tried + tries):
            preimage = start + number.to_bytes(8, "big")
            digest = sha256(preimage).digest()
            if (digest[0] << 8 | digest[1]) >> shift == prefix:
                self._tried = number + 1
                return PeerId(preimage)
        self._tried += tries
        return None
