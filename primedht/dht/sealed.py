"""Stored messages behind a checksum, so that what a disk or an editor changed is noticed."""

from __future__ import annotations

import zlib

from google.protobuf.message import DecodeError, Message

from primedht.errors import StoreCorrupt

_CRC_BYTES = 4


def seal(message: Message) -> bytes:
    """Return the bytes of `message` behind their CRC-32."""
    body = message.SerializeToString()
    return zlib.crc32(body).to_bytes(_CRC_BYTES, "big") + body


def unseal(raw: bytes, message: Message) -> None:
    """Parse what `seal` made into `message`. Raises `StoreCorrupt`."""
    body = raw[_CRC_BYTES:]
    if zlib.crc32(body).to_bytes(_CRC_BYTES, "big") != raw[:_CRC_BYTES]:
        raise StoreCorrupt("a stored entry does not match its checksum")
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise StoreCorrupt("a stored entry does not parse") from None
