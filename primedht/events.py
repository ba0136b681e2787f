"""What every operation of the node ends in: one frozen event. Logs and subscriptions are made of it."""

from __future__ import annotations

from dataclasses import dataclass

from primedht.ids import PeerId
from primedht.results import Trace

OPERATIONS = (
    "put", "get", "search", "delete", "republish", "provide", "reprovide", "find_providers", "find_peer",
    "closest_peers", "hand_over",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperationEnded:
    """One operation of the DHT, when it has ended.

    operation: one of `OPERATIONS`. key: the record's key, the multihash or the peer id that it was about;
    empty for `hand_over`. started_unix_s: by the wall clock. took_s: seconds.
    outcome: "ok", "cancelled" (who asked for it gave up), or the code of its error.
    peers: who now holds the record, returned it, was told or was found.
    value_bytes: of the record's value. trace: how its lookup went.
    """

    operation: str
    key: bytes
    started_unix_s: float
    took_s: float
    outcome: str
    peers: tuple[PeerId, ...] = ()
    value_bytes: int = 0
    trace: Trace | None = None
