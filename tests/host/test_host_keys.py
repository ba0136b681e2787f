"""Identities of other key types than our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from host_helpers import config, connect, running_host
from libp2p.crypto.serialization import deserialize_public_key
from libp2p.peer.id import ID

from primedht.host import open_host
from primedht.host.keys import accept_ecdsa_keys
from primedht.keys import KeyType, PublicKey


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_handshakes_read_and_verify_ecdsa_identities(curve):
    accept_ecdsa_keys()
    private = ec.generate_private_key(curve)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    ours = PublicKey(KeyType.ECDSA, der)
    key = deserialize_public_key(ours.serialized)
    signature = private.sign(b"noise-libp2p-static-key:...", ec.ECDSA(hashes.SHA256()))
    assert key.verify(b"noise-libp2p-static-key:...", signature)
    assert not key.verify(b"something else", signature)
    assert ID.from_pubkey(key).to_bytes() == bytes(ours.peer_id)


async def test_connection_whose_peer_said_goodbye_is_not_used_again():
    """The muxer knows before the socket is closed."""
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        leaving = a.swarm.connection_to(b.peer_id)
        assert leaving is not None
        leaving.muxed_conn.event_shutting_down.set()
        assert a.swarm.connection_to(b.peer_id) is None
        assert await a.swarm.connect(b.peer_id, b.address_book.own_addrs()) is not leaving


GOLDEN = json.loads((Path(__file__).parents[1] / "golden/keys/go.json").read_text())


@pytest.mark.parametrize("transport", ["primedht", "libp2p"])
@pytest.mark.parametrize("made", GOLDEN, ids=[made["type"] for made in GOLDEN])
async def test_hosts_of_every_identity_connect_whoever_dials(transport, made):
    async with (
        open_host(bytes.fromhex(made["private_key"]), config(transport=transport)) as other,
        running_host(transport=transport) as a,
        running_host(transport=transport) as b,
    ):
        assert str(other.peer_id) == made["peer_id"]
        await connect(a, other)
        await connect(other, b)
        assert await other.connections.ping(a.peer_id, timeout_s=10) > 0
        assert await b.connections.ping(other.peer_id, timeout_s=10) > 0
