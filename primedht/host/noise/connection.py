"""Noise over a connection, as py-libp2p's secure transport and connection, and a faster way in.

`receive` and `send` move whole messages, many at a time, for a multiplexer; `read` and `write` are
py-libp2p's. One task may receive and one may send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio
from libp2p.abc import IRawConnection, ISecureConn, ISecureTransport
from libp2p.connection_types import ConnectionType
from libp2p.crypto.keys import KeyPair, PrivateKey
from libp2p.crypto.keys import PublicKey as Libp2pPublicKey
from libp2p.crypto.serialization import deserialize_public_key
from libp2p.io.exceptions import IncompleteReadError, IOException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from primedht import limits
from primedht.host.noise.handshake import Handshake, HandshakeFailed, HandshakeResult
from primedht.host.noise.payload import LocalIdentity, RemoteIdentity, agreed_muxer, verify_payload
from primedht.host.noise.session import MESSAGE_BYTES_MAX, OVERHEAD_BYTES, Message, NoiseSession
from primedht.host.noise.wire import RECEIVE_BYTES, Buffers, InterruptibleWire, Wire, wire_of
from primedht.ids import PeerId

Agree: TypeAlias = Callable[[bytes], Awaitable[object]]
"""Agrees on Noise with the peer, and sends `bytes` behind the proposal without waiting for the answer."""

_READS_AT_ONCE = 4  # full buffers, each some 0.2 ms of decrypting, before other tasks get a turn


class SecureConnection(ISecureConn):
    """An established connection.

    muxer: the multiplexer that both sides agreed on in the handshake, None if one must be negotiated.
    waiter: the wire, if another task can end the wait for it.
    """

    def __init__(
        self,
        conn: IRawConnection,
        wire: Wire,
        buffers: Buffers,
        result: HandshakeResult,
        *,
        key_pair: KeyPair,
        remote: RemoteIdentity,
        muxer: str | None,
        is_initiator: bool,
    ) -> None:
        self.is_initiator = is_initiator
        self.remote = remote
        self.muxer = muxer
        self._conn = conn
        self.waiter = wire if isinstance(wire, InterruptibleWire) else None
        self._wire = wire
        self._buffers = buffers
        self._key_pair = key_pair
        self._session = NoiseSession(result.send, result.receive)
        # Early messages came in one read with the handshake's last.
        self._early = self._session.open(memoryview(result.rest))
        self._unread = b""  # received by `read` beyond what it was asked for
        self._is_drained = False
        self._reads = 0

    # --- whole messages -------------------------------------------------------------------------

    async def receive(self) -> list[bytes]:
        """Return the messages that have arrived, at least one; none at the end of the connection.

        Raises `SessionFailed`, `IncompleteReadError` for an end inside a frame, or what the
        connection below raises. Waits at least now and then, also while there is always something.
        """
        if self._unread:
            messages, self._unread = [self._unread], b""
            return messages
        if self._early:
            messages, self._early = self._early, []
            return messages
        wire, session = self._wire, self._session
        while True:
            if session.is_behind:
                await trio.lowlevel.checkpoint()
                return session.open(memoryview(session.rest))
            if self._is_drained:
                self._reads = 0
                await wire.wait_readable()
            elif self._reads >= _READS_AT_ONCE:
                self._reads = 0
                await trio.lowlevel.checkpoint()
            received = self.receive_nowait()
            if received is not None:
                return received

    def receive_nowait(self) -> list[bytes] | None:
        """Return the messages in what one read brings, none at the end; None if it completes none.

        For use after `waiter.wait_readable`, in place of a `receive` that would wait for that itself.
        """
        # Nothing here waits: the buffer is shared.
        session, buffer = self._session, self._buffers.receive
        rest = session.rest
        start = len(rest)
        if start:
            buffer[:start] = rest
        size = self._wire.receive_nowait(buffer[start : start + RECEIVE_BYTES])
        if not size:
            if size is None:
                self._is_drained = True
                return None
            if rest:
                raise IncompleteReadError("the connection ended inside a Noise frame")
            return []
        if size == RECEIVE_BYTES:
            self._is_drained = False
            self._reads += 1
        else:
            self._is_drained = True
        return session.open(buffer[: start + size]) or None

    def send_nowait(self, messages: Sequence[Message]) -> int:
        """Seal `messages`, each of at most `MESSAGE_BYTES_MAX` bytes, and hand them to the wire whole.

        Return the `backlog_bytes` that this leaves.
        """
        size = OVERHEAD_BYTES * len(messages) + sum(map(len, messages))
        buffer = self._buffers.send
        if size > len(buffer):
            buffer = memoryview(bytearray(size))
        return self._wire.write_nowait(buffer[: self._session.seal_into(messages, buffer)])

    def send_one_nowait(self, message: Message) -> int:
        """As `send_nowait`, for a single message of at most `SEND_BYTES - OVERHEAD_BYTES`."""
        frame = self._buffers.send[: len(message) + OVERHEAD_BYTES]
        self._session.seal_one_into(message, frame)
        return self._wire.write_nowait(frame)

    @property
    def backlog_bytes(self) -> int:
        """Sealed bytes that the wire could not send yet."""
        return self._wire.backlog_bytes

    async def flush(self) -> None:
        """Wait until the wire has sent everything."""
        await self._wire.flush()

    # --- py-libp2p's interface ------------------------------------------------------------------

    async def read(self, n: int | None = None) -> bytes:
        """Return exactly `n` bytes, fewer only at the end; without `n`, whatever comes next.

        Cancelled, it may lose what has arrived, and the connection is of no use any more.
        """
        if n == 0:
            return b""
        pieces, size = [], 0
        wanted = 1 if n is None else n
        while size < wanted:
            messages = await self.receive()
            if not messages:
                break
            pieces += messages
            size += sum(map(len, messages))
        data = b"".join(pieces)
        if n is None:
            return data
        self._unread = data[n:]
        return data[:n]

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        view = memoryview(data)
        self.send_nowait(
            [view[start : start + MESSAGE_BYTES_MAX] for start in range(0, len(view), MESSAGE_BYTES_MAX)]
        )
        await self.flush()

    async def close(self) -> None:
        await self._conn.close()

    def get_local_peer(self) -> ID:
        return ID.from_pubkey(self._key_pair.public_key)

    def get_local_private_key(self) -> PrivateKey:
        return self._key_pair.private_key

    def get_remote_peer(self) -> ID:
        return ID(bytes(self.remote.peer))

    def get_remote_public_key(self) -> Libp2pPublicKey:
        return deserialize_public_key(self.remote.public_key.serialized)

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._conn.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self._conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self._conn.get_connection_type()


class NoiseTransport(ISecureTransport):
    """Secures the connections of one node. `muxers`: see `LocalIdentity`."""

    def __init__(self, key_pair: KeyPair, muxers: Sequence[str] = ()) -> None:
        self._key_pair = key_pair
        self._identity = LocalIdentity.create(
            key_pair.public_key.serialize(), key_pair.private_key.sign, muxers
        )
        self._buffers = Buffers()

    async def secure_inbound(self, conn: IRawConnection) -> SecureConnection:
        """Answer a handshake. Raises `HandshakeFailed`, also when it takes too long."""
        return await self._secure(conn, None, None, is_initiator=False)

    async def secure_outbound(
        self, conn: IRawConnection, peer_id: ID | None, agree: Agree | None = None
    ) -> SecureConnection:
        """Begin a handshake with `peer_id`, or with anyone if that is None. As `secure_inbound`.

        agree: negotiates Noise first, if that is not done, and sends the first message along.
        """
        expected = None if peer_id is None else PeerId(peer_id.to_bytes())
        return await self._secure(conn, expected, agree, is_initiator=True)

    async def _secure(
        self, conn: IRawConnection, expected: PeerId | None, agree: Agree | None, *, is_initiator: bool
    ) -> SecureConnection:
        remote: RemoteIdentity | None = None

        def check(payload: bytes, remote_static: bytes) -> None:
            nonlocal remote
            remote = verify_payload(payload, remote_static, expected)

        own = self._identity
        handshake = Handshake(own.static, own.payload, check, is_initiator=is_initiator)
        wire = wire_of(conn)
        with trio.move_on_after(limits.HANDSHAKE_TIMEOUT_S):
            try:
                out = handshake.start()
                if agree is not None:
                    await agree(out)
                    out = b""
                result = await self._run(handshake, wire, out)
            except (IOException, OSError) as error:
                raise HandshakeFailed(f"the connection was lost in the handshake: {error}") from error
            assert remote is not None
            muxers = own.muxers, remote.muxers
            return SecureConnection(
                conn,
                wire,
                self._buffers,
                result,
                key_pair=self._key_pair,
                remote=remote,
                muxer=agreed_muxer(*(muxers if is_initiator else muxers[::-1])),
                is_initiator=is_initiator,
            )
        raise HandshakeFailed(f"no handshake within {limits.HANDSHAKE_TIMEOUT_S:g} s")

    async def _run(self, handshake: Handshake, wire: Wire, out: bytes) -> HandshakeResult:
        buffer = self._buffers.receive
        while True:
            if out:
                wire.write_nowait(memoryview(out))
                await wire.flush()
            if handshake.result is not None:
                return handshake.result
            await wire.wait_readable()
            size = wire.receive_nowait(buffer)
            if size == 0:
                raise HandshakeFailed("the connection ended in the handshake")
            out = handshake.feed(bytes(buffer[:size])) if size else b""
