"""Blocks over the control socket: adding files, reading them, pinning and collecting.

An import is a conversation in lockstep: one request, its answer, the next. A worker thread reads and
hashes; where bytes come over the socket it asks for the next ones from there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from io import FileIO
from pathlib import Path
from typing import TypeVar, cast

import trio

from primedht import limits
from primedht.blocks.adding import Adding
from primedht.blocks.balanced import Part
from primedht.blocks.block import make_block
from primedht.blocks.chunker import Limited
from primedht.blocks.pins import Pin
from primedht.blocks.profiles import profile_named
from primedht.cids import CODEC_NAMES, RAW, Cid
from primedht.control import encode
from primedht.control.operation import Operation, progress
from primedht.control.session import ClientGone
from primedht.errors import InvalidArgument, MalformedRequest, NotPermitted, PrimeDhtError, Unsupported
from primedht.pb import p2pd_pb2 as pb

T = TypeVar("T")

STEPS = frozenset({"add_entry", "add_data", "add_commit"})
_KINDS = {"file": pb.FILE, "directory": pb.DIRECTORY, "symlink": pb.SYMLINK}


class _Conversation:
    """The requests of one import. Every one but the last is answered before the next is taken."""

    def __init__(self, op: Operation) -> None:
        self._op = op
        self._is_owed = True
        self.taken_bytes = 0

    async def next_step(self) -> pb.PrimeRequest:
        """Answer the last request, if that was not done, and take the next one.

        Raises `MalformedRequest` for one that does not belong to an import, and `ClientGone`.
        """
        if self._is_owed:
            await self.answer(progress(pb.Progress.TRANSFER, self.taken_bytes, None))
        request = await self._op.session.receive()
        if request is None:
            raise ClientGone
        name = request.prime.WhichOneof("operation") if request.type == pb.Request.PRIME else None
        if name not in STEPS:
            raise MalformedRequest("another request in the middle of an import; close the connection instead")
        self._is_owed = True
        return request.prime

    async def answer(self, response: pb.PrimeResponse) -> None:
        self._is_owed = False
        await self._op.send(response)

    async def until_owed(self) -> None:
        """Take the request that an error is to answer."""
        if not self._is_owed:
            await self.next_step()


class _Streamed:
    """A file whose bytes come in AddData. `read` is called in a worker thread."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation
        self._rest = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._rest and not self._ended:
            trio.from_thread.run(self._take)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def _take(self) -> None:
        request = await self._conversation.next_step()
        if not request.HasField("add_data"):
            raise MalformedRequest("a file's bytes end with an AddData that is its last")
        data = request.add_data.data
        if len(data) > limits.CONTROL_CHUNK_BYTES_MAX:
            raise MalformedRequest(
                f"a chunk of {len(data)} bytes; at most {limits.CONTROL_CHUNK_BYTES_MAX} go"
            )
        self._conversation.taken_bytes += len(data)
        self._rest, self._ended = data, request.add_data.last


async def add(op: Operation) -> None:
    """Answer AddBegin and the steps that follow it. What an import that ends badly has stored is removed."""
    begin = op.request.add_begin
    conversation = _Conversation(op)
    try:
        async with op.node.blocks.adding(profile_named(begin.profile)) as adding:
            while not (request := await conversation.next_step()).HasField("add_commit"):
                entry = request.add_entry
                if not request.HasField("add_entry"):
                    raise MalformedRequest("bytes without an entry that they belong to")
                part = await _add_entry(op, conversation, adding, entry)
                await conversation.answer(_added(part, entry.path))
            part = await op.report_while(adding.finish, pb.Progress.STORE, conversation.taken_bytes)
            if not begin.no_pin:
                await op.node.blocks.keep(
                    part,
                    name=begin.pin_name,
                    ttl_s=begin.ttl_s if begin.HasField("ttl_s") else None,
                    announce=not begin.no_announce,
                )
    except MalformedRequest:
        raise
    except PrimeDhtError:
        await conversation.until_owed()
        raise
    await conversation.answer(_added(part, b""))


async def _add_entry(
    op: Operation, conversation: _Conversation, adding: Adding, entry: pb.AddEntry
) -> Part | None:
    path = _text(entry.path)
    if entry.kind == pb.DIRECTORY:
        adding.directory(path)
        return None
    if entry.kind == pb.SYMLINK:
        await adding.symlink(path, _text(entry.target))
        return None
    if not entry.descriptor:
        if entry.HasField("in_place"):
            raise InvalidArgument("a file can stay in place only where it comes as a descriptor")
        # The thread waits for the client: one of the shared ones would be lost to all others meanwhile.
        return await adding.file(path, _Streamed(conversation), limiter=trio.CapacityLimiter(1))
    descriptor = op.session.take_descriptor()
    if descriptor is None:
        raise MalformedRequest("an entry without the descriptor that it announces")
    with _opened(descriptor, path) as file:
        size_bytes = os.fstat(descriptor).st_size
        work: Callable[[], Awaitable[Part]]
        if entry.HasField("in_place"):
            local = Path(os.fsdecode(entry.in_place))
            work = lambda: adding.file_in_place(path, file, local)  # noqa: E731
        else:
            limited = Limited(file, size_bytes)
            work = lambda: adding.file(path, limited)  # noqa: E731
        part = await op.report_while(work, pb.Progress.TRANSFER, conversation.taken_bytes)
    conversation.taken_bytes += part.content_bytes
    return part


def _opened(descriptor: int, path: str) -> FileIO:
    """Return a regular file that came as a descriptor, at its beginning. Raises `InvalidArgument`."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidArgument(f"{path or 'what came as a file'} is no regular file")
        os.lseek(descriptor, 0, os.SEEK_SET)
        return FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


async def read(op: Operation) -> None:
    """Answer ReadContentRequest."""
    wanted = op.request.read_content
    cid = await _resolve(op, wanted.cid, wanted.path)
    end = wanted.offset + wanted.length if wanted.HasField("length") else None
    await _send_file(op, cid, start=wanted.offset, end=end)
    await op.done()


async def export(op: Operation) -> None:
    """Answer ExportRequest. All of it is here before the first entry is sent."""
    wanted = op.request.export_content
    blocks = op.node.blocks
    cid = await _resolve(op, wanted.cid, wanted.path)
    await op.report_while(lambda: blocks.fetch(cid, timeout_s=op.timeout_s), pb.Progress.LOOKUP)
    async with _closing(blocks.walk_tree(cid)) as found:
        async for path, item in found:
            entry = pb.ContentEntry(path=path.encode(), kind=_KINDS[item.kind])
            if item.kind == "symlink":
                entry.target = item.target.encode()
            elif item.kind == "file":
                entry.size = item.size_bytes
            await op.send(pb.PrimeResponse(more=True, content_entry=entry))
            if item.kind == "file":
                await _send_file(op, item.cid)
    await op.done()


async def _send_file(op: Operation, cid: Cid, *, start: int = 0, end: int | None = None) -> None:
    sent = 0
    async with _closing(op.node.blocks.read_file(cid, start=start, end=end)) as pieces:

        async def next_piece() -> bytes | None:
            return await anext(pieces, None)

        while (piece := await op.report_while(next_piece, pb.Progress.TRANSFER, sent)) is not None:
            for at in range(0, len(piece), limits.CONTROL_CHUNK_BYTES_MAX):
                chunk = pb.ContentChunk(data=piece[at : at + limits.CONTROL_CHUNK_BYTES_MAX])
                await op.send(pb.PrimeResponse(more=True, content_chunk=chunk))
            sent += len(piece)


async def list_directory(op: Operation) -> None:
    """Answer ListDirectoryRequest, in parts if the directory is large."""
    wanted = op.request.list_directory
    cid = await _resolve(op, wanted.cid, wanted.path)
    entries = await op.node.blocks.list_directory(cid)
    for at in range(0, len(entries), limits.CONTROL_BATCH_ITEMS_MAX):
        part = [
            pb.DirectoryEntry(name=entry.name, cid=bytes(entry.cid), dag_bytes=entry.dag_bytes)
            for entry in entries[at : at + limits.CONTROL_BATCH_ITEMS_MAX]
        ]
        await op.send(pb.PrimeResponse(more=True, directory=pb.DirectoryEntries(entries=part)))
    await op.done()


async def pin(op: Operation) -> None:
    """Answer PinRequest."""
    wanted = op.request.pin

    async def work() -> Pin:
        return await op.node.blocks.pin(
            Cid.from_bytes(wanted.cid),
            name=wanted.name,
            recursive=not wanted.direct,
            ttl_s=wanted.ttl_s if wanted.HasField("ttl_s") else None,
            announce=not wanted.no_announce,
            timeout_s=op.timeout_s,
        )

    made = await op.report_while(work, pb.Progress.LOOKUP)
    await op.send(pb.PrimeResponse(pins=pb.Pins(pins=[_pin(made)])))


async def unpin(op: Operation) -> None:
    """Answer UnpinRequest."""
    wanted = op.request.unpin
    name = wanted.name if wanted.HasField("name") else None
    removed = await op.node.blocks.unpin(Cid.from_bytes(wanted.cid), name=name)
    await op.send(pb.PrimeResponse(unpinned=pb.Unpinned(pins=removed)))


async def list_pins(op: Operation) -> None:
    """Answer ListPinsRequest, a pin at a time."""
    async with _closing(op.node.blocks.pins.all()) as pins:
        async for each in pins:
            await op.send(pb.PrimeResponse(more=True, pins=pb.Pins(pins=[_pin(each)])))
    await op.done()


async def collect(op: Operation) -> None:
    """Answer CollectRequest."""
    done = await op.report_while(op.node.blocks.collect, pb.Progress.STORE)
    result = pb.Collected(
        blocks=done.blocks,
        bytes=done.bytes,
        failed=done.failed,
        kept=done.kept,
        undecided=done.undecided,
        undecided_bytes=done.undecided_bytes,
    )
    for broken in done.broken:
        result.broken.add(pin=_pin(broken.pin), cid=bytes(broken.cid), code=broken.code)
    await op.send(pb.PrimeResponse(collected=result))


async def stat_dag(op: Operation) -> None:
    """Answer StatDagRequest."""
    cid = Cid.from_bytes(op.request.stat_dag.cid)
    found = await op.report_while(lambda: op.node.blocks.stat(cid), pb.Progress.LOOKUP)
    pins = [_pin(each) for each in found.pins]
    result = pb.DagStat(blocks=found.blocks, bytes=found.bytes, missing=found.missing, pins=pins)
    await op.send(pb.PrimeResponse(dag_stat=result))


async def get_block(op: Operation) -> None:
    """Answer GetBlockRequest."""
    cid = Cid.from_bytes(op.request.get_block.cid)
    data = await op.node.blocks.get(cid)
    await op.send(pb.PrimeResponse(block=pb.Block(cid=bytes(cid), data=data)))


async def put_block(op: Operation) -> None:
    """Answer PutBlockRequest."""
    wanted = op.request.put_block
    codec = wanted.codec if wanted.HasField("codec") else RAW
    if codec not in CODEC_NAMES:
        raise Unsupported(f"codec {codec:#x}; {', '.join(CODEC_NAMES.values())} go")
    block = make_block(wanted.data, codec)
    await op.node.blocks.put_block(block)
    await op.send(pb.PrimeResponse(block=pb.Block(cid=bytes(block.cid))))


def check_permitted(name: str) -> None:
    """Refuse to let anybody of this machine take away what others keep, or sign. Raises `NotPermitted`."""
    if name in ("unpin", "collect", "wait_kept"):
        raise NotPermitted(f"{name} is refused over TCP; use the Unix socket, or set control.tcp_trusted")


async def wait_kept(op: Operation) -> None:
    """Answer WaitKeptRequest: when nobody is being asked any more, or when its time is up."""
    placing = await op.node.placing(Cid.from_bytes(op.request.wait_kept.root))
    until = trio.current_time() + op.timeout_s
    while not placing.is_done and (left_s := until - trio.current_time()) > 0:
        await placing.wait(min(left_s, limits.CONTROL_PROGRESS_S))
        if not placing.is_done:
            done, total = placing.done_bytes, placing.total_bytes
            await op.send(progress(pb.Progress.KEEP, done, total, more=True))
    await op.send(pb.PrimeResponse(kept_blocks=encode.kept_blocks(placing.result())))


async def _resolve(op: Operation, raw: bytes, path: str) -> Cid:
    root = Cid.from_bytes(raw)
    if not path.strip("/"):
        return root
    return await op.report_while(lambda: op.node.blocks.resolve(root, path), pb.Progress.LOOKUP)


def _added(part: Part | None, path: bytes) -> pb.PrimeResponse:
    content = pb.Content(cid=b"", path=path)
    if part is not None:
        content.cid = bytes(part.cid)
        content.content_bytes, content.dag_bytes = part.content_bytes, part.dag_bytes
    return pb.PrimeResponse(added=content)


def _pin(pin: Pin) -> pb.Pin:
    return pb.Pin(
        cid=bytes(pin.cid),
        name=pin.name,
        recursive=pin.recursive,
        partial=pin.partial,
        created_unix_s=pin.created_unix_s,
        expires_unix_s=pin.expires_unix_s,
    )


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument(f"a path that is not UTF-8: {raw[:100]!r}") from None


def _closing(found: AsyncIterator[T]) -> aclosing[AsyncGenerator[T, None]]:
    return aclosing(cast("AsyncGenerator[T, None]", found))
