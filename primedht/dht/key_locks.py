"""One lock per key, for as long as somebody holds it or waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)


class KeyLocks(Generic[K]):
    """The locks of a store's keys. `key in locks` says whether it is held now."""

    def __init__(self) -> None:
        self._locks: dict[K, trio.Lock] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._locks

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def holding(self, key: K) -> AsyncIterator[None]:
        """Wait for the lock of `key`, in order of coming, and hold it."""
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            # Released with somebody waiting, the lock is already theirs.
            if not lock.locked() and self._locks.get(key) is lock:
                del self._locks[key]

    @contextmanager
    def holding_free(self, keys: Iterable[K]) -> Iterator[None]:
        """Hold the locks of `keys`, which nobody holds now, without waiting."""
        locks = {key: trio.Lock() for key in keys}
        for lock in locks.values():
            lock.acquire_nowait()
        self._locks |= locks
        try:
            yield
        finally:
            for key, lock in locks.items():
                lock.release()
                if not lock.locked():
                    del self._locks[key]
