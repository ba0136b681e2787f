"""Protocols and streams of a node: which protocols are served, and by what.

A subclass of py-libp2p's `BasicHost`, whose table of protocols it uses; negotiation and dispatch are
ours. A stream's handler runs under the connection's supervisor: what it raises resets that stream
and touches nothing else (docs/py-libp2p.md, B1, B2), and what it forgets to close is closed (B15).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import trio
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import StreamFailure
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from primedht import limits
from primedht.errors import PeerTimeout, PeerUnreachable, ProtocolViolation, RemoteError
from primedht.host.connection import Connection
from primedht.host.streams import Stream, StreamHandler
from primedht.host.swarm import PeerSwarm
from primedht.ids import PeerId

_STREAMS_PER_PEER_MAX = 64


class PeerHost(BasicHost):
    """The port `Streams`, and py-libp2p's host interface beside it.

    protocols_changed: called whenever the set of served protocols changes.
    """

    def __init__(self, swarm: PeerSwarm, own_addrs: Callable[[], tuple[bytes, ...]]) -> None:
        self.swarm = swarm
        self._own_addrs = own_addrs
        self.protocols_changed: Callable[[], None] = lambda: None
        super().__init__(swarm, disable_identify_address_discovery=True)
        self._handlers: dict[str, tuple[StreamHandler, int]] = {}
        self._open: Counter[tuple[PeerId, str]] = Counter()
        self.multiselect.handlers.clear()  # py-libp2p's own identify and ping

    # --- serving --------------------------------------------------------------------------------

    def protocols(self) -> tuple[str, ...]:
        """Return the protocols that are served."""
        return tuple(self._handlers)

    def serve(
        self,
        protocol: str,
        handler: StreamHandler | None,
        *,
        streams_per_peer_max: int = _STREAMS_PER_PEER_MAX,
    ) -> None:
        """Serve `protocol` with `handler` from now on; None stops serving it.

        One peer may have `streams_per_peer_max` such streams open; further ones are reset.
        """
        if handler is None:
            self._handlers.pop(protocol, None)
            self.multiselect.handlers.pop(TProtocol(protocol), None)
        else:
            self._handlers[protocol] = (handler, streams_per_peer_max)
            self.multiselect.handlers[TProtocol(protocol)] = handler  # type: ignore[assignment]
        self.protocols_changed()

    async def dispatch(self, stream: Stream) -> None:
        """Serve one inbound stream. Raises whatever its handler raises."""
        protocol = await stream.answer(self._handlers.__contains__)
        if protocol not in self._handlers:
            raise PeerUnreachable(f"{protocol} is not served any more")
        handler, streams_max = self._handlers[protocol]
        place = (stream.peer, protocol)
        if self._open[place] >= streams_max:
            raise ProtocolViolation(f"{streams_max} streams of {protocol} are open already")
        self._open[place] += 1
        try:
            await handler(stream)
        finally:
            self._open[place] -= 1
            if not self._open[place]:
                del self._open[place]

    # --- opening --------------------------------------------------------------------------------

    async def open(self, peer: PeerId, protocols: Sequence[str], *, timeout_s: float) -> Stream:
        """Open a stream to `peer` for the first of `protocols` that it takes; dials if need be.

        Raises `PeerUnreachable`, `PeerTimeout` or `ProtocolViolation`.
        """
        with trio.move_on_after(timeout_s):
            return await open_on(await self.swarm.connect(peer), protocols)
        raise PeerTimeout(f"{peer} opened no stream within {timeout_s:g} s")

    # --- py-libp2p's interface ------------------------------------------------------------------

    def get_addrs(self) -> list[Multiaddr]:
        suffix = Multiaddr(f"/p2p/{self.swarm.own_peer}")
        return [Multiaddr(addr).encapsulate(suffix) for addr in self._own_addrs()]

    def get_transport_addrs(self) -> list[Multiaddr]:
        return [Multiaddr(addr) for addr in self._own_addrs()]

    def set_stream_handler(self, protocol_id: TProtocol, stream_handler: Any) -> None:
        self.serve(str(protocol_id), stream_handler)

    def remove_stream_handler(self, protocol_id: TProtocol) -> None:
        self.serve(str(protocol_id), None)

    async def new_stream(self, peer_id: ID, protocol_ids: Sequence[TProtocol]) -> Stream:
        try:
            return await self.open(
                PeerId(peer_id.to_bytes()),
                [str(protocol) for protocol in protocol_ids],
                timeout_s=limits.DIAL_TIMEOUT_S + limits.NEGOTIATION_TIMEOUT_S,
            )
        except RemoteError as error:
            raise StreamFailure(str(error)) from error

    async def close(self) -> None:
        await self.swarm.close()


async def open_on(connection: Connection, protocols: Sequence[str]) -> Stream:
    """Open a stream on `connection` and agree on one of `protocols`.

    Raises `PeerUnreachable` or `ProtocolViolation`. The caller sets the time limit.
    """
    stream = await connection.new_stream()
    try:
        await stream.negotiate(protocols)
    except BaseException:
        await stream.reset()
        raise
    return stream
