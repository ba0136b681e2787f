"""Nodes of a network with a pre-shared key: nothing leaves them in the clear, whoever they meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
import trio

from primedht.assembly import open_node
from primedht.config import Config, NetworkConfig, NodeConfig, load_config
from primedht.errors import ConfigInvalid, MalformedKey, PskUnreadable, RemoteError
from primedht.host import generate_private_key, peer_id_of
from primedht.host.multistream import GREETING
from primedht.host.pnet.session import PskSession
from primedht.host.pnet.xsalsa20 import NONCE_BYTES
from primedht.kad.messages import PeerInfo
from primedht.node import Node
from primedht.psk import Psk
from primedht.wire.addrs import parse

Transport = Literal["primedht", "libp2p"]
PSK = Psk.generate()


@pytest.fixture
def psk_file(tmp_path: Path) -> Path:
    file = tmp_path / "swarm.key"
    file.write_bytes(PSK.serialize())
    file.chmod(0o600)
    return file


def config(psk_file: Path | None, *, transport: Transport = "primedht", **node: object) -> Config:
    return Config(
        network=NetworkConfig(name="locked", psk_file=psk_file),
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, transport=transport, **node),
    )


async def eventually(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - seen from outside
            await trio.sleep(0.01)


class Wiretap:
    """A listener that writes down the beginning of each connection and never answers."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        received = b""
        async with stream:
            while len(received) < NONCE_BYTES + len(GREETING):
                data = await stream.receive_some()
                if not data:
                    break
                received += data
        self.heard.append(received)


def is_locked(heard: bytes) -> bool:
    """Whether what a node said is its nonce and a greeting under the key."""
    session = PskSession(PSK, bytes(NONCE_BYTES))
    session.feed(heard[: len(GREETING)])
    session.feed(heard[len(GREETING) : NONCE_BYTES])
    rest = bytearray(heard[NONCE_BYTES:])
    session.open(memoryview(rest))
    return rest.startswith(GREETING)


async def bootstrap(node: Node, peer, addr: str) -> None:
    """The node does that by itself."""


async def connect(node: Node, peer, addr: str) -> None:
    await node.connect(addr, timeout=2)


async def connect_peer(node: Node, peer, addr: str) -> None:
    await node.connect_peer(peer, [parse(addr)], timeout=2)


async def mdns(node: Node, peer, addr: str) -> None:
    node.dht.peers.hear([PeerInfo(peer, (parse(addr),))], how="mdns")


async def ping(node: Node, peer, addr: str) -> None:
    node.host.address_book.add(peer, (parse(addr),), ttl_s=60)
    await node.ping(peer, timeout=2)


async def open_stream(node: Node, peer, addr: str) -> None:
    node.host.address_book.add(peer, (parse(addr),), ttl_s=60)
    await node.host.streams.open(peer, ("/x",), timeout_s=2)


@pytest.mark.parametrize("transport", ["primedht", "libp2p"])
@pytest.mark.parametrize("way", [bootstrap, connect, connect_peer, mdns, ping, open_stream])
async def test_every_way_of_dialling_is_under_the_key(
    psk_file: Path, transport: Transport, way: Callable[..., Awaitable[None]]
) -> None:
    tap, peer = Wiretap(), peer_id_of(generate_private_key())
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, tap.serve, listeners)
        addr = f"/ip4/127.0.0.1/tcp/{listeners[0].socket.getsockname()[1]}"
        known = (addr,) if way is bootstrap else ()
        async with open_node(config(psk_file, transport=transport, bootstrap=known)) as node:
            with suppress(RemoteError):
                await way(node, peer, addr)
            await eventually(lambda: tap.heard)
        nursery.cancel_scope.cancel()
    assert all(map(is_locked, tap.heard))


async def test_members_share_values_and_strangers_none(psk_file: Path) -> None:
    async with (
        open_node(config(psk_file)) as a,
        open_node(config(None)) as stranger,
        open_node(config(psk_file, bootstrap=(a.addrs[0], stranger.addrs[0]))) as b,
    ):
        await eventually(lambda: a.peer_id in b.dht.routing_table)
        await b.put("k", b"v")
        assert await a.get("k") == b"v"
        await eventually(lambda: len(b.dht.bootstrap.attempts) == 2)
        codes = {attempt.addr: attempt.code for attempt in b.dht.bootstrap.attempts.values()}
        assert codes[a.addrs[0]] == "ok"
        assert codes[stranger.addrs[0]] in ("peer_unreachable", "psk_mismatch")
        for member in (a, b):
            with pytest.raises(RemoteError, match=r"network\.psk_file"):
                await stranger.connect(member.addrs[0])
        assert not stranger.host.swarm.by_peer
        assert await stranger.get("k") is None
        network = b.status()["network"]
        assert isinstance(network, dict)
        assert network["psk_fingerprint"] == PSK.fingerprint
        assert PSK.data.hex() not in str(b.status()) + str(b.config)
        assert stranger.status()["network"]["psk_fingerprint"] is None  # type: ignore[index]


async def test_a_key_lifts_the_confinement_of_the_ipfs_prefix(psk_file: Path) -> None:
    """Nobody without the key can be reached by mistake: the members may have public addresses."""
    for file, permitted in ((psk_file, True), (None, False)):
        network = NetworkConfig(psk_file=file)
        listening = NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False)
        async with open_node(Config(network=network, node=listening)) as node:
            assert node.host.filter.admits("1.1.1.1", None) is permitted


async def test_a_node_does_not_start_without_the_key_that_it_should_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    for file, error in ((tmp_path / "absent", PskUnreadable), (tmp_path / "empty", MalformedKey)):
        with pytest.raises(error):
            async with open_node(config(file)):
                pass
    monkeypatch.setenv("LIBP2P_FORCE_PNET", "1")
    with pytest.raises(ConfigInvalid, match=r"network\.psk_file"):
        async with open_node(config(None)):
            pass


def test_the_setting(psk_file: Path) -> None:
    environ = {"PRIMEDHT_NETWORK_PSK_FILE": str(psk_file)}
    assert load_config(environ=environ).network.psk_file == psk_file
    with pytest.raises(ConfigInvalid, match="psk_file makes a network private"):
        load_config(environ=environ, flags={"network.kind": "public", "node.profile": "amino"})
