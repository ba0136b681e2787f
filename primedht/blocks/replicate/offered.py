"""What is kept or to be kept: a value behind a signed pointer, or any DAG behind a signed statement."""

from __future__ import annotations

from dataclasses import dataclass

from primedht.blocks.blocks import Blocks
from primedht.cids import Cid
from primedht.errors import InvalidDag, InvalidRecord
from primedht.ids import PeerId
from primedht.kad.messages import Record
from primedht.records.keys import KeyClass, peer_of
from primedht.records.pointer import decode_pointer, pointer_writer
from primedht.records.record import Content, Rank
from primedht.records.statement import open_statement
from primedht.records.validator import RecordValidator

_MS = 1000


@dataclass(frozen=True, slots=True)
class HeldValue:
    """Blocks that are here. own: this node published them.

    record: the value of `key`'s record, a pointer; or, if `key` is empty, a signed statement.
    """

    key: bytes
    record: bytes
    expires_unix_s: float
    own: bool


@dataclass(frozen=True, slots=True)
class Offered:
    """What a pointer or a statement says. size_bytes: what receipts name. dag_bytes: may be fetched at most.

    blocks: of the whole DAG, if that is known exactly. writer: whose word it is. expires_unix_s: of the word.
    rank: what its owner signed to order the records of its key; None where there is no such order.
    """

    root: Cid
    size_bytes: int
    dag_bytes: int
    blocks: int | None
    writer: PeerId
    expires_unix_s: float | None
    rank: Rank | None = None

    async def check(self, blocks: Blocks) -> None:
        """Raise `InvalidDag` unless all of it is here and is what was said."""
        if self.blocks is None:
            item = await blocks.describe(self.root)
            if item.kind != "file" or item.size_bytes != self.size_bytes:
                raise InvalidDag(f"{self.root} is not a file of {self.size_bytes} bytes")
            return
        found = await blocks.stat(self.root)
        if (found.missing, found.blocks, found.bytes) != (0, self.blocks, self.size_bytes):
            raise InvalidDag(f"{self.root} has not {self.blocks} blocks of {self.size_bytes} bytes")


def read_offer(
    key: bytes, record: bytes, validator: RecordValidator, network_id: str, *, now_unix_s: float
) -> Offered:
    """Return what is offered. Raises `InvalidRecord`, `InvalidKey`, `ValueTooLarge`."""
    if not key:
        return _of_statement(record, network_id, now_unix_s)
    valid = validator.validate(Record(key, record), now_unix_s=now_unix_s, copied=True)
    if valid.content is not Content.POINTER:
        raise InvalidRecord("the record offered is no pointer")
    is_prime = valid.key_class is KeyClass.PRIME
    pointer = decode_pointer(valid.payload)
    return Offered(
        *(pointer.root, pointer.size_bytes, pointer.dag_bytes, None),
        writer=peer_of(key) if is_prime else pointer_writer(record),
        expires_unix_s=valid.expires_unix_s,
        rank=valid.rank if is_prime else None,
    )


def _of_statement(record: bytes, network_id: str, now_unix_s: float) -> Offered:
    statement, writer = open_statement(record, network_id)
    expires_unix_s = statement.expires_unix_ms / _MS
    if expires_unix_s <= now_unix_s:
        raise InvalidRecord("the statement has expired")
    size = statement.size_bytes
    return Offered(statement.root, size, size, statement.blocks, writer, expires_unix_s)
