"""The messages of `/ipfs/kad/1.0.0` as plain values; `codec` turns them into bytes and back.

Source: libp2p kad-dht spec, "RPC messages"; `Record.publisher`, `Record.ttl`: rust-libp2p
protocols/kad/src/generated/dht.proto (fields 666, 777); `writer_unix_ms` (1001) and `tombstone`
(1002) are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from primedht.ids import PeerId


class MessageType(IntEnum):
    __hash__ = int.__hash__  # Enum's own is a Python call, at each look into a table of handlers

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer and its addresses: binary multiaddrs, without a trailing `/p2p`.

    encoded: set by `codec`, so that a peer that is named in thousands of replies is encoded once.
    """

    id: PeerId
    addrs: tuple[bytes, ...] = ()
    encoded: bytes | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Record:
    """A value under a key, as it travels.

    publisher: who put it first; a put that names its own sender starts a new life, a copy never does.
    ttl_s: seconds left to live; 0 means absent.
    writer_unix_ms: when the writer put an open key's value; 0 means absent.
    tombstone: an open key was deleted at its writer time; the value is empty (others see just that).
    time_received: RFC 3339 text stamped by the holder, advisory to everyone else.
    """

    key: bytes
    value: bytes
    time_received: str = ""
    publisher: bytes = b""
    ttl_s: int = 0
    writer_unix_ms: int = 0
    tombstone: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One request or reply; fields that its type does not use are empty."""

    type: MessageType
    key: bytes = b""
    record: Record | None = None
    closer_peers: tuple[PeerInfo, ...] = ()
    provider_peers: tuple[PeerInfo, ...] = ()
