"""The requests of go-libp2p-daemon's control protocol, answered as that daemon answers them.

Source: go-libp2p-daemon, conn.go and dht.go; where its specs differ from its source, its source.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import structlog
import trio

from primedht import limits
from primedht.control import encode
from primedht.control.session import Session
from primedht.errors import (
    InvalidArgument,
    OperationTimeout,
    PeerNotFound,
    PrimeDhtError,
    RemoteError,
    Unsupported,
    ValueNotFound,
)
from primedht.ids import PeerId
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.pb import p2pd_pb2 as pb
from primedht.records.keys import pk_key

if TYPE_CHECKING:
    from primedht.node import Node

T = TypeVar("T")
log = structlog.get_logger(__name__)

_NOT_FOUND = "routing: not found"  # clients compare this text; go-libp2p core/routing, ErrNotFound


async def answer(node: Node, request: pb.Request, session: Session) -> None:
    """Answer one request of p2pd's. Raises what the operation raises."""
    if request.type == pb.Request.DHT:
        await _answer_dht(node, request.dht, session)
    elif (handler := _HANDLERS.get(request.type)) is not None:
        await session.send(await handler(node, request))
    else:
        raise Unsupported(f"{pb.Request.Type.Name(request.type)} is not served by this daemon")


async def _identify(node: Node, request: pb.Request) -> pb.Response:
    identify = pb.IdentifyResponse(id=bytes(node.peer_id), addrs=node.own_addrs())
    return pb.Response(type=pb.Response.OK, identify=identify)


async def _connect(node: Node, request: pb.Request) -> pb.Response:
    connect = request.connect
    with _deadline(connect.timeout):
        await node.connect_peer(
            PeerId(connect.peer), tuple(connect.addrs), timeout=timeout_s_of(connect.timeout)
        )
    return pb.Response(type=pb.Response.OK)


async def _disconnect(node: Node, request: pb.Request) -> pb.Response:
    await node.disconnect(PeerId(request.disconnect.peer))
    return pb.Response(type=pb.Response.OK)


async def _list_peers(node: Node, request: pb.Request) -> pb.Response:
    peers = [encode.peer_info(peer.id, peer.addrs[:1]) for peer in node.connected_peers()]
    return pb.Response(type=pb.Response.OK, peers=peers)


_HANDLERS: dict[int, Callable[[Node, pb.Request], Awaitable[pb.Response]]] = {
    pb.Request.IDENTIFY: _identify,
    pb.Request.CONNECT: _connect,
    pb.Request.DISCONNECT: _disconnect,
    pb.Request.LIST_PEERS: _list_peers,
}


# --- DHT -------------------------------------------------------------------------------------------


async def _answer_dht(node: Node, request: pb.DHTRequest, session: Session) -> None:
    stream = _DHT_STREAMS.get(request.type)
    if stream is not None:
        await stream(node, request, session)
        return
    try:
        with _deadline(request.timeout):
            dht = await _DHT_HANDLERS[request.type](node, request)
    except (ValueNotFound, PeerNotFound) as error:
        await session.send(encode.error_response(error, message=_NOT_FOUND))
        return
    await session.send(pb.Response(type=pb.Response.OK, dht=dht))


async def _find_peer(node: Node, request: pb.DHTRequest) -> pb.DHTResponse:
    peer = await node.find_peer(PeerId(request.peer), timeout=timeout_s_of(request.timeout))
    return pb.DHTResponse(type=pb.DHTResponse.VALUE, peer=encode.peer_info(peer.id, peer.addrs))


async def _get_public_key(node: Node, request: pb.DHTRequest) -> pb.DHTResponse:
    peer = PeerId(request.peer)
    key = peer.inline_public_key()
    if key is None:
        key = (await node.dht.get_value(pk_key(peer), timeout_s=timeout_s_of(request.timeout))).value
    return _value(key)


async def _get_value(node: Node, request: pb.DHTRequest) -> pb.DHTResponse:
    found = await node.dht.get_value(request.key, timeout_s=timeout_s_of(request.timeout))
    return _value(found.value)


async def _put_value(node: Node, request: pb.DHTRequest) -> None:
    if not request.HasField("value"):
        raise InvalidArgument("PUT_VALUE without a value")
    await node.dht.put_value(
        request.key, request.value, min_holders=1, timeout_s=timeout_s_of(request.timeout)
    )


async def _provide(node: Node, request: pb.DHTRequest) -> None:
    await node.provide(request.cid, timeout=timeout_s_of(request.timeout))


_DHT_HANDLERS: dict[int, Callable[[Node, pb.DHTRequest], Awaitable[pb.DHTResponse | None]]] = {
    pb.DHTRequest.FIND_PEER: _find_peer,
    pb.DHTRequest.GET_PUBLIC_KEY: _get_public_key,
    pb.DHTRequest.GET_VALUE: _get_value,
    pb.DHTRequest.PUT_VALUE: _put_value,
    pb.DHTRequest.PROVIDE: _provide,
}


# Streams: BEGIN in a Response, then bare VALUE messages, then a bare END. After BEGIN the protocol
# has no way to say that something failed, so what fails or takes too long just ends early.


async def _find_providers(node: Node, request: pb.DHTRequest, session: Session) -> None:
    limit = request.count if request.count > 0 else limits.CONTROL_PROVIDERS_DEFAULT
    timeout_s = timeout_s_of(request.timeout)
    found = node.find_providers(request.cid, limit=limit, timeout=timeout_s)
    await _begin(session)
    async with _until_failure(found, timeout_s) as peers:
        async for peer in peers:
            info = encode.peer_info(peer.id, peer.addrs)
            await session.send(pb.DHTResponse(type=pb.DHTResponse.VALUE, peer=info))
    await _end(session)


async def _get_closest_peers(node: Node, request: pb.DHTRequest, session: Session) -> None:
    with _deadline(request.timeout):
        peers = await node.closest_peers(request.key, timeout=timeout_s_of(request.timeout))
    await _begin(session)
    for peer in peers:
        await session.send(_value(bytes(peer.id)))
    await _end(session)


async def _find_peers_connected_to_peer(node: Node, request: pb.DHTRequest, session: Session) -> None:
    """Give the peers closest to that peer who know it: nearer to "connected" Kademlia cannot get."""
    target = PeerId(request.peer)
    timeout_s = timeout_s_of(request.timeout)
    question = Message(MessageType.FIND_NODE, bytes(target))
    knowing: list[PeerInfo] = []

    async def ask(peer: PeerInfo) -> None:
        try:
            reply = await node.host.rpc.request(peer.id, question, timeout_s=limits.REQUEST_TIMEOUT_S)
        except RemoteError as error:
            log.debug("peer_not_asked", peer=str(peer.id), code=error.code)
            return
        if any(each.id == target for each in reply.closer_peers):
            knowing.append(peer)

    with _deadline(request.timeout):
        closest = await node.closest_peers(bytes(target), timeout=timeout_s)
        async with trio.open_nursery() as nursery:
            for peer in closest:
                if peer.id not in (target, node.peer_id):
                    nursery.start_soon(ask, peer)
    await _begin(session)
    for peer in knowing:
        info = encode.peer_info(peer.id, peer.addrs)
        await session.send(pb.DHTResponse(type=pb.DHTResponse.VALUE, peer=info))
    await _end(session)


async def _search_value(node: Node, request: pb.DHTRequest, session: Session) -> None:
    timeout_s = timeout_s_of(request.timeout)
    found = node.dht.search_value(request.key, timeout_s=timeout_s)
    await _begin(session)
    async with _until_failure(found, timeout_s) as values:
        async for each in values:
            await session.send(_value(each.value))
    await _end(session)


_DHT_STREAMS: dict[int, Callable[[Node, pb.DHTRequest, Session], Awaitable[None]]] = {
    pb.DHTRequest.FIND_PEERS_CONNECTED_TO_PEER: _find_peers_connected_to_peer,
    pb.DHTRequest.FIND_PROVIDERS: _find_providers,
    pb.DHTRequest.GET_CLOSEST_PEERS: _get_closest_peers,
    pb.DHTRequest.SEARCH_VALUE: _search_value,
}


@asynccontextmanager
async def _until_failure(results: AsyncIterator[T], timeout_s: float) -> AsyncIterator[AsyncIterator[T]]:
    """Give `results` for at most `timeout_s`; that they fail just ends the block."""
    try:
        with trio.move_on_after(timeout_s):
            async with aclosing(cast("AsyncGenerator[T]", results)):
                yield results
    except PrimeDhtError as error:
        log.debug("control_stream_ended", code=error.code)


def _value(value: bytes) -> pb.DHTResponse:
    return pb.DHTResponse(type=pb.DHTResponse.VALUE, value=value)


async def _begin(session: Session) -> None:
    begin = pb.DHTResponse(type=pb.DHTResponse.BEGIN)
    await session.send(pb.Response(type=pb.Response.OK, dht=begin))


async def _end(session: Session) -> None:
    await session.send(pb.DHTResponse(type=pb.DHTResponse.END))


def timeout_s_of(requested: int) -> float:
    """Return the seconds that a request asks for; 0 or less is p2pd's default."""
    return min(requested, limits.CONTROL_TIMEOUT_S_MAX) if requested > 0 else limits.CONTROL_TIMEOUT_S


@contextmanager
def _deadline(requested: int) -> Iterator[None]:
    timeout_s = timeout_s_of(requested)
    try:
        with trio.fail_after(timeout_s):
            yield
    except trio.TooSlowError:
        raise OperationTimeout(f"not done within {timeout_s:g} s") from None
