"""One side of a Noise XX handshake, with libp2p's length framing. Sans-IO.

    initiator                                responder
    e                                   ->
                                        <-   e, ee, s, es, payload
    s, se, payload                      ->

Each side sends what `start` and `feed` return. The handshake is over for the responder with the
third message, and for the initiator as soon as it has produced it; `result` is set then.

Source: Noise, sections 5.3 and 7.5; libp2p specs, noise/README.md, "Wire Format".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from primedht.errors import ProtocolViolation
from primedht.host.noise.symmetric import KEY_BYTES, TAG_BYTES, SymmetricState

LENGTH_BYTES = 2
_SEALED_KEY_BYTES = KEY_BYTES + TAG_BYTES


class HandshakeFailed(ProtocolViolation):
    """The peer's handshake is malformed, forged, or that of somebody else."""


@dataclass(frozen=True, slots=True)
class HandshakeResult:
    """What a handshake yields.

    send, receive: this side's transport ciphers, both at nonce 0. hash: the channel binding
    (Noise, section 11.2). rest: bytes received behind the last message.
    """

    send: ChaCha20Poly1305
    receive: ChaCha20Poly1305
    hash: bytes
    rest: bytes


class Handshake:
    """A handshake in progress.

    static: this side's static key. payload: what it sends along with it. check: called with the
    peer's payload and static public key before anything secret depends on them; it raises to refuse.
    ephemeral: for tests with published vectors only. first_payload: sent in the clear with the
    initiator's first message; libp2p leaves it empty.
    """

    def __init__(
        self,
        static: X25519PrivateKey,
        payload: bytes,
        check: Callable[[bytes, bytes], None],
        *,
        is_initiator: bool,
        prologue: bytes = b"",
        ephemeral: X25519PrivateKey | None = None,
        first_payload: bytes = b"",
    ) -> None:
        self._static = static
        self._payload = payload
        self._check = check
        self._is_initiator = is_initiator
        self._first_payload = first_payload
        self._ephemeral = X25519PrivateKey.generate() if ephemeral is None else ephemeral
        self._remote_ephemeral = b""
        self._symmetric = SymmetricState(prologue)
        self._buffer = bytearray()
        self._on_message = self._on_second if is_initiator else self._on_first
        self.result: HandshakeResult | None = None

    def start(self) -> bytes:
        """Return what to send first: nothing for the responder."""
        if not self._is_initiator:
            return b""
        return _frame(self._send_ephemeral() + self._symmetric.encrypt_and_hash(self._first_payload))

    def feed(self, data: bytes) -> bytes:
        """Take received bytes and return those to send. Raises `HandshakeFailed`, once and for all."""
        self._buffer += data
        out = b""
        while self.result is None and (message := self._next_message()) is not None:
            try:
                out += self._on_message(message)
            except InvalidTag:
                raise HandshakeFailed("a handshake message does not decrypt") from None
        return out

    def _next_message(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < LENGTH_BYTES:
            return None
        end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES], "big")
        if len(buffer) < end:
            return None
        message = bytes(buffer[LENGTH_BYTES:end])
        del buffer[:end]
        return message

    # --- the three messages ---------------------------------------------------------------------

    def _on_first(self, message: bytes) -> bytes:
        symmetric = self._symmetric
        rest = self._receive_ephemeral(message)
        symmetric.decrypt_and_hash(rest)
        out = self._send_ephemeral()
        symmetric.mix_key(_dh(self._ephemeral, self._remote_ephemeral))
        out += symmetric.encrypt_and_hash(self._static.public_key().public_bytes_raw())
        symmetric.mix_key(_dh(self._static, self._remote_ephemeral))
        out += symmetric.encrypt_and_hash(self._payload)
        self._on_message = self._on_third
        return _frame(out)

    def _on_second(self, message: bytes) -> bytes:
        symmetric = self._symmetric
        rest = self._receive_ephemeral(message)
        symmetric.mix_key(_dh(self._ephemeral, self._remote_ephemeral))
        remote_static, rest = self._receive_static(rest)
        symmetric.mix_key(_dh(self._ephemeral, remote_static))
        self._check(symmetric.decrypt_and_hash(rest), remote_static)
        out = symmetric.encrypt_and_hash(self._static.public_key().public_bytes_raw())
        symmetric.mix_key(_dh(self._static, self._remote_ephemeral))
        out += symmetric.encrypt_and_hash(self._payload)
        self._finish()
        return _frame(out)

    def _on_third(self, message: bytes) -> bytes:
        symmetric = self._symmetric
        remote_static, rest = self._receive_static(message)
        symmetric.mix_key(_dh(self._ephemeral, remote_static))
        self._check(symmetric.decrypt_and_hash(rest), remote_static)
        self._finish()
        return b""

    # --- tokens ---------------------------------------------------------------------------------

    def _send_ephemeral(self) -> bytes:
        public = self._ephemeral.public_key().public_bytes_raw()
        self._symmetric.mix_hash(public)
        return public

    def _receive_ephemeral(self, message: bytes) -> bytes:
        if len(message) < KEY_BYTES:
            raise HandshakeFailed(f"a handshake message of {len(message)} bytes has no ephemeral key")
        self._remote_ephemeral = message[:KEY_BYTES]
        self._symmetric.mix_hash(self._remote_ephemeral)
        return message[KEY_BYTES:]

    def _receive_static(self, rest: bytes) -> tuple[bytes, bytes]:
        if len(rest) < _SEALED_KEY_BYTES + TAG_BYTES:
            raise HandshakeFailed("a handshake message is too short for a static key and a payload")
        return self._symmetric.decrypt_and_hash(rest[:_SEALED_KEY_BYTES]), rest[_SEALED_KEY_BYTES:]

    def _finish(self) -> None:
        first, second = self._symmetric.split()
        send, receive = (first, second) if self._is_initiator else (second, first)
        self.result = HandshakeResult(send, receive, self._symmetric.hash, bytes(self._buffer))
        self._buffer.clear()


def _frame(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def _dh(private: X25519PrivateKey, public: bytes) -> bytes:
    """X25519, refusing the all-zero result of a low-order key (Noise, 12.1; RFC 7748, section 6.1)."""
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise HandshakeFailed("a public key of low order") from None
    if not any(shared):
        raise HandshakeFailed("a public key of low order")
    return shared
