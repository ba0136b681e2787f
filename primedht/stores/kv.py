"""The one storage port: an ordered map of byte strings that survives what it acknowledged.

Everything the node keeps (records, provider records, known peers, schedules) goes through these
four methods, so a third party's backend needs nothing else. `tests/contract` holds the suite that
every backend passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable

from primedht import limits
from primedht.errors import InvalidArgument


@runtime_checkable
class KeyValue(Protocol):
    """An ordered key-value map. Keys are 1 to 511 bytes; values 0 bytes to 1 MiB.

    All methods raise `StoreUnavailable` when the backend cannot be used now, `StoreFull` when there is
    no room and `StoreCorrupt` when its files are damaged; nothing of the call has been applied then.
    (Across a connection that breaks during a `put` nobody can know: then all of it or nothing was.)
    Once `put` has returned, raised or been cancelled its outcome is settled: nothing lands later.
    """

    async def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Apply `changes` all or nothing; None deletes. Durable once this returns."""
        ...

    async def scan(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` entries whose key starts with `prefix` and is after `after`, in order."""
        ...

    async def aclose(self) -> None:
        """Release the backend. Using it afterwards raises `StoreUnavailable`."""
        ...


def check_changes(changes: Mapping[bytes, bytes | None]) -> None:
    """Raise `InvalidArgument` unless every key and value of a `put` is within the port's limits."""
    for key, value in changes.items():
        if not 0 < len(key) <= limits.STORE_KEY_BYTES_MAX:
            raise InvalidArgument(f"store keys are 1 to {limits.STORE_KEY_BYTES_MAX} bytes, not {len(key)}")
        if value is not None and len(value) > limits.STORE_VALUE_BYTES_MAX:
            raise InvalidArgument(
                f"store values are at most {limits.STORE_VALUE_BYTES_MAX} bytes, not {len(value)}"
            )


async def scan_all(kv: KeyValue, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield every entry whose key starts with `prefix`, in order, reading a page at a time."""
    after = b""
    while page := await kv.scan(prefix, after=after, limit=limits.STORE_SCAN_ENTRIES_MAX):
        for entry in page:
            yield entry
        after = page[-1][0]
