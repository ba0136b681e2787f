"""XSalsa20: Salsa20 under a key that HSalsa20 derives from the key and the first 16 bytes of a nonce.

Salsa20 is pycryptodome's. HSalsa20 runs once per connection and direction, on 64 bytes, and no
library that we have offers it.

Source: D. J. Bernstein, "Extending the Salsa20 nonce" (xsalsa-20081128), section 2.
"""

from __future__ import annotations

import struct

from Crypto.Cipher import Salsa20

KEY_BYTES = 32
NONCE_BYTES = 24
_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
_MASK = 0xFFFFFFFF
_DOUBLE_ROUNDS = 10
# The words of one quarter-round each: first the columns, then the rows.
_QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip
_OUTPUT = (0, 5, 10, 15, 6, 7, 8, 9)


def hsalsa20(key: bytes, block: bytes) -> bytes:
    """Return the 32 bytes that HSalsa20 makes of a 32-byte key and a 16-byte block."""
    k, n, c = struct.unpack("<8I", key), struct.unpack("<4I", block), _CONSTANTS
    x = [c[0], *k[:4], c[1], *n, c[2], *k[4:], c[3]]
    for _ in range(_DOUBLE_ROUNDS):
        for a, b, d, e in _QUARTERS:  # a call for each rotation would take twice the time
            total = x[a] + x[e] & _MASK
            x[b] ^= total << 7 & _MASK | total >> 25
            total = x[b] + x[a] & _MASK
            x[d] ^= total << 9 & _MASK | total >> 23
            total = x[d] + x[b] & _MASK
            x[e] ^= total << 13 & _MASK | total >> 19
            total = x[e] + x[d] & _MASK
            x[a] ^= total << 18 & _MASK | total >> 14
    return struct.pack("<8I", *(x[word] for word in _OUTPUT))


def xsalsa20(key: bytes, nonce: bytes) -> Salsa20.Salsa20Cipher:
    """Return the stream cipher of a 32-byte key and a 24-byte nonce, at its beginning."""
    return Salsa20.new(key=hsalsa20(key, nonce[:16]), nonce=nonce[16:])
