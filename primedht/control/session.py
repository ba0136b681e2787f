"""One client's connection: requests in, answers out, each with its limits."""

from __future__ import annotations

import math
import os
import socket
import struct
from array import array
from collections import deque

import trio
from google.protobuf.message import DecodeError, Message

from primedht import limits
from primedht.errors import MalformedRequest, ProtocolViolation
from primedht.pb import p2pd_pb2 as pb
from primedht.wire.frames import FrameReader, encode_frame

_RECEIVE_BYTES = 64 << 10
_SEND_BYTES = 64 << 10
_CREDENTIALS = struct.Struct("iII")  # of a peer: process, user and group (unix(7), SO_PEERCRED)


class ClientGone(Exception):
    """The client closed the connection, or takes no bytes any more. Nothing is left to answer."""


class _Frames(FrameReader):
    """Frames of a connection that may turn into a pipe of plain bytes."""

    def take_rest(self) -> bytes:
        """Return what arrived behind the last frame taken, and forget it."""
        rest, self._buffer = bytes(self._buffer), b""
        return rest


class Session:
    """Frames of one connection.

    busy: a request is being answered. stopping: no further one is taken; a put in chunks ends there too.
    scope: what its owner serves it within; cancelled when the client takes no bytes for too long.
    trusted: the client may sign and administrate (a Unix socket, or TCP with `control.tcp_trusted`).
    """

    def __init__(
        self, stream: trio.SocketStream, large_requests: trio.CapacityLimiter, *, trusted: bool
    ) -> None:
        self.scope = trio.CancelScope()
        self.trusted = trusted
        self.busy = False
        self.detached = False
        self._stop = trio.Event()
        self._stream = stream
        self._reader = _Frames(limits.CONTROL_REQUEST_BYTES_MAX)
        self._large_requests = large_requests
        self._put_back: pb.Request | None = None
        self._passes_descriptors = stream.socket.family == socket.AF_UNIX
        self._descriptors: deque[int] = deque()

    @property
    def is_same_user(self) -> bool:
        """Whether the client runs as the user that this process runs as."""
        if not self._passes_descriptors or not hasattr(socket, "SO_PEERCRED"):
            return False
        credentials = self._stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        return bool(uid == os.geteuid())

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Take no further request."""
        self._stop.set()

    async def wait_end(self) -> None:
        """Return when the client has ended its side, or the daemon is stopping.

        Requests that come meanwhile are kept for `receive`, as far as there is room for them.
        """

        async def watch_client() -> None:
            while self._reader.buffered_bytes <= limits.CONTROL_SMALL_REQUEST_BYTES:
                if not await self._more():
                    either.cancel_scope.cancel()
                    return

        async with trio.open_nursery() as either:
            either.start_soon(watch_client)
            await self._stop.wait()
            either.cancel_scope.cancel()

    async def receive(self) -> pb.Request | None:
        """Return the next request, or None when the client closed or the daemon is stopping.

        Waits as long as it takes to begin. Raises `MalformedRequest` for anything else, one that is not
        complete in time included.
        """
        if self._put_back is not None:
            request, self._put_back = self._put_back, None
            return request
        self.busy = False
        if self.stopping:
            return None
        frame = self._next_frame()
        if frame is None:
            if self._reader.buffered_bytes == 0 and not await self._more():
                return None
            self.busy = True
            frame = self._next_frame()
            if frame is None:
                frame = await self._rest_of_frame()
        self.busy = True
        try:
            request = pb.Request.FromString(frame)
        except DecodeError:
            raise MalformedRequest("not a request of the control protocol") from None
        if not request.IsInitialized():  # parsing does not look at required fields
            raise MalformedRequest("a request without one of its required fields")
        return request

    def put_back(self, request: pb.Request) -> None:
        """Make `request`, just received, the next one again."""
        self._put_back = request

    async def send(self, message: Message) -> None:
        """Send one message. Raises `ClientGone`; `scope` ends if the client reads too slowly."""
        if self.detached:
            raise ClientGone
        frame = encode_frame(message.SerializeToString())
        try:
            for start in range(0, len(frame), _SEND_BYTES):
                # Moving one deadline costs a fifth of a new scope for every answer.
                self.scope.deadline = trio.current_time() + limits.CONTROL_SEND_STALL_S
                await self._stream.send_all(frame[start : start + _SEND_BYTES])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientGone from None
        finally:
            self.scope.deadline = math.inf

    def take_descriptor(self) -> int | None:
        """Return the first descriptor that came and was not taken; from now on it is the caller's."""
        return self._descriptors.popleft() if self._descriptors else None

    def close_descriptors(self) -> None:
        """Close those that nobody took."""
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def detach(self) -> tuple[bytes, trio.SocketStream]:
        """Give up the connection for plain bytes; return those that came early, and the socket.

        For frames the client is gone from now on; the server does not wait for the end of a pipe.
        """
        self.detached = True
        self.busy = False
        return self._reader.take_rest(), self._stream

    async def _rest_of_frame(self) -> bytes:
        held = False
        try:
            with trio.fail_after(limits.CONTROL_REQUEST_S):
                while (frame := self._next_frame()) is None:
                    if not held and self._reader.buffered_bytes > limits.CONTROL_SMALL_REQUEST_BYTES:
                        await self._large_requests.acquire_on_behalf_of(self)
                        held = True
                    if not await self._more():
                        raise MalformedRequest("the connection ended within a request")
        except trio.TooSlowError:
            raise MalformedRequest(
                f"the request was not complete within {limits.CONTROL_REQUEST_S:g} s"
            ) from None
        finally:
            if held:
                self._large_requests.release_on_behalf_of(self)
        return frame

    def _next_frame(self) -> bytes | None:
        try:
            return self._reader.next_frame()
        except ProtocolViolation as error:
            raise MalformedRequest(str(error)) from None

    async def _more(self) -> bool:
        """Take what has arrived; False at the end of the stream."""
        try:
            if self._passes_descriptors:
                data = await self._receive_with_descriptors()
            else:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            return False
        self._reader.feed(data)
        return bool(data)

    async def _receive_with_descriptors(self) -> bytes:
        """Take bytes, and the descriptors that came with them. Source: unix(7), SCM_RIGHTS."""
        room = socket.CMSG_SPACE(limits.CONTROL_DESCRIPTORS_MAX * array("i").itemsize)
        data, ancillary, _, _ = await self._stream.socket.recvmsg(
            _RECEIVE_BYTES, room, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                came = array("i")
                came.frombytes(content[: len(content) - len(content) % came.itemsize])
                self._descriptors.extend(came)
        if len(self._descriptors) > limits.CONTROL_DESCRIPTORS_MAX:
            raise MalformedRequest(
                f"over {limits.CONTROL_DESCRIPTORS_MAX} descriptors that no request has taken"
            )
        return data
