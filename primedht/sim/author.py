"""A writer of signed records, as programs with a key of their own are."""

from __future__ import annotations

from primedht.keys import PrivateKey
from primedht.records.keys import prime_key
from primedht.records.record import Content
from primedht.records.signed import Envelope, sign_envelope
from primedht.sim.clock import true_unix_now


class Author:
    """Signs `/prime` records of one network; sequences go up by one per key."""

    def __init__(self, seed: bytes, network_id: str) -> None:
        self._key = PrivateKey(seed)
        self._network_id = network_id
        self._sequences: dict[bytes, int] = {}

    def key(self, path: str) -> bytes:
        """Return the wire key of ours with this path."""
        return prime_key("sim", self._key.peer_id, path)

    def sign(
        self,
        key: bytes,
        payload: bytes,
        *,
        ttl_s: float,
        tombstone: bool = False,
        sequence: int | None = None,
    ) -> bytes:
        """Return a value to put under `key`; without `sequence` it is newer than all before."""
        if sequence is None:
            sequence = self._sequences.get(key, 0) + 1
        self._sequences[key] = max(sequence, self._sequences.get(key, 0))
        now_ms = int(true_unix_now() * 1000)
        return sign_envelope(
            self._key,
            key,
            Envelope(
                content=Content.TOMBSTONE if tombstone else Content.VALUE,
                network_id=self._network_id,
                sequence=sequence,
                issued_unix_ms=now_ms,
                expires_unix_ms=now_ms + int(ttl_s * 1000),
                value=b"" if tombstone else payload,
            ),
        )
