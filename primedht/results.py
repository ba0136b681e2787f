"""What operations return: plain frozen values, the same in `Node`, both clients and the CLI's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from primedht.cids import Cid
from primedht.ids import PeerId
from primedht.units import format_count, format_date

AskOutcome = Literal["answered", "unreachable", "timeout", "violation", "abandoned"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a lookup.

    hop: 1 for peers from our own table, n + 1 for those that a peer of hop n told us.
    started_s, took_s: seconds after the lookup's start, and until its outcome.
    closer: peers that the answer named; has_value: whether it carried an acceptable record.
    heard_from: the peer that named this one first; None if it was known before.
    """

    peer: PeerId
    hop: int
    started_s: float
    took_s: float
    outcome: AskOutcome
    closer: int = 0
    has_value: bool = False
    heard_from: PeerId | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """How one lookup went: whom it asked, in order of asking, and why it stopped."""

    target: bytes
    asked: tuple[Asked, ...]
    stopped: Literal["converged", "exhausted", "enough", "timeout", "no_peers"]
    took_s: float

    @property
    def hops(self) -> int:
        """The longest path to a peer that answered."""
        return max((ask.hop for ask in self.asked if ask.outcome == "answered"), default=0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A peer that did not take a record, and why (an error code)."""

    peer: PeerId
    code: str


@dataclass(slots=True)
class PeerShare:
    """What one peer did for a fetch. rate: measured, in bytes per second. gone: why it was asked no more.

    wire_bytes: what its blocks travelled as; less than `bytes` where they were compressed.
    """

    peer: PeerId
    blocks: int = 0
    bytes: int = 0
    duplicates: int = 0
    rate: float | None = None
    gone: str = ""
    wire_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PutResult:
    """Who holds a value after a put.

    holders: peers that accepted it, this node included if it is one of them.
    wanted: holders asked for; degraded: fewer than the replication factor hold it now.
    sequence: of an owned (`/prime`) record, else None. expires_unix_s: when every copy is gone.
    root: the binary CID of the blocks that hold the value, if the record only points at them.
    receipts: other peers that gave a signed receipt that they keep these blocks; receipts_refused: those
    that will not.
    value_bytes, stored_bytes: of the value that blocks hold, and of what they hold of it, which is less where
    it was compressed with `codec`; None and "" if the record itself holds it.
    """

    key: bytes
    holders: tuple[PeerId, ...]
    refused: tuple[Refusal, ...]
    wanted: int
    replication_factor: int
    degraded: bool
    sequence: int | None
    expires_unix_s: float
    trace: Trace | None = None
    root: bytes | None = None
    receipts: tuple[PeerId, ...] = ()
    receipts_refused: tuple[Refusal, ...] = ()
    value_bytes: int | None = None
    stored_bytes: int | None = None
    codec: str = ""


@dataclass(frozen=True, slots=True)
class KeptBlocks:
    """Who keeps blocks that this node published.

    root: binary CID. wanted: other peers that are to keep them; 0 where the network has no replication.
    receipts: other peers that gave a signed receipt that they do; refused: those that will not.
    size_bytes: of all blocks. expires_unix_s: of the receipts, unless they are renewed, as they are every
    hour while this node runs. done: nobody is being asked any more.
    """

    root: bytes
    wanted: int
    receipts: tuple[PeerId, ...]
    refused: tuple[Refusal, ...]
    size_bytes: int
    expires_unix_s: float
    done: bool

    def __str__(self) -> str:
        root = Cid.from_bytes(self.root)
        if not self.wanted:
            return f"{root} is kept here only: nobody is asked"
        state = "" if self.done else ", others are still being asked"
        text = f"{root} is kept by {len(self.receipts)} of {format_count(self.wanted, 'other peer')}{state}"
        if self.receipts:
            text += f", until {format_date(self.expires_unix_s)}: {', '.join(map(str, self.receipts))}"
        if self.refused:
            text += f"; {', '.join(f'{each.peer} refuses ({each.code})' for each in self.refused)}"
        return text


@dataclass(frozen=True, slots=True)
class FoundValue:
    """The best acceptable value of a key.

    value: the record's value as peers store it. payload: what its writer stored, without the envelope
    of a `/prime` record; the same elsewhere.
    authenticated: whether its writer's signature or hash was verified (False for open keys).
    sources: peers that returned this very record, this node included.
    writer_unix_ms: when its writer put it, for open keys; None elsewhere.
    root: the binary CID of the blocks that hold the value; None if the record itself does. `Dht` then
    returns the pointer to them as the payload (records/pointer.py), `Node` and the clients the value.
    """

    key: bytes
    value: bytes
    payload: bytes
    authenticated: bool
    sources: tuple[PeerId, ...]
    sequence: int | None = None
    writer_unix_ms: int | None = None
    expires_unix_s: float | None = None
    trace: Trace | None = None
    root: bytes | None = None


@dataclass(frozen=True, slots=True)
class NameRecord:
    """What an IPNS name points at.

    name: the peer id of the key that signed it. value: a content path, such as `/ipfs/bafy...`.
    expires_unix_s: when the signature ends; ttl_s: how long readers may keep the answer.
    sources: peers that returned this very record, this node included.
    """

    name: PeerId
    value: str
    sequence: int
    expires_unix_s: float
    ttl_s: float
    sources: tuple[PeerId, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedName:
    """A name's new record, and who holds it."""

    record: NameRecord
    put: PutResult


@dataclass(frozen=True, slots=True)
class ProvideResult:
    """Who took a provider record of ours (ADD_PROVIDER has no reply: `told` peers received it)."""

    multihash: bytes
    told: tuple[PeerId, ...]
    failed: tuple[Refusal, ...]
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class DiscoveredPeer:
    """A peer and how this node came to know it."""

    id: PeerId
    addrs: tuple[str, ...]
    how: Literal["bootstrap", "mdns", "remembered", "lookup", "inbound", "connect"]
    in_routing_table: bool
