"""Addresses of control sockets: `/unix/PATH`, `/ip4|ip6/IP/tcp/PORT`, or a plain absolute path.

Multiaddrs in text, as p2pd and its clients write them; the js client percent-encodes the path's
slashes (`/unix/%2Frun%2Fp2pd.sock`).
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import unquote

from primedht.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class UnixAddr:
    """A Unix socket at an absolute path."""

    path: str

    def __str__(self) -> str:
        return f"/unix{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddr:
    """A TCP port on an IP address."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        version = ipaddress.ip_address(self.host).version
        return f"/ip{version}/{self.host}/tcp/{self.port}"


ControlAddr = UnixAddr | TcpAddr


def parse(text: str) -> ControlAddr:
    """Parse a control address. Raises `InvalidArgument` for anything else."""
    head, _, rest = text.removeprefix("/").partition("/")
    if os.path.isabs(text):
        if head == "unix":
            return _unix(rest)
        return _tcp(text, head, rest) if head in ("ip4", "ip6") else _unix(text)
    raise InvalidArgument(
        f"malformed control address {text[:200]!r}; give /unix/PATH, /ip4/127.0.0.1/tcp/PORT or a path"
    )


def _unix(path: str) -> UnixAddr:
    if path.lower().startswith("%2f"):
        path = unquote(path)
    path = "/" + path.strip("/")
    if path == "/" or "\0" in path:
        raise InvalidArgument("malformed control address; /unix/ is followed by the path of a socket")
    return UnixAddr(path)


def _tcp(text: str, version: str, rest: str) -> TcpAddr:
    parts = rest.split("/")
    try:
        if len(parts) != 3 or parts[1] != "tcp":
            raise ValueError(text)
        host = ipaddress.IPv4Address(parts[0]) if version == "ip4" else ipaddress.IPv6Address(parts[0])
        port = int(parts[2])
        if not 0 <= port <= 65535:
            raise ValueError(text)
    except ValueError:
        raise InvalidArgument(
            f"malformed control address {text[:200]!r}; give it as /ip4/127.0.0.1/tcp/PORT"
        ) from None
    return TcpAddr(str(host), port)
