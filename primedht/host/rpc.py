"""The port `Rpc`: kad requests over streams that are reused.

A stream carries one request at a time. Requests to one peer do not queue behind a slow one: each
takes an idle stream or opens another, up to a small number. A reused stream that turns out dead is
no failure of the peer (js aborts idle ones, rust the oldest): the request is sent once more, over a
fresh one (docs/protocol.md, rule 7).
"""

from __future__ import annotations

from collections import Counter

import trio

from primedht import limits
from primedht.errors import PeerTimeout, PeerUnreachable, ProtocolViolation, RemoteError
from primedht.host.connection import Connection
from primedht.host.ping import ping
from primedht.host.streams import Stream, StreamReset
from primedht.host.supervise import supervised
from primedht.host.swarm import PeerSwarm
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType
from primedht.wire.frames import FrameReader, encode_frame


class _Channel:
    """A kad stream of ours and what has been read of it."""

    __slots__ = ("idle_since", "notified", "reader", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reader = FrameReader(limits.MESSAGE_BYTES_MAX)
        self.idle_since = 0.0
        self.notified = 0  # messages without a reply, which some peers echo all the same

    async def ask(self, frame: bytes, wanted: MessageType) -> Message:
        await self.stream.send(frame)
        while True:
            data = await self.stream.receive_frame(self.reader)
            if data is None:
                raise StreamReset("the stream ended in place of an answer")
            reply = codec.decode(data)
            if reply.type is wanted:
                return reply
            if reply.type is not MessageType.ADD_PROVIDER or not self.notified:
                raise ProtocolViolation(f"answered {wanted.name} with {reply.type.name}")
            self.notified -= 1

    async def tell(self, frame: bytes) -> None:
        await self.stream.send(frame)
        self.notified += 1


class _Pool:
    """The kad streams to one peer over one connection."""

    def __init__(self, connection: Connection, protocol: str) -> None:
        self._connection = connection
        self._protocol = protocol
        self._idle: list[_Channel] = []
        self.places = trio.Semaphore(limits.KAD_STREAMS_OUT_MAX)

    async def take(self) -> _Channel | None:
        """Return the stream used last, or None."""
        now = trio.current_time()
        while self._idle:
            channel = self._idle.pop()
            if channel.stream.is_usable and now - channel.idle_since < limits.KAD_STREAM_IDLE_S:
                return channel
            await channel.stream.close()
        return None

    async def open(self, *, eagerly: bool) -> _Channel:
        stream = await self._connection.new_stream()
        try:
            if eagerly:
                await stream.negotiate((self._protocol,))
            else:
                stream.propose(self._protocol)
        except BaseException:
            await stream.reset()
            raise
        return _Channel(stream)

    async def put_back(self, channel: _Channel) -> None:
        if (
            channel.stream.is_usable
            and not channel.reader.buffered_bytes
            and len(self._idle) < limits.KAD_STREAMS_IDLE_MAX
        ):
            channel.idle_since = trio.current_time()
            self._idle.append(channel)
        else:
            await channel.stream.close()

    async def sweep(self, now: float) -> None:
        """Close the streams that have been idle for too long."""
        while self._idle and now - self._idle[0].idle_since >= limits.KAD_STREAM_IDLE_S:
            await self._idle.pop(0).stream.close()


class KadRpc:
    """Requests to peers; dials where there is no connection."""

    def __init__(self, swarm: PeerSwarm, nursery: trio.Nursery, protocol: str) -> None:
        self._swarm = swarm
        self._nursery = nursery
        self._protocol = protocol
        self._pools: dict[Connection, _Pool] = {}
        self._probed: set[Connection] = set()
        self.counts: Counter[str] = Counter()
        swarm.closed.append(self._on_closed)

    def _on_closed(self, connection: Connection) -> None:
        self._pools.pop(connection, None)

    async def reach(self, peer: PeerId, *, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            if self._swarm.connection_to(peer) is None:
                await self._swarm.connect(peer)
            return
        self.counts["timed_out"] += 1
        raise PeerTimeout(f"no connection to {peer} within {timeout_s:g} s")

    async def request(self, peer: PeerId, message: Message, *, timeout_s: float) -> Message:
        reply = await self._timed(peer, message, timeout_s, replies=True)
        if reply is None:
            raise AssertionError("a request without a reply")
        return reply

    async def notify(self, peer: PeerId, message: Message, *, timeout_s: float) -> None:
        await self._timed(peer, message, timeout_s, replies=False)

    async def _timed(
        self, peer: PeerId, message: Message, timeout_s: float, *, replies: bool
    ) -> Message | None:
        started = trio.current_time()
        with trio.move_on_after(timeout_s):
            return await self._exchange(peer, message, replies=replies)
        self.counts["timed_out"] += 1
        connection = self._swarm.connection_to(peer)
        if connection is not None:
            self._nursery.start_soon(self._probe, connection, started)
        raise PeerTimeout(f"{peer} did not answer {message.type.name} within {timeout_s:g} s")

    async def _exchange(self, peer: PeerId, message: Message, *, replies: bool) -> Message | None:
        frame = encode_frame(codec.encode(message))
        self.counts["requests"] += 1
        try:
            return await self._attempt(peer, message.type, frame, replies, may_retry=True)
        except _StaleStream:
            self.counts["retries"] += 1
            return await self._attempt(peer, message.type, frame, replies, may_retry=False)

    async def _attempt(
        self, peer: PeerId, kind: MessageType, frame: bytes, replies: bool, *, may_retry: bool
    ) -> Message | None:
        existing = self._swarm.connection_to(peer)
        connection = existing or await self._swarm.connect(peer)
        if connection.is_closed:  # since the dial ended: nobody would ever remove its pool
            raise PeerUnreachable(f"the connection to {peer} was lost")
        pool = self._pools.get(connection)
        if pool is None:
            pool = self._pools[connection] = _Pool(connection, self._protocol)
        async with pool.places:
            idle = await pool.take() if may_retry else None
            try:
                channel = idle or await pool.open(eagerly=not replies)
                try:
                    reply = None
                    if replies:
                        reply = await channel.ask(frame, kind)
                    else:
                        await channel.tell(frame)
                except BaseException:
                    await channel.stream.reset()
                    raise
            except PeerUnreachable as error:
                is_stale = idle is not None or (existing is not None and connection.is_lost)
                if may_retry and is_stale:
                    raise _StaleStream from error
                if connection.is_lost:
                    raise PeerUnreachable(f"the connection to {peer} was lost") from error
                if isinstance(error, StreamReset):
                    raise ProtocolViolation(f"{peer} reset the stream in place of an answer") from error
                raise
            await pool.put_back(channel)
            return reply

    async def _probe(self, connection: Connection, since: float) -> None:
        """After a timeout: tell a slow peer from a dead one, which is disconnected (B17)."""
        if connection in self._probed or _heard(connection, since) or connection.is_lost:
            return
        self._probed.add(connection)
        try:
            problem = await supervised(
                "probe_failed", lambda: ping(connection, timeout_s=limits.PING_TIMEOUT_S), connection
            )
        finally:
            self._probed.discard(connection)
        if problem is not None and not _heard(connection, since):
            self.counts["dead_connections"] += 1
            connection.shut()

    async def sweep(self, now: float) -> None:
        """Close streams that have been idle for too long."""
        for pool in list(self._pools.values()):
            await pool.sweep(now)


class _StaleStream(RemoteError):
    """A stream or connection from an earlier request was dead: try again with a fresh one."""


def _heard(connection: Connection, since: float) -> bool:
    return connection.socket.received_at >= since
