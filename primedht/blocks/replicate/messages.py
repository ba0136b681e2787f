"""One request and its responses on a stream of `/primedht/replicate/1.0.0`."""

from __future__ import annotations

from typing import TypeVar

import trio
from google.protobuf.message import DecodeError, Message

from primedht import limits
from primedht.dht.ports import Stream
from primedht.errors import PeerTimeout, ProtocolViolation
from primedht.wire.frames import FrameReader, encode_frame

PROTOCOL = "/primedht/replicate/1.0.0"

M = TypeVar("M", bound=Message)


class Conversation:
    """One stream's messages. Raises as `Stream` does, and `PeerTimeout` after a silence."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._reader = FrameReader(limits.REPLICATE_MESSAGE_BYTES_MAX)

    async def send(self, message: Message) -> None:
        with trio.move_on_after(limits.REPLICATE_SILENCE_S) as patience:
            await self.stream.send(encode_frame(message.SerializeToString()))
        if patience.cancelled_caught:
            raise PeerTimeout(f"{self.stream.peer} does not read")

    async def receive(self, kind: type[M]) -> M:
        """Return the next message. Raises `ProtocolViolation` for what is none, or the stream's end."""
        with trio.move_on_after(limits.REPLICATE_SILENCE_S):
            while (frame := self._reader.next_frame()) is None:
                data = await self.stream.receive()
                if not data:
                    raise ProtocolViolation("a replicate stream ended without an answer")
                self._reader.feed(data)
            message = kind()
            try:
                message.ParseFromString(frame)
            except DecodeError:
                raise ProtocolViolation("not a message of the replicate protocol") from None
            return message
        raise PeerTimeout(f"{self.stream.peer} said nothing for {limits.REPLICATE_SILENCE_S:g} s")
