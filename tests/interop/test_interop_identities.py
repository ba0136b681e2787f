"""Our node with an identity of each type, as go and js peers see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peers import open_peer

from primedht.host import HostConfig, open_host

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/keys/go.json").read_text())


@pytest.mark.parametrize("kind", ["go", "js"])
@pytest.mark.parametrize("transport", ["primedht", "libp2p"])
@pytest.mark.parametrize("we_dial", [True, False], ids=["we dial", "they dial"])
@pytest.mark.parametrize("made", GOLDEN, ids=[made["type"] for made in GOLDEN])
async def test_peers_verify_our_handshake(kind, transport, we_dial, made) -> None:
    config = HostConfig(listen=("/ip4/127.0.0.1/tcp/0",), kad_protocol="/test/kad/1.0.0", transport=transport)
    async with (
        open_host(bytes.fromhex(made["private_key"]), config) as host,
        open_peer(kind, prefix="/test") as peer,
    ):
        assert str(host.peer_id) == made["peer_id"]
        if kind == "js" and made["type"] == "ECDSA":
            pytest.skip("js-libp2p has no ECDSA ids")
        if we_dial:
            await host.connect_addr(peer.addr)
        else:
            await peer.call("connect", addr=f"{host.listen_addrs[0]}/p2p/{host.peer_id}")
        assert (await peer.call("ping", peer=str(host.peer_id)))["rtt_ms"] >= 0
        assert made["peer_id"] in (await peer.call("peers"))["connected"]
