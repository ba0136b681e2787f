"""Bitswap of one node: its streams, what it asks of whom, and whom it trusts no more.

    async with open_bitswap(ports, streams, store, find_providers) as bitswap:
        await bitswap.fetch(root, recursive=True, hold=hold, timeout_s=60)

Source: IPFS specs, bitswap protocol.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from functools import partial

import structlog
import trio

from primedht import limits
from primedht.blocks.bitswap.messages import (
    BITSWAP_ZSTD,
    PROTOCOLS,
    BitswapMessage,
    Want,
    decode,
    is_long_to_decode,
)
from primedht.blocks.bitswap.outbox import Outbox
from primedht.blocks.bitswap.server import BitswapServer
from primedht.blocks.bitswap.session import Session
from primedht.blocks.block import Block
from primedht.blocks.blockstore import Fetched, Hold, Put
from primedht.blocks.store import LocalBlockstore
from primedht.cids import Cid
from primedht.dht.ports import Connections, Stream, Streams
from primedht.errors import OperationTimeout, PrimeDhtError, ProtocolViolation, RemoteError
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.tasks import open_background_nursery
from primedht.wire.frames import FrameReader

log = structlog.get_logger(__name__)

FindProviders = Callable[..., AsyncIterator[PeerInfo]]
_Fill = Callable[[PeerId], AbstractAsyncContextManager[BitswapMessage]]


class _Correspondent:
    """What is to be said to one peer and what it was asked for.

    wants: changes to our wantlist that it has not been told yet, by multihash. asked: how often blocks may
    still come, by multihash, the latest last; it may be late with those that were cancelled.
    repeated_bytes: of blocks that came more often.
    """

    def __init__(self) -> None:
        self.wants: dict[bytes, Want] = {}
        self.asked: OrderedDict[bytes, int] = OrderedDict()
        self.repeated_bytes = 0
        self.outboxes: dict[_Fill, Outbox] = {}  # one for wants and one for answers, while they are in use

    def note_asked(self, multihash: bytes) -> None:
        self.asked[multihash] = self.asked.get(multihash, 0) + 1
        self.asked.move_to_end(multihash)
        if len(self.asked) > limits.BITSWAP_ASKED_REMEMBERED_MAX:
            self.asked.popitem(last=False)


class Bitswap:
    """The `Exchange` of a node, and its server. Made by `open_bitswap`; a `PeerListener`."""

    def __init__(
        self,
        connections: Connections,
        streams: Streams,
        store: LocalBlockstore,
        find_providers: FindProviders,
        nursery: trio.Nursery,
        *,
        compresses: bool,
    ) -> None:
        self._connections = connections
        self._streams = streams
        self._store = store
        self._find_providers = find_providers
        self._nursery = nursery
        self.protocols = (BITSWAP_ZSTD, *PROTOCOLS) if compresses else PROTOCOLS
        self._server = BitswapServer(store, self._wake_answers)
        self._sessions: set[Session] = set()
        self._peers: set[PeerId] = set()  # connected, and serving bitswap
        self._is_closed = False
        self._compressing: set[PeerId] = set()  # connected, and taking blocks as zstd frames
        self._correspondents: dict[PeerId, _Correspondent] = {}
        self._banned: dict[PeerId, float] = {}
        self._in_bytes: Counter[PeerId] = Counter()
        self._decoders = trio.CapacityLimiter(limits.BITSWAP_DECODERS_MAX)
        self.counts: Counter[str] = Counter()

    # --- fetching -------------------------------------------------------------------------------------

    async def fetch(
        self, root: Cid, *, recursive: bool, hold: Hold, timeout_s: float, bytes_max: int | None = None,
        peers: frozenset[PeerId] | None = None, providers: bool = True, leaves: bool = True,
        put: Put | None = None,
    ) -> Fetched:  # fmt: skip
        """As `Exchange.fetch`."""
        session = Session(
            self._store,
            root,
            recursive=recursive,
            hold=hold,
            bytes_max=bytes_max,
            peers=peers,
            providers=providers,
            leaves=leaves,
            put=put or self._store.put,
            ask=lambda peer, cids: self._want(peer, [Want(cid) for cid in cids]),
            cancel=self._cancel,
        )
        self._sessions.add(session)
        try:
            with trio.move_on_after(timeout_s):
                async with open_background_nursery() as nursery:
                    nursery.start_soon(self._serve_searches, session)
                    fetched = await session.run()
                gone = {str(share.peer): share.gone for share in fetched.peers if share.gone}
                log.info("fetched", root=str(root), blocks=fetched.blocks, bytes=fetched.bytes, gone=gone)
                return fetched
        finally:
            self._sessions.discard(session)
        raise OperationTimeout(f"{root} was not here within {timeout_s:g} s")

    async def _serve_searches(self, session: Session) -> None:
        """Look for peers whenever the session is stuck, each time after a longer pause."""
        pause_s = 0.0
        while True:
            await session.search_wanted.wait()
            session.search_wanted = trio.Event()
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s or limits.FETCH_SEARCH_PAUSE_S, limits.FETCH_PATIENCE_S_MAX)
            missing = session.scheduler.some_pending() or session.root
            if session.peers is not None:
                for peer in list(session.peers):
                    await self._add_provider(session, PeerInfo(peer, ()))
                if session.providers:
                    await self._add_providers(session, session.root)
                session.on_searched()
                continue
            self._ask_everybody(missing)
            await self._add_providers(session, session.root)
            if missing != session.root and session.scheduler.is_stuck():
                await self._add_providers(session, missing)
            if self._peers:  # they get the time of a few round trips to answer
                await trio.sleep(limits.FETCH_SEARCH_PAUSE_S)
            session.on_searched()

    def _ask_everybody(self, cid: Cid) -> None:
        """Ask the peers that are connected whether they have a block."""
        for peer in list(self._peers)[: limits.BITSWAP_BROADCAST_MAX]:
            self._want(peer, [Want(cid, have=True)])

    async def _add_providers(self, session: Session, cid: Cid) -> None:
        try:
            async with trio.open_nursery() as nursery:
                found = self._find_providers(
                    cid.multihash, limit=limits.FETCH_PEERS_MAX, timeout_s=limits.BLOCK_FETCH_TIMEOUT_S
                )
                async with aclosing(found) as providers:  # type: ignore[type-var]
                    async for info in providers:
                        if info.id != self._connections.peer_id and not self._is_banned(info.id):
                            nursery.start_soon(self._add_provider, session, info)
        except* PrimeDhtError as group:
            log.debug("providers_not_found", cid=str(cid), error=str(group.exceptions[0]))

    async def _add_provider(self, session: Session, info: PeerInfo) -> None:
        try:
            await self._connections.connect(info.id, info.addrs, timeout_s=limits.DIAL_TIMEOUT_S)
        except RemoteError as error:
            log.debug("provider_unreachable", peer=str(info.id), code=error.code)
            return
        session.admit(info.id)
        session.add_peer(info.id)

    # --- what we want ---------------------------------------------------------------------------------

    def _want(self, peer: PeerId, wants: list[Want]) -> None:
        correspondent = self._correspondent(peer)
        for want in wants:
            correspondent.wants[want.cid.multihash] = want
            correspondent.note_asked(want.cid.multihash)
        self._wake_wants(peer)

    def _cancel(self, peer: PeerId, cid: Cid) -> None:
        if any(session.scheduler.asks(peer, cid.multihash) for session in self._sessions):
            return  # another fetch wants it of that peer too
        self._correspondent(peer).wants[cid.multihash] = Want(cid, cancel=True)
        self._wake_wants(peer)

    @asynccontextmanager
    async def _wants_of(self, peer: PeerId) -> AsyncIterator[BitswapMessage]:
        correspondent = self._correspondent(peer)
        keys = list(correspondent.wants)[: limits.BITSWAP_WANTS_PER_PEER_MAX]
        yield BitswapMessage(wants=[correspondent.wants.pop(key) for key in keys])

    # --- what peers say -------------------------------------------------------------------------------

    async def serve_stream(self, stream: Stream) -> None:
        """Take a peer's messages until it has finished. Errors reset the stream."""
        self._check_not_banned(stream.peer)
        self._peers.add(stream.peer)
        reader = FrameReader(limits.BITSWAP_MESSAGE_BYTES_MAX)
        while True:
            with trio.move_on_after(2 * limits.BITSWAP_STREAM_IDLE_S) as patience:
                message = await self._receive(stream, reader)
                if message is None:
                    return
            if patience.cancelled_caught or self._is_closed:
                return
            self._on_message(stream.peer, message)

    async def _receive(self, stream: Stream, reader: FrameReader) -> BitswapMessage | None:
        """Return the next message, or None when the peer has finished between two of them."""
        held_bytes = 0
        try:
            while (frame := reader.next_frame()) is None:
                data = await stream.receive()
                if not data:
                    if reader.buffered_bytes:
                        raise ProtocolViolation("a bitswap stream ended inside a message")
                    return None
                reader.feed(data)
                held_bytes += len(data)
                self._in_bytes[stream.peer] += len(data)
                if (
                    self._in_bytes[stream.peer] > limits.BITSWAP_IN_BYTES_PER_PEER_MAX
                    or self._in_bytes.total() > limits.BITSWAP_IN_BYTES_MAX
                ):
                    raise ProtocolViolation("too many bitswap messages at once")
            if not is_long_to_decode(frame, stream.protocol):
                return decode(frame, stream.protocol)
            work = partial(decode, frame, stream.protocol)
            return await trio.to_thread.run_sync(work, limiter=self._decoders)
        finally:
            self._in_bytes[stream.peer] -= held_bytes
            if not self._in_bytes[stream.peer]:
                del self._in_bytes[stream.peer]

    def _on_message(self, peer: PeerId, message: BitswapMessage) -> None:
        self._check_not_banned(peer)  # by what it sent on another stream
        for block, wire_bytes in zip(message.blocks, message.wire_bytes, strict=True):
            self._on_block(peer, block, wire_bytes)
        correspondent = self._correspondents.get(peer)
        asked = () if correspondent is None else correspondent.asked
        for cids, has in ((message.haves, True), (message.dont_haves, False)):
            for cid in cids:
                for session in self._sessions if cid.multihash in asked else ():
                    session.on_presence(peer, cid, has=has)
        self._server.on_message(peer, message)

    def _on_block(self, peer: PeerId, block: Block, wire_bytes: int) -> None:
        correspondent = self._correspondents.get(peer)
        if correspondent is None or block.cid.multihash not in correspondent.asked:
            self._ban(peer, "sent other bytes than it was asked for")
            raise ProtocolViolation(f"{peer} sent a block that nobody asked for")
        correspondent.asked[block.cid.multihash] -= 1
        if correspondent.asked[block.cid.multihash] < 0:  # kubo may answer a want and its repetition
            correspondent.repeated_bytes += len(block.data)
            if correspondent.repeated_bytes > limits.BITSWAP_REPEATED_BYTES_MAX:
                self._ban(peer, "sent the same blocks again and again")
                raise ProtocolViolation(f"{peer} sent the same blocks again and again")
            return
        self.counts["bytes_received"] += len(block.data)
        self.counts["wire_bytes_received"] += wire_bytes
        ledger = self._server.ledgers.get(peer)
        if ledger is not None:
            ledger.received_bytes += len(block.data)
            ledger.received_wire_bytes += wire_bytes
        for session in list(self._sessions):
            session.on_block(peer, block, wire_bytes)

    def on_stored(self, cids: list[Cid]) -> None:
        """Blocks are here now: peers that have been waiting get them."""
        self._server.on_stored(cids)

    def _ban(self, peer: PeerId, why: str) -> None:
        log.warning("bitswap_peer_banned", peer=str(peer), why=why)
        self.counts["banned"] += 1
        self._banned[peer] = trio.current_time() + limits.BITSWAP_BAN_S
        if len(self._banned) > limits.BITSWAP_PEERS_MAX:
            del self._banned[next(iter(self._banned))]
        self._forget(peer, why)

    def _check_not_banned(self, peer: PeerId) -> None:
        if self._is_banned(peer):
            raise ProtocolViolation(f"{peer} sent blocks that nobody asked for")

    def _is_banned(self, peer: PeerId) -> bool:
        return self._banned.get(peer, 0.0) > trio.current_time()

    # --- PeerListener ---------------------------------------------------------------------------------

    def on_identified(self, peer: PeerId, protocols: frozenset[str]) -> None:
        if BITSWAP_ZSTD in protocols and BITSWAP_ZSTD in self.protocols:
            self._compressing.add(peer)
        else:
            self._compressing.discard(peer)
        if protocols.isdisjoint(PROTOCOLS):
            self._peers.discard(peer)
        elif not self._is_banned(peer) and peer not in self._peers:
            self._peers.add(peer)
            for session in self._sessions:
                if session.admits(peer):
                    self._want(peer, [Want(session.root, have=True)])

    def on_disconnected(self, peer: PeerId) -> None:
        self._compressing.discard(peer)
        self._forget(peer, "disconnected")

    def on_own_addrs_changed(self) -> None:
        """Addresses are no matter of bitswap."""

    def _forget(self, peer: PeerId, why: str) -> None:
        self._peers.discard(peer)
        self._server.forget(peer)
        self._correspondents.pop(peer, None)
        for session in self._sessions:
            session.remove_peer(peer, why)

    # --- outboxes -------------------------------------------------------------------------------------

    def _correspondent(self, peer: PeerId) -> _Correspondent:
        return self._correspondents.setdefault(peer, _Correspondent())

    def _wake_wants(self, peer: PeerId) -> None:
        self._wake(peer, self._correspondent(peer).outboxes, self._wants_of)

    def _wake_answers(self, peer: PeerId) -> None:
        self._wake(peer, self._correspondent(peer).outboxes, self._server.filled)

    def _wake(self, peer: PeerId, outboxes: dict[_Fill, Outbox], fill: _Fill) -> None:
        outbox = outboxes.get(fill)
        if outbox is None:
            outbox = outboxes[fill] = Outbox(
                self._streams,
                peer,
                partial(fill, peer),
                compresses=lambda: peer in self._compressing,
                sent=partial(self._server.on_sent, peer),
                ended=partial(outboxes.pop, fill),
            )
            self._nursery.start_soon(self._run, outbox, peer)
        outbox.wake()

    async def _run(self, outbox: Outbox, peer: PeerId) -> None:
        try:
            await outbox.run()
        except RemoteError as error:
            log.debug("bitswap_peer_lost", peer=str(peer), code=error.code)
            self._forget(peer, error.code)

    def status(self) -> dict[str, object]:
        """Return the state as JSON-able values."""
        return {
            "peers": len(self._peers),
            "fetches": len(self._sessions),
            "banned": sum(until > trio.current_time() for until in self._banned.values()),
            "bytes_sent": self._server.sent_bytes,
            "bytes_received": self.counts["bytes_received"],
            "wire_bytes_sent": self._server.sent_wire_bytes,
            "wire_bytes_received": self.counts["wire_bytes_received"],
        }

    def close(self) -> None:
        """Leave what streams still bring unread: nobody is there to answer it."""
        self._is_closed = True


@contextmanager
def _serving(streams: Streams, bitswap: Bitswap) -> Iterator[None]:
    for protocol in bitswap.protocols:
        streams.serve(protocol, bitswap.serve_stream, streams_per_peer_max=limits.BITSWAP_STREAMS_IN_MAX)
    try:
        yield
    finally:
        for protocol in bitswap.protocols:
            streams.serve(protocol, None)
        bitswap.close()


@asynccontextmanager
async def open_bitswap(
    connections: Connections, streams: Streams, store: LocalBlockstore, find_providers: FindProviders,
    *, compresses: bool = False,
) -> AsyncIterator[Bitswap]:  # fmt: skip
    """Serve the blocks of `store` to peers, and fetch what it lacks, until the block is left.

    find_providers: as `Dht.find_providers`. compresses: to and from peers that do so too.
    """
    async with open_background_nursery() as nursery:
        bitswap = Bitswap(connections, streams, store, find_providers, nursery, compresses=compresses)
        store.on_stored = bitswap.on_stored
        connections.subscribe(bitswap)
        with _serving(streams, bitswap):
            yield bitswap
