"""What goes to one peer over one stream, opened when there is something to send.

Wants and answers have an outbox each, so that a cancelled want does not wait behind a megabyte of
blocks. What waits is not queued as messages but asked for when the last one has gone (`fill`): so a want
that was cancelled meanwhile is never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from primedht import limits
from primedht.blocks.bitswap.messages import (
    BITSWAP_ZSTD,
    PROTOCOLS,
    BitswapMessage,
    Frames,
    encode_framed,
)
from primedht.blocks.block import Block
from primedht.blocks.compression import may_shrink, shrink
from primedht.dht.ports import Stream, Streams
from primedht.errors import PeerTimeout
from primedht.ids import PeerId


class Outbox:
    """Sends what `fill` gives to `peer`, until that has been nothing for a while.

    compresses: whether the peer is known to take blocks as zstd frames, asked when a stream is opened.
    sent: told how many bytes the blocks of a message travelled as. ended: called, before anything else can
    happen, when the outbox takes no more.
    """

    def __init__(
        self,
        streams: Streams,
        peer: PeerId,
        fill: Callable[[], AbstractAsyncContextManager[BitswapMessage]],
        *,
        compresses: Callable[[], bool],
        sent: Callable[[int], object],
        ended: Callable[[], object],
    ) -> None:
        self._streams = streams
        self._peer = peer
        self._fill = fill
        self._compresses = compresses
        self._sent = sent
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
                protocols = (BITSWAP_ZSTD, *PROTOCOLS) if self._compresses() else PROTOCOLS
                stream = await self._streams.open(
                    self._peer, protocols, timeout_s=limits.BITSWAP_SEND_TIMEOUT_S
                )
            frames = await _frames(message.blocks) if stream.protocol == BITSWAP_ZSTD else ()
            await stream.send(encode_framed(message, stream.protocol, frames))
            self._sent(_wire_bytes(message.blocks, frames))
            return stream
        if stream is not None:
            await stream.reset()
        raise PeerTimeout(f"{self._peer} takes no bitswap message")


async def _frames(blocks: Sequence[Block]) -> Frames:
    """Return the frames of those blocks that are smaller so, and None for each of the others."""
    shrinking = [may_shrink(block.data) for block in blocks]

    def compress() -> Frames:
        return [shrink(block.data) if may else None for block, may in zip(blocks, shrinking, strict=True)]

    work_bytes = sum(len(block.data) for block, may in zip(blocks, shrinking, strict=True) if may)
    if work_bytes <= limits.COMPRESSION_INLINE_BYTES_MAX:
        return compress()
    return await trio.to_thread.run_sync(compress)


def _wire_bytes(blocks: Sequence[Block], frames: Frames) -> int:
    if not frames:
        return sum(len(block.data) for block in blocks)
    return sum(
        len(block.data if frame is None else frame) for block, frame in zip(blocks, frames, strict=True)
    )
