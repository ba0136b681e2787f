"""Kademlia messages to bytes and back, with every limit on what a peer may send.

A whole message is refused (`ProtocolViolation`) when it cannot be parsed, its type is unknown or
its key or record exceeds a limit. A single peer entry that makes no sense costs only itself: other
implementations send ids and addresses of kinds that we do not know.

Source: libp2p kad-dht spec, "RPC messages"; limits.py for the sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from google.protobuf.message import DecodeError

from primedht import limits
from primedht.errors import InvalidArgument, ProtocolViolation
from primedht.ids import PeerId
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.pb import kad_pb2
from primedht.wire import addrs

_TYPES = {int(kind): kind for kind in MessageType}
_TYPE_NAMES = {kind: kind.name for kind in MessageType}
_TYPES_ALONE = {
    kind: kad_pb2.Message(type=name).SerializeToString() for kind, name in _TYPE_NAMES.items()
}  # messages with nothing else in them
_TTL_S_MAX = 2**32 - 1
_WRITER_UNIX_MS_MAX = 2**63 - 1
_CLOSER_TAG, _PROVIDER_TAG = b"\x42", b"\x4a"  # fields 8 and 9, length-delimited
_RECORD_FRAMING_BYTES_MAX = 64  # tags, lengths and numbers of a record's seven fields, and its own
_FIELD_BYTES_MAX = 4  # of a field's tag and length, in entries of one peer


def encode(message: Message) -> bytes:
    """Return the wire form of `message`, without a length prefix."""
    if message.key or message.record is not None:
        wire = kad_pb2.Message(type=_TYPE_NAMES[message.type], key=message.key)
        if message.record is not None:
            wire.record.CopyFrom(_record_to_wire(message.record))
        head: bytes = wire.SerializeToString()
    else:
        head = _TYPES_ALONE[message.type]
    closer = [peer.encoded or _closer_peer(peer) for peer in message.closer_peers]
    return b"".join((head, *closer, *map(_provider_peer, message.provider_peers)))


def decode(data: bytes) -> Message:
    """Parse one message. Raises `ProtocolViolation`."""
    try:
        wire = kad_pb2.Message.FromString(data)
    except DecodeError as error:
        raise ProtocolViolation(f"not a kad message: {error}") from None
    kind = _TYPES.get(wire.type)
    if kind is None:
        raise ProtocolViolation(f"unknown message type {wire.type}")
    if len(wire.key) > limits.RECORD_KEY_BYTES_MAX:
        raise ProtocolViolation(f"key of {len(wire.key)} bytes")
    return Message(
        type=kind,
        key=wire.key,
        record=_record_from_wire(wire.record) if wire.HasField("record") else None,
        closer_peers=_peers_from_wire(wire.closer_peers, limits.CLOSER_PEERS_MAX),
        provider_peers=_peers_from_wire(wire.provider_peers, limits.PROVIDER_PEERS_MAX),
    )


def peer_bytes(peer: PeerInfo) -> int:
    """Return what `peer` adds to a message as a closer or provider peer, in bytes."""
    return len(_closer_peer(peer))


def record_bytes(record: Record) -> int:
    """Return about what `record` adds to a message, in bytes, and never less."""
    texts = len(record.key) + len(record.value) + len(record.time_received) + len(record.publisher)
    return texts + _RECORD_FRAMING_BYTES_MAX


def fit_peers(peers: Iterable[PeerInfo], budget_bytes: int) -> tuple[PeerInfo, ...]:
    """Return the longest prefix of `peers`, addresses trimmed to the per-peer limit, within the budget."""
    out = []
    for peer in peers:
        trimmed = trim_addrs(peer)
        budget_bytes -= peer_bytes(trimmed)
        if budget_bytes < 0:
            break
        out.append(trimmed)
    return tuple(out)


def fit_peers_evenly(peers: Iterable[PeerInfo], budget_bytes: int) -> tuple[PeerInfo, ...]:
    """As `fit_peers`, but where not all fit, none gets more than an even share of the budget.

    So long address lists of a few peers cannot keep the others out of a reply.
    """
    trimmed = [peer if peer.encoded else trim_addrs(peer) for peer in peers]
    if not trimmed or sum([len(peer.encoded or _closer_peer(peer)) for peer in trimmed]) <= budget_bytes:
        return tuple(trimmed)
    share_bytes = budget_bytes // len(trimmed)
    shortened = [_shorten(peer, share_bytes) for peer in trimmed]
    return fit_peers([peer for peer in shortened if peer.addrs], budget_bytes)


def _shorten(peer: PeerInfo, budget_bytes: int) -> PeerInfo:
    """Return `peer` with those of its first addresses that fit the budget."""
    if peer_bytes(peer) <= budget_bytes:
        return peer
    budget_bytes -= peer_bytes(PeerInfo(peer.id)) + _FIELD_BYTES_MAX
    kept = []
    for addr in peer.addrs:
        if len(addr) + _FIELD_BYTES_MAX <= budget_bytes:
            budget_bytes -= len(addr) + _FIELD_BYTES_MAX
            kept.append(addr)
    return PeerInfo(peer.id, tuple(kept))


def trim_addrs(peer: PeerInfo) -> PeerInfo:
    """Return `peer` with as many of its first addresses as the per-peer limits allow."""
    if peer.encoded:  # only what was trimmed is encoded
        return peer
    kept, used_bytes = [], 0
    for addr in peer.addrs[: limits.PEER_ADDRS_MAX]:
        if not 0 < len(addr) <= limits.ADDR_BYTES_MAX:
            continue
        used_bytes += len(addr)
        if used_bytes > limits.PEER_ADDRS_BYTES_MAX:
            break
        kept.append(addr)
    return peer if len(kept) == len(peer.addrs) else PeerInfo(peer.id, tuple(kept))


# Closer and provider peers are appended as ready-made fields 8 and 9: protobuf messages may be
# concatenated, and a server answers FIND_NODE with the same few peers thousands of times a second.


def _closer_peer(peer: PeerInfo) -> bytes:
    encoded = peer.encoded
    if encoded is None:
        encoded = kad_pb2.Message(closer_peers=[_peer_to_wire(peer)]).SerializeToString()
        object.__setattr__(peer, "encoded", encoded)
    return encoded


def _provider_peer(peer: PeerInfo) -> bytes:
    return _PROVIDER_TAG + _closer_peer(peer)[len(_CLOSER_TAG) :]


def _peer_to_wire(peer: PeerInfo) -> kad_pb2.Message.Peer:
    connection = kad_pb2.Message.CAN_CONNECT if peer.addrs else kad_pb2.Message.NOT_CONNECTED
    return kad_pb2.Message.Peer(id=bytes(peer.id), addrs=peer.addrs, connection=connection)


def _peers_from_wire(wire: Iterable[kad_pb2.Message.Peer], count_max: int) -> tuple[PeerInfo, ...]:
    # Entries that make no sense count too: a message of 4 MiB may hold two million of them.
    out: list[PeerInfo] = []
    for entry in islice(wire, count_max):
        try:
            peer = PeerId(entry.id)
        except InvalidArgument:
            continue
        out.append(
            trim_addrs(PeerInfo(peer, _without_suffix(peer, islice(entry.addrs, limits.PEER_ADDRS_MAX))))
        )
    return tuple(out)


def _without_suffix(peer: PeerId, found: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return addresses without the `/p2p` of their own peer, which some implementations send along."""
    suffix = addrs.peer_suffix(peer)
    return tuple(addr.removesuffix(suffix) if addr.endswith(peer) else addr for addr in found)


def _record_to_wire(record: Record) -> kad_pb2.Record:
    return kad_pb2.Record(
        key=record.key,
        value=record.value,
        time_received=record.time_received,
        publisher=record.publisher,
        ttl=min(record.ttl_s, _TTL_S_MAX),
        writer_unix_ms=record.writer_unix_ms,
        tombstone=record.tombstone,
    )


def _record_from_wire(wire: kad_pb2.Record) -> Record:
    if len(wire.key) > limits.RECORD_KEY_BYTES_MAX:
        raise ProtocolViolation(f"record key of {len(wire.key)} bytes")
    if len(wire.publisher) > limits.RECORD_KEY_BYTES_MAX or len(wire.time_received) > 64:
        raise ProtocolViolation("record fields are over-long")
    return Record(
        key=wire.key,
        value=wire.value,
        time_received=wire.time_received,
        publisher=wire.publisher,
        ttl_s=wire.ttl,
        writer_unix_ms=min(wire.writer_unix_ms, _WRITER_UNIX_MS_MAX),
        tombstone=wire.tombstone,
    )
