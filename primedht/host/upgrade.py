"""From a socket to a multiplexed connection: Noise, then Yamux, and nothing else.

The seam for other implementations of either: `build_upgrader` takes the two tables that py-libp2p's
`TransportUpgrader` takes, and `_Muxers` honours its table (py-libp2p's own hard-codes its Yamux,
stream_muxer/muxer_multistream.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn, ISecureTransport
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as StockNoise
from libp2p.security.security_multistream import SecurityMultistream
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.transport.upgrader import TransportUpgrader

from primedht.errors import ProtocolViolation
from primedht.host.keys import accept_ecdsa_keys
from primedht.host.multistream import ByteConnection, NotMultistream, Proposer, Responder, negotiate
from primedht.host.muxer import Muxer
from primedht.host.noise import NoiseTransport
from primedht.host.pnet import Protector
from primedht.host.yamux import MemoryBudget, YamuxConnection

NOISE = TProtocol("/noise")
YAMUX = TProtocol("/yamux/1.0.0")

Transport: TypeAlias = Literal["primedht", "libp2p"]
"""Whose Noise and Yamux: ours, or py-libp2p's, to compare with or to tell a fault apart."""


async def _select(conn: Any, protocols: Mapping[TProtocol, Any], is_initiator: bool) -> TProtocol:
    stream: ByteConnection = conn
    if is_initiator:
        proposer = Proposer([str(protocol) for protocol in protocols])
        return TProtocol(await negotiate(stream, proposer, proposer.opening()))
    return TProtocol(await negotiate(stream, Responder(lambda name: name in protocols)))


class _Securities(SecurityMultistream):
    async def select_transport_and_protocol(
        self, conn: IRawConnection, is_initiator: bool
    ) -> tuple[TProtocol, ISecureTransport]:
        protocol = await _select(conn, self.transports, is_initiator)
        return protocol, self.transports[protocol]

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        """Where our Noise is all that we propose, its first message goes out with the proposal."""
        noise = self.transports.get(NOISE)
        if len(self.transports) > 1 or not isinstance(noise, NoiseTransport):
            return await super().secure_outbound(conn, peer_id)
        stream: Any = conn
        proposer = Proposer((NOISE,))

        async def agree(first_message: bytes) -> None:
            await negotiate(stream, proposer, proposer.opening() + first_message)

        return await noise.secure_outbound(conn, peer_id, agree)


class _Muxers(MuxerMultistream):
    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        agreed: str | None = getattr(conn, "muxer", None)  # in the handshake, by our Noise
        if agreed is None:
            protocol = await _select(conn, self.transports, conn.is_initiator)
        else:
            protocol = TProtocol(agreed)
        muxed: IMuxedConn = self.transports[protocol](conn, peer_id)
        return self._annotate_connection(muxed, conn, protocol)


class Upgrader(TransportUpgrader):
    """`TransportUpgrader` with our negotiation; `peer_id` None accepts whoever answers a dial.

    protector: the pre-shared key, under which every connection is put first; None without one.
    """

    def __init__(
        self,
        securities: Mapping[TProtocol, Any],
        muxers: Mapping[TProtocol, Any],
        protector: Protector | None = None,
    ) -> None:
        super().__init__({}, {})
        self.protector = protector
        self.security_multistream = _Securities(securities)
        self.muxer_multistream = _Muxers(muxers)

    async def upgrade_security(
        self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None = None
    ) -> ISecureConn:
        """Raises `ProtocolViolation` for the wrong peer, and whatever the handshake raises."""
        protector = self.protector
        if protector is None:
            try:
                return await self._secure(raw_conn, is_initiator, peer_id)
            except NotMultistream as error:
                hint = "nodes of a private network with a pre-shared key (network.psk_file) answer so"
                raise ProtocolViolation(f"{error}; {hint}") from None
        with protector.reporting(raw_conn):
            return await self._secure(await protector.protect(raw_conn), is_initiator, peer_id)

    async def _secure(self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None) -> ISecureConn:
        if not is_initiator:
            return await self.security_multistream.secure_inbound(raw_conn)
        # None reaches the handshake, which then checks the signature but no id.
        secure = await self.security_multistream.secure_outbound(raw_conn, peer_id)  # type: ignore[arg-type]
        if peer_id is not None and secure.get_remote_peer() != peer_id:
            raise ProtocolViolation(f"{secure.get_remote_peer()} answers in place of {peer_id}")
        return secure


def build_upgrader(key_pair: KeyPair, transport: Transport, protector: Protector | None = None) -> Upgrader:
    """Return the upgrader of a node with this identity, with our Noise and Yamux or py-libp2p's."""
    accept_ecdsa_keys()
    if transport == "libp2p":
        stock = StockNoise(key_pair, noise_privkey=create_noise_key_pair().private_key)
        return Upgrader({NOISE: stock}, {YAMUX: Muxer}, protector)
    budget = MemoryBudget()
    return Upgrader(
        {NOISE: NoiseTransport(key_pair, (YAMUX,))},
        {YAMUX: lambda conn, peer_id: YamuxConnection(conn, peer_id, budget)},
        protector,
    )
