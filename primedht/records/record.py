"""What is known of a record once it is validated, and which of two records of a key is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from primedht.records.keys import KeyClass

Rank: TypeAlias = tuple[int, int, bytes]
"""Orders the records of one key; the greater is the better. Equal ranks: the same record."""


class Content(StrEnum):
    """What a record's payload is."""

    VALUE = "value"
    POINTER = "pointer"  # says which blocks hold the value
    TOMBSTONE = "tombstone"  # the writer deleted the value


class RecordLike(Protocol):
    """The fields of a record that validators look at (`kad.messages.Record` has them)."""

    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...
    @property
    def time_received(self) -> str: ...
    @property
    def writer_unix_ms(self) -> int: ...
    @property
    def tombstone(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ValidRecord:
    """A record that its class's validator accepted, and what that established.

    value: the record's value as it travels. payload: what the writer stored, without the envelope.
    digest: SHA-256 of what the writer wrote; differs between any two writes of a key.
    authenticated: a signature or hash proves who wrote it.
    sequence: of `/prime` and `/ipns` records. writer_unix_ms: of open ones, never 0.
    expires_unix_s: the end that the writer signed; None if the writer set none.
    """

    key: bytes
    key_class: KeyClass
    value: bytes
    payload: bytes
    content: Content
    rank: Rank
    digest: bytes
    authenticated: bool
    sequence: int | None = None
    writer_unix_ms: int | None = None
    expires_unix_s: float | None = None


class Validator(Protocol):
    """The rule of one key class."""

    def validate(self, record: RecordLike, *, now_unix_s: float, copied: bool) -> ValidRecord:
        """Return what `record` establishes. Raises `InvalidRecord`.

        copied: the record did not come from its writer: a replica, a reply, one held in a store.
        """
        ...


def compare(a: ValidRecord, b: ValidRecord) -> int:
    """Return 1 if `a` is the better record of the key, -1 if `b` is, 0 if they are the same record."""
    return (a.rank > b.rank) - (a.rank < b.rank)


def select(records: Sequence[ValidRecord]) -> int:
    """Return the index of the best of `records` (at least one): the first of equals."""
    best = 0
    for index in range(1, len(records)):
        if compare(records[index], records[best]) > 0:
            best = index
    return best


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Proof that an owner signed two different records with one sequence: both verify by themselves."""

    key: bytes
    sequence: int
    values: tuple[bytes, bytes]


def find_equivocation(a: ValidRecord, b: ValidRecord) -> Equivocation | None:
    """Return proof if the owner of a `/prime` key signed both records with the same sequence."""
    if a.key_class is not KeyClass.PRIME or a.key != b.key:
        return None
    if a.sequence is None or a.sequence != b.sequence or a.digest == b.digest:
        return None
    return Equivocation(a.key, a.sequence, (a.value, b.value))
