"""Blocks: content-addressed storage that IPFS nodes can read."""
