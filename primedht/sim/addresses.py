"""A simulated host's address book, and the addresses that simulated hosts have."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import trio

from primedht import limits
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.wire import addrs as multiaddrs

PORT = 4001

_PEERS_MAX = 100_000
"""Ours: bounds one book; a table of 20-peer buckets and its lookups need a few thousand."""

_PUBLIC_FIRST_OCTETS = (*range(11, 100), *range(128, 169))
"""/8 blocks without a special-purpose range in them (IANA's IPv4 special-purpose registry)."""

AddrFilter = Callable[[bytes], bool]
"""Whether an address may be remembered: what the network's kind makes of it."""

_Known = tuple[tuple[bytes, float], ...]
"""Addresses of one peer with the trio time at which each expires; shared between books where equal."""


def private_ip(index: int) -> str:
    """Return the address of host `index` in 10.0.0.0/8, spread so that neighbours share no /24."""
    return str(ipaddress.IPv4Address((10 << 24) | (index * 0x9E3779B1 & 0xFFFFFF)))


def public_ip(index: int) -> str:
    """Return a globally routable address; no two of the first 30,000 hosts share a /16."""
    second, first = divmod(index, len(_PUBLIC_FIRST_OCTETS))
    return f"{_PUBLIC_FIRST_OCTETS[first]}.{second % 256}.{index % 250 + 1}.{index % 240 + 1}"


def host_addr(ip: str) -> bytes:
    """Return the binary multiaddr at which the host with address `ip` listens."""
    return multiaddrs.parse(f"/{'ip6' if ':' in ip else 'ip4'}/{ip}/tcp/{PORT}")


@lru_cache(maxsize=65_536)
def _info(peer: PeerId, addrs: tuple[bytes, ...]) -> PeerInfo:
    """One object for all books: it is encoded once for all of them."""
    return PeerInfo(peer, addrs)


def _merge(live: tuple[bytes, ...], known: _Known, now: float) -> tuple[bytes, ...]:
    """Return a connected peer's addresses, then those of the known ones that hold."""
    if len(known) == 1:
        addr, expires = known[0]
        return live if expires <= now or addr in live else (*live, addr)
    return live + tuple(addr for addr, expires in known if expires > now and addr not in live)


class SimAddressBook:
    """`AddressBook` of one host. A connected peer's own addresses come first and do not expire."""

    def __init__(self, own_addrs: Sequence[bytes], *, accepts: AddrFilter | None = None) -> None:
        self._own = tuple(own_addrs)
        self._accepts = accepts
        self._known: dict[PeerId, _Known] = {}
        self._connected: dict[PeerId, tuple[bytes, ...]] = {}
        self.refused_count = 0

    def __len__(self) -> int:
        return len(self._known.keys() | self._connected.keys())

    def addrs(self, peer: PeerId) -> tuple[bytes, ...]:
        live = self._connected.get(peer, ())
        known = self._known.get(peer)
        if known is None:
            return live
        return _merge(live, known, trio.current_time())

    def infos(self, peers: Iterable[PeerId]) -> list[PeerInfo]:
        now, connected, known_of = trio.current_time(), self._connected, self._known
        found = []
        for peer in peers:
            addrs, known = connected.get(peer, ()), known_of.get(peer)
            if known is not None:
                addrs = _merge(addrs, known, now)
            if addrs:
                found.append(_info(peer, addrs))
        return found

    def add(self, peer: PeerId, addrs: Sequence[bytes], *, ttl_s: float) -> None:
        known = self._known.get(peer, ())
        if len(known) == len(addrs) == 1 and known[0][0] == addrs[0]:  # thousands a second
            if known[0][1] != math.inf:
                expires = trio.current_time() + ttl_s
                self._known[peer] = ((addrs[0], max(expires, known[0][1])),)
            return
        expires = trio.current_time() + ttl_s
        merged = dict(known)
        for addr in addrs:
            if len(addr) > limits.ADDR_BYTES_MAX or (self._accepts and not self._accepts(addr)):
                self.refused_count += 1
            elif addr in merged or len(merged) < limits.PEER_ADDRS_MAX:
                merged[addr] = max(expires, merged.get(addr, -math.inf))
        if not merged:
            return
        if peer not in self._known and len(self._known) >= _PEERS_MAX:
            del self._known[next(iter(self._known))]
        self._known[peer] = tuple(merged.items())

    def own_addrs(self) -> tuple[bytes, ...]:
        return self._own

    def fill(self, peer: PeerId, known: _Known) -> None:
        """Remember `known` as it is: thousands of pre-filled books share one tuple per peer."""
        self._known[peer] = known

    def set_own(self, addrs: Sequence[bytes]) -> None:
        """Change what we announce; `SimHost.set_addrs` tells the listeners and the peers."""
        self._own = tuple(addrs)

    def set_connected(self, peer: PeerId, addrs: Sequence[bytes]) -> None:
        """Take the addresses that `peer`'s identify named, for as long as it is connected."""
        self._connected[peer] = tuple(
            addr for addr in addrs[: limits.PEER_ADDRS_MAX] if not self._accepts or self._accepts(addr)
        )

    def set_disconnected(self, peer: PeerId, *, keep_s: float) -> None:
        """Let the identified addresses of `peer` live `keep_s` longer."""
        addrs = self._connected.pop(peer, ())
        if addrs:
            self.add(peer, addrs, ttl_s=keep_s)
