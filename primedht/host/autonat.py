"""`/libp2p/autonat/1.0.0`: dialling peers back that ask for it, and asking them.

A peer is dialled only at the IP address that it comes from, on a connection of its own that ends with
the handshake, and not often: nobody can have others dialled through us.

Source: libp2p specs, autonat/autonat-v1.md; go-libp2p, p2p/host/autonat/svc.go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio
from google.protobuf.message import DecodeError

from primedht import limits
from primedht.errors import PeerTimeout, ProtocolViolation
from primedht.host.addresses import AddressFilter, tcp_addr
from primedht.host.connection import Connection
from primedht.host.peer_host import open_on
from primedht.host.streams import Stream
from primedht.host.supervise import supervised
from primedht.ids import PeerId
from primedht.pb.autonat_pb2 import Message
from primedht.wire import addrs as wire
from primedht.wire.frames import FrameReader, encode_frame

AUTONAT = "/libp2p/autonat/1.0.0"
Probe = Callable[[bytes, PeerId], Awaitable[None]]
"""Dials an address and ends after the handshake with this very peer. Raises what goes wrong."""


@dataclass(frozen=True, slots=True)
class DialBack:
    """What a peer said after it was asked to dial us. reached: None if it did not try."""

    reached: bool | None
    text: str


class AutoNat:
    """Both sides of AutoNAT v1 for one host."""

    def __init__(
        self,
        own_peer: PeerId,
        own_addrs: Callable[[], Sequence[bytes]],
        address_filter: AddressFilter,
        probe: Probe,
    ) -> None:
        self._own_peer = own_peer
        self._own_addrs = own_addrs
        self._filter = address_filter
        self._probe = probe
        self._recent: deque[tuple[float, PeerId]] = deque()

    # --- asking ---------------------------------------------------------------------------------

    async def ask(self, connection: Connection, *, timeout_s: float) -> DialBack:
        """Ask the peer of `connection` to dial us.

        Raises `PeerTimeout`, `PeerUnreachable` or `ProtocolViolation`.
        """
        me = Message.PeerInfo(id=bytes(self._own_peer), addrs=self._own_addrs())
        request = Message(type=Message.DIAL, dial=Message.Dial(peer=me))
        with trio.move_on_after(timeout_s):
            stream = await open_on(connection, (AUTONAT,))
            try:
                await stream.send(encode_frame(request.SerializeToString()))
                response = (await _receive(stream)).dialResponse
                await stream.close()
            except BaseException:
                await stream.reset()
                raise
            if response.status == Message.OK:
                return DialBack(True, _addr_text(response.addr))
            reached = False if response.status == Message.E_DIAL_ERROR else None
            return DialBack(reached, response.statusText[: limits.AUTONAT_TEXT_CHARS_MAX])
        raise PeerTimeout(f"{connection.peer} did not say within {timeout_s:g} s whether it could dial us")

    # --- dialling back --------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Answer one request."""
        with trio.fail_after(limits.AUTONAT_DIAL_S + limits.NEGOTIATION_TIMEOUT_S):
            request = await _receive(stream)
            response = await self._answer(request, stream.connection)
            message = Message(type=Message.DIAL_RESPONSE, dialResponse=response)
            await stream.send(encode_frame(message.SerializeToString()))
            await stream.close()

    async def _answer(self, request: Message, connection: Connection) -> Message.DialResponse:
        asked = request.dial.peer
        if request.type != Message.DIAL or (asked.id and asked.id != bytes(connection.peer)):
            return _failure(Message.E_BAD_REQUEST, "not a request of yours to be dialled")
        candidates = self._candidates(asked.addrs[: limits.IDENTIFY_ADDRS_MAX], connection)
        if not candidates:
            return _failure(Message.E_DIAL_REFUSED, "no TCP address at the IP that you come from")
        if not self._take_turn(connection.peer, trio.current_time()):
            return _failure(Message.E_DIAL_REFUSED, "dialled too often; ask later")
        problem: str | None = "time is up"
        with trio.move_on_after(limits.AUTONAT_DIAL_S):
            for addr in candidates:
                problem = await self._try(addr, connection.peer)
                if problem is None:
                    return Message.DialResponse(status=Message.OK, addr=addr)
        return _failure(Message.E_DIAL_ERROR, f"no address answers: {problem}")

    def _candidates(self, addrs: Sequence[bytes], connection: Connection) -> list[bytes]:
        ip = wire.ip_of(tcp_addr(*connection.socket.remote))
        return [
            addr
            for addr in dict.fromkeys(addrs)
            if wire.tcp_endpoint(addr) is not None
            and wire.ip_of(addr) == ip
            and self._filter.permits(addr, connection.peer)
        ][: limits.AUTONAT_ADDRS_MAX]

    async def _try(self, addr: bytes, peer: PeerId) -> str | None:
        # Whatever goes wrong up to the end of the handshake is what the peer wants to know.
        return await supervised(
            "dial_back_failed", lambda: self._probe(addr, peer), peer, expected=(Exception,)
        )

    def _take_turn(self, peer: PeerId, now: float) -> bool:
        """Whether `peer` may be dialled now; if so, it is counted."""
        while self._recent and self._recent[0][0] <= now - limits.AUTONAT_PERIOD_S:
            self._recent.popleft()
        of_peer = sum(each == peer for _, each in self._recent)
        if len(self._recent) >= limits.AUTONAT_DIALS_MAX or of_peer >= limits.AUTONAT_DIALS_PER_PEER_MAX:
            return False
        self._recent.append((now, peer))
        return True


def _failure(status: Message.ResponseStatus, text: str) -> Message.DialResponse:
    return Message.DialResponse(status=status, statusText=text[: limits.AUTONAT_TEXT_CHARS_MAX])


async def _receive(stream: Stream) -> Message:
    frame = await stream.receive_frame(FrameReader(limits.AUTONAT_BYTES_MAX))
    if frame is None:
        raise ProtocolViolation("an AutoNAT stream without a message")
    try:
        return Message.FromString(frame)
    except DecodeError as error:
        raise ProtocolViolation(f"not an AutoNAT message: {error}") from None


def _addr_text(addr: bytes) -> str:
    return wire.format_addr(addr) if wire.tcp_endpoint(addr) is not None else ""
