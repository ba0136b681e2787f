"""Points of the Kademlia keyspace, and the XOR metric between them.

A `Key` is the SHA-256 of a preimage (raw peer-id bytes, record key or multihash), read as a
big-endian integer: XOR, ordering and prefix length are then single integer operations.

Source: Maymounkov and Mazieres, "Kademlia" (2002), 2.1; libp2p kad-dht spec, "Distance".
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import NewType

Key = NewType("Key", int)

KEY_BITS = 256


@lru_cache(maxsize=16_384)
def key_of(preimage: bytes) -> Key:
    """Return the keyspace point of a peer id, record key or multihash."""
    return Key(int.from_bytes(sha256(preimage).digest(), "big"))


def distance(a: Key, b: Key) -> int:
    """Return the XOR distance: 0 for equal keys, else 1 to 2**256 - 1."""
    return a ^ b


def common_prefix_length(a: Key, b: Key, *, bits: int = KEY_BITS) -> int:
    """Return how many leading bits agree (`cpl`): `bits` for equal keys."""
    return bits - (a ^ b).bit_length()
