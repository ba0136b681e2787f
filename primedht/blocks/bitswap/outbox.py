"""What goes to one peer over one stream, opened when there is something to send.

Wants and answers have an outbox each, so that a cancelled want does not wait behind a megabyte of
blocks. What waits is not queued as messages but asked for when the last one has gone (`fill`): so a want
that was cancelled meanwhile is never sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from primedht import limits
from primedht.blocks.bitswap.messages import PROTOCOLS, BitswapMessage, encode_framed
from primedht.dht.ports import Stream, Streams
from primedht.errors import PeerTimeout
from primedht.ids import PeerId


class Outbox:
    """Sends what `fill` gives to `peer`, until that has been nothing for a while.

    ended: called, before anything else can happen, when the outbox takes no more.
    """

    def __init__(
        self,
        streams: Streams,
        peer: PeerId,
        fill: Callable[[], AbstractAsyncContextManager[BitswapMessage]],
        ended: Callable[[], object],
    ) -> None:
        self._streams = streams
        self._peer = peer
        self._fill = fill
        self._ended = ended
        self._event = trio.Event()

    def wake(self) -> None:
        """There is something to send."""
        self._event.set()

    async def run(self) -> None:
        """Send until idle. Raises `RemoteError` when the peer cannot be reached or does not read."""
        stream: Stream | None = None
        is_done = False
        try:
            while await self._wait():
                is_empty = False
                while not is_empty:
                    async with self._fill() as message:
                        is_empty = not message
                        if message:
                            stream = await self._send(stream, message)
            is_done = True
        finally:
            self._ended()
            if stream is not None:
                await (stream.close() if is_done else stream.reset())

    async def _wait(self) -> bool:
        with trio.move_on_after(limits.BITSWAP_STREAM_IDLE_S):
            await self._event.wait()
        was_woken = self._event.is_set()
        self._event = trio.Event()
        return was_woken

    async def _send(self, stream: Stream | None, message: BitswapMessage) -> Stream:
        with trio.move_on_after(limits.BITSWAP_SEND_TIMEOUT_S):
            if stream is None:
                stream = await self._streams.open(
                    self._peer, PROTOCOLS, timeout_s=limits.BITSWAP_SEND_TIMEOUT_S
                )
            await stream.send(encode_framed(message, stream.protocol))
            return stream
        if stream is not None:
            await stream.reset()
        raise PeerTimeout(f"{self._peer} takes no bitswap message")
