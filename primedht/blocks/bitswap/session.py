"""One fetch: a block, or a whole DAG, from whoever has it.

What is here already is read here, so a fetch that was interrupted goes on where it ended. Links are
followed only as far ahead as there is room for: the blocks of a DAG may be too many to remember.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from primedht import limits
from primedht.blocks.bitswap.scheduler import FetchScheduler
from primedht.blocks.block import Block
from primedht.blocks.blockstore import Fetched, Hold, Put
from primedht.blocks.store import LocalBlockstore
from primedht.cids import RAW, Cid
from primedht.errors import BlockNotFound, ValueTooLarge
from primedht.ids import PeerId


class Session:
    """Driven by `run`; `Bitswap` tells it what peers say, and gets its requests through `ask`.

    ask: sends wants for blocks to a peer; cancel: takes them back. bytes_max: of all blocks together.
    peers: the only ones to ask, or None; providers: and those that the DHT names for the root. leaves: get
    blocks of plain bytes too. put: stores what comes.
    """

    def __init__(
        self,
        store: LocalBlockstore,
        root: Cid,
        *,
        recursive: bool,
        hold: Hold,
        bytes_max: int | None,
        peers: frozenset[PeerId] | None,
        providers: bool,
        leaves: bool,
        put: Put,
        ask: Callable[[PeerId, list[Cid]], None],
        cancel: Callable[[PeerId, Cid], None],
    ) -> None:
        self.root = root
        self.peers = None if peers is None else set(peers)
        self.providers = providers
        self.scheduler = FetchScheduler()
        self._store = store
        self._recursive = recursive
        self._hold = hold
        self._bytes_max = bytes_max
        self._leaves = leaves
        self._put = put
        self._ask = ask
        self._cancel = cancel
        self._event = trio.Event()
        self._arrived: dict[bytes, Block] = {}  # by multihash, not in the store yet
        self._unstored_bytes = 0
        self._unread: list[Cid] = [root]  # their links are not followed yet; the root itself at first
        self._seen: set[bytes] = set()
        self._blocks = self._bytes = self._searches = 0
        self.search_wanted = trio.Event()
        self.search_done = True

    # --- what peers say ---------------------------------------------------------------------------------

    def add_peer(self, peer: PeerId) -> None:
        """`peer` may have blocks of this DAG."""
        if self.admits(peer) and self.scheduler.add_peer(peer, trio.current_time()):
            self.wake()

    def admit(self, peer: PeerId) -> None:
        """`peer` may be asked from now on."""
        if self.peers is not None:
            self.peers.add(peer)

    def admits(self, peer: PeerId) -> bool:
        """Return whether `peer` may be asked."""
        return self.peers is None or peer in self.peers

    def remove_peer(self, peer: PeerId, why: str) -> None:
        self.scheduler.remove_peer(peer, why)
        self.wake()

    def on_block(self, peer: PeerId, block: Block, wire_bytes: int) -> None:
        """A block that was asked for, by this session or another one, has come, as so many bytes."""
        needed = self.scheduler.needed(block.cid.multihash)
        if needed is not None:  # small blocks come in place of HAVE, and before 1.2.0 all do
            self.add_peer(peer)
            block = Block(
                needed, block.data
            )  # how it is read is for who links to it to say, not for the peer
        others = self.scheduler.on_block(
            peer, block.cid, len(block.data), trio.current_time(), wire_bytes=wire_bytes
        )
        if needed is not None:
            for other in others:
                self._cancel(other, block.cid)
            self._arrived[block.cid.multihash] = block
            self._unstored_bytes += len(block.data)
        self.wake()

    def on_presence(self, peer: PeerId, cid: Cid, *, has: bool) -> None:
        if not self.admits(peer):
            return
        if has:
            self.scheduler.on_have(peer, cid)
            self.add_peer(peer)
        else:
            self.scheduler.on_dont_have(peer, cid)
        self.wake()

    def wake(self) -> None:
        self._event.set()

    # --- the fetch ----------------------------------------------------------------------------------------

    async def run(self) -> Fetched:
        """Return once everything is in the store.

        Raises `BlockNotFound` if nobody who was found has a block, `ValueTooLarge` beyond `bytes_max`,
        and what the store raises.
        """
        self._hold.add([self.root])
        try:
            while True:
                await self._store_arrived()
                await self._follow_links()
                self._request()
                if self._arrived or (self._unread and self.scheduler.pending < limits.FETCH_PENDING_MAX):
                    continue
                if not self.scheduler.pending:
                    return Fetched(self._blocks, self._bytes, tuple(self.scheduler.shares()))
                self._search_if_stuck()
                with trio.move_on_at(self.scheduler.wake_at()):
                    await self._event.wait()
                self._event = trio.Event()
        finally:
            self._cancel_all()

    def on_searched(self) -> None:
        """The search for providers that was wanted is over."""
        self.search_done = True
        self.wake()

    def _request(self) -> None:
        requests = self.scheduler.next_requests(trio.current_time(), unstored_bytes=self._unstored_bytes)
        for peer, cids in requests.items():
            self._ask(peer, cids)

    def _search_if_stuck(self) -> None:
        if not self.scheduler.is_stuck() or not self.search_done:
            return
        if self._searches >= limits.FETCH_SEARCHES_MAX:
            missing = self.scheduler.some_pending()
            raise BlockNotFound(f"no peer that was found has block {missing} of {self.root}")
        self._searches += 1
        self.search_done = False
        self.search_wanted.set()

    async def _store_arrived(self) -> None:
        while self._arrived:
            batch: list[Block] = []
            size = 0
            while self._arrived and size < limits.FETCH_BATCH_BYTES and len(batch) < limits.BLOCK_BATCH_MAX:
                batch.append(self._arrived.pop(next(iter(self._arrived))))
                size += len(batch[-1].data)
            self._request()  # what has come makes room for more, which travels while this is written
            await self._put(batch, hold=self._hold)
            self._unstored_bytes -= size
            self._blocks += len(batch)
            self._bytes += size
            self._searches = 0
            if self._bytes_max is not None and self._bytes > self._bytes_max:
                raise ValueTooLarge(f"{self.root} is more than {self._bytes_max} bytes")
            if self._recursive:
                self._unread += [block.cid for block in batch if block.cid.codec != RAW]

    async def _follow_links(self) -> None:
        while self._unread and self.scheduler.pending < limits.FETCH_PENDING_MAX:
            cid = self._unread.pop()
            if not await self._store.has(cid):
                self._need(cid)
            elif self._recursive and cid.multihash not in self._seen:
                if cid.codec != RAW:
                    self._seen.add(cid.multihash)
                for link in await self._links(cid):
                    if link.multihash in self._seen or (link.codec == RAW and not self._leaves):
                        continue
                    if not await self._store.has(link):
                        self._need(link)
                    elif link.codec != RAW:
                        self._unread.append(link)

    async def _links(self, cid: Cid) -> tuple[Cid, ...]:
        try:
            return await self._store.links(cid)
        except BlockNotFound:  # it is damaged here, and forgotten
            self._seen.discard(cid.multihash)
            self._need(cid)
            return ()

    def _need(self, cid: Cid) -> None:
        if cid.multihash not in self._arrived:  # one that two nodes link to may have come meanwhile
            self._hold.add([cid])
            self.scheduler.need(cid)

    def _cancel_all(self) -> None:
        for peer, cid in self.scheduler.outstanding():
            self._cancel(peer, cid)
