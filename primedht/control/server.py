"""Accepts control connections and answers their requests, in order, one supervisor each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
import trio

from primedht import limits
from primedht.control import encode, extensions, p2pd
from primedht.control.connmanager import manage_connections
from primedht.control.listeners import ControlListener
from primedht.control.session import ClientGone, Session
from primedht.control.streams import ClientStreams
from primedht.control_addr import UnixAddr
from primedht.errors import DaemonError, MalformedRequest, PrimeDhtError, TooBusy
from primedht.pb import p2pd_pb2 as pb

if TYPE_CHECKING:
    from primedht.node import Node

log = structlog.get_logger(__name__)


class ControlServer:
    """The control socket of one node. `open_control` runs it."""

    def __init__(self, node: Node, *, tcp_trusted: bool) -> None:
        self._node = node
        self._tcp_trusted = tcp_trusted
        self._streams = ClientStreams(node)
        self._large_requests = trio.CapacityLimiter(limits.CONTROL_LARGE_REQUESTS_MAX)
        self._sessions: set[Session] = set()
        self._accepting = trio.CancelScope()
        self._stopping = False
        self._idle = trio.Event()

    async def finish(self) -> None:
        """Take no more connections, streams or requests, and return when those under way are answered.

        Streams that clients opened are no requests: they end here.
        """
        self._stopping = True
        self._streams.close()
        self._accepting.cancel()
        for session in self._sessions:
            session.stop()
            if not session.busy:
                session.scope.cancel()
        if self._sessions:
            await self._idle.wait()

    async def _serve(self, listeners: Sequence[ControlListener], handlers: trio.Nursery) -> None:
        with self._accepting:
            async with trio.open_nursery() as acceptors:
                for each in listeners:
                    trusted = self._tcp_trusted or isinstance(each.addr, UnixAddr)
                    acceptors.start_soon(self._accept, each.listener, handlers, trusted)

    async def _accept(self, listener: trio.SocketListener, handlers: trio.Nursery, trusted: bool) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            await self._supervise(stream, trusted=trusted)

        await trio.serve_listeners(serve, [listener], handler_nursery=handlers)

    async def _supervise(self, stream: trio.SocketStream, *, trusted: bool) -> None:
        """Serve one connection; whatever goes wrong there ends that connection only."""
        session = Session(stream, self._large_requests, trusted=trusted)
        async with stream:
            with session.scope:
                try:
                    if len(self._sessions) >= limits.CONTROL_CONNECTIONS_MAX or self._stopping:
                        await self._refuse(session)
                    else:
                        await self._serve_session(session)
                except ClientGone:
                    log.debug("control_client_gone")
                except Exception:
                    log.exception("control_connection_failed")

    async def _refuse(self, session: Session) -> None:
        message = f"more than {limits.CONTROL_CONNECTIONS_MAX} control connections; close some"
        await session.send(encode.error_response(TooBusy(message)))

    async def _serve_session(self, session: Session) -> None:
        self._sessions.add(session)
        try:
            await self._answer_all(session)
        finally:
            self._sessions.remove(session)
            session.close_descriptors()
            if self._stopping and not self._sessions:
                self._idle.set()

    async def _answer_all(self, session: Session) -> None:
        while not session.detached:
            try:
                request = await session.receive()
                if request is None:
                    return
                await self._answer(request, session)
            except MalformedRequest as error:
                log.info("control_request_malformed", reason=str(error))
                await session.send(encode.error_response(error))
                return

    async def _answer(self, request: pb.Request, session: Session) -> None:
        try:
            if request.type == pb.Request.PRIME:
                await extensions.answer(self._node, request.prime, session)
            elif request.type == pb.Request.STREAM_OPEN:
                timeout_s = p2pd.timeout_s_of(request.streamOpen.timeout)
                await self._streams.open(request.streamOpen, session, timeout_s=timeout_s)
            elif request.type == pb.Request.STREAM_HANDLER:
                self._streams.register(request.streamHandler, trusted=session.trusted)
                await session.send(pb.Response(type=pb.Response.OK))
            elif request.type == pb.Request.CONNMANAGER:
                manage_connections(self._node, request.connManager)
                await session.send(pb.Response(type=pb.Response.OK))
            else:
                await p2pd.answer(self._node, request, session)
        except (MalformedRequest, ClientGone):
            raise
        except PrimeDhtError as error:
            await session.send(encode.error_response(error, want_trace=request.prime.want_trace))
        except Exception:  # a fault of ours: the client is told, the log has it all
            log.exception("control_request_failed", type=pb.Request.Type.Name(request.type))
            await session.send(encode.error_response(DaemonError("the daemon failed; see its log")))


@asynccontextmanager
async def open_control(
    node: Node, listeners: Sequence[ControlListener], *, tcp_trusted: bool = False
) -> AsyncIterator[ControlServer]:
    """Serve the control protocol for `node` on `listeners` while the block runs.

    On leaving, requests still under way are cancelled; call `ControlServer.finish` first to let
    them end.
    """
    server = ControlServer(node, tcp_trusted=tcp_trusted)
    async with trio.open_nursery() as handlers:
        handlers.start_soon(server._serve, listeners, handlers)
        try:
            yield server
        finally:
            server._streams.close()
        handlers.cancel_scope.cancel()
