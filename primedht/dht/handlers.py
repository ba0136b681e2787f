"""Answers to inbound requests: one pure-looking function per message type.

An error of any kind makes the host reset the stream, which is what every implementation does with
what it will not serve. PUT_VALUE is answered with the record echoed, since go compares it without
looking whether it is there; ADD_PROVIDER is never answered, since go would take the answer for that
of its next request.

Source: libp2p kad-dht spec, "RPC messages"; go-libp2p-kad-dht, handlers.go.
"""

from __future__ import annotations

from itertools import chain

from primedht import limits
from primedht.dht.copies import Copies
from primedht.dht.peers import Peers
from primedht.dht.ports import Requester
from primedht.dht.providers import Providers
from primedht.errors import ProtocolViolation
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.key import key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.wire import addrs

_ENVELOPE_BYTES = 64  # a reply's type, key-free framing and the record's length prefix


class Handlers:
    """Serves the kad protocol for one node; `handle` is the host's `RequestHandler`."""

    def __init__(
        self, peers: Peers, copies: Copies, providers: Providers, *, bucket_size: int, public: bool
    ) -> None:  # fmt: skip
        self._peers = peers
        self._copies = copies
        self._providers = providers
        self._bucket_size = bucket_size
        self._public = public
        self._by_type = {
            MessageType.PUT_VALUE: self._put_value,
            MessageType.GET_VALUE: self._get_value,
            MessageType.ADD_PROVIDER: self._add_provider,
            MessageType.GET_PROVIDERS: self._get_providers,
            MessageType.FIND_NODE: self._find_node,
            MessageType.PING: self._ping,
        }

    async def handle(self, requester: Requester, message: Message) -> Message | None:
        """Return the reply, or None where there is none. Raises `PrimeDhtError`: reset the stream."""
        self._peers.heard_from(requester.peer)
        return await self._by_type[message.type](requester, message)

    async def _ping(self, requester: Requester, message: Message) -> Message:
        return Message(MessageType.PING)

    async def _find_node(self, requester: Requester, message: Message) -> Message:
        if not message.key:
            raise ProtocolViolation("FIND_NODE without a key")
        target = PeerId.if_valid(message.key)
        first: list[PeerInfo] = []
        if target is not None:
            info = self._filtered(self._peers.info(target))
            if info.addrs:
                first.append(info)
        closest = self._closer(message.key, requester, known=target)
        budget = min(limits.SMALL_REPLY_BYTES_MAX, requester.reply_bytes_max) - _ENVELOPE_BYTES
        return Message(MessageType.FIND_NODE, closer_peers=codec.fit_peers_evenly(first + closest, budget))

    async def _get_value(self, requester: Requester, message: Message) -> Message:
        if not message.key:
            raise ProtocolViolation("GET_VALUE without a key")
        record = await self._copies.held(message.key)
        used_bytes = len(message.key) + _ENVELOPE_BYTES
        budget = min(
            limits.SMALL_REPLY_BYTES_MAX - used_bytes,
            requester.reply_bytes_max - used_bytes - (0 if record is None else codec.record_bytes(record)),
        )
        closer = codec.fit_peers_evenly(self._closer(message.key, requester), budget)
        return Message(MessageType.GET_VALUE, message.key, record, closer)

    async def _put_value(self, requester: Requester, message: Message) -> Message:
        record = message.record
        if record is None or not message.key or record.key != message.key:
            raise ProtocolViolation("PUT_VALUE needs a record under the message's own key")
        await self._copies.receive(requester, record)
        return Message(MessageType.PUT_VALUE, message.key, record)

    async def _add_provider(self, requester: Requester, message: Message) -> None:
        _check_multihash(message.key)
        offered = [info.addrs for info in message.provider_peers if info.id == requester.peer]
        if not offered:
            raise ProtocolViolation("ADD_PROVIDER names nobody but the sender, and this one does not")
        provider = PeerInfo(requester.peer, tuple(dict.fromkeys(chain.from_iterable(offered))))
        if not provider.addrs:
            raise ProtocolViolation("ADD_PROVIDER without an address")
        await self._providers.receive(requester, message.key, self._filtered(provider))

    async def _get_providers(self, requester: Requester, message: Message) -> Message:
        _check_multihash(message.key)
        budget = requester.reply_bytes_max - len(message.key) - _ENVELOPE_BYTES
        closer_budget = min(budget // 2, limits.SMALL_REPLY_BYTES_MAX)
        closer = codec.fit_peers_evenly(self._closer(message.key, requester), closer_budget)
        budget -= sum(map(codec.peer_bytes, closer))
        known = map(self._filtered, self._providers.held(message.key))
        return Message(
            MessageType.GET_PROVIDERS,
            message.key,
            closer_peers=closer,
            provider_peers=codec.fit_peers(known, budget),
        )

    def _closer(self, key: bytes, requester: Requester, *, known: PeerId | None = None) -> list[PeerInfo]:
        """Return the closest peers that the requester can use: with addresses, itself and us left out.

        On a public network private addresses stay private: they must not be leaked.
        """
        exclude = {requester.peer} if known is None else {requester.peer, known}
        found = self._peers.infos(self._peers.closest(key_of(key), self._bucket_size, exclude=exclude))
        if self._public:
            found = [usable for usable in map(self._filtered, found) if usable.addrs]
        return found

    def _filtered(self, info: PeerInfo) -> PeerInfo:
        """Return `info` without the addresses that this network has no use for; names are of use."""
        if not self._public:
            return info
        usable = tuple(addr for addr in info.addrs if addrs.ip_of(addr) is None or addrs.is_public(addr))
        return info if len(usable) == len(info.addrs) else PeerInfo(info.id, usable)


def _check_multihash(key: bytes) -> None:
    if not 0 < len(key) <= limits.PROVIDER_KEY_BYTES_MAX:
        raise ProtocolViolation(f"a provider key of {len(key)} bytes")
