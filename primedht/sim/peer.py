"""Peers without an engine: scripts that answer as a test wants, honest or not.

    liar = world.add_peer(answering(closer=[dead_peer]))
    assert liar.received[0].message.type is MessageType.FIND_NODE

A peer can also speak: `peer.request(node.peer, message)` sends what no engine would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import nacl.signing
import trio

from primedht import limits
from primedht.dht.ports import Requester, RequestHandler
from primedht.errors import ProtocolViolation
from primedht.ids import PeerId
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.sim.host import SimHost

_LIBP2P_ED25519_PREFIX = bytes((0x08, 0x01, 0x12, 0x20))
"""`PublicKey{Type: Ed25519, Data: 32 bytes}` up to its data (libp2p specs, peer-ids.md, "Keys")."""


class KeyPair(NamedTuple):
    """An Ed25519 key, and the peer id that it proves."""

    signing_key: nacl.signing.SigningKey
    public_key: bytes  # libp2p's serialised PublicKey message
    peer: PeerId

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """Derive a key from 32 bytes."""
        signing_key = nacl.signing.SigningKey(seed)
        public_key = _LIBP2P_ED25519_PREFIX + bytes(signing_key.verify_key)
        return cls(signing_key, public_key, PeerId.from_public_key(public_key))


class Received(NamedTuple):
    """One request that reached a `SimPeer`."""

    at_s: float
    requester: Requester
    message: Message


class SimPeer:
    """A host whose requests go to a script. `received` holds them all, unless `keeps_requests` is off."""

    def __init__(self, keys: KeyPair, host: SimHost, script: RequestHandler) -> None:
        self.keys = keys
        self.host = host
        self.script = script
        self.serves = True
        self.keeps_requests = True
        self.received: list[Received] = []

    @property
    def peer(self) -> PeerId:
        return self.keys.peer

    @property
    def info(self) -> PeerInfo:
        """Our id and addresses, as other peers name us in replies."""
        return PeerInfo(self.peer, self.host.address_book.own_addrs())

    async def start(self, *, serves: bool = True) -> None:
        """List the kad protocol in identify, or (a client) do not."""
        self.serves = serves
        await self.host.serve_kad(self._handle if serves else None)

    def received_of(self, message_type: MessageType) -> list[Received]:
        """Return the requests of one type, in order of arrival."""
        return [received for received in self.received if received.message.type is message_type]

    async def request(
        self, peer: PeerId, message: Message, *, timeout_s: float = limits.REQUEST_TIMEOUT_S
    ) -> Message:
        """Send `message` to `peer` and return its reply. Raises as `Rpc` does."""
        return await self.host.request(peer, message, timeout_s=timeout_s)

    async def notify(
        self, peer: PeerId, message: Message, *, timeout_s: float = limits.REQUEST_TIMEOUT_S
    ) -> None:
        """Send `message`, which has no reply, to `peer`. Raises as `Rpc` does."""
        await self.host.notify(peer, message, timeout_s=timeout_s)

    async def _handle(self, requester: Requester, message: Message) -> Message | None:
        if self.keeps_requests:
            self.received.append(Received(trio.current_time(), requester, message))
        return await self.script(requester, message)


async def silent(requester: Requester, message: Message) -> Message | None:
    """A script that accepts every request and never answers."""
    await trio.sleep_forever()


async def resetting(requester: Requester, message: Message) -> Message | None:
    """A script that resets every stream."""
    await trio.lowlevel.checkpoint()
    raise ProtocolViolation("scripted reset")


def answering(
    *,
    closer: Sequence[PeerInfo] = (),
    providers: Sequence[PeerInfo] = (),
    replies: Sequence[Message] = (),
    delay_s: float = 0.0,
) -> RequestHandler:
    """Make a script that names `closer` and `providers`, and answers as a peer without a record does.

    replies: answers as they are, whatever was asked, to requests of their types.
    """
    by_type = {reply.type: reply for reply in replies}

    async def script(requester: Requester, message: Message) -> Message | None:
        await trio.sleep(delay_s)
        if message.type in by_type:
            return by_type[message.type]
        if message.type is MessageType.ADD_PROVIDER:
            return None
        if message.type in (MessageType.PUT_VALUE, MessageType.PING):
            return message
        return Message(
            message.type,
            key=message.key,
            closer_peers=tuple(closer),
            provider_peers=tuple(providers) if message.type is MessageType.GET_PROVIDERS else (),
        )

    return script
