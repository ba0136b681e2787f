"""The cipher and the symmetric state of a Noise handshake. Sans-IO.

Source: Noise, sections 4.3 and 5.1 (HKDF, `CipherState`), 5.2 (`SymmetricState`), 12 (25519,
ChaChaPoly, SHA256).
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PROTOCOL_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
KEY_BYTES = 32
TAG_BYTES = 16
NONCE_MAX = (1 << 64) - 1  # reserved (section 5.1): a cipher never uses it

pack_nonce = struct.Struct("<4xQ").pack
"""A counter as the 96-bit nonce of ChaChaPoly (section 12.3)."""


def derive_two(chaining_key: bytes, input_key_material: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (section 4.3)."""
    temp_key = hmac.digest(chaining_key, input_key_material, "sha256")
    first = hmac.digest(temp_key, b"\x01", "sha256")
    return first, hmac.digest(temp_key, first + b"\x02", "sha256")


class SymmetricState:
    """Chaining key, transcript hash and, after the first `mix_key`, a cipher."""

    def __init__(self, prologue: bytes) -> None:
        # The name has exactly the hash's length, so it is its own initial hash.
        self._chaining_key = PROTOCOL_NAME
        self.hash = PROTOCOL_NAME
        self._cipher: ChaCha20Poly1305 | None = None
        self._nonce = 0
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, input_key_material: bytes) -> None:
        self._chaining_key, key = derive_two(self._chaining_key, input_key_material)
        self._cipher = ChaCha20Poly1305(key)
        self._nonce = 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        if self._cipher is None:
            self.mix_hash(plaintext)
            return plaintext
        ciphertext = self._cipher.encrypt(pack_nonce(self._nonce), plaintext, self.hash)
        self._nonce += 1
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Raises `cryptography.exceptions.InvalidTag`; the state is of no use afterwards."""
        if self._cipher is None:
            self.mix_hash(ciphertext)
            return ciphertext
        plaintext = self._cipher.decrypt(pack_nonce(self._nonce), ciphertext, self.hash)
        self._nonce += 1
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[ChaCha20Poly1305, ChaCha20Poly1305]:
        """Return the ciphers of the transport phase: the initiator's sending one first."""
        first, second = derive_two(self._chaining_key, b"")
        return ChaCha20Poly1305(first), ChaCha20Poly1305(second)
