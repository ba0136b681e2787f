"""From a backend's name in the configuration to an open store.

Third parties add names with entry points of the group `primedht.storage`: each is a callable that
takes `url` and `prefix` (bytes that name the node) and returns an async context manager of a `KeyValue`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path

from primedht.errors import ConfigInvalid
from primedht.stores.kv import KeyValue
from primedht.stores.memory import MemoryKeyValue

ENTRY_POINTS = "primedht.storage"


@asynccontextmanager
async def open_backend(
    name: str, *, path: Path | None, url: str | None, prefix: bytes, durable: bool
) -> AsyncIterator[KeyValue]:
    """Open the backend called `name`.

    path: where an embedded store may keep its files. url, durable: `storage.url`, `storage.durable`.
    Raises `ConfigInvalid` for an unknown name or a missing path or url, and what the backend raises.
    """
    if name == "memory":
        async with aclosing(MemoryKeyValue()) as memory:
            yield memory
    elif name == "lmdb":
        from primedht.stores.lmdb import open_lmdb

        if path is None:
            raise ConfigInvalid("storage.backend lmdb needs a data directory")
        async with open_lmdb(path) as embedded:
            yield embedded
    elif name == "redis":
        try:
            from primedht.stores.redis import open_redis
        except ImportError:
            raise ConfigInvalid("storage.backend redis needs `pip install primedht[redis]`") from None
        async with open_redis(url or "", prefix=prefix, durable=durable) as shared:
            yield shared
    else:
        found = entry_points(group=ENTRY_POINTS, name=name)
        if not found:
            raise ConfigInvalid(
                f"storage.backend {name!r} is unknown; choose lmdb, memory, redis or install an entry point "
                f"of {ENTRY_POINTS}"
            )
        try:
            open_theirs = next(iter(found)).load()
        except (ImportError, AttributeError) as error:
            raise ConfigInvalid(
                f"storage.backend {name!r} is installed but does not load: {error}"
            ) from error
        async with open_theirs(url=url, prefix=prefix) as theirs:
            yield theirs
