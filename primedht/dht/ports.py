"""What the engine may touch of the outside world. Hosts and the simulator implement these.

Protocols only: no base classes, no behaviour. Everything here is called from trio tasks of one
event loop; plain methods return at once and never block.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from primedht.clock import WallClock
from primedht.ids import PeerId
from primedht.kad.messages import Message, PeerInfo


class Rpc(Protocol):
    """Kademlia requests to one peer. Dials when there is no connection.

    Raises `PeerUnreachable`, `PeerTimeout` or `ProtocolViolation`, and nothing else.
    """

    async def reach(self, peer: PeerId, *, timeout_s: float) -> None:
        """Dial unless there is a connection: before a message that must not grow old meanwhile."""
        ...

    async def request(self, peer: PeerId, message: Message, *, timeout_s: float) -> Message:
        """Send `message` and return the reply, which has the same type."""
        ...

    async def notify(self, peer: PeerId, message: Message, *, timeout_s: float) -> None:
        """Send a message that has no reply (ADD_PROVIDER); returns once it is handed to the peer."""
        ...


@dataclass(frozen=True, slots=True)
class Requester:
    """Who sent an inbound request.

    ip: the remote address as text, or "" where there is none (the simulator's peers may have one).
    reply_bytes_max: the largest reply this requester takes (docs/protocol.md, rule 1).
    """

    peer: PeerId
    ip: str
    reply_bytes_max: int


RequestHandler = Callable[[Requester, Message], Awaitable[Message | None]]
"""Answers one inbound request; None means no reply. A `PrimeDhtError` makes the host reset the stream."""


class PeerListener(Protocol):
    """Told of what happens to peers and to our own addresses. Plain calls: they may not block."""

    def on_identified(self, peer: PeerId, protocols: frozenset[str]) -> None:
        """`peer` is connected and said (by identify or identify-push) which protocols it serves."""
        ...

    def on_disconnected(self, peer: PeerId) -> None:
        """The last connection to `peer` is gone."""
        ...

    def on_own_addrs_changed(self) -> None:
        """The addresses that we announce have changed."""
        ...


class AddressBook(Protocol):
    """Addresses of peers: binary multiaddrs without `/p2p`, bounded per peer and in total."""

    def addrs(self, peer: PeerId) -> tuple[bytes, ...]:
        """Return the known unexpired addresses of `peer`, best first (a connected peer's first)."""
        ...

    def infos(self, peers: Iterable[PeerId]) -> list[PeerInfo]:
        """Return `peers` with their `addrs`, without those of whom none is known."""
        ...

    def add(self, peer: PeerId, addrs: Sequence[bytes], *, ttl_s: float) -> None:
        """Remember `addrs`; those that the network's filter refuses are dropped and counted."""
        ...

    def add_all(self, infos: Iterable[PeerInfo], *, ttl_s: float) -> None:
        """Remember the addresses of all `infos` as `add` does."""
        ...

    def own_addrs(self) -> tuple[bytes, ...]:
        """Return the addresses that we announce: real ones, never 0.0.0.0 or ::."""
        ...


class Connections(Protocol):
    """Connections and what is known of the peers at their other ends."""

    @property
    def peer_id(self) -> PeerId:
        """Our own id."""
        ...

    def connected(self) -> tuple[PeerId, ...]: ...

    def serves_kad(self, peer: PeerId) -> bool | None:
        """Whether identify lists our kad protocol for connected `peer`; None while unknown."""
        ...

    def is_reached(self, peer: PeerId) -> bool:
        """Whether `peer` is connected, or has taken the connection of a dial that goes on."""
        ...

    def subscribe(self, listener: PeerListener) -> None:
        """Tell `listener` of the peers that are identified already, and of all that happens from now on."""
        ...

    def protect(self, peer: PeerId, protected: bool) -> None:
        """Exempt `peer` from connection trimming, or stop doing so."""
        ...

    async def connect(self, peer: PeerId, addrs: Sequence[bytes] = (), *, timeout_s: float) -> None:
        """Connect and wait until identify is done. Raises as `Rpc` does."""
        ...

    async def connect_addr(self, addr: str, *, timeout_s: float) -> PeerId:
        """Connect to a multiaddr in text, names resolved; an id that it lacks is learnt and returned.

        Raises as `Rpc` does, and `InvalidArgument` for malformed text.
        """
        ...

    async def ping(self, peer: PeerId, *, timeout_s: float) -> float:
        """Return the round-trip time in seconds (`/ipfs/ping/1.0.0`). Raises as `Rpc` does."""
        ...

    async def serve_kad(self, handler: RequestHandler | None) -> None:
        """Serve the kad protocol with `handler` (server mode), or stop serving it (client mode).

        Identify lists the protocol only while it is served, and connected peers are pushed the change.
        """
        ...


class Stream(Protocol):
    """One conversation with a peer, in bytes. At most one task receives and one sends.

    `receive`, `send` and `finish` raise `PeerUnreachable` once the stream is reset or its connection is
    lost, and `ProtocolViolation`.
    """

    @property
    def peer(self) -> PeerId: ...

    @property
    def ip(self) -> str:
        """The peer's address as text, or "" where there is none."""
        ...

    @property
    def protocol(self) -> str:
        """The protocol that was agreed on."""
        ...

    async def receive(self) -> bytes:
        """Return what has arrived, at least one byte; b"" once the peer has finished."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of `data`, as fast as the peer reads."""
        ...

    async def finish(self) -> None:
        """Half-close: say that nothing more will be sent."""
        ...

    async def reset(self) -> None:
        """End the stream at once in both directions. Never fails."""
        ...

    async def close(self) -> None:
        """End our half; the stream is reset if the peer does not end its own soon."""
        ...


class Streams(Protocol):
    """Streams of any protocol, to and from peers."""

    async def open(self, peer: PeerId, protocols: Sequence[str], *, timeout_s: float) -> Stream:
        """Open a stream for the first of `protocols` that `peer` takes; dials if need be. Raises as `Rpc`."""
        ...

    def serve(
        self,
        protocol: str,
        handler: Callable[[Any], Awaitable[None]] | None,
        *,
        streams_per_peer_max: int = ...,
    ) -> None:
        """Have inbound streams of `protocol` handled by `handler(stream)`; None stops serving it.

        What the handler raises resets the stream; what it leaves open is closed.
        """
        ...


class Rng(Protocol):
    """Randomness; the simulator seeds it (`random.Random` has these methods)."""

    def random(self) -> float: ...

    def randrange(self, stop: int, /) -> int: ...

    def uniform(self, a: float, b: float, /) -> float: ...

    def shuffle(self, x: MutableSequence[Any], /) -> None: ...

    def getrandbits(self, k: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world of one `Dht`, as one argument."""

    rpc: Rpc
    address_book: AddressBook
    connections: Connections
    clock: WallClock
    rng: Rng
