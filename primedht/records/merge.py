"""What a holder does with a record that arrives for a key: the one rule of writing.

Pure. Whoever stores records asks here, for puts, replicas and corrections alike, so that no way of
arriving can bring an old value back or lengthen a life.

Source: DESIGN.md, "Keys, values, lifetimes"; go-libp2p-kad-dht, records/value_store.go (Put).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from primedht import limits
from primedht.errors import StoreCorrupt
from primedht.records.keys import KeyClass
from primedht.records.record import Rank, ValidRecord, compare

_FLOOR = struct.Struct(">QQ32sd")


@dataclass(frozen=True, slots=True)
class Held:
    """The record that a holder has for a key, and when it ends there."""

    record: ValidRecord
    expires_unix_s: float


@dataclass(frozen=True, slots=True)
class Floor:
    """The best rank seen of a key, kept while a worse record could still be about.

    It outlives the record itself: after an expiry or eviction nothing older may take its place.
    """

    rank: Rank
    until_unix_s: float

    def pack(self) -> bytes:
        """Return the stored form."""
        return _FLOOR.pack(*self.rank, self.until_unix_s)

    @classmethod
    def unpack(cls, packed: bytes) -> Floor:
        """Raises `StoreCorrupt`."""
        try:
            major, minor, digest, until_unix_s = _FLOOR.unpack(packed)
        except struct.error:
            raise StoreCorrupt("a record floor of the wrong size") from None
        return cls((major, minor, digest), until_unix_s)


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Proof that an owner signed two different records with one sequence: both verify by themselves."""

    key: bytes
    sequence: int
    values: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the arrived record.

    store: it replaces what is held. refresh: keep what is held, which now ends at `expires_unix_s`.
    unchanged: keep what is held; the sender gets its acknowledgement. stale: refuse it.
    floor: what to remember with a stored or refreshed record; None for classes without floors.
    equivocation: to be reported, whatever the outcome.
    """

    outcome: Literal["store", "refresh", "unchanged", "stale"]
    expires_unix_s: float
    floor: Floor | None = None
    equivocation: Equivocation | None = None


def merge(
    held: Held | None,
    arrived: Held,
    *,
    renews: bool,
    now_unix_s: float,
    ttl_s: float,
    floor: Floor | None = None,
) -> Decision:
    """Decide about `arrived`, whose `expires_unix_s` is what `lifetimes.expires_unix_s` gives it.

    held: what the holder has, expired or not; floor: what it remembers of the key.
    renews: the record comes from its writer (`lifetimes.from_writer`), so an equal one may live on.
    ttl_s: how long records live here, hence how long an older copy may turn up.
    """
    record = arrived.record
    if arrived.expires_unix_s <= now_unix_s:
        return Decision("stale", arrived.expires_unix_s)
    equivocation = None if held is None else find_equivocation(held.record, record)
    if held is not None and held.expires_unix_s > now_unix_s:
        order = compare(record, held.record)
        if order == 0 or (order < 0 and _same_write(held.record, record)):
            end_unix_s = max(held.expires_unix_s, arrived.expires_unix_s)
            if not renews or end_unix_s == held.expires_unix_s:
                return Decision("unchanged", held.expires_unix_s)
            return Decision("refresh", end_unix_s, floor_of(held.record, now_unix_s, ttl_s))
        if order < 0:
            return Decision("stale", held.expires_unix_s, equivocation=equivocation)
    elif floor is not None and floor.until_unix_s > now_unix_s and record.rank < floor.rank:
        return Decision("stale", arrived.expires_unix_s, equivocation=equivocation)
    return Decision("store", arrived.expires_unix_s, floor_of(record, now_unix_s, ttl_s), equivocation)


def floor_of(record: ValidRecord, now_unix_s: float, ttl_s: float) -> Floor | None:
    """Return what a holder remembers once it has seen `record`, or None for `/pk` and `/ipns`.

    It holds until the latest moment at which a worse record, written before now, could live.
    """
    if record.key_class is KeyClass.PRIME:
        longest_s = limits.SIGNED_ISSUED_AHEAD_S_MAX + limits.SIGNED_LIFETIME_S_MAX
    elif record.key_class is KeyClass.OPEN:
        longest_s = ttl_s
    else:
        return None
    return Floor(record.rank, now_unix_s + longest_s)


def find_equivocation(a: ValidRecord, b: ValidRecord) -> Equivocation | None:
    """Return proof if the owner of a `/prime` key signed both records with the same sequence."""
    if a.key_class is not KeyClass.PRIME or a.key != b.key:
        return None
    if a.sequence is None or a.sequence != b.sequence or a.digest == b.digest:
        return None
    return Equivocation(a.key, a.sequence, (a.value, b.value))


def _same_write(held: ValidRecord, arrived: ValidRecord) -> bool:
    """Whether an open record says what the held one says, only with an older writer time or none.

    Refusing it would make its sender look for another holder of a value that is held here.
    """
    return (
        held.key_class is KeyClass.OPEN and held.content is arrived.content and held.digest == arrived.digest
    )
