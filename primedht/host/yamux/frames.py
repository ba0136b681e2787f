"""Yamux's frame header and constants.

Source: libp2p specs, yamux/README.md, "Framing".
"""

from __future__ import annotations

import struct

from primedht.errors import ProtocolViolation

HEADER_BYTES = 12
_HEADER = struct.Struct(">BBHII")
unpack_header_from = _HEADER.unpack_from
"""(version, type, flags, stream id, length) at an offset of a buffer."""

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
FLAGS = SYN | ACK | FIN | RST

NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = range(3)
"""Codes of GO_AWAY."""

SESSION_ID = 0
STREAM_ID_MAX = (1 << 32) - 1
INITIAL_WINDOW_BYTES = 256 << 10
WINDOW_BYTES_LIMIT = (1 << 32) - 1

MESSAGE_BYTES_MAX = 65_519  # the plaintext of one Noise frame
PAYLOAD_BYTES_MAX = MESSAGE_BYTES_MAX - HEADER_BYTES  # so that a full DATA frame fills one message


class YamuxViolation(ProtocolViolation):
    """The peer broke the protocol, or a limit that protects this node: the connection must end."""


def encode_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    return _HEADER.pack(0, kind, flags, stream_id, length)
