"""Owners of models and runs: who is meant by a name, and for whom this node can sign."""

from __future__ import annotations

from collections.abc import Callable

from primedht.errors import PrimeDhtError
from primedht.ids import PeerId
from primedht.keys import PrivateKey
from primedht.ml.aliases import Aliases


class Owners:
    """me: this node. signer: an owner's private key; raises `NotPermitted`. named_key: of the keystore."""

    def __init__(
        self,
        me: PeerId,
        aliases: Aliases,
        signer: Callable[[PeerId], PrivateKey],
        named_key: Callable[[str], PrivateKey],
    ) -> None:
        self.me = me
        self.aliases = aliases
        self.signer = signer
        self._named_key = named_key

    def me_by(self, key: str | None) -> PeerId:
        """Return who `me` is where `key`, if any, signs. Raises `KeyNotFound`."""
        return self.me if key is None else self._named_key(key).peer_id

    def may_sign(self, owner: PeerId) -> bool:
        """Return whether the owner's private key is here."""
        try:
            self.signer(owner)
        except PrimeDhtError:
            return False
        return True
