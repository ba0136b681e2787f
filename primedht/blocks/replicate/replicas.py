"""What this node keeps for others, on disk, and how much of it each of them may fill.

b/k/<SHA-256 of the key>     a record that points at blocks, who asked to keep them, and until when
b/s/<SHA-256 of the root and the statement's writer>    likewise, of a DAG with a statement and no record
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import structlog

from primedht.dht.sealed import seal, unseal
from primedht.dht.value_index import quota_block
from primedht.errors import StoreCorrupt, StoreFull, ValueTooLarge
from primedht.ids import PeerId
from primedht.pb import store_pb2
from primedht.stores.kv import KeyValue, scan_all

log = structlog.get_logger(__name__)

_KEY, _DAG = b"b/k/", b"b/s/"
_PIN = "replica:"


def is_replica(pin_name: str) -> bool:
    """Return whether a pin of that name keeps something for others."""
    return pin_name.startswith(_PIN)


@dataclass(frozen=True, slots=True)
class Replica:
    """record: the value of `key`'s record, a pointer; without a key, a signed statement.

    root: binary CID. writer: who signed the statement; empty with a key. dag_bytes: of its blocks. ip: of who
    asked, or "".
    """

    key: bytes
    record: bytes
    root: bytes
    requester: PeerId
    ip: str
    dag_bytes: int
    expires_unix_s: float
    writer: bytes = b""

    @property
    def id(self) -> bytes:
        """What tells replicas apart: a key has one value, and a writer one statement about a root."""
        if self.key:
            return _KEY + sha256(self.key).digest()
        return _DAG + sha256(self.root + self.writer).digest()

    @property
    def pin_name(self) -> str:
        digest = self.id[len(_KEY) :].hex()
        return f"{_PIN}{digest}" if self.key else f"{_PIN}dag:{digest}"


@dataclass(frozen=True, slots=True)
class ReplicaQuotas:
    """Bytes kept for others: in all, and the shares that one peer and one block of IP addresses may have."""

    bytes_max: int
    peer_share: float
    ip_block_share: float


class Replicas:
    """The replicas of one node, and those being fetched. Made by `open_replicas`."""

    def __init__(self, kv: KeyValue, quotas: ReplicaQuotas) -> None:
        self._kv = kv
        self._quotas = quotas
        self._kept: dict[bytes, Replica] = {}
        self._reserved: list[Replica] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_used(self) -> int:
        return sum(each.dag_bytes for each in self._kept.values())

    def all(self) -> list[Replica]:
        return list(self._kept.values())

    def get(self, id: bytes) -> Replica | None:
        return self._kept.get(id)

    def of_statements(self, root: bytes) -> list[Replica]:
        """Return what is kept for statements about a binary CID."""
        return [each for each in self._kept.values() if not each.key and each.root == root]

    @contextmanager
    def reserving(self, replica: Replica) -> Iterator[None]:
        """Count `replica` while it is fetched. Raises `StoreFull` if a quota has no room for it."""
        others = [each for each in self._kept.values() if each.id != replica.id]
        # An offer that is repeated while it is fetched takes no room; another one of the same key does.
        others += [each for each in self._reserved if (each.id, each.root) != (replica.id, replica.root)]
        by_peer: Counter[PeerId] = Counter()
        by_block: Counter[str] = Counter()
        for each in (*others, replica):
            by_peer[each.requester] += each.dag_bytes
            by_block[quota_block(each.ip)] += each.dag_bytes
        quotas = self._quotas
        if replica.dag_bytes > quotas.bytes_max * quotas.peer_share:
            raise ValueTooLarge(f"one peer may fill {quotas.bytes_max * quotas.peer_share:.0f} bytes here")
        block = quota_block(replica.ip)
        if by_peer.total() > quotas.bytes_max:
            raise StoreFull(f"replicate.bytes_max is {quotas.bytes_max}")
        if by_peer[replica.requester] > quotas.bytes_max * quotas.peer_share:
            raise StoreFull(f"{replica.requester} has its share of replicate.bytes_max")
        if block and by_block[block] > quotas.bytes_max * quotas.ip_block_share:
            raise StoreFull(f"{block} has its share of replicate.bytes_max")
        self._reserved.append(replica)
        try:
            yield
        finally:
            self._reserved.remove(replica)

    async def add(self, replica: Replica) -> None:
        """Keep `replica` in the place of another one of its id; on disk on return."""
        message = store_pb2.Replica(
            key=replica.key,
            record=replica.record,
            root=replica.root,
            requester=bytes(replica.requester),
            ip=replica.ip,
            dag_bytes=replica.dag_bytes,
            expires_unix_s=replica.expires_unix_s,
            writer=replica.writer,
        )
        await self._kv.put({replica.id: seal(message)})
        self._kept[replica.id] = replica

    async def remove(self, id: bytes) -> None:
        await self._kv.put({id: None})
        self._kept.pop(id, None)

    async def load(self) -> None:
        """Read what is on disk. What is damaged stays pinned until it expires, and no more is done for it."""
        for prefix in (_KEY, _DAG):
            async for id, raw in scan_all(self._kv, prefix):
                message = store_pb2.Replica()
                try:
                    unseal(raw, message)
                except StoreCorrupt as error:
                    log.error("replica_damaged", entry=id.hex(), error=str(error))
                    continue
                self._kept[id] = Replica(
                    message.key, message.record, message.root, PeerId(message.requester), message.ip,
                    message.dag_bytes, message.expires_unix_s, message.writer,
                )  # fmt: skip
