"""Yamux that a peer can neither fill the memory with nor keep the event loop to itself.

py-libp2p's Yamux grants windows and does not see to it that they are kept: what nobody reads is
buffered without an end. And frames that it only drops (answers to pings that it never sent) are read
without a single checkpoint, so that one connection could stop all others.
"""

from __future__ import annotations

from typing import Any

import trio
from libp2p.abc import ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import Yamux

from primedht import limits

_READS_AT_ONCE = 32  # a frame takes two at most
_COUNT_BYTES = 256 << 10  # received between two looks at what lies unread


class _FairConn:
    """A secure connection whose reader lets the other tasks have their turn."""

    def __init__(self, conn: ISecureConn) -> None:
        self._conn = conn
        self._reads_left = _READS_AT_ONCE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    async def read(self, n: int | None = None) -> bytes:
        self._reads_left -= 1
        if not self._reads_left:
            self._reads_left = _READS_AT_ONCE
            await trio.lowlevel.checkpoint()
        return await self._conn.read(n)


class Muxer(Yamux):
    """One connection's streams. A peer that sends more than may lie unread loses the connection."""

    def __init__(self, secured_conn: ISecureConn, peer_id: ID) -> None:
        fair: Any = _FairConn(secured_conn)
        super().__init__(fair, peer_id)
        self._uncounted_bytes = 0

    async def _read_data_body(self, length: int) -> bytes:
        self._uncounted_bytes += length
        if self._uncounted_bytes > _COUNT_BYTES:
            unread_bytes = sum(map(len, self.stream_buffers.values())) + length
            if unread_bytes > limits.CONNECTION_UNREAD_BYTES_MAX:
                # Of all errors the one that Yamux ends the connection for, whatever the frame.
                raise trio.TooSlowError(f"{unread_bytes} bytes lie unread")
            self._uncounted_bytes = 0
        return await super()._read_data_body(length)
