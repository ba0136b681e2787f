"""Open keys: anyone may write them, and the newest write wins.

A write carries its writer's clock. Peers of other kinds send none: the holder that took the write
from them then stamps its own time of receipt. They also drop ours from the copies that they keep.
A copy without one ranks below all others instead of passing for a new write, so that an old value
that went through such a peer does not come back.

Source: docs/design.md, "Keys, values, lifetimes".
"""

from __future__ import annotations

from hashlib import sha256

from primedht import limits
from primedht.errors import InvalidRecord
from primedht.records import rfc3339
from primedht.records.keys import KeyClass
from primedht.records.pointer import open_pointer
from primedht.records.record import Content, RecordLike, ValidRecord
from primedht.records.signatures import SignatureCache

UNKNOWN_WRITER_UNIX_MS = 1
"""Stands for a time that nobody knows; it travels like any other, as 0 means that a record has none."""


class OpenValidator:
    """Accepts any value; a tombstone has none, and says when the value was deleted."""

    def __init__(self, network_id: str, signatures: SignatureCache) -> None:
        self._network_id = network_id
        self._signatures = signatures

    def validate(self, record: RecordLike, *, now_unix_s: float, copied: bool) -> ValidRecord:
        """Raises `InvalidRecord`. `writer_unix_ms` of the result is what a holder keeps and sends on."""
        if record.tombstone and (record.value or not record.writer_unix_ms):
            raise InvalidRecord("a tombstone has a writer time and no value")
        writer_unix_ms = _writer_unix_ms(record, now_unix_s, copied=copied)
        digest = sha256(record.value).digest()
        pointer = open_pointer(record.value, self._network_id, record.key, self._signatures)
        content = Content.VALUE if pointer is None else Content.POINTER
        return ValidRecord(
            key=record.key,
            key_class=KeyClass.OPEN,
            value=record.value,
            payload=record.value if pointer is None else pointer,
            content=Content.TOMBSTONE if record.tombstone else content,
            # Of a put and a delete in the same millisecond the delete wins.
            rank=(writer_unix_ms, int(record.tombstone), digest),
            digest=digest,
            authenticated=False,
            writer_unix_ms=writer_unix_ms,
        )


def next_writer_unix_ms(observed_unix_ms: int | None, now_unix_ms: int) -> int:
    """Return the writer time of a new write: after the newest one seen, should its clock be ahead.

    Holders take no more than `limits.WRITER_TIME_AHEAD_S_MAX` beyond their own clocks.
    """
    return now_unix_ms if observed_unix_ms is None else max(now_unix_ms, observed_unix_ms + 1)


def _writer_unix_ms(record: RecordLike, now_unix_s: float, *, copied: bool) -> int:
    now_unix_ms = max(UNKNOWN_WRITER_UNIX_MS, int(now_unix_s * 1000))
    if 0 < record.writer_unix_ms <= now_unix_ms + limits.WRITER_TIME_AHEAD_S_MAX * 1000:
        return record.writer_unix_ms
    if record.writer_unix_ms or not copied:
        return now_unix_ms
    received_unix_ns = rfc3339.parse_unix_ns(record.time_received)
    if received_unix_ns is None:
        return UNKNOWN_WRITER_UNIX_MS
    return max(UNKNOWN_WRITER_UNIX_MS, min(received_unix_ns // 1_000_000, now_unix_ms))
