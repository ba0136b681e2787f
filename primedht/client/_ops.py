"""What the daemon can be asked, and what its answers mean: the core of every client. Sans-IO.

Both clients take these functions' arguments and documentation for their methods'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, NamedTuple, TypeVar

from primedht import errors
from primedht.client import _decode
from primedht.client._call import Call, Duration, count, key_bytes, peer_id, prime_call, seconds
from primedht.events import OperationEnded
from primedht.findings import Finding
from primedht.ids import PeerId
from primedht.limits import CONTROL_TIMEOUT_S, DOCTOR_TIMEOUT_S, IPNS_LIFETIME_S, VALUE_BYTES_MAX
from primedht.pb import p2pd_pb2 as pb
from primedht.results import (
    DiscoveredPeer,
    FoundValue,
    NameRecord,
    ProvideResult,
    PublishedName,
    PutResult,
    Trace,
)
from primedht.wire import addrs

T = TypeVar("T")


class PeerAddrs(NamedTuple):
    """A peer and its addresses, as multiaddrs in text without `/p2p`."""

    id: PeerId
    addrs: tuple[str, ...]


class Identity(NamedTuple):
    """The daemon's own peer id and the addresses that it announces."""

    id: PeerId
    addrs: tuple[str, ...]


class DrainResult(NamedTuple):
    """Records handed over to other holders, and those that nobody else took."""

    handed_over: int
    left_over: int


@dataclass(frozen=True, slots=True)
class PutItem:
    """One value of `put_many`. ttl: seconds or timedelta; None is the node's default. compress: see `put`."""

    key: bytes | str
    value: bytes
    ttl: Duration | None = None
    compress: str | None = None


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[T]):
    """The outcome of one item of a batch: `result`, or the `error` that it failed with."""

    index: int
    key: bytes
    result: T | None
    error: errors.PrimeDhtError | None


# --- the requests ----------------------------------------------------------------------------------


def identify() -> Call[Identity]:
    """Return the daemon's peer id and addresses."""

    def on_response(response: pb.Response) -> Iterable[Identity]:
        yield Identity(PeerId(response.identify.id), _addr_texts(response.identify.addrs))

    return Call(pb.Request(type=pb.Request.IDENTIFY), on_response, timeout_s=CONTROL_TIMEOUT_S)


def disconnect(peer: PeerId | bytes | str) -> Call[None]:
    """Close all connections to a peer."""
    request = pb.Request(type=pb.Request.DISCONNECT, disconnect=pb.DisconnectRequest(peer=peer_id(peer)))
    return Call(request, lambda response: (None,), timeout_s=CONTROL_TIMEOUT_S)


def put(
    key: bytes | str,
    value: bytes,
    *,
    ttl: Duration | None = None,
    min_holders: int | None = None,
    once: bool = False,
    compress: str | None = None,
    timeout: Duration = CONTROL_TIMEOUT_S,
    want_trace: bool = False,
) -> Call[PutResult]:
    """Store `value` under `key`. once: do not keep it alive by republishing.

    compress: "none", "auto" or "zstd", of a value that becomes blocks; None is the daemon's configuration.
    """
    return prime_call(
        "put",
        _put_request(key, value, ttl=ttl, min_holders=min_holders, once=once, compress=compress),
        lambda prime: (_decode.put_result(prime.put),),
        timeout,
        want_trace=want_trace,
    )


def get_record(
    key: bytes | str,
    *,
    quorum: int = 1,
    timeout: Duration = CONTROL_TIMEOUT_S,
    want_trace: bool = False,
) -> Call[FoundValue]:
    """Return the value of `key` and what is known about it. Raises `ValueNotFound`."""
    return prime_call(
        "get",
        pb.GetRequest(key=key_bytes(key), quorum=count(quorum, "quorum")),
        lambda prime: (_decode.found_value(prime.found),),
        timeout,
        want_trace=want_trace,
    )


def delete(key: bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PutResult]:
    """Replace the value by a tombstone, and stop republishing it."""
    return prime_call(
        "delete",
        pb.DeleteRequest(key=key_bytes(key)),
        lambda prime: (_decode.put_result(prime.put),),
        timeout,
    )


def put_many(
    items: Sequence[PutItem], *, timeout: Duration = CONTROL_TIMEOUT_S
) -> Call[ItemResult[PutResult]]:
    """Store many values; yields each outcome as it is known, in any order."""
    requests = [_put_request(item.key, item.value, ttl=item.ttl, compress=item.compress) for item in items]
    return prime_call(
        "put_many",
        pb.PutManyRequest(items=requests),
        _item_results([request.key for request in requests], lambda prime: _decode.put_result(prime.put)),
        timeout,
    )


def get_many(
    keys: Sequence[bytes | str], *, quorum: int = 1, timeout: Duration = CONTROL_TIMEOUT_S
) -> Call[ItemResult[FoundValue]]:
    """Get many values; yields each outcome as it is known, in any order."""
    raw = [key_bytes(key) for key in keys]
    return prime_call(
        "get_many",
        pb.GetManyRequest(keys=raw, quorum=count(quorum, "quorum")),
        _item_results(raw, lambda prime: _decode.found_value(prime.found)),
        timeout,
    )


def provide(
    cid: bytes, *, timeout: Duration = CONTROL_TIMEOUT_S, want_trace: bool = False
) -> Call[ProvideResult]:
    """Announce that this node has the content of a binary CID, now and until `stop_providing`."""
    return prime_call(
        "provide",
        pb.ProvideRequest(cid=cid),
        lambda prime: (_decode.provide_result(prime.provided),),
        timeout,
        want_trace=want_trace,
    )


def stop_providing(cid: bytes) -> Call[bool]:
    """Announce it no longer; returns whether it was announced."""
    return prime_call(
        "stop_providing",
        pb.StopProvidingRequest(cid=cid),
        lambda prime: (prime.stopped_providing.was_provided,),
        CONTROL_TIMEOUT_S,
    )


def find_providers(cid: bytes, *, limit: int = 20, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    """Yield providers of the content as they are found."""
    return prime_call(
        "find_providers", pb.FindProvidersRequest(cid=cid, limit=count(limit, "limit")), _peers, timeout
    )


def find_peer(peer: PeerId | bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    """Return the peer's addresses. Raises `PeerNotFound`."""
    return prime_call("find_peer", pb.FindPeerRequest(peer=peer_id(peer)), _peers, timeout)


def closest_peers(key: bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    """Return the k reachable peers closest to `key`, nearest first."""
    return prime_call("closest_peers", pb.ClosestPeersRequest(key=key_bytes(key)), _peers, timeout)


def publish_name(
    value: str,
    *,
    key: str | None = None,
    lifetime: Duration = IPNS_LIFETIME_S,
    once: bool = False,
    timeout: Duration = CONTROL_TIMEOUT_S,
) -> Call[PublishedName]:
    """Point an IPNS name at a content path or CID, and keep it alive.

    key: the name of a key in the daemon's keystore; None is its own. lifetime: of the signature.
    once: do not keep it alive.
    """
    return prime_call(
        "publish_name",
        pb.PublishNameRequest(value=value, key=key, lifetime_s=seconds(lifetime), once=once),
        lambda prime: (_decode.published_name(prime.published_name),),
        timeout,
    )


def resolve_name(
    name: PeerId | bytes | str, *, quorum: int = 1, timeout: Duration = CONTROL_TIMEOUT_S
) -> Call[NameRecord]:
    """Return what an IPNS name points at, one step. Raises `ValueNotFound`."""
    id = peer_id(name.removeprefix("/ipns/") if isinstance(name, str) else name)
    return prime_call(
        "resolve_name",
        pb.ResolveNameRequest(name=id, quorum=count(quorum, "quorum")),
        lambda prime: (_decode.name_record(prime.name),),
        timeout,
    )


def trace_lookup(key: bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[Trace]:
    """Look the peers closest to `key` up, and return how that went."""
    return prime_call(
        "trace_lookup",
        pb.TraceLookupRequest(key=key_bytes(key)),
        lambda prime: (_decode.trace(prime.trace),),
        timeout,
    )


def peers() -> Call[DiscoveredPeer]:
    """Return the peers that the node knows, and how it came to know each."""
    return prime_call(
        "discovered_peers",
        pb.DiscoveredPeersRequest(),
        lambda prime: (_decode.discovered_peer(each) for each in prime.discovered.peers),
        CONTROL_TIMEOUT_S,
    )


def connect(addr: str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    """Connect to a multiaddr (with or without `/p2p`) or HOST:PORT; returns who is there."""
    return prime_call("dial", pb.DialRequest(addr=addr), _peers, timeout)


def ping(peer: PeerId | bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[float]:
    """Return the round-trip time in seconds."""
    return prime_call(
        "ping", pb.PingRequest(peer=peer_id(peer)), lambda prime: (prime.pong.round_trip_s,), timeout
    )


def status() -> Call[dict[str, Any]]:
    """Return the daemon's state as JSON-able values."""
    return prime_call(
        "status", pb.StatusRequest(), lambda prime: (json.loads(prime.status.json),), CONTROL_TIMEOUT_S
    )


def drain(*, timeout: Duration = 600.0) -> Call[DrainResult]:
    """Hand all records over to other holders, before this node leaves for good."""
    return prime_call(
        "drain",
        pb.DrainRequest(),
        lambda prime: (DrainResult(prime.drained.handed_over, prime.drained.left_over),),
        timeout,
    )


def examine(*, timeout: Duration = DOCTOR_TIMEOUT_S) -> Call[Finding]:
    """Return what the daemon finds out about itself, its machine and its network."""
    return prime_call(
        "examine",
        pb.ExamineRequest(),
        lambda prime: (_decode.finding(each) for each in prime.findings.findings),
        timeout,
    )


def events(operations: Iterable[str] = (), *, want_trace: bool = False) -> Call[OperationEnded | None]:
    """None once the subscription is there, and then each event."""

    def on_response(response: pb.Response) -> Iterable[OperationEnded | None]:
        if response.prime.HasField("subscribed"):
            yield None
        elif response.prime.HasField("event"):
            yield _decode.event(response.prime.event)

    prime = pb.PrimeRequest(subscribe=pb.SubscribeRequest(operations=list(operations)), want_trace=want_trace)
    return Call(pb.Request(type=pb.Request.PRIME, prime=prime), on_response, timeout_s=inf)


# --- parts of them ---------------------------------------------------------------------------------


def _put_request(
    key: bytes | str,
    value: bytes,
    *,
    ttl: Duration | None,
    min_holders: int | None = None,
    once: bool = False,
    compress: str | None = None,
) -> pb.PutRequest:
    if len(value) > VALUE_BYTES_MAX:
        raise errors.ValueTooLarge(f"a value of {len(value)} bytes; a record holds at most {VALUE_BYTES_MAX}")
    request = pb.PutRequest(key=key_bytes(key), value=value, once=once, compress=compress)
    if ttl is not None:
        request.ttl_s = seconds(ttl)
    if min_holders is not None:
        request.min_holders = count(min_holders, "min_holders")
    return request


def _item_results(
    keys: Sequence[bytes], result_of: Callable[[pb.PrimeResponse], T]
) -> Callable[[pb.PrimeResponse], Iterable[ItemResult[T]]]:
    def on_prime(prime: pb.PrimeResponse) -> Iterable[ItemResult[T]]:
        failed = prime.HasField("failed")
        yield ItemResult(
            prime.index,
            keys[prime.index],
            None if failed else result_of(prime),
            _decode.error(prime.failed) if failed else None,
        )

    return on_prime


def _peers(prime: pb.PrimeResponse) -> Iterable[PeerAddrs]:
    for peer in prime.peers.peers:
        yield PeerAddrs(PeerId(peer.id), _addr_texts(peer.addrs))


def _addr_texts(raw: Iterable[bytes]) -> tuple[str, ...]:
    """Return addresses in text; those of protocols that this version does not know are left out."""
    texts = []
    for addr in raw:
        try:
            texts.append(addrs.format_addr(addr))
        except errors.InvalidArgument:
            continue
    return tuple(texts)
