"""The best record among those that the peers of one lookup return, and who holds what.

The owner validates each record first and reports an unacceptable one as none at all: a peer that
returned junk lacks the record as much as one that returned nothing. Records that say the same count as
one record, whatever else they carry; the firmest of them stands for all.

Source: libp2p kad-dht spec, "Value retrieval" and "Entry correction"; go-libp2p-kad-dht, routing.go
(processValues, updatePeerValues); caching: rust-libp2p kad, behaviour.rs, `Caching`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from primedht.ids import PeerId

R = TypeVar("R")


class Selection(Generic[R]):
    """State of one lookup's records. The peers are as many as the lookup asked, so it stays small.

    Args:
        better: whether its first record must replace its second; a strict order of the key's records.
        says: what a record says; by default the record itself.
        firmer: whether the first of two that say the same knows better when that was written; by
            default `better`.
        enough_holders: distinct peers with the very best record that settle the matter: 1 where a
            record cannot change (`/pk`), a quorum where one was asked for; None leaves it to the
            lookup's own end.
    """

    def __init__(
        self,
        better: Callable[[R, R], bool],
        *,
        says: Callable[[R], Hashable] = lambda record: record,
        firmer: Callable[[R, R], bool] | None = None,
        enough_holders: int | None = None,
    ) -> None:
        self._better = better
        self._says = says
        self._firmer = firmer or better
        self._enough_holders = enough_holders
        self._best: R | None = None
        self._holders: dict[PeerId, None] = {}
        self._records: dict[PeerId, R | None] = {}
        self._firmest: dict[Hashable, R] = {}

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
        return tuple(
            peer for peer, record in self._records.items() if record is not None and peer not in self._holders
        )

    @property
    def lacking(self) -> tuple[PeerId, ...]:
        """The peers that answered without an acceptable record."""
        return tuple(peer for peer, record in self._records.items() if record is None)

    @property
    def enough(self) -> bool:
        """Whether the lookup may stop: `enough_holders` peers agree on the best record."""
        return self._enough_holders is not None and len(self._holders) >= self._enough_holders

    def on_record(self, peer: PeerId, record: R) -> bool:
        """Take in an acceptable record; return whether what the best one says has changed.

        A peer speaks once: what it says later is ignored, so that one peer cannot be a quorum. Our own
        record counts as one, under our own id.
        """
        if peer in self._records:
            return False
        self._records[peer] = record
        said = self._says(record)
        before = None if self._best is None else self._says(self._best)
        known = self._firmest.get(said)
        if known is None or self._firmer(record, known):
            self._firmest[said] = record
            self._best = self._pick()
        if self._best is None or (now := self._says(self._best)) == before:
            if said == before:
                self._holders[peer] = None
            return False
        self._holders = {
            holder: None
            for holder, held in self._records.items()
            if held is not None and self._says(held) == now
        }
        return True

    def on_no_record(self, peer: PeerId) -> None:
        """Take in an answer without an acceptable record."""
        self._records.setdefault(peer, None)

    def to_correct(self, closest: Iterable[PeerId]) -> list[PeerId]:
        """Return those of `closest` that answered and lack the best record: send it to them."""
        if self._best is None:
            return []
        return [peer for peer in closest if peer in self._records and peer not in self._holders]

    def to_cache(self, closest: Iterable[PeerId]) -> PeerId | None:
        """Return the first of `closest` that answered without a record: cache the best one there."""
        if self._best is None:
            return None
        return next((peer for peer in closest if peer in self._records and self._records[peer] is None), None)

    def _pick(self) -> R | None:
        """Return the best of the firmest: a firmer record may rank lower than the one it replaced."""
        best: R | None = None
        for record in self._firmest.values():
            if best is None or self._better(record, best):
                best = record
        return best
