"""Which peers' connections are worth keeping: weights, and protection by any number of owners.

A weight decides who goes first when there are too many connections. Protection exempts a peer from
trimming until all that asked for it have taken it back: the DHT for the members of its table, and
each program in its own name. Weights end with a peer's last connection, protection does not.

Source: go-libp2p, core/connmgr/manager.go and p2p/net/connmgr/connmgr.go.
"""

from __future__ import annotations

from primedht import limits
from primedht.errors import TooBusy
from primedht.ids import PeerId


class PeerTags:
    """The tags of one node's peers."""

    def __init__(self) -> None:
        self._weights: dict[PeerId, dict[str, int]] = {}
        self._protections: dict[PeerId, set[str]] = {}

    # --- weights ----------------------------------------------------------------------------------

    def tag(self, peer: PeerId, tag: str, weight: int) -> None:
        """Give `peer` a weight under `tag`, in the place of the one there. Raises `TooBusy`."""
        tags = self._weights.get(peer)
        if tags is None:
            if len(self._weights) >= limits.TAGGED_PEERS_MAX:
                raise TooBusy(f"{len(self._weights)} peers have tags already")
            tags = self._weights[peer] = {}
        if tag not in tags and len(tags) >= limits.CONTROL_TAGS_PER_PEER_MAX:
            raise TooBusy(f"{peer} has {len(tags)} tags already")
        tags[tag] = weight

    def untag(self, peer: PeerId, tag: str) -> None:
        """Take a weight away; nothing happens if it is not there."""
        tags = self._weights.get(peer, {})
        tags.pop(tag, None)
        if not tags:
            self._weights.pop(peer, None)

    def value(self, peer: PeerId) -> int:
        """Return the sum of a peer's weights: the lowest go first."""
        return sum(self._weights.get(peer, {}).values())

    def forget(self, peer: PeerId) -> None:
        """The last connection to `peer` has ended."""
        self._weights.pop(peer, None)

    # --- protection -------------------------------------------------------------------------------

    def protect(self, peer: PeerId, owner: str) -> None:
        """Exempt `peer` from trimming in the name of `owner`."""
        self._protections.setdefault(peer, set()).add(owner)

    def unprotect(self, peer: PeerId, owner: str) -> bool:
        """Take back what `owner` asked for; return whether others still protect `peer`."""
        owners = self._protections.get(peer, set())
        owners.discard(owner)
        if not owners:
            self._protections.pop(peer, None)
        return bool(owners)

    def is_protected(self, peer: PeerId) -> bool:
        return peer in self._protections
