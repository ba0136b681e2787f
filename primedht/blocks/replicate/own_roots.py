"""The roots that this node asks others to keep, on disk: `b/o/<SHA-256 of the root's multihash>`."""

from __future__ import annotations

from hashlib import sha256

import structlog
import trio

from primedht.cids import Cid
from primedht.dht.sealed import seal, unseal
from primedht.errors import StoreCorrupt
from primedht.ids import PeerId
from primedht.pb import store_pb2
from primedht.stores.kv import KeyValue, scan_all

log = structlog.get_logger(__name__)

_PREFIX = b"b/o/"


class OwnRoots:
    """Each with the owner whose key signs for it."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._changing = trio.Lock()

    async def add(self, root: Cid, owner: PeerId) -> None:
        await self._kv.put({_entry(root): seal(store_pb2.OwnRoot(root=bytes(root), owner=bytes(owner)))})

    async def remove(self, root: Cid) -> None:
        async with self._changing:
            await self._kv.put({_entry(root): None})

    async def note_kept(self, root: Cid) -> None:
        """As many others keep `root` as should, if it has not been removed meanwhile."""
        async with self._changing:
            raw = await self._kv.get(_entry(root))
            if raw is not None:
                message = _message(raw)
                message.kept = True
                await self._kv.put({_entry(root): seal(message)})

    async def find(self, root: Cid) -> tuple[Cid, PeerId] | None:
        """Return the root of that multihash, and its owner."""
        raw = await self._kv.get(_entry(root))
        if raw is None:
            return None
        message = _message(raw)
        return Cid.from_bytes(message.root), PeerId(message.owner)

    async def all(self) -> list[tuple[Cid, PeerId]]:
        return [(Cid.from_bytes(each.root), PeerId(each.owner)) for each in await self._messages()]

    async def unkept(self) -> list[Cid]:
        """Return the roots that too few others have ever kept."""
        return [Cid.from_bytes(each.root) for each in await self._messages() if not each.kept]

    async def _messages(self) -> list[store_pb2.OwnRoot]:
        found = []
        async for entry, raw in scan_all(self._kv, _PREFIX):
            try:
                found.append(_message(raw))
            except StoreCorrupt as error:  # the others are to be kept all the same
                log.error("published_root_damaged", entry=entry.hex(), error=str(error))
        return found


def _entry(root: Cid) -> bytes:
    return _PREFIX + sha256(root.multihash).digest()


def _message(raw: bytes) -> store_pb2.OwnRoot:
    message = store_pb2.OwnRoot()
    unseal(raw, message)
    return message
