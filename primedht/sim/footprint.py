"""How much a node keeps in memory, seen from outside: everything that its engine refers to.

The walk stays within the engine: it enters containers and objects of `ENGINE_PACKAGES`, and stops at
ports, tasks and the world, which are not the engine's to keep.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter, OrderedDict, defaultdict, deque

ENGINE_PACKAGES = ("primedht.dht", "primedht.kad", "primedht.records", "primedht.results")

_CONTAINERS = (dict, list, tuple, set, frozenset, deque, OrderedDict, defaultdict, Counter)
_LEAVES = (int, float, bytes, bytearray, str, memoryview)


def footprint_bytes(root: object) -> int:
    """Return the size of all that `root`, an object of the engine, keeps; what is shared counts once."""
    seen = {id(root)}
    left = [root]
    total = 0
    while left:
        one = left.pop()
        total += sys.getsizeof(one)
        if isinstance(one, _LEAVES):
            continue
        for kept in gc.get_referents(one):
            if id(kept) not in seen and _is_kept(kept):
                seen.add(id(kept))
                left.append(kept)
    return total


def _is_kept(one: object) -> bool:
    if isinstance(one, type):
        return False
    kind = type(one)
    return (
        kind in _CONTAINERS
        or kind in _LEAVES
        or kind.__module__.startswith(ENGINE_PACKAGES)
        or (isinstance(one, _LEAVES))
    )
