"""The client library: `Client` talks to a running daemon. Loads neither libp2p nor pydantic."""

from primedht.client._ops import DrainResult, Identity, ItemResult, PeerAddrs, PutItem
from primedht.client.sync import Client

__all__ = ["Client", "DrainResult", "Identity", "ItemResult", "PeerAddrs", "PutItem"]
