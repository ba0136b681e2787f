"""libp2p's Noise: `Noise_XX_25519_ChaChaPoly_SHA256` under the protocol id `/noise`.

`symmetric`, `handshake`, `payload` and `session` do no I/O; `connection` moves their bytes.

Source: the Noise Protocol Framework, revision 34; libp2p specs, noise/README.md.
"""

from __future__ import annotations

from primedht.host.noise.connection import NoiseTransport, SecureConnection
from primedht.host.noise.handshake import HandshakeFailed
from primedht.host.noise.payload import LocalIdentity
from primedht.host.noise.session import SessionFailed
from primedht.host.noise.wire import Wire

__all__ = [
    "NoiseTransport",
    "SecureConnection",
    "LocalIdentity",
    "Wire",
    "HandshakeFailed",
    "SessionFailed",
]
