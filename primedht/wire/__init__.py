"""Bytes on the wire that more than one protocol shares: varints, frames, multiaddr bytes."""
