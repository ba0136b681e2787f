"""Real libp2p peers that others wrote, for interop tests. How to use them: `README.md`."""

from .driver import Peer, PeerError, available, build_peers, connect, in_table, open_peer, until

__all__ = ["Peer", "PeerError", "available", "build_peers", "connect", "in_table", "open_peer", "until"]
