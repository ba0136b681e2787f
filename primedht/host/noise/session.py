"""The transport phase of Noise: messages to sealed frames and back. Sans-IO; the hot path.

A frame is a two-byte length and a ciphertext of up to 65,535 bytes. Many messages are sealed into
one buffer and many frames opened in one call, so that one system call moves them all.

Source: Noise, section 5.1 and 11.4; libp2p specs, noise/README.md, "Wire Format" and "Encryption
and I/O": libp2p peers never rekey, so a connection ends before its nonces do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.host.noise.handshake import LENGTH_BYTES
from primedht.host.noise.symmetric import NONCE_MAX, TAG_BYTES, pack_nonce

FRAME_BYTES_MAX = LENGTH_BYTES + (1 << 16) - 1
MESSAGE_BYTES_MAX = (1 << 16) - 1 - TAG_BYTES
OVERHEAD_BYTES = LENGTH_BYTES + TAG_BYTES
_USEFUL_READ_BYTES = 64
_FRAMES_AT_ONCE = 1024  # some 2 ms of decrypting, for a peer that sends only tiny ones

_LENGTH = struct.Struct(">H")
_unpack_length = _LENGTH.unpack_from
_pack_length_into = _LENGTH.pack_into

Message: TypeAlias = bytes | bytearray | memoryview


class SessionFailed(ProtocolViolation):
    """A frame is forged or malformed, or a nonce would be used twice: the connection must end."""


class NoiseSession:
    """Both directions of an established connection.

    rest: received bytes that do not make up a frame yet, less than `FRAME_BYTES_MAX`; while
    `is_behind`, there are more of them, and frames among them, to be opened before more is received.
    """

    __slots__ = (
        "_fruitless_reads",
        "_receive",
        "_receive_nonce",
        "_send",
        "_send_nonce",
        "is_behind",
        "rest",
    )

    def __init__(self, send: ChaCha20Poly1305, receive: ChaCha20Poly1305) -> None:
        self._send = send
        self._receive = receive
        self._send_nonce = 0
        self._receive_nonce = 0
        self._fruitless_reads = 0
        self.rest = b""
        self.is_behind = False

    def seal_into(self, messages: Sequence[Message], buffer: memoryview) -> int:
        """Seal each message into a frame of its own, all into `buffer`; return the bytes written.

        messages: at most `MESSAGE_BYTES_MAX` bytes each. `buffer` must hold them, with
        `OVERHEAD_BYTES` for each. Raises `SessionFailed` when the nonces are used up.
        """
        start = 0
        for message in messages:
            end = start + len(message) + OVERHEAD_BYTES
            self.seal_one_into(message, buffer[start:end])
            start = end
        return start

    def seal_one_into(self, message: Message, frame: memoryview) -> None:
        """Seal `message` into `frame`, which has just the size for it. As `seal_into`."""
        nonce = self._send_nonce
        if nonce == NONCE_MAX:
            raise SessionFailed("all nonces are used up")
        _pack_length_into(frame, 0, len(frame) - LENGTH_BYTES)
        self._send.encrypt_into(pack_nonce(nonce), message, None, frame[LENGTH_BYTES:])
        self._send_nonce = nonce + 1

    def open(self, data: memoryview) -> list[bytes]:
        """Return the messages of the complete frames in `data`: `rest`, and what has come in since.

        All of them, or a great many: see `is_behind`. What remains becomes the new `rest`; `data`
        may be reused at once. Raises `SessionFailed`.
        """
        size = len(data)
        self.is_behind = False
        if size >= OVERHEAD_BYTES and _unpack_length(data)[0] + LENGTH_BYTES == size:
            # One frame and nothing else: a request or a reply.
            self.rest = b""
            if self._fruitless_reads:
                self._fruitless_reads -= 1
            return [self._open_frame(data[LENGTH_BYTES:])]
        messages: list[bytes] = []
        start = 0
        while size - start >= LENGTH_BYTES:
            if len(messages) == _FRAMES_AT_ONCE:
                self.is_behind = True
                break
            body = start + LENGTH_BYTES
            end = body + _unpack_length(data, start)[0]
            if end > size:
                break
            messages.append(self._open_frame(data[body:end]))
            start = end
        if messages:
            if self._fruitless_reads:
                self._fruitless_reads -= 1
        elif size - len(self.rest) < _USEFUL_READ_BYTES:
            self._note_fruitless_read()
        self.rest = bytes(data[start:]) if start < size else b""
        return messages

    def _open_frame(self, frame: memoryview) -> bytes:
        nonce = self._receive_nonce
        if nonce == NONCE_MAX:
            raise SessionFailed("all nonces are used up")
        try:
            message: bytes = self._receive.decrypt(pack_nonce(nonce), frame, None)
        except InvalidTag:
            raise SessionFailed("a frame does not decrypt") from None
        self._receive_nonce = nonce + 1
        return message

    def _note_fruitless_read(self) -> None:
        """Give up on a peer that lets its frames trickle in, each byte at the cost of a system call."""
        self._fruitless_reads += 1
        if self._fruitless_reads > limits.NOISE_FRUITLESS_READS_MAX:
            raise SessionFailed("the peer's bytes trickle in one by one")
