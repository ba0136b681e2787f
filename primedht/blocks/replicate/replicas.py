"""What this node keeps for others, on disk, and how much of it each of them may fill.

b/k/<SHA-256 of the key>    a record that points at blocks, who asked to keep them, and until when
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from primedht.dht.sealed import seal, unseal
from primedht.dht.value_index import quota_block
from primedht.errors import StoreFull, ValueTooLarge
from primedht.ids import PeerId
from primedht.pb import store_pb2
from primedht.stores.kv import KeyValue, scan_all

_PREFIX = b"b/k/"


@dataclass(frozen=True, slots=True)
class Replica:
    """record: the value of `key`'s record, a pointer. dag_bytes: of its blocks. ip: of who asked, or ""."""

    key: bytes
    record: bytes
    requester: PeerId
    ip: str
    dag_bytes: int
    expires_unix_s: float

    @property
    def pin_name(self) -> str:
        return f"replica:{sha256(self.key).hexdigest()}"


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

    def get(self, key: bytes) -> Replica | None:
        return self._kept.get(key)

    @contextmanager
    def reserving(self, replica: Replica) -> Iterator[None]:
        """Count `replica` while it is fetched. Raises `StoreFull` if a quota has no room for it."""
        others = [each for each in (*self._kept.values(), *self._reserved) if each.key != replica.key]
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
        """Keep `replica` in the place of another one of its key; on disk on return."""
        message = store_pb2.Replica(
            key=replica.key,
            record=replica.record,
            requester=bytes(replica.requester),
            ip=replica.ip,
            dag_bytes=replica.dag_bytes,
            expires_unix_s=replica.expires_unix_s,
        )
        await self._kv.put({_entry(replica.key): seal(message)})
        self._kept[replica.key] = replica

    async def remove(self, key: bytes) -> None:
        await self._kv.put({_entry(key): None})
        self._kept.pop(key, None)

    async def load(self) -> None:
        """Read what is on disk. Raises `StoreCorrupt`."""
        async for _, raw in scan_all(self._kv, _PREFIX):
            message = store_pb2.Replica()
            unseal(raw, message)
            self._kept[message.key] = Replica(
                message.key, message.record, PeerId(message.requester), message.ip, message.dag_bytes,
                message.expires_unix_s,
            )  # fmt: skip


def _entry(key: bytes) -> bytes:
    return _PREFIX + sha256(key).digest()
