"""/dnsaddr names: bounded in depth and number."""

from __future__ import annotations

import pytest

from primedht import limits
from primedht.errors import PeerUnreachable
from primedht.host.resolve import resolve_dnsaddr, resolve_tcp
from primedht.ids import PeerId
from primedht.wire.addrs import format_addr, parse

A = str(PeerId(b"\x12\x20" + bytes(32)))
B = str(PeerId(b"\x12\x20" + b"\x01" * 32))


def zone(records: dict[str, list[str]], asked: list[str]):
    async def lookup(name: str) -> list[str]:
        asked.append(name)
        if name not in records:
            raise PeerUnreachable(f"cannot resolve {name}")
        return records[name]

    return lookup


async def resolve(text: str, records, asked=None) -> list[str]:
    found = await resolve_dnsaddr(parse(text), zone(records, asked if asked is not None else []))
    return [format_addr(addr) for addr in found]


async def test_other_addresses_stand_for_themselves():
    assert await resolve("/ip4/1.2.3.4/tcp/1", {}) == ["/ip4/1.2.3.4/tcp/1"]


async def test_names_are_followed_and_malformed_entries_skipped():
    records = {
        "_dnsaddr.a.example": [
            f"dnsaddr=/ip4/1.2.3.4/tcp/1/p2p/{A}",
            "v=spf1 -all",
            "dnsaddr=/nonsense/1",
            f"dnsaddr=/dnsaddr/b.example/p2p/{B}",
        ],
        "_dnsaddr.b.example": [
            f"dnsaddr=/dns4/c.example/tcp/2/p2p/{B}",
            f"dnsaddr=/ip4/5.6.7.8/tcp/3/p2p/{A}",
        ],
    }
    assert await resolve("/dnsaddr/a.example", records) == [
        f"/ip4/1.2.3.4/tcp/1/p2p/{A}",
        f"/dns4/c.example/tcp/2/p2p/{B}",
    ]
    assert await resolve(f"/dnsaddr/a.example/p2p/{A}", records) == [f"/ip4/1.2.3.4/tcp/1/p2p/{A}"]


async def test_loops_and_depth_and_number_are_bounded():
    asked: list[str] = []
    loop = {"_dnsaddr.a": ["dnsaddr=/dnsaddr/b"], "_dnsaddr.b": ["dnsaddr=/dnsaddr/a"]}
    with pytest.raises(PeerUnreachable, match="no address"):
        await resolve("/dnsaddr/a", loop, asked)
    assert len(asked) == 2
    asked.clear()
    chain = {f"_dnsaddr.n{n}": [f"dnsaddr=/dnsaddr/n{n + 1}"] for n in range(50)}
    with pytest.raises(PeerUnreachable, match="no address"):
        await resolve("/dnsaddr/n0", chain, asked)
    assert len(asked) <= limits.DNSADDR_DEPTH_MAX + 1
    wide = {"_dnsaddr.a": [f"dnsaddr=/ip4/1.2.3.4/tcp/{n}" for n in range(1000)]}
    assert len(await resolve("/dnsaddr/a", wide)) == limits.DNS_RESULTS_MAX


async def test_a_name_that_does_not_resolve_is_unreachable():
    with pytest.raises(PeerUnreachable):
        await resolve("/dnsaddr/missing.example", {})
    found = await resolve_tcp(parse("/dns4/localhost/tcp/7"))
    assert [(str(ip), port) for ip, port in found] == [("127.0.0.1", 7)]
