"""Private networks with go and js peers: the right, another and no pre-shared key, whoever dials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import trio
from peers import Peer, PeerError, open_peer

from primedht.errors import PeerUnreachable
from primedht.host import Host, HostConfig, generate_private_key, open_host
from primedht.host.streams import Stream
from primedht.ids import PeerId
from primedht.psk import Psk

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

ECHO = "/test/echo/1.0.0"
KEY, OTHER = Psk.generate(), Psk.generate()
BULK_BYTES = 4 << 20

every_pairing = [
    pytest.mark.parametrize("kind", ["go", "js"]),
    pytest.mark.parametrize("transport", ["primedht", "libp2p"]),
    pytest.mark.parametrize("we_dial", [True, False], ids=["we dial", "they dial"]),
]


def pairings(test):
    for mark in every_pairing:
        test = mark(test)
    return test


async def echo(stream: Stream) -> None:
    while data := await stream.receive():
        await stream.send(data)


@asynccontextmanager
async def neighbours(
    kind: Literal["go", "js"],
    transport: Literal["primedht", "libp2p"],
    folder: Path,
    ours: Psk | None,
    theirs: Psk | None,
) -> AsyncIterator[tuple[Host, Peer]]:
    """Yield our host and the peer, each with its key and not connected."""
    file = None
    if theirs is not None:
        file = folder / "swarm.key"
        file.write_bytes(theirs.serialize())
    config = HostConfig(
        listen=("/ip4/127.0.0.1/tcp/0",), kad_protocol="/test/kad/1.0.0", transport=transport, psk=ours
    )
    async with (
        open_host(generate_private_key(), config) as host,
        open_peer(kind, prefix="/test", psk=file) as peer,
    ):
        host.streams.serve(ECHO, echo)
        yield host, peer


async def connect(host: Host, peer: Peer, *, we_dial: bool) -> None:
    if we_dial:
        await host.connect_addr(peer.addr)
    else:
        await peer.call("connect", addr=f"{host.listen_addrs[0]}/p2p/{host.peer_id}", timeout_s=12)


@pairings
async def test_members_connect_and_move_data(kind, transport, we_dial, tmp_path) -> None:
    async with neighbours(kind, transport, tmp_path, KEY, KEY) as (host, peer):
        await connect(host, peer, we_dial=we_dial)
        # The peer checks the echo of its own bytes.
        reply = await peer.call(
            "echo", peer=str(host.peer_id), protocol=ECHO, bytes_n=BULK_BYTES, chunk=100_000, timeout_s=120
        )
        assert reply["bytes_n"] == BULK_BYTES
        stream = await host.streams.open(PeerId.from_text(peer.peer_id), (ECHO,), timeout_s=10)
        with trio.fail_after(30):
            for size in (1, 63, 64, 65, 1000, 70_000):
                sent, received = bytes([size % 251]) * size, b""
                await stream.send(sent)
                while len(received) < size:
                    received += await stream.receive()
                assert received == sent
        assert host.stats()["psk_mismatches"] == 0


@pairings
@pytest.mark.parametrize(
    ("ours", "theirs"), [(KEY, OTHER), (KEY, None), (None, KEY)], ids=["another key", "they none", "we none"]
)
async def test_others_do_not_connect(kind, transport, we_dial, ours, theirs, tmp_path) -> None:
    async with neighbours(kind, transport, tmp_path, ours, theirs) as (host, peer):
        if we_dial:
            with pytest.raises(PeerUnreachable) as caught:
                await connect(host, peer, we_dial=True)
            if ours is None:
                assert "network.psk_file" in str(caught.value)
            elif theirs is not None:
                assert caught.value.code == "psk_mismatch"
        else:
            with pytest.raises(PeerError):
                await connect(host, peer, we_dial=False)
            if ours is not None:
                assert host.stats()["psk_mismatches"] >= 1
        assert not host.swarm.by_peer
        assert (await peer.call("peers"))["connected"] == []
