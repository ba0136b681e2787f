"""The best record among those that the peers of one lookup return, and who holds what.

The owner validates each record first and reports an unacceptable one as none at all: a peer that
returned junk lacks the record as much as one that returned nothing. A record that is no better and no
worse than the best one counts as the same record.

Source: libp2p kad-dht spec, "Value retrieval" and "Entry correction"; go-libp2p-kad-dht, routing.go
(processValues, updatePeerValues); caching: rust-libp2p kad, behaviour.rs, `Caching`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from primedht.ids import PeerId

R = TypeVar("R")


class Selection(Generic[R]):
    """State of one lookup's records. The peers are as many as the lookup asked, so it stays small.

    Args:
        better: whether its first record must replace its second; a strict order of the key's records.
        enough_holders: distinct peers with the very best record that settle the matter: 1 where a
            record cannot change (`/pk`), a quorum where one was asked for; None leaves it to the
            lookup's own end.
    """

    def __init__(self, better: Callable[[R, R], bool], *, enough_holders: int | None = None) -> None:
        self._better = better
        self._enough_holders = enough_holders
        self._best: R | None = None
        self._holders: dict[PeerId, None] = {}
        self._has_record: dict[PeerId, bool] = {}

    @property
    def best(self) -> R | None:
        """The best record so far."""
        return self._best

    @property
    def holders(self) -> tuple[PeerId, ...]:
        """The peers that returned the best record, in order of answering."""
        return tuple(self._holders)

    @property
    def stale(self) -> tuple[PeerId, ...]:
        """The peers that returned an acceptable record that is not the best one."""
        return tuple(peer for peer, has in self._has_record.items() if has and peer not in self._holders)

    @property
    def lacking(self) -> tuple[PeerId, ...]:
        """The peers that answered without an acceptable record."""
        return tuple(peer for peer, has in self._has_record.items() if not has)

    @property
    def enough(self) -> bool:
        """Whether the lookup may stop: `enough_holders` peers agree on the best record."""
        return self._enough_holders is not None and len(self._holders) >= self._enough_holders

    def on_record(self, peer: PeerId, record: R) -> bool:
        """Take in an acceptable record; return whether it is the best so far, and better than before.

        A peer speaks once: what it says later is ignored, so that one peer cannot be a quorum. Our own
        record counts as one, under our own id.
        """
        if peer in self._has_record:
            return False
        self._has_record[peer] = True
        if self._best is None or self._better(record, self._best):
            self._best, self._holders = record, {peer: None}
            return True
        if not self._better(self._best, record):
            self._holders[peer] = None
        return False

    def on_no_record(self, peer: PeerId) -> None:
        """Take in an answer without an acceptable record."""
        self._has_record.setdefault(peer, False)

    def to_correct(self, closest: Iterable[PeerId]) -> list[PeerId]:
        """Return those of `closest` that answered and lack the best record: send it to them."""
        if self._best is None:
            return []
        return [peer for peer in closest if peer in self._has_record and peer not in self._holders]

    def to_cache(self, closest: Iterable[PeerId]) -> PeerId | None:
        """Return the first of `closest` that answered without a record: cache the best one there."""
        if self._best is None:
            return None
        return next((peer for peer in closest if self._has_record.get(peer) is False), None)
