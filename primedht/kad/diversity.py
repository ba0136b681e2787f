"""IP diversity: how many peers of one network location may sit in our table, or in one reply.

An attacker can make peer ids at will, but addresses in many networks are dear. A group is an IPv4
/16, a whole /8 for the few held by one company since the beginning, or an IPv6 /32. go groups IPv6 by
autonomous system; we carry no such database and use its fallback.

Source: go-libp2p-kbucket, peerdiversity/filter.go; go-libp2p-kad-dht, rt_diversity_filter.go and
amino/defaults.go; ipfs specs, kad-dht.md, "IP diversity".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import TypeVar

from primedht import limits
from primedht.ids import PeerId

Group = tuple[int, int]  # (prefix length, prefix); IPv6 prefix lengths are told apart by their sign

_LEGACY_CLASS_A = frozenset((12, 17, 19, 38, 48, 53, 56, 73))

T = TypeVar("T")


@lru_cache(maxsize=8192)
def ip_group(ip: str) -> Group | None:
    """Return the group of `ip` (text), or None if it is not a globally reachable address."""
    try:
        address: IPv4Address | IPv6Address = ip_address(ip)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    if not address.is_global or address.is_multicast:
        return None
    number = int(address)
    if isinstance(address, IPv6Address):
        return -32, number >> 96
    first = number >> 24
    return (8, first) if first in _LEGACY_CLASS_A else (16, number >> 16)


def _groups(ips: Iterable[str]) -> frozenset[Group]:
    bounded = islice(ips, limits.IPS_PER_PEER_MAX)
    return frozenset(group for ip in bounded if (group := ip_group(ip)) is not None)


def without_crowded_groups(
    replied: list[T],
    ips_of: Callable[[T], Iterable[str]],
    *,
    peers_per_group_max: int = limits.PEERS_PER_IP_GROUP_MAX,
) -> list[T]:
    """Return the closer peers of a reply less all those in a group that has more than its share.

    Whoever crowds a reply from one location loses all of its entries there, not only the excess:
    which of them is honest cannot be told. Peers without a public address pass.
    Source: go-libp2p-kad-dht, rt_diversity_filter.go, filterPeersByIPDiversity.
    """
    groups = [_groups(ips_of(entry)) for entry in replied]
    counts = Counter(group for one in groups for group in one)
    return [
        entry
        for entry, one in zip(replied, groups, strict=True)
        if all(counts[group] <= peers_per_group_max for group in one)
    ]


class IpDiversity:
    """Counts the members of one routing table by IP group, in total and per common prefix length.

    Args:
        peers_per_group_max: members that one group may have in the table.
        peers_per_group_and_cpl_max: members that one group may have at one cpl.
        without_public_ip: whether peers with no public address may enter; they are in no group.
    """

    def __init__(
        self,
        *,
        peers_per_group_max: int = limits.PEERS_PER_IP_GROUP_MAX,
        peers_per_group_and_cpl_max: int = limits.PEERS_PER_IP_GROUP_AND_CPL_MAX,
        without_public_ip: bool = False,
    ) -> None:
        self._group_max = peers_per_group_max
        self._group_and_cpl_max = peers_per_group_and_cpl_max
        self._without_public_ip = without_public_ip
        self._in_table: Counter[Group] = Counter()
        self._at_cpl: Counter[tuple[int, Group]] = Counter()
        self._peers: dict[PeerId, tuple[int, frozenset[Group]]] = {}

    def allows(self, cpl: int, ips: Iterable[str]) -> bool:
        """Return whether a peer with `ips` may enter at `cpl`: every one of its groups has room."""
        groups = _groups(ips)
        if not groups:
            return self._without_public_ip
        return all(
            self._in_table[group] < self._group_max and self._at_cpl[cpl, group] < self._group_and_cpl_max
            for group in groups
        )

    def add(self, peer: PeerId, cpl: int, ips: Iterable[str]) -> None:
        """Count `peer`, which has entered. A peer is counted where it was when it entered."""
        groups = _groups(ips)
        self._peers[peer] = cpl, groups
        for group in groups:
            self._in_table[group] += 1
            self._at_cpl[cpl, group] += 1

    def remove(self, peer: PeerId) -> None:
        """Stop counting `peer`, which has left."""
        cpl, groups = self._peers.pop(peer, (0, frozenset()))
        for group in groups:
            _decrement(self._in_table, group)
            _decrement(self._at_cpl, (cpl, group))


K = TypeVar("K")


def _decrement(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
