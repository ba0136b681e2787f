"""Addresses: which ones this network may use, those known of peers, and our own.

The address book is bounded per peer and in total; addresses that were dialled with success come
first. It replaces py-libp2p's peer store, which can evict the node's own key (docs/py-libp2p.md, B3).
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import ifaddr
import trio

from primedht import limits
from primedht.errors import InvalidArgument
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.wire import addrs as wire

_UNSPECIFIED = ("0.0.0.0", "::")


class AddressFilter:
    """Decides which addresses of peers may be stored and dialled, and who may connect.

    On public networks private and loopback addresses are noise that leaks. A private network on the
    prefix /ipfs keeps to private ranges and to what was listed explicitly, so that one wrong
    bootstrap line cannot join it to the public DHT. Other private networks allow everything.
    """

    def __init__(self, kind: Literal["private", "public"], *, prefix_is_ipfs: bool) -> None:
        self._public = kind == "public"
        self._confined = kind == "private" and prefix_is_ipfs
        self._allowed_addrs: set[bytes] = set()
        self._allowed_peers: set[PeerId] = set()
        self.refused: Counter[str] = Counter()

    def allow(self, addr: bytes | None = None, peer: PeerId | None = None) -> None:
        """List an address or a peer explicitly: an operator named it."""
        if addr is not None:
            self._allowed_addrs.add(addr)
        if peer is not None:
            self._allowed_peers.add(peer)

    def permits(self, addr: bytes, peer: PeerId | None = None) -> bool:
        """Whether `addr` (without /p2p) of `peer` may be used; refusals are counted by reason."""
        reason = self._refusal(addr, peer)
        if reason is not None:
            self.refused[reason] += 1
        return reason is None

    def _refusal(self, addr: bytes, peer: PeerId | None) -> str | None:
        if not addr or len(addr) > limits.ADDR_BYTES_MAX:
            return "size"
        if addr in self._allowed_addrs or (peer is not None and peer in self._allowed_peers):
            return None
        ip = wire.ip_of(addr)
        if ip is not None and (ip.is_unspecified or ip.is_multicast):
            return "not_unicast"
        if self._public and ip is not None and not ip.is_global:
            return "private_address"
        if self._confined and (ip is None or ip.is_global):
            return "public_address"
        return None

    def permits_ip(self, ip: wire.IpAddress, name_addr: bytes, peer: PeerId | None) -> bool:
        """Whether `ip`, for which the name in `name_addr` stands, may be dialled.

        A name that was listed explicitly may stand for anything.
        """
        return name_addr in self._allowed_addrs or self.permits(tcp_addr(str(ip), 0), peer)

    def admits(self, ip_text: str, peer: PeerId | None) -> bool:
        """Whether a connection from `ip_text` is acceptable; `peer` is None before its handshake."""
        if not self._confined:
            return True
        ip = ipaddress.ip_address(ip_text)
        if not ip.is_global:
            return True
        if peer is None and self._allowed_peers:
            return True  # it may turn out to be one of them
        if (peer is not None and peer in self._allowed_peers) or any(
            wire.ip_of(addr) == ip for addr in self._allowed_addrs
        ):
            return True
        self.refused["public_address_inbound"] += 1
        return False


class _Entry:
    __slots__ = ("dialled_at", "expires_at", "is_own")

    def __init__(self, expires_at: float) -> None:
        self.expires_at = expires_at
        self.dialled_at = 0.0  # of the last success
        self.is_own = False  # the peer itself named it, or answered there: no hearsay


class Addresses:
    """The port `AddressBook`.

    is_connected: tells which peers' own addresses stay good.
    is_kept: tells which peers must not be evicted; by default the connected ones.
    """

    def __init__(
        self,
        address_filter: AddressFilter,
        own: Callable[[], tuple[bytes, ...]],
        is_connected: Callable[[PeerId], bool],
        *,
        is_kept: Callable[[PeerId], bool] | None = None,
        peers_max: int = limits.ADDRESS_BOOK_PEERS_MAX,
    ) -> None:
        self._filter = address_filter
        self._own = own
        self._is_connected = is_connected
        self._is_kept = is_kept or is_connected
        self._peers_max = peers_max
        self._peers: OrderedDict[PeerId, dict[bytes, _Entry]] = OrderedDict()
        self._infos: dict[PeerId, tuple[PeerInfo, float]] = {}  # what `_info` returns, and until when

    def __len__(self) -> int:
        return len(self._peers)

    def own_addrs(self) -> tuple[bytes, ...]:
        return self._own()

    def addrs(self, peer: PeerId) -> tuple[bytes, ...]:
        return self._info(peer, trio.current_time()).addrs

    def infos(self, peers: Iterable[PeerId]) -> list[PeerInfo]:
        now = trio.current_time()
        found, infos = [], self._infos
        for peer in peers:
            known = infos.get(peer)
            info = known[0] if known is not None and now < known[1] else self._info(peer, now)
            if info.addrs:
                found.append(info)
        return found

    def _info(self, peer: PeerId, now: float) -> PeerInfo:
        """Return `peer` with its addresses; the same object until one expires or a call changes them."""
        entries = self._peers.get(peer)
        if entries is None:
            return PeerInfo(peer)
        known = self._infos.get(peer)
        if known is not None and now < known[1]:
            return known[0]
        connected = self._is_connected(peer)
        good_until = math.inf
        for addr, entry in list(entries.items()):
            if connected and entry.is_own:
                continue  # until `disconnected`
            if entry.expires_at <= now:
                del entries[addr]
            else:
                good_until = min(good_until, entry.expires_at)
        if not entries:
            self._forget(peer)
            return PeerInfo(peer)
        info = PeerInfo(peer, tuple(sorted(entries, key=lambda addr: -entries[addr].dialled_at)))
        self._infos[peer] = info, good_until
        return info

    def _forget(self, peer: PeerId) -> None:
        del self._peers[peer]
        self._infos.pop(peer, None)

    def add(self, peer: PeerId, addrs: Sequence[bytes], *, ttl_s: float) -> None:
        kept = [addr for addr in map(self._plain(peer), addrs) if addr and self._filter.permits(addr, peer)]
        if kept:
            self._store(peer, kept, ttl_s)

    def add_all(self, infos: Iterable[PeerInfo], *, ttl_s: float) -> None:
        for info in infos:
            self.add(info.id, info.addrs, ttl_s=ttl_s)

    def replace(self, peer: PeerId, addrs: Sequence[bytes], *, ttl_s: float) -> None:
        """As `add`, and forget addresses that `peer` itself no longer lists and nobody has dialled."""
        kept = [addr for addr in map(self._plain(peer), addrs) if addr and self._filter.permits(addr, peer)]
        if not kept:
            return
        entries = self._peers.get(peer, {})
        for addr in [addr for addr, entry in entries.items() if not entry.dialled_at and addr not in kept]:
            del entries[addr]
        self._store(peer, kept, ttl_s, own=True)

    def succeeded(self, peer: PeerId, addr: bytes) -> None:
        """`addr` was dialled and `peer` answered: it goes first."""
        self._store(peer, [addr], limits.CONNECTED_ADDRS_TTL_S, own=True, dialled_at=trio.current_time())

    def disconnected(self, peer: PeerId) -> None:
        """The last connection to `peer` is gone: what it said of itself is good for a while yet."""
        self._infos.pop(peer, None)
        expires_at = trio.current_time() + limits.CONNECTED_ADDRS_TTL_S
        for entry in self._peers.get(peer, {}).values():
            if entry.is_own:
                entry.expires_at = max(entry.expires_at, expires_at)

    def failed(self, peer: PeerId, addr: bytes) -> None:
        """`addr` was dialled in vain: it loses its place in front."""
        entry = self._peers.get(peer, {}).get(addr)
        if entry is not None:
            entry.dialled_at = 0.0
            self._infos.pop(peer, None)

    def _store(
        self,
        peer: PeerId,
        addrs: Iterable[bytes],
        ttl_s: float,
        *,
        own: bool = False,
        dialled_at: float = 0.0,
    ) -> None:
        self._infos.pop(peer, None)
        expires_at = trio.current_time() + ttl_s
        entries = self._peers.setdefault(peer, {})
        self._peers.move_to_end(peer)
        for addr in addrs:
            entry = entries.setdefault(addr, _Entry(expires_at))
            entry.expires_at = max(entry.expires_at, expires_at)
            entry.dialled_at = dialled_at or entry.dialled_at
            entry.is_own |= own
        while len(entries) > limits.IDENTIFY_ADDRS_MAX:
            worst = min(
                entries,
                key=lambda addr: (
                    entries[addr].is_own,
                    entries[addr].dialled_at,
                    is_dialable(addr),
                    entries[addr].expires_at,
                ),
            )
            del entries[worst]
        self._evict()

    def _evict(self) -> None:
        for _ in range(len(self._peers)):
            if len(self._peers) <= self._peers_max:
                return
            oldest = next(iter(self._peers))
            if self._is_kept(oldest):
                self._peers.move_to_end(oldest)
            else:
                self._forget(oldest)

    def _plain(self, peer: PeerId) -> Callable[[bytes], bytes | None]:
        """Return a function that cuts `/p2p/<peer>` off, and drops addresses of anyone else."""

        def plain(addr: bytes) -> bytes | None:
            try:
                transport, owner = wire.split_peer(addr)
            except InvalidArgument:
                return addr  # of a kind that we do not know: others may
            return transport if owner is None or owner == peer else None

        return plain


def is_dialable(addr: bytes) -> bool:
    """Whether this host can dial `addr`: plain TCP over IP or a DNS name."""
    if wire.tcp_endpoint(addr) is not None:
        return True
    try:
        names = wire.names_of(addr)
        wire.format_addr(addr)
    except InvalidArgument:
        return False
    return names in (("dns", "tcp"), ("dns4", "tcp"), ("dns6", "tcp"))


def tcp_addr(ip_text: str, port: int) -> bytes:
    """Return the multiaddr of a TCP endpoint."""
    return wire.parse(f"/{'ip6' if ':' in ip_text else 'ip4'}/{ip_text}/tcp/{port}")


def interface_ips() -> tuple[str, ...]:
    """Return the addresses of this machine's interfaces, without link-local ones of IPv6."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text.partition("%")[0])
            if not (
                address.is_unspecified
                or address.is_multicast
                or (address.version == 6 and address.is_link_local)
            ):
                found.append(str(address))
    return tuple(dict.fromkeys(found))


def expand_listen(
    listening: Iterable[tuple[str, int]], kind: Literal["private", "public"], ips: Sequence[str]
) -> tuple[bytes, ...]:
    """Return the addresses to announce for sockets that listen on `listening` (ip, port).

    0.0.0.0 and :: stand for the interfaces `ips`. Loopback is announced on private networks, where
    all nodes may be processes of one machine, and else only when there is nothing better. On public
    networks private addresses are of no use to anyone while there is a public one.
    """
    expanded: list[bytes] = []
    for host, port in listening:
        if host in _UNSPECIFIED:
            version = 6 if ":" in host else 4
            expanded += [tcp_addr(ip, port) for ip in ips if ipaddress.ip_address(ip).version == version]
        else:
            expanded.append(tcp_addr(host, port))
    unique = tuple(dict.fromkeys(expanded))
    outside = tuple(addr for addr in unique if not wire.is_loopback(addr))
    if kind == "private":
        return outside + tuple(addr for addr in unique if wire.is_loopback(addr))
    public = tuple(addr for addr in outside if wire.is_public(addr))
    return public or outside or unique
