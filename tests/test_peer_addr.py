"""Peer addresses as operators write them."""

import pytest

from primedht.errors import InvalidArgument
from primedht.peer_addr import to_multiaddr


@pytest.mark.parametrize(
    ("text", "multiaddr"),
    [
        ("192.0.2.7:4101", "/ip4/192.0.2.7/tcp/4101"),
        ("[2001:db8::1]:4101", "/ip6/2001:db8::1/tcp/4101"),
        ("bootstrap:4101", "/dns/bootstrap/tcp/4101"),
        ("node_1.example.org:1", "/dns/node_1.example.org/tcp/1"),
        ("/dnsaddr/bootstrap.example.org", "/dnsaddr/bootstrap.example.org"),
        ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"),
    ],
)
def test_what_becomes_a_multiaddr(text: str, multiaddr: str) -> None:
    assert to_multiaddr(text) == multiaddr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "a b:1",
        "2001:db8::1:4101",
        "/ip4/1.2.3.4/tcp/x",
        "/",
    ],
)
def test_what_does_not(text: str) -> None:
    with pytest.raises(InvalidArgument, match="malformed"):
        to_multiaddr(text)
