"""The truth about who is closest to what, by brute force over all serving nodes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from primedht.kad.key import KEY_BITS, Key, distance, key_of
from primedht.sim.node import SimNode


class Census:
    """The serving nodes of one moment, sorted once, so that thousands of questions cost little."""

    def __init__(self, nodes: Iterable[SimNode]) -> None:
        self._nodes = sorted(nodes, key=lambda node: node.key)
        self._keys = [node.key for node in self._nodes]

    def __len__(self) -> int:
        return len(self._nodes)

    def closest(self, target: Key | bytes, n: int) -> list[SimNode]:
        """Return the `n` nodes closest to `target` (a key, or its preimage), closest first.

        They are all in the smallest subtree around the target that has at least `n` nodes.
        """
        point = key_of(target) if isinstance(target, bytes) else target
        low, high = 0, len(self._keys)
        for shift in range(KEY_BITS - 1, -1, -1):
            first = point >> shift << shift
            inner_low = bisect_left(self._keys, first, low, high)
            inner_high = bisect_left(self._keys, first + (1 << shift), low, high)
            if inner_high - inner_low < n:
                break
            low, high = inner_low, inner_high
        return sorted(self._nodes[low:high], key=lambda node: distance(node.key, point))[:n]
