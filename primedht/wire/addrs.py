"""Multiaddrs as bytes: what the engine needs of them without a libp2p library.

The engine stores and forwards addresses of any kind unchanged; it looks only at a leading IP
address (diversity limits, filters) and reads and prints the usual text forms.

Source: multiformats/multiaddr, protocols.csv.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from primedht.errors import InvalidArgument, ProtocolViolation
from primedht.ids import PeerId
from primedht.limits import ADDR_BYTES_MAX
from primedht.wire import varint

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_IP4, _TCP, _IP6, _P2P = 4, 6, 41, 421
_VARIABLE = -1


@dataclass(frozen=True, slots=True)
class _Protocol:
    """value_bytes: size of the value, or `_VARIABLE` for a varint-prefixed one."""

    code: int
    name: str
    value_bytes: int
    to_text: Callable[[bytes], str] | None = None
    to_bytes: Callable[[str], bytes] | None = None


def _port_bytes(text: str) -> bytes:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port.to_bytes(2, "big")


def _name_bytes(text: str) -> bytes:
    if not text or len(text) > 255:
        raise ValueError(text)
    return text.encode("idna" if not text.isascii() else "ascii")


_IP4_TEXT = (
    lambda raw: str(ipaddress.IPv4Address(raw)),
    lambda text: ipaddress.IPv4Address(text).packed,
)
_IP6_TEXT = (
    lambda raw: str(ipaddress.IPv6Address(raw)),
    lambda text: ipaddress.IPv6Address(text).packed,
)
_PEER = (lambda raw: str(PeerId(raw)), lambda text: bytes(PeerId.from_text(text)))
_PORT = (lambda raw: str(int.from_bytes(raw, "big")), _port_bytes)
_NAME = (lambda raw: raw.decode("utf-8"), _name_bytes)
_PROTOCOLS = (
    _Protocol(_IP4, "ip4", 4, *_IP4_TEXT),
    _Protocol(_TCP, "tcp", 2, *_PORT),
    _Protocol(273, "udp", 2, *_PORT),
    _Protocol(_IP6, "ip6", 16, *_IP6_TEXT),
    _Protocol(42, "ip6zone", _VARIABLE, *_NAME),
    _Protocol(53, "dns", _VARIABLE, *_NAME),
    _Protocol(54, "dns4", _VARIABLE, *_NAME),
    _Protocol(55, "dns6", _VARIABLE, *_NAME),
    _Protocol(56, "dnsaddr", _VARIABLE, *_NAME),
    _Protocol(_P2P, "p2p", _VARIABLE, *_PEER),
    _Protocol(460, "quic", 0),
    _Protocol(461, "quic-v1", 0),
    _Protocol(465, "webtransport", 0),
    _Protocol(477, "ws", 0),
    _Protocol(478, "wss", 0),
    _Protocol(448, "tls", 0),
    _Protocol(280, "webrtc-direct", 0),
    _Protocol(290, "p2p-circuit", 0),
)  # fmt: skip
_BY_CODE = {protocol.code: protocol for protocol in _PROTOCOLS}
_BY_NAME = {protocol.name: protocol for protocol in _PROTOCOLS} | {"ipfs": _BY_CODE[_P2P]}


@lru_cache(maxsize=8192)
def parse(text: str) -> bytes:
    """Return the binary form of a multiaddr in text.

    Raises `InvalidArgument` for malformed text and for protocols that this node does not know.
    """
    parts = text.strip().split("/")
    if len(parts) < 2 or parts[0] or len(text) > 2 * ADDR_BYTES_MAX:
        raise InvalidArgument(f"malformed multiaddr {text[:128]!r}: it must begin with /")
    if parts[-1] == "":
        parts.pop()
    out = bytearray()
    rest = iter(parts[1:])
    for name in rest:
        protocol = _BY_NAME.get(name)
        if protocol is None:
            raise InvalidArgument(f"malformed multiaddr {text!r}: unknown protocol {name!r}")
        out += varint.encode(protocol.code)
        if protocol.to_bytes is None:
            continue
        try:
            value = protocol.to_bytes(next(rest))
        except (StopIteration, ValueError, InvalidArgument):
            raise InvalidArgument(f"malformed multiaddr {text!r}: bad value for /{name}") from None
        if protocol.value_bytes == _VARIABLE:
            out += varint.encode(len(value))
        out += value
    if not out:
        raise InvalidArgument("malformed multiaddr: it is empty")
    return bytes(out)


@lru_cache(maxsize=8192)
def format_addr(addr: bytes) -> str:
    """Return the text of a binary multiaddr. Raises `InvalidArgument` where `parts_of` does."""
    out = []
    for protocol, value in _parts(addr):
        out.append(protocol.name)
        if protocol.to_text is not None:
            try:
                out.append(protocol.to_text(value))
            except (UnicodeDecodeError, ValueError):
                raise InvalidArgument(f"malformed multiaddr: bad value for /{protocol.name}") from None
    return "/" + "/".join(out)


def _parts(addr: bytes) -> list[tuple[_Protocol, bytes]]:
    """Split a binary multiaddr. Raises `InvalidArgument` if it is malformed or of unknown protocols."""
    out, offset = [], 0
    try:
        while offset < len(addr):
            head = varint.decode(addr, offset)
            if head is None or (protocol := _BY_CODE.get(head[0])) is None:
                raise InvalidArgument(f"malformed or unknown multiaddr {addr[:64].hex()}")
            size, offset = protocol.value_bytes, head[1]
            if size == _VARIABLE:
                head = varint.decode(addr, offset)
                if head is None:
                    raise InvalidArgument(f"truncated multiaddr {addr[:64].hex()}")
                size, offset = head
            if offset + size > len(addr):
                raise InvalidArgument(f"truncated multiaddr {addr[:64].hex()}")
            out.append((protocol, addr[offset : offset + size]))
            offset += size
    except ProtocolViolation as error:
        raise InvalidArgument(f"malformed multiaddr: {error}") from None
    return out


def names_of(addr: bytes) -> tuple[str, ...]:
    """Return the protocol names in order, such as ("ip4", "tcp", "p2p")."""
    return tuple(protocol.name for protocol, _ in _parts(addr))


def split_peer(addr: bytes) -> tuple[bytes, PeerId | None]:
    """Return (address without a trailing /p2p, the peer id that it named or None)."""
    parts = _parts(addr)
    if not parts or parts[-1][0].code != _P2P:
        return addr, None
    peer = PeerId(parts[-1][1])
    return addr[: len(addr) - len(peer_suffix(peer))], peer


def peer_suffix(peer: PeerId) -> bytes:
    """Return `/p2p/<peer>` in binary."""
    return varint.encode(_P2P) + varint.encode(len(peer)) + bytes(peer)


@lru_cache(maxsize=8192)
def ip_of(addr: bytes) -> IpAddress | None:
    """Return the IP address that a multiaddr begins with, or None (a name, an unknown protocol)."""
    if addr[:1] == b"\x04" and len(addr) >= 5:
        return ipaddress.IPv4Address(addr[1:5])
    if addr[:1] == b"\x29" and len(addr) >= 17:
        ip = ipaddress.IPv6Address(addr[1:17])
        return ip.ipv4_mapped or ip
    return None


def tcp_endpoint(addr: bytes) -> tuple[IpAddress, int] | None:
    """Return (ip, port) of a plain `/ip4|ip6/.../tcp/...` address, a trailing /p2p aside; else None."""
    try:
        parts = _parts(addr)
    except InvalidArgument:
        return None
    if parts and parts[-1][0].code == _P2P and PeerId.if_valid(parts[-1][1]) is not None:
        parts.pop()
    if len(parts) != 2 or parts[0][0].code not in (_IP4, _IP6) or parts[1][0].code != _TCP:
        return None
    return ipaddress.ip_address(parts[0][1]), int.from_bytes(parts[1][1], "big")


def is_loopback(addr: bytes) -> bool:
    ip = ip_of(addr)
    return ip is not None and ip.is_loopback


def is_private(addr: bytes) -> bool:
    """Whether the address is of a private, shared or link-local range, or loopback."""
    ip = ip_of(addr)
    return ip is not None and not ip.is_global and not ip.is_multicast and not ip.is_unspecified


def is_public(addr: bytes) -> bool:
    """Whether the address begins with a globally routable unicast IP."""
    ip = ip_of(addr)
    return ip is not None and ip.is_global and not ip.is_multicast
