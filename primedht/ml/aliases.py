"""Aliases of owners on this machine: `m/a/<alias>` in the store, its value the peer id."""

from __future__ import annotations

from primedht.ids import PeerId
from primedht.ml.names import check_alias
from primedht.stores.kv import KeyValue, scan_all

_ALIAS = b"m/a/"


class Aliases:
    """Short names for owners of models; they mean nothing to anybody else."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    async def set(self, alias: str, owner: PeerId) -> None:
        """Let `alias` stand for `owner` from now on. Raises `InvalidArgument`."""
        check_alias(alias)
        await self._kv.put({_ALIAS + alias.encode(): bytes(owner)})

    async def remove(self, alias: str) -> bool:
        """Forget an alias; False if it was not set."""
        check_alias(alias)
        key = _ALIAS + alias.encode()
        was_set = await self._kv.get(key) is not None
        await self._kv.put({key: None})
        return was_set

    async def all(self) -> dict[str, PeerId]:
        """Return all aliases by name."""
        return {
            key.removeprefix(_ALIAS).decode(): PeerId(raw) async for key, raw in scan_all(self._kv, _ALIAS)
        }
