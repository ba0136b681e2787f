"""Addresses of peers as operators write them: a multiaddr, or `HOST:PORT`."""

from __future__ import annotations

import ipaddress
import re

from primedht.errors import InvalidArgument
from primedht.wire import addrs

_HOST_PORT = re.compile(r"(?:\[(?P<ip6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]{1,253})):(?P<port>\d{1,5})")


def to_multiaddr(text: str) -> str:
    """Return the multiaddr for `HOST:PORT`, `[IPV6]:PORT` or a multiaddr, which is checked.

    A name becomes `/dns`, resolved at each dial. Raises `InvalidArgument`.
    """
    if text.startswith("/"):
        addrs.parse(text)
        return text
    match = _HOST_PORT.fullmatch(text)
    if match is None or not 0 < int(match["port"]) <= 65535:
        raise InvalidArgument(f"malformed peer address {text[:200]!r}; give a multiaddr or HOST:PORT")
    made = f"{_host(match['ip6'] or match['host'])}/tcp/{match['port']}"
    addrs.parse(made)
    return made


def _host(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return f"/dns/{host}"
    return f"/ip{ip.version}/{ip}"
