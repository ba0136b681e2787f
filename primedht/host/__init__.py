"""The libp2p host: the only package that imports libp2p."""
