"""Bitswap 1.2.0: blocks from peers and for peers, kubo's among them."""
