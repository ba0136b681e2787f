"""Unsigned varints: 7 bits a byte, low bits first, minimal, at most nine bytes.

Source: multiformats/unsigned-varint, "Practical maximum of 9 bytes".
"""

from __future__ import annotations

from primedht.errors import ProtocolViolation

VARINT_BYTES_MAX = 9


def encode(value: int) -> bytes:
    """Return `value` (0 to 2**63 - 1) as an unsigned varint."""
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{value} does not fit an unsigned varint")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int] | None:
    """Return (value, offset behind it), or None if the varint is not complete yet.

    Raises `ProtocolViolation` for one that is longer than nine bytes or not minimal.
    """
    if len(buffer) - offset >= 2:  # most are one byte, or two
        low, high = buffer[offset], buffer[offset + 1]
        if low < 0x80:
            return low, offset + 1
        if 0 < high < 0x80:
            return low & 0x7F | high << 7, offset + 2
    value = 0
    for index, byte in enumerate(buffer[offset : offset + VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise ProtocolViolation("varint is not minimal")
            return value, offset + index + 1
    if len(buffer) - offset >= VARINT_BYTES_MAX:
        raise ProtocolViolation("varint is longer than nine bytes")
    return None
