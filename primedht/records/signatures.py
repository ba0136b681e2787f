"""Signature checks that are not done twice: the same few records are read, served and copied often."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

from primedht import limits
from primedht.keys import PublicKey


class SignatureCache:
    """Remembers, by digest, which signatures were good. Bad ones are not remembered: they cost
    their sender a connection, and would push out good ones."""

    def __init__(self, entries_max: int = limits.VERIFIED_SIGNATURES_MAX) -> None:
        self._entries_max = entries_max
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._good)

    def verify(self, key: PublicKey, message: bytes, signature: bytes) -> bool:
        """Return whether `signature` is `key`'s of `message`."""
        parts = (key.serialized, signature, message)
        digest = sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
        if digest in self._good:
            self._good.move_to_end(digest)
            return True
        if not key.verify(message, signature):
            return False
        self._good[digest] = None
        if len(self._good) > self._entries_max:
            self._good.popitem(last=False)
        return True
