"""Handshakes that real go and js peers have sent, with our keys fixed, so that they can be replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from libp2p.security.noise.pb import noise_pb2

from primedht.host.noise.handshake import Handshake
from primedht.host.noise.payload import RemoteIdentity, verify_payload
from primedht.host.noise.session import NoiseSession
from primedht.host.yamux import Session
from primedht.host.yamux.frames import ACK, PING, encode_header
from primedht.keys import PrivateKey

RECORDED = json.loads((Path(__file__).parent / "vectors/recorded_peers.json").read_text())
MUXER = "/yamux/1.0.0"


def our_payload(static: X25519PrivateKey) -> bytes:
    """Return the payload that was sent when the recordings were made."""
    key = PrivateKey(bytes.fromhex(RECORDED["identity_seed"]))
    message = noise_pb2.NoiseHandshakePayload(
        identity_key=key.public_key.serialized,
        identity_sig=key.sign(b"noise-libp2p-static-key:" + static.public_key().public_bytes_raw()),
    )
    message.extensions.stream_muxers.append(MUXER)
    return message.SerializeToString()


@pytest.mark.parametrize(
    "recording", RECORDED["recordings"], ids=lambda r: f"{r['peer']}, we as {r['our_role']}"
)
def test_a_recorded_peer_is_authenticated_and_its_first_messages_are_read(recording):
    static = X25519PrivateKey.from_private_bytes(bytes.fromhex(RECORDED["static"]))
    remote: list[RemoteIdentity] = []
    handshake = Handshake(
        static,
        our_payload(static),
        lambda payload, key: remote.append(verify_payload(payload, key, None)),
        is_initiator=recording["our_role"] == "initiator",
        ephemeral=X25519PrivateKey.from_private_bytes(bytes.fromhex(RECORDED["ephemeral"])),
    )
    handshake.start()
    handshake.feed(bytes.fromhex(recording["received"]))
    result = handshake.result
    assert result is not None
    assert result.hash.hex() == recording["handshake_hash"]
    assert [str(identity.peer) for identity in remote] == [recording["peer_id"]]
    assert remote[0].muxers == (MUXER,)
    messages = NoiseSession(result.send, result.receive).open(memoryview(result.rest))
    assert [message.hex() for message in messages] == recording["messages"]

    # Both agreed on yamux in the handshake, so these are its frames: a ping and the first stream.
    session = Session(is_client=recording["our_role"] == "initiator", now=0.0)
    for message in messages:
        session.receive(message, 0.0)
    stream = session.accept()
    assert stream is not None
    assert stream.receive().startswith(b"\x13/multistream/1.0.0\n")
    assert encode_header(PING, ACK, 0, 0) in b"".join(session.take(1 << 20))
