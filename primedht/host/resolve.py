"""Names in addresses: /dns, /dns4, /dns6 and /dnsaddr.

Source: multiformats/multiaddr, protocols/DNSADDR.md.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable

import dns.exception
import dns.resolver
import trio

from primedht import limits
from primedht.errors import InvalidArgument, PeerUnreachable
from primedht.wire import addrs as wire
from primedht.wire.addrs import IpAddress

_FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}

LookupTxt = Callable[[str], Awaitable[list[str]]]


async def resolve_tcp(addr: bytes) -> list[tuple[IpAddress, int]]:
    """Return the endpoints of a `/dns*/NAME/tcp/PORT` address. Raises `PeerUnreachable`."""
    _, kind, name, _, port = wire.format_addr(addr).split("/")[:5]
    try:
        with trio.fail_after(limits.DNS_TIMEOUT_S):
            found = await trio.socket.getaddrinfo(name, int(port), _FAMILIES[kind], socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PeerUnreachable(f"cannot resolve {name}: {error}") from error
    except trio.TooSlowError:
        raise PeerUnreachable(f"cannot resolve {name}: no answer") from None
    ips = dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    return [(ip, int(port)) for ip in list(ips)[: limits.DNS_RESULTS_MAX]]


async def _lookup_txt(name: str) -> list[str]:
    def lookup() -> list[str]:
        answer = dns.resolver.resolve(name, "TXT", lifetime=limits.DNS_TIMEOUT_S)
        return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]

    try:
        with trio.fail_after(limits.DNS_TIMEOUT_S):
            return await trio.to_thread.run_sync(lookup, abandon_on_cancel=True)  # type: ignore[call-arg]
    except (dns.exception.DNSException, OSError) as error:
        raise PeerUnreachable(f"cannot resolve {name}: {error}") from error
    except trio.TooSlowError:
        raise PeerUnreachable(f"cannot resolve {name}: no answer") from None


async def resolve_dnsaddr(addr: bytes, lookup_txt: LookupTxt = _lookup_txt) -> list[bytes]:
    """Return the addresses (with their /p2p) that `addr` stands for; itself unless it is /dnsaddr.

    Entries that are malformed, or whose peer differs from the one named in `addr`, are skipped.
    Raises `PeerUnreachable` when a name cannot be resolved or stands for nothing.
    """
    if wire.names_of(addr)[:1] != ("dnsaddr",):
        return [addr]
    results: dict[bytes, None] = {}
    pending, seen = [(addr, 0)], {addr}
    while pending and len(results) < limits.DNS_RESULTS_MAX:
        current, depth = pending.pop(0)
        name = wire.format_addr(current).split("/")[2]
        peer = wire.split_peer(current)[1]
        for text in await lookup_txt(f"_dnsaddr.{name}"):
            if not text.startswith("dnsaddr="):
                continue
            try:
                entry = wire.parse(text.removeprefix("dnsaddr="))
                entry_peer = wire.split_peer(entry)[1]
            except InvalidArgument:
                continue
            if peer is not None and entry_peer is not None and entry_peer != peer:
                continue
            if wire.names_of(entry)[0] != "dnsaddr":
                results[entry] = None
            elif (
                depth < limits.DNSADDR_DEPTH_MAX and entry not in seen and len(seen) < limits.DNS_RESULTS_MAX
            ):
                seen.add(entry)
                pending.append((entry, depth + 1))
    if not results:
        raise PeerUnreachable(f"{wire.format_addr(addr)} stands for no address")
    return list(results)[: limits.DNS_RESULTS_MAX]
