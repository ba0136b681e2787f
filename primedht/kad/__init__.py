"""Kademlia as pure state machines and values: no I/O, clock, randomness or logging."""
