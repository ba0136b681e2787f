"""One content's announcement: who has been told that we have it, and who would not hear."""

from __future__ import annotations

from math import ceil

from primedht import limits
from primedht.dht.ports import Rpc
from primedht.errors import RemoteError
from primedht.ids import PeerId
from primedht.kad.key import KEY_BITS
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.kad.netsize import likely_share
from primedht.results import ProvideResult, Refusal, Trace


class Announcement:
    """Tells each peer once.

    Args:
        ourselves: with the addresses that others shall learn. timeout_s: of each message.
        silent: peers that are left out; who does not take the message is added to it.
    """

    def __init__(
        self, rpc: Rpc, multihash: bytes, ourselves: PeerInfo, *, timeout_s: float, silent: set[PeerId]
    ) -> None:
        self.told: list[PeerId] = []
        self._rpc = rpc
        self._message = Message(MessageType.ADD_PROVIDER, multihash, provider_peers=(ourselves,))
        self._timeout_s = timeout_s
        self._silent = silent
        self._tried: set[PeerId] = set()
        self._failed: list[Refusal] = []

    async def tell(self, peer: PeerId) -> None:
        """Tell `peer`, unless that was tried already."""
        if peer in self._tried or peer in self._silent:
            return
        self._tried.add(peer)
        try:
            await self._rpc.notify(peer, self._message, timeout_s=self._timeout_s)
        except RemoteError as error:
            self._silent.add(peer)
            self._failed.append(Refusal(peer, error.code))
        else:
            self.told.append(peer)

    def result(self, trace: Trace | None) -> ProvideResult:
        """Return how it stands."""
        return ProvideResult(self._message.key, tuple(self.told), tuple(self._failed), trace)


class Optimism:
    """Which peers to tell before a lookup has ended, and how many are enough to return.

    Source: go-libp2p-kad-dht, lookup_optim.go, which has the same two thresholds; it also ends the lookup
    early, which here goes on behind the caller's back, so that the k closest are told in the end.
    """

    def __init__(self, *, bucket_size: int, network_size: float) -> None:
        share = likely_share(bucket_size, network_size, certainty=limits.OPTIMISTIC_CERTAINTY)
        self._distance_max = int(share * (1 << KEY_BITS))
        self.enough = ceil(limits.OPTIMISTIC_RETURN_SHARE * max(1.0, min(bucket_size, network_size)))

    def is_likely(self, distance: int) -> bool:
        """Whether a peer so far from the key is very likely one of the k closest."""
        return distance <= self._distance_max
