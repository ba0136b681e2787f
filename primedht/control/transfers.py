"""Puts and gets in chunks: however large the value, a connection holds a few chunks of it."""

from __future__ import annotations

import trio

from primedht import limits
from primedht.control import encode
from primedht.control.operation import Operation, progress, timeout_s_of, within
from primedht.control.session import ClientGone
from primedht.errors import MalformedRequest, PrimeDhtError
from primedht.pb import p2pd_pb2 as pb
from primedht.transfers import ValueSink, ValueSource

STEPS = frozenset({"put_chunk", "put_commit"})


async def put(op: Operation) -> None:
    """Answer PutBegin, and then the PutChunks and the PutCommit that follow it on the connection.

    Raises what the sink refuses at once, `MalformedRequest` for any other request in between, and
    `ClientGone`, which forgets what has come.
    """
    begin = op.request.put_begin
    size = begin.size if begin.HasField("size") else None
    async with op.node.open_sink(
        begin.key,
        size=size,
        ttl=begin.ttl_s if begin.HasField("ttl_s") else None,
        min_holders=begin.min_holders if begin.HasField("min_holders") else None,
        once=begin.once,
        compress=begin.compress if begin.HasField("compress") else None,
    ) as sink:
        await op.send(progress(pb.Progress.TRANSFER, 0, size))
        await _take_steps(op, sink, size)


async def _take_steps(op: Operation, sink: ValueSink, size: int | None) -> None:
    """Answer each step. A client sends several before it is answered: after an error, each gets that."""
    taken = 0
    failure: PrimeDhtError | None = None
    while True:
        request, step = await _next_step(op)
        if step is None and failure is None:
            raise MalformedRequest(
                "another request in the middle of a put; close the connection to give it up"
            )
        if step is None:
            return
        try:
            if failure is not None:
                raise failure
            if step == "put_commit":
                await _commit(op, request, sink, taken)
            else:
                taken = await _take(op, request.put_chunk.data, sink, taken, size)
        except MalformedRequest:
            raise
        except PrimeDhtError as error:
            failure = error
            await op.session.send(encode.error_response(error, want_trace=request.want_trace))
        if step == "put_commit":
            return


async def _take(op: Operation, data: bytes, sink: ValueSink, taken: int, size: int | None) -> int:
    if len(data) > limits.CONTROL_CHUNK_BYTES_MAX:
        raise MalformedRequest(f"a chunk of {len(data)} bytes; at most {limits.CONTROL_CHUNK_BYTES_MAX} go")
    await sink.write(data)
    taken += len(data)
    await op.send(progress(pb.Progress.TRANSFER, taken, size))
    return taken


async def _commit(op: Operation, request: pb.PrimeRequest, sink: ValueSink, taken: int) -> None:
    timeout_s = timeout_s_of(request)

    async def commit() -> pb.PutResult:
        result = await within(timeout_s, sink.commit(timeout=timeout_s))
        return encode.put_result(result, want_trace=request.want_trace)

    result = await op.report_while(commit, pb.Progress.STORE, taken, taken)
    await op.send(pb.PrimeResponse(put=result))


async def _next_step(op: Operation) -> tuple[pb.PrimeRequest, str | None]:
    """Take the next request if it is a step of this put; if not, leave it to others and return None."""
    with trio.move_on_after(limits.CONTROL_PUT_SILENCE_S) as patience:
        request = await op.session.receive()
    if patience.cancelled_caught:
        raise MalformedRequest(
            f"the client sent nothing more of a value for {limits.CONTROL_PUT_SILENCE_S:g} s; put it again"
        )
    if request is None:
        raise ClientGone
    name = request.prime.WhichOneof("operation") if request.type == pb.Request.PRIME else None
    if name in STEPS:
        return request.prime, name
    op.session.put_back(request)
    return request.prime, None


async def get(op: Operation) -> None:
    """Answer GetChunkedRequest. Raises as `Node.open_source` and what that returns."""
    wanted = op.request.get_chunked

    async def find() -> ValueSource:
        source = op.node.open_source(
            wanted.key,
            quorum=max(1, wanted.quorum),
            max_bytes=wanted.max_bytes if wanted.HasField("max_bytes") else limits.GET_BYTES_MAX,
            timeout=op.timeout_s,
        )
        return await within(op.timeout_s, source)

    source = await op.report_while(find, pb.Progress.LOOKUP)
    try:
        begin = pb.ValueBegin(
            size=source.size, found=encode.found_value(source.found, want_trace=op.want_trace)
        )
        await op.send(pb.PrimeResponse(more=True, value_begin=begin))
        done = 0
        while data := await op.report_while(source.read, pb.Progress.TRANSFER, done, source.size):
            await op.send(pb.PrimeResponse(more=True, value_chunk=pb.ValueChunk(data=data)))
            done += len(data)
    finally:
        await source.aclose()
    await op.done()
