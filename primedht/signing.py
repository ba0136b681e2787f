"""The private keys that a node has, and the records that it signs with them."""

from __future__ import annotations

from primedht import limits
from primedht.clock import SystemClock
from primedht.errors import KeyNotFound, NotPermitted
from primedht.identity_keys import AnyPrivateKey
from primedht.ids import PeerId
from primedht.keys import PrivateKey
from primedht.keystore import Keystore
from primedht.records.keys import peer_of
from primedht.records.record import Content, ValidRecord
from primedht.records.signed import Envelope, next_sequence, sign_envelope


class Signing:
    """identity: the node's own key. keystore: its named ones; a node in memory has none."""

    def __init__(self, identity: AnyPrivateKey, keystore: Keystore | None, network_id: str) -> None:
        self.identity = identity
        self.keystore = keystore
        self._network_id = network_id
        self._clock = SystemClock()

    def key_of(self, owner: PeerId) -> PrivateKey | None:
        """Return the owner's private key, if it is here."""
        if owner == self.identity.peer_id:
            return self.identity if isinstance(self.identity, PrivateKey) else None
        named = {} if self.keystore is None else self.keystore.list()
        return next((private for private in named.values() if private.peer_id == owner), None)

    def permitted(self, owner: PeerId) -> PrivateKey:
        """Return the owner's private key. Raises `NotPermitted` if it is not here."""
        private = self.key_of(owner)
        if private is None:
            raise NotPermitted(f"only {owner} may write this key, and its private key is not here")
        return private

    def named(self, name: str) -> PrivateKey:
        """Return a key of the keystore. Raises `KeyNotFound`."""
        if self.keystore is None:
            raise KeyNotFound("a node in memory has no keystore")
        return self.keystore.get(name)

    def sign(self, key: bytes, content: Content, payload: bytes, ttl_s: float, *, after: int | None) -> bytes:
        """Return the envelope of a new record of a `/prime` key. after: the sequence that it has to exceed.

        Raises `NotPermitted`.
        """
        return self._envelope(self.permitted(peer_of(key)), key, content, payload, ttl_s, after)

    def renew(self, valid: ValidRecord, ttl_s: float) -> bytes | None:
        """Return the envelope of a record again with a later end; None if its owner's key is not here."""
        private = self.key_of(peer_of(valid.key))
        if private is None:
            return None
        return self._envelope(private, valid.key, valid.content, valid.payload, ttl_s, valid.sequence)

    def _envelope(
        self, private: PrivateKey, key: bytes, content: Content, payload: bytes, ttl_s: float,
        after: int | None,
    ) -> bytes:  # fmt: skip
        now_unix_ms = int(self._clock.unix_now() * 1000)
        life_ms = int(min(ttl_s, limits.SIGNED_LIFETIME_S_MAX) * 1000)
        envelope = Envelope(
            content=content,
            network_id=self._network_id,
            sequence=next_sequence(after, None, now_unix_ms),
            issued_unix_ms=now_unix_ms,
            expires_unix_ms=now_unix_ms + life_ms,
            value=payload,
        )
        return sign_envelope(private, key, envelope)
