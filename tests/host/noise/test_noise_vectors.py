"""The published vectors of `Noise_XX_25519_ChaChaPoly_SHA256`, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from primedht.host.noise.handshake import Handshake
from primedht.host.noise.session import NoiseSession

VECTORS = json.loads((Path(__file__).parent / "vectors/xx_25519_chachapoly_sha256.json").read_text())


def key(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(text))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["source"].split()[0])
def test_every_message_of_the_vector_is_reproduced(vector):
    messages = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"]))
        for message in vector["messages"]
    ]
    (first, second, third), transport = messages[:3], messages[3:]
    checked: list[bytes] = []

    def check(payload: bytes, remote_static: bytes) -> None:
        checked.append(payload)

    prologue = bytes.fromhex(vector["prologue"])
    initiator = Handshake(
        key(vector["init_static"]),
        third[0],
        check,
        is_initiator=True,
        prologue=prologue,
        ephemeral=key(vector["init_ephemeral"]),
        first_payload=first[0],
    )
    responder = Handshake(
        key(vector["resp_static"]),
        second[0],
        check,
        is_initiator=False,
        prologue=prologue,
        ephemeral=key(vector["resp_ephemeral"]),
    )
    out = initiator.start()
    assert out[2:] == first[1]
    out = responder.feed(out)
    assert out[2:] == second[1]
    out = initiator.feed(out)
    assert out[2:] == third[1]
    assert responder.feed(out) == b""
    assert checked == [second[0], third[0]]

    results = initiator.result, responder.result
    assert results[0].hash == results[1].hash
    if vector["handshake_hash"]:
        assert results[0].hash.hex() == vector["handshake_hash"]
    sessions = [NoiseSession(result.send, result.receive) for result in results]
    # The fourth message is the responder's.
    for index, (payload, ciphertext) in enumerate(transport, start=3):
        buffer = bytearray(1024)
        size = sessions[index % 2].seal_into([payload], memoryview(buffer))
        assert bytes(buffer[2:size]) == ciphertext
        assert sessions[(index + 1) % 2].open(memoryview(buffer)[:size]) == [payload]


def test_there_are_vectors():
    assert len(VECTORS["vectors"]) == 2
