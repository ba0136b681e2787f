"""The store in memory: for nodes without a data directory, for tests and for the simulator.

Deterministic: no threads, no clock, and every call yields to the scheduler exactly once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping

import trio

from primedht.errors import StoreUnavailable
from primedht.stores.kv import check_changes


class MemoryKeyValue:
    """A `KeyValue` that forgets everything when it goes."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []  # sorted
        self._closed = False

    async def get(self, key: bytes) -> bytes | None:
        await self._checkpoint()
        return self._values.get(key)

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        check_changes(changes)
        await self._checkpoint()
        for key, value in changes.items():
            if value is None:
                if self._values.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
                continue
            if key not in self._values:
                insort(self._keys, key)
            self._values[key] = bytes(value)

    async def scan(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        await self._checkpoint()
        start = bisect_left(self._keys, prefix)
        if after >= prefix:
            start = bisect_right(self._keys, after, lo=start)
        page = []
        for key in self._keys[start : start + limit]:
            if not key.startswith(prefix):
                break
            page.append((key, self._values[key]))
        return page

    async def aclose(self) -> None:
        self._closed = True
        self._values.clear()
        self._keys.clear()
        await trio.lowlevel.checkpoint()

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise StoreUnavailable("the store is closed")
