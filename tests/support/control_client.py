"""A trio client of the control socket over the client library's sans-IO core, for tests."""

from __future__ import annotations

from typing import Any, TypeVar

import trio

from primedht import control_addr
from primedht.client._ops import Call
from primedht.control_addr import UnixAddr
from primedht.errors import DaemonUnavailable, OperationTimeout
from primedht.limits import CONTROL_RESPONSE_BYTES_MAX
from primedht.wire.frames import FrameReader

T = TypeVar("T")
_RECEIVE_BYTES = 64 << 10


class ControlClient:
    """Calls to one daemon, side by side, each on a connection of its own while it lasts."""

    def __init__(self, control: str) -> None:
        addr = control_addr.parse(control)
        assert isinstance(addr, UnixAddr)
        self._path = addr.path
        self._idle: list[trio.SocketStream] = []

    async def one(self, call: Call[T]) -> T:
        """Return the last item of the answer. Raises the daemon's error, or `DaemonUnavailable`."""
        items = await self.every(call)
        if not items:
            raise DaemonUnavailable("the daemon sent no result")
        return items[-1]

    async def every(self, call: Call[T]) -> list[T]:
        """Return all items of the answer, in the order of their coming."""
        stream = self._idle.pop() if self._idle else await self._connect()
        try:
            return await self._exchange(stream, call)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DaemonUnavailable(f"{self._path}: the daemon went away") from error
        finally:
            # Unread answers would be those of the next call.
            if call.finished:
                self._idle.append(stream)
            else:
                stream.socket.close()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    async def _connect(self) -> trio.SocketStream:
        try:
            return await trio.open_unix_socket(self._path)
        except OSError as error:
            raise DaemonUnavailable(f"{self._path}: {error}") from error

    async def _exchange(self, stream: trio.SocketStream, call: Call[Any]) -> list[Any]:
        await stream.send_all(call.request)
        reader = FrameReader(CONTROL_RESPONSE_BYTES_MAX)
        items: list[Any] = []
        while not call.finished:
            while (frame := reader.next_frame()) is None:
                data = b""
                with trio.move_on_after(call.timeout_s) as patience:
                    data = await stream.receive_some(_RECEIVE_BYTES)
                if patience.cancelled_caught:
                    raise OperationTimeout(f"{self._path}: no answer within {call.timeout_s:g} s")
                if not data:
                    raise DaemonUnavailable(f"{self._path}: the daemon went away before it answered")
                reader.feed(data)
            items += call.on_frame(frame)
        return items
