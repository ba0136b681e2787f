"""Identify and identify-push: who we are to our peers, and who they say they are.

What a peer says is bounded and filtered and concerns only itself. Our own message is encoded once
per change; peers that got an older one are pushed the new one.

Source: libp2p specs, identify/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio
from google.protobuf.message import DecodeError
from libp2p.identity.identify.pb.identify_pb2 import Identify as IdentifyMessage

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.host.addresses import Addresses, tcp_addr
from primedht.host.connection import Connection
from primedht.host.peer_host import PeerHost, open_on
from primedht.host.streams import Stream
from primedht.host.supervise import supervised
from primedht.host.swarm import PeerSwarm
from primedht.ids import PeerId
from primedht.wire.frames import FrameReader, encode_frame

log = structlog.get_logger(__name__)

IDENTIFY = "/ipfs/id/1.0.0"
IDENTIFY_PUSH = "/ipfs/id/push/1.0.0"
PROTOCOL_VERSION = "ipfs/0.1.0"
_PUSHES_AT_ONCE = 16
_MORE_S = 1.0  # for a peer that has said everything and does not close the stream


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What a connected peer says of itself."""

    protocols: frozenset[str]
    agent_version: str = ""


class Identify:
    """Both sides of identify for one host.

    facts: of connected peers that have been identified.
    identified: called with every peer that said, or changed, what it serves.
    """

    def __init__(
        self,
        host: PeerHost,
        addresses: Addresses,
        public_key: bytes,
        agent_version: str,
        identified: Callable[[PeerId, PeerFacts], None],
    ) -> None:
        self._host = host
        self._swarm: PeerSwarm = host.swarm
        self._addresses = addresses
        self._public_key = public_key
        self._agent_version = agent_version
        self._identified = identified
        self.facts: dict[PeerId, PeerFacts] = {}
        self._generation = 0
        self._own: bytes | None = None
        self._push_wanted = trio.Event()

    # --- our side -------------------------------------------------------------------------------

    def changed(self) -> None:
        """Our protocols or addresses have changed: tell the peers."""
        self._generation += 1
        self._own = None
        self._push_wanted.set()

    def _message(self, connection: Connection) -> bytes:
        if self._own is None:
            self._own = IdentifyMessage(
                protocol_version=PROTOCOL_VERSION,
                agent_version=self._agent_version,
                public_key=self._public_key,
                listen_addrs=self._addresses.own_addrs()[: limits.PEER_ADDRS_MAX],
                protocols=self._host.protocols(),
            ).SerializeToString()
        connection.told_generation = self._generation
        # Protobuf messages may be concatenated: only the observed address differs between peers.
        observed: bytes = IdentifyMessage(
            observed_addr=tcp_addr(*connection.socket.remote)
        ).SerializeToString()
        return encode_frame(self._own + observed)

    async def serve_identify(self, stream: Stream) -> None:
        """Answer an inbound identify stream."""
        await stream.send(self._message(stream.connection))

    async def serve_pushes(self) -> None:
        """Push our message to the peers that have an older one, whenever it changes."""
        while True:
            await self._push_wanted.wait()
            self._push_wanted = trio.Event()
            limiter = trio.CapacityLimiter(_PUSHES_AT_ONCE)
            async with trio.open_nursery() as pushes:
                for connections in list(self._swarm.by_peer.values()):
                    if not any(connection.told_generation == self._generation for connection in connections):
                        pushes.start_soon(self._push, connections[-1], limiter)

    async def _push(self, connection: Connection, limiter: trio.CapacityLimiter) -> None:
        async def push() -> None:
            async with limiter:
                with trio.fail_after(limits.IDENTIFY_TIMEOUT_S):
                    stream = await open_on(connection, (IDENTIFY_PUSH,))
                    await stream.send(self._message(connection))
                    await stream.close()

        facts = self.facts.get(connection.peer)
        if facts is not None and IDENTIFY_PUSH in facts.protocols:
            await supervised("identify_push_failed", push, connection)

    # --- the peers' side ------------------------------------------------------------------------

    async def identify(self, connection: Connection) -> None:
        """Ask the peer of a new connection; `connection.identified` is set at the end in any case."""
        try:
            await supervised("identify_failed", lambda: self._ask(connection), connection)
        finally:
            connection.identified.set()
        if connection.told_generation not in (-1, self._generation):
            self._push_wanted.set()  # it asked us before our last change

    async def _ask(self, connection: Connection) -> None:
        with trio.fail_after(limits.IDENTIFY_TIMEOUT_S):
            stream = await connection.new_stream()
            try:
                stream.propose(IDENTIFY)
                await self._take(stream)
            except BaseException:
                await stream.reset()
                raise
            await stream.close()

    async def serve_push(self, stream: Stream) -> None:
        """Take an inbound identify-push."""
        with trio.fail_after(limits.IDENTIFY_TIMEOUT_S):
            await self._take(stream)

    async def _take(self, stream: Stream) -> None:
        """Read one peer's messages to their end and believe what concerns the peer itself."""
        reader = FrameReader(limits.IDENTIFY_BYTES_MAX)
        message = IdentifyMessage()
        received_bytes = 0
        for _ in range(limits.IDENTIFY_MESSAGES_MAX):
            frame = None
            with trio.move_on_after(_MORE_S if received_bytes else limits.IDENTIFY_TIMEOUT_S):
                frame = await stream.receive_frame(reader)
            if frame is None:
                break
            received_bytes += len(frame)
            if received_bytes > limits.IDENTIFY_BYTES_MAX:
                raise ProtocolViolation(f"identify of over {limits.IDENTIFY_BYTES_MAX} bytes")
            try:
                message.MergeFromString(frame)
            except DecodeError as error:
                raise ProtocolViolation(f"not an identify message: {error}") from None
        if not received_bytes:
            raise ProtocolViolation("an empty identify message")
        self._apply(stream.connection, message)

    def _apply(self, connection: Connection, message: IdentifyMessage) -> None:
        peer = connection.peer
        if message.public_key and PeerId.from_public_key(message.public_key) != peer:
            raise ProtocolViolation(f"{peer} shows another peer's key")
        known = self.facts.get(peer, PeerFacts(frozenset()))
        protocols = frozenset(
            protocol
            for protocol in map(_text, message.protocols[: limits.IDENTIFY_PROTOCOLS_MAX])
            if protocol and len(protocol) <= limits.IDENTIFY_PROTOCOL_CHARS_MAX
        )
        facts = PeerFacts(
            protocols=protocols or known.protocols,  # a push may leave fields out
            agent_version=_text(message.agent_version)[: limits.AGENT_VERSION_CHARS_MAX]
            or known.agent_version,
        )
        addrs = message.listen_addrs[: limits.IDENTIFY_ADDRS_MAX]
        if addrs:
            self._addresses.replace(peer, addrs, ttl_s=limits.CONNECTED_ADDRS_TTL_S)
        if connection.is_closed:
            return
        self.facts[peer] = facts
        connection.protocols = facts.protocols
        connection.agent_version = facts.agent_version
        connection.observed_addr = message.observed_addr[: limits.ADDR_BYTES_MAX]
        self._identified(peer, facts)

    def forget(self, peer: PeerId) -> None:
        """The last connection to `peer` is gone."""
        self.facts.pop(peer, None)


def _text(field: object) -> str:
    """Return a string field; "" where it is not UTF-8: protobuf then gives bytes (proto2)."""
    return field if isinstance(field, str) else ""
