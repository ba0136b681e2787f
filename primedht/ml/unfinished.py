"""Checkpoints' parts that are being published, on disk, for a restart to go on: `m/p/<id of the job>`."""

from __future__ import annotations

import structlog

from primedht import limits
from primedht.dht.sealed import seal, unseal
from primedht.errors import StoreCorrupt
from primedht.ids import PeerId
from primedht.keys import PrivateKey
from primedht.ml.committing import Publishing
from primedht.ml.runs import RunName, parse_part
from primedht.pb import store_pb2
from primedht.stores.kv import KeyValue, scan_all

log = structlog.get_logger(__name__)

_PREFIX = b"m/p/"


class Unfinished:
    """What jobs of this node publish, by their ids."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv

    async def add(self, id: str, work: Publishing) -> None:
        message = store_pb2.UnfinishedCheckpoint(
            owner=bytes(work.run.owner),
            run=work.run.run,
            step=work.step,
            shard=work.shard[0],
            shards=work.shard[1],
            attempt=work.attempt,
            keep=work.keep,
            pinned=work.pinned,
            part=work.part.encode(),
            timeout_s=work.timeout,
        )
        await self._kv.put({_PREFIX + id.encode(): seal(message)})

    async def remove(self, id: str) -> None:
        await self._kv.put({_PREFIX + id.encode(): None})

    async def all(self) -> dict[str, store_pb2.UnfinishedCheckpoint]:
        """Return what was not finished. What is damaged can be neither finished nor read again: it goes."""
        found = {}
        async for key, raw in scan_all(self._kv, _PREFIX):
            id = key.removeprefix(_PREFIX).decode()
            message = store_pb2.UnfinishedCheckpoint()
            try:
                unseal(raw, message)
            except StoreCorrupt as error:
                log.warning("unfinished_checkpoint_lost", job=id, reason=str(error))
                await self.remove(id)
            else:
                found[id] = message
        return found


def owner_of(message: store_pb2.UnfinishedCheckpoint) -> PeerId:
    return PeerId(message.owner)


def resumed(message: store_pb2.UnfinishedCheckpoint, signer: PrivateKey) -> Publishing:
    """Return the work to go on with, patiently; its part is pinned here."""
    return Publishing(
        RunName(owner_of(message), message.run),
        message.step,
        (message.shard, message.shards),
        message.attempt,
        message.keep,
        message.pinned,
        parse_part(message.part),
        signer,
        was_pinned=True,
        timeout=message.timeout_s,
        patience_s=limits.CHECKPOINT_COMMIT_S_MAX,
    )
