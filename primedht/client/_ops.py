"""The control protocol's requests and what their responses mean: the core of every client. Sans-IO.

A `Call` is one request. The owner sends `request`, feeds each frame that comes back to `on_frame`,
and hands out the items that this returns until `finished`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from primedht import errors
from primedht.client import _decode
from primedht.ids import PeerId
from primedht.limits import CONTROL_TIMEOUT_S, IPNS_LIFETIME_S, VALUE_BYTES_MAX
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
from primedht.wire.frames import encode_frame

T = TypeVar("T")
Duration = float | int | timedelta
# The daemon ends an operation by its own clock; the client gives up only if it does not.
ANSWER_MARGIN_S = 10.0


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
    """One value of `put_many`. ttl: seconds or timedelta; None is the node's default."""

    key: bytes | str
    value: bytes
    ttl: Duration | None = None


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[T]):
    """The outcome of one item of a batch: `result`, or the `error` that it failed with."""

    index: int
    key: bytes
    result: T | None
    error: errors.PrimeDhtError | None


class Call(Generic[T]):
    """One request to the daemon. `timeout_s` bounds each wait for an answer."""

    def __init__(
        self, request: pb.Request, on_response: Callable[[pb.Response], Iterable[T]], *, timeout_s: float
    ) -> None:
        self.request = encode_frame(request.SerializeToString())
        self.timeout_s = timeout_s + ANSWER_MARGIN_S
        self.finished = False
        self._on_response = on_response

    def on_frame(self, frame: bytes) -> list[T]:
        """Take one response. Raises the daemon's error, or `DaemonUnavailable` for what is no response."""
        try:
            response = pb.Response.FromString(frame)
        except DecodeError:
            response = pb.Response()
        if not response.IsInitialized():  # parsing does not look at required fields
            self.finished = True
            raise errors.DaemonUnavailable("what answers there does not speak the control protocol")
        if response.type == pb.Response.ERROR:
            self.finished = True
            raise _decode.error(response.error)
        self.finished = not response.prime.more
        return list(self._on_response(response))


def key_bytes(key: bytes | str) -> bytes:
    """Return a key's bytes; text is UTF-8."""
    return key.encode("utf-8") if isinstance(key, str) else bytes(key)


def seconds(duration: Duration) -> float:
    """Return a duration given as seconds or timedelta in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def peer_id(peer: PeerId | bytes | str) -> PeerId:
    """Return a peer id given as text or bytes. Raises `InvalidArgument`."""
    return PeerId.from_text(peer) if isinstance(peer, str) else PeerId(peer)


# --- the requests ----------------------------------------------------------------------------------


def identify() -> Call[Identity]:
    def on_response(response: pb.Response) -> Iterable[Identity]:
        yield Identity(PeerId(response.identify.id), _addr_texts(response.identify.addrs))

    return Call(pb.Request(type=pb.Request.IDENTIFY), on_response, timeout_s=CONTROL_TIMEOUT_S)


def disconnect(peer: PeerId | bytes | str) -> Call[None]:
    request = pb.Request(type=pb.Request.DISCONNECT, disconnect=pb.DisconnectRequest(peer=peer_id(peer)))
    return Call(request, lambda response: (None,), timeout_s=CONTROL_TIMEOUT_S)


def put(
    key: bytes | str,
    value: bytes,
    *,
    ttl: Duration | None = None,
    min_holders: int | None = None,
    once: bool = False,
    timeout: Duration = CONTROL_TIMEOUT_S,
    want_trace: bool = False,
) -> Call[PutResult]:
    return _prime(
        "put",
        _put_request(key, value, ttl=ttl, min_holders=min_holders, once=once),
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
    return _prime(
        "get",
        pb.GetRequest(key=key_bytes(key), quorum=_count(quorum, "quorum")),
        lambda prime: (_decode.found_value(prime.found),),
        timeout,
        want_trace=want_trace,
    )


def delete(key: bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PutResult]:
    return _prime(
        "delete",
        pb.DeleteRequest(key=key_bytes(key)),
        lambda prime: (_decode.put_result(prime.put),),
        timeout,
    )


def put_many(
    items: Sequence[PutItem], *, timeout: Duration = CONTROL_TIMEOUT_S
) -> Call[ItemResult[PutResult]]:
    """Each item is answered as it ends, in any order."""
    requests = [_put_request(item.key, item.value, ttl=item.ttl) for item in items]
    return _prime(
        "put_many",
        pb.PutManyRequest(items=requests),
        _item_results([request.key for request in requests], lambda prime: _decode.put_result(prime.put)),
        timeout,
    )


def get_many(
    keys: Sequence[bytes | str], *, quorum: int = 1, timeout: Duration = CONTROL_TIMEOUT_S
) -> Call[ItemResult[FoundValue]]:
    """Each key is answered as it is found or not, in any order."""
    raw = [key_bytes(key) for key in keys]
    return _prime(
        "get_many",
        pb.GetManyRequest(keys=raw, quorum=_count(quorum, "quorum")),
        _item_results(raw, lambda prime: _decode.found_value(prime.found)),
        timeout,
    )


def provide(
    cid: bytes, *, timeout: Duration = CONTROL_TIMEOUT_S, want_trace: bool = False
) -> Call[ProvideResult]:
    return _prime(
        "provide",
        pb.ProvideRequest(cid=cid),
        lambda prime: (_decode.provide_result(prime.provided),),
        timeout,
        want_trace=want_trace,
    )


def stop_providing(cid: bytes) -> Call[bool]:
    return _prime(
        "stop_providing",
        pb.StopProvidingRequest(cid=cid),
        lambda prime: (prime.stopped_providing.was_provided,),
        CONTROL_TIMEOUT_S,
    )


def find_providers(cid: bytes, *, limit: int = 20, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    return _prime(
        "find_providers", pb.FindProvidersRequest(cid=cid, limit=_count(limit, "limit")), _peers, timeout
    )


def find_peer(peer: PeerId | bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    return _prime("find_peer", pb.FindPeerRequest(peer=peer_id(peer)), _peers, timeout)


def closest_peers(key: bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    return _prime("closest_peers", pb.ClosestPeersRequest(key=key_bytes(key)), _peers, timeout)


def publish_name(
    value: str,
    *,
    key: str | None = None,
    lifetime: Duration = IPNS_LIFETIME_S,
    once: bool = False,
    timeout: Duration = CONTROL_TIMEOUT_S,
) -> Call[PublishedName]:
    return _prime(
        "publish_name",
        pb.PublishNameRequest(value=value, key=key, lifetime_s=seconds(lifetime), once=once),
        lambda prime: (_decode.published_name(prime.published_name),),
        timeout,
    )


def resolve_name(
    name: PeerId | bytes | str, *, quorum: int = 1, timeout: Duration = CONTROL_TIMEOUT_S
) -> Call[NameRecord]:
    id = peer_id(name.removeprefix("/ipns/") if isinstance(name, str) else name)
    return _prime(
        "resolve_name",
        pb.ResolveNameRequest(name=id, quorum=_count(quorum, "quorum")),
        lambda prime: (_decode.name_record(prime.name),),
        timeout,
    )


def trace_lookup(key: bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[Trace]:
    return _prime(
        "trace_lookup",
        pb.TraceLookupRequest(key=key_bytes(key)),
        lambda prime: (_decode.trace(prime.trace),),
        timeout,
    )


def discovered_peers() -> Call[DiscoveredPeer]:
    return _prime(
        "discovered_peers",
        pb.DiscoveredPeersRequest(),
        lambda prime: (_decode.discovered_peer(each) for each in prime.discovered.peers),
        CONTROL_TIMEOUT_S,
    )


def connect(addr: str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[PeerAddrs]:
    """`addr`: a multiaddr with or without `/p2p`, or HOST:PORT."""
    return _prime("dial", pb.DialRequest(addr=addr), _peers, timeout)


def ping(peer: PeerId | bytes | str, *, timeout: Duration = CONTROL_TIMEOUT_S) -> Call[float]:
    return _prime(
        "ping", pb.PingRequest(peer=peer_id(peer)), lambda prime: (prime.pong.round_trip_s,), timeout
    )


def status() -> Call[dict[str, Any]]:
    return _prime(
        "status", pb.StatusRequest(), lambda prime: (json.loads(prime.status.json),), CONTROL_TIMEOUT_S
    )


def drain(*, timeout: Duration = 600.0) -> Call[DrainResult]:
    return _prime(
        "drain",
        pb.DrainRequest(),
        lambda prime: (DrainResult(prime.drained.handed_over, prime.drained.left_over),),
        timeout,
    )


# --- parts of them ---------------------------------------------------------------------------------


def _prime(
    name: str,
    operation: Any,
    on_prime: Callable[[pb.PrimeResponse], Iterable[T]],
    timeout: Duration,
    *,
    want_trace: bool = False,
) -> Call[T]:
    timeout_s = seconds(timeout)
    if not timeout_s > 0:
        raise errors.InvalidArgument(f"timeout is {timeout_s} s; it must be positive")
    prime = pb.PrimeRequest(timeout_s=timeout_s, want_trace=want_trace, **{name: operation})

    def on_response(response: pb.Response) -> Iterable[T]:
        return () if response.prime.HasField("done") else on_prime(response.prime)

    return Call(pb.Request(type=pb.Request.PRIME, prime=prime), on_response, timeout_s=timeout_s)


def _put_request(
    key: bytes | str,
    value: bytes,
    *,
    ttl: Duration | None,
    min_holders: int | None = None,
    once: bool = False,
) -> pb.PutRequest:
    if len(value) > VALUE_BYTES_MAX:
        raise errors.ValueTooLarge(f"a value of {len(value)} bytes; a record holds at most {VALUE_BYTES_MAX}")
    request = pb.PutRequest(key=key_bytes(key), value=value, once=once)
    if ttl is not None:
        request.ttl_s = seconds(ttl)
    if min_holders is not None:
        request.min_holders = _count(min_holders, "min_holders")
    return request


def _count(value: int, name: str) -> int:
    if not 0 < value < 1 << 31:
        raise errors.InvalidArgument(f"{name} is {value}; it must be at least 1")
    return value


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
