"""An 8-bit keyspace in which a peer is its own key, and networks small enough for brute force."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from primedht.ids import PeerId
from primedht.kad.key import Key
from primedht.kad.table import RoutingTable

BITS = 8


def peer(number: int) -> PeerId:
    """Return the peer whose key is `number`."""
    return PeerId(bytes((0, 1, number)))


def tiny_key_of(preimage: bytes) -> Key:
    return Key(preimage[-1])


def tiny_keys() -> st.SearchStrategy[Key]:
    return st.integers(0, 255).map(Key)


def tiny_peers(*, min_size: int = 1, max_size: int = 64) -> st.SearchStrategy[list[PeerId]]:
    return st.lists(st.integers(0, 255), min_size=min_size, max_size=max_size, unique=True).map(
        lambda numbers: [peer(number) for number in numbers]
    )


def closest_by_force(peers: Iterable[PeerId], target: Key, n: int) -> list[PeerId]:
    return sorted(peers, key=lambda one: tiny_key_of(one) ^ target)[:n]


def tiny_table(self_id: PeerId, peers: Iterable[PeerId] = (), *, bucket_size: int = 3) -> RoutingTable:
    table = RoutingTable(self_id, bucket_size=bucket_size, key_of=tiny_key_of, bits=BITS)
    for one in peers:
        table.update(one, 0.0)
    return table
