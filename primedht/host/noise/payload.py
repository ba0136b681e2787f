"""The payload that ties a Noise static key to a libp2p identity. Sans-IO.

Source: libp2p specs, noise/README.md, "Static Key Authentication" and "The libp2p Handshake
Payload"; connections/inlined-muxer-negotiation.md for `stream_muxers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from libp2p.security.noise.pb import noise_pb2

from primedht import limits
from primedht.errors import MalformedKey
from primedht.host.noise.handshake import HandshakeFailed
from primedht.ids import PeerId
from primedht.keys import PublicKey

_SIGNED_PREFIX = b"noise-libp2p-static-key:"


@dataclass(frozen=True, repr=False)
class LocalIdentity:
    """A node's side of every handshake: one static key for its lifetime, vouched for once.

    muxers: stream multiplexers offered in the handshake, best first. Offer only what is then used
    without further negotiation: a peer that finds a common one skips multistream-select.
    """

    static: X25519PrivateKey
    payload: bytes
    muxers: tuple[str, ...]

    @classmethod
    def create(
        cls, public_key: bytes, sign: Callable[[bytes], bytes], muxers: Sequence[str] = ()
    ) -> LocalIdentity:
        """Make a new static key and have it signed.

        public_key: libp2p's `PublicKey` message. sign: signs with the private key that belongs to it.
        """
        static = X25519PrivateKey.generate()
        message = noise_pb2.NoiseHandshakePayload(
            identity_key=public_key,
            identity_sig=sign(_SIGNED_PREFIX + static.public_key().public_bytes_raw()),
        )
        if muxers:
            message.extensions.stream_muxers.extend(muxers)
        return cls(static, message.SerializeToString(), tuple(muxers))


@dataclass(frozen=True, slots=True)
class RemoteIdentity:
    """Who the peer has proved to be, and the multiplexers it offered."""

    public_key: PublicKey
    muxers: tuple[str, ...]

    @property
    def peer(self) -> PeerId:
        return self.public_key.peer_id


def verify_payload(payload: bytes, remote_static: bytes, expected: PeerId | None) -> RemoteIdentity:
    """Check that the owner of the identity in `payload` vouches for `remote_static`.

    expected: the peer wanted, None for anyone. Raises `HandshakeFailed`. Extensions other than
    `stream_muxers` (WebTransport's certificate hashes) do not concern TCP and are ignored.
    """
    try:
        message = noise_pb2.NoiseHandshakePayload.FromString(payload)
    except DecodeError:
        raise HandshakeFailed("the handshake payload is not a protobuf message") from None
    if not message.identity_key or not message.identity_sig:
        raise HandshakeFailed("the handshake payload lacks an identity or its signature")
    try:
        public_key = PublicKey.parse(message.identity_key)
    except MalformedKey as error:
        raise HandshakeFailed(f"the peer's identity is {error}") from None
    if not public_key.verify(_SIGNED_PREFIX + remote_static, message.identity_sig):
        raise HandshakeFailed(f"the signature of {public_key.peer_id} is wrong")
    if expected is not None and public_key.peer_id != expected:
        raise HandshakeFailed(f"{public_key.peer_id} answers in place of {expected}")
    muxers = tuple(message.extensions.stream_muxers[: limits.NOISE_MUXERS_MAX])
    return RemoteIdentity(public_key, muxers)


def agreed_muxer(initiator: Sequence[str], responder: Sequence[str]) -> str | None:
    """Return the initiator's first choice that the responder offers too, None to negotiate it."""
    return next((muxer for muxer in initiator if muxer in responder), None)
