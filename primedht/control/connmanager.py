"""CONNMANAGER: tags that weigh peers for trimming, and trimming on demand.

Source: go-libp2p-daemon, connmanager.go. As there, a tag is a weight and no guarantee, TRIM closes what
is above the low mark but spares connections within their grace, and a peer's last disconnection ends its
tags. The DHT's protection of its table is a matter apart, which no tag touches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primedht import limits
from primedht.errors import InvalidArgument
from primedht.ids import PeerId
from primedht.pb import p2pd_pb2 as pb

if TYPE_CHECKING:
    from primedht.node import Node


def manage_connections(node: Node, request: pb.ConnManagerRequest) -> None:
    """Do what a request asks. Raises `InvalidArgument` or `TooBusy`."""
    swarm = node.host.swarm
    if request.type == pb.ConnManagerRequest.TRIM:
        swarm.trim(node.config.limits.connections_low)
        return
    peer = PeerId(request.peer)
    if not 0 < len(request.tag) <= limits.CONTROL_TAG_CHARS_MAX:
        raise InvalidArgument(f"a tag has 1 to {limits.CONTROL_TAG_CHARS_MAX} characters")
    if request.type == pb.ConnManagerRequest.TAG_PEER:
        swarm.tags.tag(peer, request.tag, request.weight)
    else:
        swarm.tags.untag(peer, request.tag)
