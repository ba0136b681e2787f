"""CONNMANAGER: tags that keep peers connected, and trimming on demand.

Source: go-libp2p-daemon, connmanager.go; go-libp2p, p2p/net/connmgr. There connections end in the
order of their peers' tagged weights; here a peer whose weights sum up to more than 0 is protected.
As there, the last disconnection of a peer ends its tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primedht import limits
from primedht.errors import InvalidArgument, PeerUnreachable, TooBusy
from primedht.ids import PeerId
from primedht.pb import p2pd_pb2 as pb

if TYPE_CHECKING:
    from primedht.node import Node


class PeerTags:
    """The tags of one node's connected peers. Told of its connections: a `PeerListener`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tags: dict[PeerId, dict[str, int]] = {}
        node.host.connections.subscribe(self)

    def answer(self, request: pb.ConnManagerRequest) -> None:
        """Do what a request asks. Raises `InvalidArgument`, `PeerUnreachable` or `TooBusy`."""
        if request.type == pb.ConnManagerRequest.TRIM:
            self._reassert()
            self._node.host.swarm.trim(self._node.config.limits.connections_low)
            return
        peer = PeerId(request.peer)
        if not 0 < len(request.tag) <= limits.CONTROL_TAG_CHARS_MAX:
            raise InvalidArgument(f"a tag has 1 to {limits.CONTROL_TAG_CHARS_MAX} characters")
        if request.type == pb.ConnManagerRequest.TAG_PEER:
            self._tag(peer, request.tag, request.weight)
        else:
            self._untag(peer, request.tag)

    def _tag(self, peer: PeerId, tag: str, weight: int) -> None:
        if peer not in self._node.host.connections.connected():
            raise PeerUnreachable(f"{peer} is not connected; a tag lasts as long as a connection")
        tags = self._tags.setdefault(peer, {})
        if tag not in tags and len(tags) >= limits.CONTROL_TAGS_PER_PEER_MAX:
            raise TooBusy(f"{peer} has {len(tags)} tags already")
        tags[tag] = weight
        self._apply(peer)

    def _untag(self, peer: PeerId, tag: str) -> None:
        tags = self._tags.get(peer)
        if tags is None or tags.pop(tag, None) is None:
            return
        self._apply(peer)
        if not tags:
            del self._tags[peer]

    def _apply(self, peer: PeerId) -> None:
        kept = sum(self._tags[peer].values()) > 0
        # Members of the routing table are the DHT's to protect.
        if kept or peer not in self._node.dht.routing_table:
            self._node.host.connections.protect(peer, kept)

    def _reassert(self) -> None:
        """Protect again whom the DHT gave up: it knows nothing of tags."""
        for peer in self._tags:
            self._apply(peer)

    # --- events of connections ------------------------------------------------------------------

    def on_identified(self, peer: PeerId, protocols: frozenset[str]) -> None:
        if peer in self._tags:
            self._apply(peer)

    def on_disconnected(self, peer: PeerId) -> None:
        if self._tags.pop(peer, None) is not None and peer not in self._node.dht.routing_table:
            self._node.host.connections.protect(peer, False)

    def on_own_addrs_changed(self) -> None:
        """Nothing depends on them."""
