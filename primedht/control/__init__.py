"""The control socket: libp2p's daemon protocol and our extensions of it, served to this machine."""
