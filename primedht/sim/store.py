"""A store that fails on demand, and outlives the process that uses it.

The inner store is the disk: it belongs to the simulated machine. Each process gets its own
`FaultyKeyValue` over it, which stops working for good when that process crashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import trio

from primedht.errors import StoreFull, StoreUnavailable
from primedht.sim.timeline import tick_after
from primedht.stores.kv import KeyValue


@dataclass(slots=True)
class StoreFaults:
    """What goes wrong now; scenarios change the fields while they run.

    error_rate: share of calls that raise `StoreUnavailable`, nothing applied.
    fail_next: so many calls more raise it. full: puts that add or change anything raise `StoreFull`.
    delay_s: seconds that each call takes.
    """

    error_rate: float = 0.0
    fail_next: int = 0
    full: bool = False
    delay_s: float = 0.0


class FaultyKeyValue:
    """A `KeyValue` over another one, with `faults`, as one process sees its disk."""

    def __init__(self, disk: KeyValue, faults: StoreFaults, rng: Random) -> None:
        self.faults = faults
        self.puts_count = 0
        self._disk = disk
        self._rng = rng
        self._closed = False

    def cut(self) -> None:
        """Fail every later call, as for a process that no longer exists; the disk stays as it is."""
        self._closed = True

    async def get(self, key: bytes) -> bytes | None:
        await self._gate()
        return await self._disk.get(key)

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        await self._gate()
        if self.faults.full and any(value is not None for value in changes.values()):
            raise StoreFull("the simulated disk is full")
        self.puts_count += 1
        await self._disk.put(changes)

    async def scan(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        await self._gate()
        return await self._disk.scan(prefix, after=after, limit=limit)

    async def aclose(self) -> None:
        self.cut()
        await trio.lowlevel.checkpoint()

    async def _gate(self) -> None:
        if self.faults.delay_s:
            await trio.sleep_until(tick_after(self.faults.delay_s))
        if self._closed:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("the simulated process is gone")
        if self.faults.fail_next or (self.faults.error_rate and self._rng.random() < self.faults.error_rate):
            self.faults.fail_next = max(0, self.faults.fail_next - 1)
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("a simulated store error")
