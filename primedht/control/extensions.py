"""Our own requests: PRIME, with results that say who holds what and errors that carry codes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import trio

from primedht import limits
from primedht.control import blocks, checkpoints, encode, events, models, transfers
from primedht.control.operation import Operation, timeout_s_of, within
from primedht.control.session import ClientGone, Session
from primedht.doctor.examine import examine
from primedht.errors import InvalidArgument, MalformedRequest, NotPermitted, PrimeDhtError, ValueTooLarge
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.pb import p2pd_pb2 as pb
from primedht.peer_addr import to_multiaddr

if TYPE_CHECKING:
    from primedht.node import Node

# Over TCP any user of the machine may connect: signing with the node's key is not for them.
_SIGNED_PREFIX = b"/prime/"


async def answer(node: Node, request: pb.PrimeRequest, session: Session) -> None:
    """Answer one PRIME request. Raises what the operation raises, and `MalformedRequest`."""
    name = request.WhichOneof("operation")
    if name is None:
        raise MalformedRequest("a PRIME request without an operation that this daemon knows")
    if name in transfers.STEPS:
        raise MalformedRequest(f"{name} without a put_begin before it")
    if name in blocks.STEPS:
        raise MalformedRequest(f"{name} without an add_begin before it")
    _check_permitted(request, name, session)
    op = Operation(node, request, session, timeout_s_of(request))
    if (at_length := _OPERATIONS_AT_LENGTH.get(name)) is not None:
        await at_length(op)
    else:
        await within(op.timeout_s, _OPERATIONS[name](op))


async def _put(op: Operation) -> None:
    await op.send(pb.PrimeResponse(put=await _put_one(op, op.request.put)))


async def _put_one(op: Operation, put: pb.PutRequest) -> pb.PutResult:
    result = await op.node.put(
        put.key,
        put.value,
        ttl=put.ttl_s if put.HasField("ttl_s") else None,
        min_holders=put.min_holders if put.HasField("min_holders") else None,
        once=put.once,
        compress=put.compress if put.HasField("compress") else None,
        timeout=op.timeout_s,
    )
    return encode.put_result(result, want_trace=op.want_trace)


async def _get(op: Operation) -> None:
    get = op.request.get
    await op.send(pb.PrimeResponse(found=await _get_one(op, get.key, get.quorum)))


async def _get_one(op: Operation, key: bytes, quorum: int) -> pb.FoundValue:
    try:
        found = await op.node.get_record(
            key, quorum=max(1, quorum), max_bytes=limits.CONTROL_GET_BYTES_MAX, timeout=op.timeout_s
        )
    except ValueTooLarge as error:
        most = limits.CONTROL_GET_BYTES_MAX
        raise ValueTooLarge(f"{error}; one answer takes {most}: get it in chunks, by itself") from None
    return encode.found_value(found, want_trace=op.want_trace)


async def _delete(op: Operation) -> None:
    result = await op.node.delete(op.request.delete.key, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(put=encode.put_result(result, want_trace=op.want_trace)))


async def _put_many(op: Operation) -> None:
    items = list(op.request.put_many.items)

    async def one(index: int) -> pb.PrimeResponse:
        return pb.PrimeResponse(put=await _put_one(op, items[index]))

    await _each(op, len(items), one)


async def _get_many(op: Operation) -> None:
    keys: Sequence[bytes] = list(op.request.get_many.keys)
    quorum = op.request.get_many.quorum

    async def one(index: int) -> pb.PrimeResponse:
        return pb.PrimeResponse(found=await _get_one(op, keys[index], quorum))

    await _each(op, len(keys), one)


async def _each(op: Operation, count: int, answer_one: Callable[[int], Awaitable[pb.PrimeResponse]]) -> None:
    """Answer `count` items, a few at a time, each as soon as it is known; one failing stops no other."""
    if count > limits.CONTROL_BATCH_ITEMS_MAX:
        raise InvalidArgument(f"{count} items in one request; at most {limits.CONTROL_BATCH_ITEMS_MAX} go")
    send, receive = trio.open_memory_channel[pb.PrimeResponse](0)
    indexes = iter(range(count))

    async def work(results: trio.MemorySendChannel[pb.PrimeResponse]) -> None:
        async with results:
            for index in indexes:
                try:
                    response = await answer_one(index)
                except PrimeDhtError as error:
                    response = pb.PrimeResponse(failed=encode.error(error, want_trace=op.want_trace))
                response.index, response.more = index, True
                await results.send(response)

    gone: ClientGone | None = None
    async with trio.open_nursery() as workers, receive:
        async with send:
            for _ in range(min(count, limits.CONTROL_BATCH_AT_ONCE)):
                workers.start_soon(work, send.clone())
        try:
            async for response in receive:
                await op.send(response)
        except ClientGone as error:
            gone = error  # raised outside the nursery, which would wrap it in a group
            workers.cancel_scope.cancel()
    if gone is not None:
        raise gone
    await op.done()


async def _publish_name(op: Operation) -> None:
    wanted = op.request.publish_name
    published = await op.node.publish_name(
        wanted.value,
        key=wanted.key or None,
        lifetime=wanted.lifetime_s if wanted.HasField("lifetime_s") else limits.IPNS_LIFETIME_S,
        once=wanted.once,
        timeout=op.timeout_s,
    )
    await op.send(pb.PrimeResponse(published_name=encode.published_name(published, want_trace=op.want_trace)))


async def _resolve_name(op: Operation) -> None:
    wanted = op.request.resolve_name
    record = await op.node.resolve_name(
        PeerId(wanted.name), quorum=max(1, wanted.quorum), timeout=op.timeout_s
    )
    await op.send(pb.PrimeResponse(name=encode.name_record(record)))


async def _trace_lookup(op: Operation) -> None:
    found = await op.node.dht.closest_peers(op.request.trace_lookup.key, timeout_s=op.timeout_s)
    await op.send(pb.PrimeResponse(trace=encode.trace(found.trace)))


async def _provide(op: Operation) -> None:
    result = await op.node.provide(op.request.provide.cid, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(provided=encode.provide_result(result, want_trace=op.want_trace)))


async def _stop_providing(op: Operation) -> None:
    was_provided = await op.node.stop_providing(op.request.stop_providing.cid)
    result = pb.StopProvidingResult(was_provided=was_provided)
    await op.send(pb.PrimeResponse(stopped_providing=result))


async def _find_providers(op: Operation) -> None:
    find = op.request.find_providers
    limit = find.limit or limits.CONTROL_PROVIDERS_DEFAULT
    found = op.node.find_providers(find.cid, limit=limit, timeout=op.timeout_s)
    async with aclosing(cast("AsyncGenerator[PeerInfo]", found)):
        async for peer in found:
            await op.send(pb.PrimeResponse(more=True, peers=_peer_list(peer)))
    await op.done()


async def _find_peer(op: Operation) -> None:
    peer = await op.node.find_peer(PeerId(op.request.find_peer.peer), timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(peers=_peer_list(peer)))


async def _closest_peers(op: Operation) -> None:
    peers = await op.node.closest_peers(op.request.closest_peers.key, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(peers=_peer_list(*peers)))


def _peer_list(*peers: PeerInfo) -> pb.PeerList:
    return pb.PeerList(peers=[encode.peer_info(peer.id, peer.addrs) for peer in peers])


async def _discovered_peers(op: Operation) -> None:
    await op.send(pb.PrimeResponse(discovered=encode.discovered_peers(op.node.peers())))


async def _dial(op: Operation) -> None:
    peer = await op.node.connect(to_multiaddr(op.request.dial.addr), timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(peers=_peer_list(peer)))


async def _ping(op: Operation) -> None:
    round_trip_s = await op.node.ping(PeerId(op.request.ping.peer), timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(pong=pb.PingResult(round_trip_s=round_trip_s)))


async def _status(op: Operation) -> None:
    state = json.dumps(op.node.status(), separators=(",", ":")).encode()
    await op.send(pb.PrimeResponse(status=pb.StatusResult(json=state)))


async def _drain(op: Operation) -> None:
    handed_over, left_over = await op.node.drain(op.timeout_s)
    await op.send(pb.PrimeResponse(drained=pb.DrainResult(handed_over=handed_over, left_over=left_over)))


async def _examine(op: Operation) -> None:
    await op.send(pb.PrimeResponse(findings=encode.findings(await examine(op.node))))


# These take as long as their bytes, or their client, do; parts of them have time limits.
_OPERATIONS_AT_LENGTH: dict[str, Callable[[Operation], Awaitable[None]]] = {
    "put_begin": transfers.put,
    "get_chunked": transfers.get,
    "add_begin": blocks.add,
    "read_content": blocks.read,
    "export_content": blocks.export,
    "pin": blocks.pin,
    "list_pins": blocks.list_pins,
    "collect": blocks.collect,
    "stat_dag": blocks.stat_dag,
    "publish_checkpoint": checkpoints.publish,
    "wait_checkpoint": checkpoints.wait,
    "fetch_checkpoint": checkpoints.fetch,
    "pull_checkpoint": checkpoints.pull,
    "publish_model": models.publish,
    "fetch_model": models.fetch,
    "pull_model": models.pull,
    "verify_model": models.verify,
    "list_models": models.list_models,
    "wait_kept": blocks.wait_kept,
    "subscribe": events.subscribe,
}

_OPERATIONS: dict[str, Callable[[Operation], Awaitable[None]]] = {
    "put": _put,
    "get": _get,
    "delete": _delete,
    "put_many": _put_many,
    "get_many": _get_many,
    "provide": _provide,
    "stop_providing": _stop_providing,
    "find_providers": _find_providers,
    "find_peer": _find_peer,
    "closest_peers": _closest_peers,
    "discovered_peers": _discovered_peers,
    "dial": _dial,
    "ping": _ping,
    "status": _status,
    "drain": _drain,
    "publish_name": _publish_name,
    "resolve_name": _resolve_name,
    "trace_lookup": _trace_lookup,
    "examine": _examine,
    "list_directory": blocks.list_directory,
    "unpin": blocks.unpin,
    "get_block": blocks.get_block,
    "put_block": blocks.put_block,
    "describe_model": models.describe,
    "list_versions": models.list_versions,
    "remove_model": models.remove,
    "find_tensor": models.find_tensor,
    "set_alias": models.set_alias,
    "remove_alias": models.remove_alias,
    "list_aliases": models.list_aliases,
    "describe_checkpoint": checkpoints.describe,
    "list_checkpoints": checkpoints.list_steps,
    "pin_checkpoint": checkpoints.pin,
    "remove_checkpoint": checkpoints.remove,
}


def _check_permitted(request: pb.PrimeRequest, name: str, session: Session) -> None:
    """Refuse signing and administration over TCP, unless `control.tcp_trusted`. Raises `NotPermitted`."""
    if session.trusted:
        return
    blocks.check_permitted(name)
    models.check_permitted(name)
    checkpoints.check_permitted(name)
    keys = {
        "put": (request.put.key,),
        "delete": (request.delete.key,),
        "put_begin": (request.put_begin.key,),
        "put_many": tuple(item.key for item in request.put_many.items),
    }.get(name, ())
    administers = name in ("drain", "examine", "publish_name", "subscribe")
    if administers or any(key.startswith(_SIGNED_PREFIX) for key in keys):
        raise NotPermitted("refused over TCP; use the Unix socket, or set control.tcp_trusted")
