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

Expiring = tuple[tuple[bytes, float], ...]
"""Addresses of one peer with the trio time at which each expires."""

_TTL_STEP_S = 60.0
"""Lives end at whole steps: the books of thousands of hosts then say the same of a peer, in one object."""


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


class _Listing:
    """What books know of one peer. Never changed: books share it.

    live: what the peer's identify named, while it is connected; these come first and do not expire.
    info: all of them, as they were until `until`.
    """

    __slots__ = ("info", "known", "live", "until")

    def __init__(self, peer: PeerId, live: tuple[bytes, ...], known: Expiring) -> None:
        self.live, self.known = live, known
        others = [(addr, expires) for addr, expires in known if addr not in live]
        self.info = PeerInfo(peer, (*live, *(addr for addr, _ in others)))
        self.until = min((expires for _, expires in others), default=math.inf)


def _expiry_in(ttl_s: float) -> float:
    if ttl_s == math.inf:
        return ttl_s
    return math.ceil((trio.current_time() + ttl_s) / _TTL_STEP_S) * _TTL_STEP_S


_listing = lru_cache(maxsize=262_144)(_Listing)


class SimAddressBook:
    """`AddressBook` of one host. A connected peer's own addresses come first and do not expire."""

    def __init__(self, own_addrs: Sequence[bytes], *, accepts: AddrFilter | None = None) -> None:
        self._own = tuple(own_addrs)
        self._accepts = accepts
        self._listings: dict[PeerId, _Listing] = {}
        self.refused_count = 0

    def __len__(self) -> int:
        return len(self._listings)

    def addrs(self, peer: PeerId) -> tuple[bytes, ...]:
        listing = self._listings.get(peer)
        if listing is None:
            return ()
        now = trio.current_time()
        return listing.info.addrs if now < listing.until else self._without_expired(peer, now)

    def infos(self, peers: Iterable[PeerId]) -> list[PeerInfo]:
        now, listings = trio.current_time(), self._listings
        found = []
        for peer in peers:
            listing = listings.get(peer)
            if listing is not None and (now < listing.until or self._without_expired(peer, now)):
                found.append(listings[peer].info)
        return found

    def add(self, peer: PeerId, addrs: Sequence[bytes], *, ttl_s: float) -> None:
        self._add(peer, addrs, _expiry_in(ttl_s))

    def add_all(self, infos: Iterable[PeerInfo], *, ttl_s: float) -> None:
        expires, listings = _expiry_in(ttl_s), self._listings
        for info in infos:
            listing = listings.get(info.id)
            # Nothing is new of most, thousands a second.
            if listing is None or listing.until < expires or listing.info.addrs != info.addrs:
                self._add(info.id, info.addrs, expires)

    def _add(self, peer: PeerId, addrs: Sequence[bytes], expires: float) -> None:
        listing = self._listings.get(peer)
        merged = {} if listing is None else dict(listing.known)
        for addr in addrs:
            if len(addr) > limits.ADDR_BYTES_MAX or (self._accepts and not self._accepts(addr)):
                self.refused_count += 1
            elif addr in merged or len(merged) < limits.PEER_ADDRS_MAX:
                merged[addr] = max(expires, merged.get(addr, -math.inf))
        if listing is None and len(self._listings) >= _PEERS_MAX:
            del self._listings[next(known for known, listed in self._listings.items() if not listed.live)]
        self._note(peer, () if listing is None else listing.live, tuple(merged.items()))

    def own_addrs(self) -> tuple[bytes, ...]:
        return self._own

    def fill(self, peer: PeerId, known: Expiring) -> None:
        """Remember `known` as it is."""
        self._note(peer, (), known)

    def set_own(self, addrs: Sequence[bytes]) -> None:
        """Change what we announce; `SimHost.set_addrs` tells the listeners and the peers."""
        self._own = tuple(addrs)

    def set_connected(self, peer: PeerId, addrs: Sequence[bytes]) -> None:
        """Take the addresses that `peer`'s identify named, for as long as it is connected."""
        listing = self._listings.get(peer)
        live = tuple(
            addr for addr in addrs[: limits.PEER_ADDRS_MAX] if not self._accepts or self._accepts(addr)
        )
        self._note(peer, live, () if listing is None else listing.known)

    def set_disconnected(self, peer: PeerId, *, keep_s: float) -> None:
        """Let the identified addresses of `peer` live `keep_s` longer."""
        listing = self._listings.get(peer)
        if listing is not None and listing.live:
            self._note(peer, (), listing.known)
            self.add(peer, listing.live, ttl_s=keep_s)

    def _without_expired(self, peer: PeerId, now: float) -> tuple[bytes, ...]:
        """Forget what has expired of `peer`; return what is left."""
        listing = self._listings[peer]
        self._note(peer, listing.live, tuple(entry for entry in listing.known if entry[1] > now))
        return self.addrs(peer)

    def _note(self, peer: PeerId, live: tuple[bytes, ...], known: Expiring) -> None:
        if live or known:
            self._listings[peer] = _listing(peer, live, known)
        else:
            self._listings.pop(peer, None)
