"""`/pk/<multihash>`: a public key under its own hash; all valid records of a key are the same.

Source: go-libp2p-record, pubkey.go.
"""

from __future__ import annotations

from hashlib import sha256

from primedht.errors import InvalidKey, InvalidRecord, MalformedKey
from primedht.keys import PublicKey
from primedht.records.keys import KeyClass, peer_of
from primedht.records.record import Content, RecordLike, ValidRecord


class PkValidator:
    """Accepts the key that the record's key is the peer id of."""

    def validate(self, record: RecordLike, *, now_unix_s: float, copied: bool) -> ValidRecord:
        """Raises `InvalidRecord`. Public keys neither age nor depend on who brings them."""
        try:
            public_key = PublicKey.parse(record.value)
            owner = peer_of(record.key)
        except (MalformedKey, InvalidKey) as error:
            raise InvalidRecord(f"not a public key: {error}") from None
        if public_key.peer_id != owner:
            raise InvalidRecord(f"the public key is {public_key.peer_id}'s, not {owner}'s")
        return ValidRecord(
            key=record.key,
            key_class=KeyClass.PK,
            value=record.value,
            payload=record.value,
            content=Content.VALUE,
            rank=(0, 0, b""),
            digest=sha256(record.value).digest(),
            authenticated=True,
        )
