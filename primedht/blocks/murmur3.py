"""MurmurHash3, x64, the first 64 bits of 128: where a name is in a HAMT directory.

Source: Austin Appleby, smhasher, MurmurHash3_x64_128 with seed 0.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def murmur3_x64_64(data: bytes) -> bytes:
    """Return the hash, big-endian."""
    h1 = h2 = 0
    tail_at = len(data) - len(data) % 16
    for at in range(0, tail_at, 16):
        h1 ^= _mixed1(int.from_bytes(data[at : at + 8], "little"))
        h1 = (_rotated(h1, 27) + h2) * 5 + 0x52DCE729 & _MASK
        h2 ^= _mixed2(int.from_bytes(data[at + 8 : at + 16], "little"))
        h2 = (_rotated(h2, 31) + h1) * 5 + 0x38495AB5 & _MASK
    h2 ^= _mixed2(int.from_bytes(data[tail_at + 8 :], "little"))
    h1 ^= _mixed1(int.from_bytes(data[tail_at : tail_at + 8], "little"))
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = h1 + h2 & _MASK
    h2 = h2 + h1 & _MASK
    return (_finished(h1) + _finished(h2) & _MASK).to_bytes(8, "big")


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK


def _mixed1(word: int) -> int:
    return _rotated(word * _C1 & _MASK, 31) * _C2 & _MASK


def _mixed2(word: int) -> int:
    return _rotated(word * _C2 & _MASK, 33) * _C1 & _MASK


def _finished(word: int) -> int:
    word ^= word >> 33
    word = word * 0xFF51AFD7ED558CCD & _MASK
    word ^= word >> 33
    word = word * 0xC4CEB9FE1A85EC53 & _MASK
    return word ^ word >> 33
