"""The asynchronous client: anyio, so that it runs on trio and on asyncio.

The same calls as `primedht.client.Client`. Connections belong to the event loop that opened them, so
use one client per loop; its tasks may call it side by side.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from typing import Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar, overload

import anyio
from anyio import to_thread
from anyio.abc import ByteStream, UNIXSocketStream

from primedht.blocks.extraction import ContentEntry, Extraction
from primedht.blocks.profiles import DEFAULT_NAME as DEFAULT_PROFILE
from primedht.client import _blocks, _ops
from primedht.client._blocks import AnyCid, Content, OnAdded
from primedht.client._call import Call, Duration, parse_response
from primedht.client._methods import documented_as
from primedht.client._transfer import (
    Input,
    OnProgress,
    Progress,
    Target,
    Upload,
    Value,
    download,
    open_input,
    open_output,
    report,
    wait_kept,
)
from primedht.client.checkpoints import AsyncCheckpoints
from primedht.client.locate import locate
from primedht.client.models import AsyncModels
from primedht.control_addr import ControlAddr, UnixAddr
from primedht.errors import (
    DaemonUnavailable,
    OperationTimeout,
    ProtocolViolation,
    ValueNotFound,
    ValueTooLarge,
)
from primedht.events import OperationEnded
from primedht.limits import CONTROL_RESPONSE_BYTES_MAX, CONTROL_STEP_S, VALUE_BYTES_MAX
from primedht.pb.p2pd_pb2 import PrimeResponse
from primedht.results import FoundValue, KeptBlocks, PutResult
from primedht.wire.frames import FrameReader

P = ParamSpec("P")
T = TypeVar("T")
_CONNECT_TIMEOUT_S = 5.0
_RECEIVE_BYTES = 64 << 10
_IDLE_CONNECTIONS_MAX = 64  # as many calls side by side need no new connection each time
_LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


def _one(request: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @documented_as(request, returns="{}")
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._one(request(*args, **kwargs))

    return method


def _all(
    request: Callable[P, Call[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, list[T]]]:
    @documented_as(request, returns="list[{}]")
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return await self._all(request(*args, **kwargs))

    return method


def _each(request: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], AsyncGenerator[T, None]]:
    @documented_as(request, returns="AsyncGenerator[{}, None]")
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        return self._each(request(*args, **kwargs))

    return method


class AsyncClient:
    """Talks to the daemon of this machine. Arguments, results and errors are those of `Client`.

    Methods that yield are asynchronous generators: end them early with `contextlib.aclosing`.
    """

    def __init__(self, control: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._addr = locate(control, data_dir)
        self._idle: list[_Connection] = []

    @property
    def models(self) -> AsyncModels:
        """The models of the daemon."""
        return AsyncModels(self)

    @property
    def checkpoints(self) -> AsyncCheckpoints:
        """The checkpoints of training runs."""
        return AsyncCheckpoints(self)

    @property
    def control(self) -> str:
        """The multiaddr of the control socket in use."""
        return str(self._addr)

    async def put(
        self,
        key: bytes | str,
        value: Value,
        *,
        ttl: Duration | None = None,
        min_holders: int | None = None,
        once: bool = False,
        compress: str | None = None,
        timeout: Duration = 60,
        want_trace: bool = False,
        progress: OnProgress | None = None,
    ) -> PutResult:
        """Store a value, as `Client.put` does; files are read in a worker thread."""
        if isinstance(value, bytes) and len(value) <= VALUE_BYTES_MAX and progress is None:
            return await self._one(
                _ops.put(
                    *(key, value), ttl=ttl, min_holders=min_holders, once=once, compress=compress,
                    timeout=timeout, want_trace=want_trace,
                )
            )  # fmt: skip
        with open_input(value) as source:
            upload = Upload(
                *(key, source.size), ttl=ttl, min_holders=min_holders, once=once, compress=compress,
                timeout=timeout, want_trace=want_trace,
            )  # fmt: skip
            return await self._upload(upload, source, progress)

    @overload
    async def get(
        self, key: bytes | str, *, quorum: int = 1, max_bytes: int | None = None, timeout: Duration = 60
    ) -> bytes | None: ...

    @overload
    async def get(
        self,
        key: bytes | str,
        *,
        to: Target,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        progress: OnProgress | None = None,
    ) -> int | None: ...

    async def get(
        self,
        key: bytes | str,
        *,
        to: Target | None = None,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        progress: OnProgress | None = None,
    ) -> bytes | int | None:
        """Return the value of `key`, as `Client.get` does; files are written in a worker thread."""
        try:
            if to is None:
                return (
                    await self.get_record(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout)
                ).payload
            found = await self.get_to(
                key, to, quorum=quorum, max_bytes=max_bytes, timeout=timeout, progress=progress
            )
            return found[1]
        except ValueNotFound:
            return None

    async def get_to(
        self,
        key: bytes | str,
        to: Target,
        *,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        progress: OnProgress | None = None,
    ) -> tuple[FoundValue, int]:
        """Write the value of `key` as `get` does; return what is known about it, without its bytes, and its
        size. Raises `ValueNotFound`."""
        call = download(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout, want_trace=False)
        return await self._download(call, to, progress)

    async def get_record(
        self,
        key: bytes | str,
        *,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        want_trace: bool = False,
    ) -> FoundValue:
        """Return the value of `key` and what is known about it, as `Client.get_record` does."""
        if max_bytes is None:
            try:
                return await self._one(
                    _ops.get_record(key, quorum=quorum, timeout=timeout, want_trace=want_trace)
                )
            except ValueTooLarge:  # for one answer
                pass
        data = io.BytesIO()
        call = download(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout, want_trace=want_trace)
        found, _ = await self._download(call, data, None)
        return replace(found, value=data.getvalue(), payload=data.getvalue())

    async def events(
        self, operations: Iterable[str] = (), *, want_trace: bool = False
    ) -> AsyncGenerator[OperationEnded, None]:
        """Subscribe, as `Client.events` does: `async for event in await client.events()`."""
        items = self._each(_ops.events(operations, want_trace=want_trace))
        await anext(items)  # it is subscribed

        async def events() -> AsyncGenerator[OperationEnded, None]:
            async with aclosing(items):
                async for event in items:
                    if event is not None:
                        yield event

        return events()

    async def add(
        self,
        source: os.PathLike[str] | bytes | BinaryIO,
        *,
        profile: str = DEFAULT_PROFILE,
        name: str = "",
        ttl: Duration | None = None,
        pin: bool = True,
        announce: bool = True,
        in_place: bool = False,
        hidden: bool = False,
        follow_links: bool = False,
        on_added: OnAdded | None = None,
    ) -> Content:
        """Add files, as `Client.add` does."""
        steps = _blocks.adding(
            source, profile=profile, name=name, ttl=ttl, pin=pin, announce=announce, in_place=in_place,
            hidden=hidden, follow_links=follow_links, descriptors=isinstance(self._addr, UnixAddr),
            on_added=on_added,
        )  # fmt: skip
        return await self._converse(steps)

    async def fetch(
        self, cid: AnyCid, to: str | os.PathLike[str], *, path: str = "", timeout: Duration = 3600
    ) -> int:
        """Write a file or a directory to a path, as `Client.fetch` does."""
        output = Extraction(to)
        try:
            async with aclosing(self._each(_blocks.export(cid, path, timeout=timeout))) as items:
                async for item in items:
                    if isinstance(item, ContentEntry):
                        await to_thread.run_sync(output.entry, item)
                    else:
                        await to_thread.run_sync(output.write, item)
            await to_thread.run_sync(output.commit)
        finally:
            output.close()
        return output.content_bytes

    async def wait_kept(
        self, root: AnyCid, *, timeout: Duration = 3600, progress: OnProgress | None = None
    ) -> KeptBlocks:
        """Return who keeps what this node published, as `Client.wait_kept` does."""
        kept: KeptBlocks | None = None
        async with aclosing(self._each(wait_kept(root, timeout=timeout))) as items:
            async for item in items:
                if isinstance(item, Progress):
                    report(item, progress)
                else:
                    kept = item
        if kept is None:
            raise DaemonUnavailable("the daemon sent no result; is it of another version?")
        return kept

    cat = _each(_blocks.cat)
    list_directory = _all(_blocks.list_directory)
    pin = _one(_blocks.pin)
    unpin = _one(_blocks.unpin)
    pins = _all(_blocks.pins)
    collect = _one(_blocks.collect)
    stat = _one(_blocks.stat)
    get_block = _one(_blocks.get_block)
    put_block = _one(_blocks.put_block)
    delete = _one(_ops.delete)
    put_many = _each(_ops.put_many)
    get_many = _each(_ops.get_many)
    provide = _one(_ops.provide)
    stop_providing = _one(_ops.stop_providing)
    find_providers = _each(_ops.find_providers)
    find_peer = _one(_ops.find_peer)
    closest_peers = _all(_ops.closest_peers)
    trace_lookup = _one(_ops.trace_lookup)
    publish_name = _one(_ops.publish_name)
    resolve_name = _one(_ops.resolve_name)
    peers = _all(_ops.peers)
    connect = _one(_ops.connect)
    disconnect = _one(_ops.disconnect)
    ping = _one(_ops.ping)
    identify = _one(_ops.identify)
    status = _one(_ops.status)
    drain = _one(_ops.drain)
    examine = _all(_ops.examine)

    async def aclose(self) -> None:
        """Close the idle connections; the client can still be used afterwards."""
        while self._idle:
            await self._idle.pop().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _one(self, call: Call[T]) -> T:
        items = await self._all(call)
        if not items:
            raise DaemonUnavailable("the daemon sent no result; is it of another version?")
        return items[-1]

    async def _all(self, call: Call[T]) -> list[T]:
        async with aclosing(self._each(call)) as items:
            return [item async for item in items]

    async def _each(self, call: Call[T]) -> AsyncGenerator[T, None]:
        connection, frame = await self._begin(call)
        try:
            while True:
                for item in call.on_frame(frame):
                    yield item
                if call.finished:
                    return
                frame = await connection.receive(call.timeout_s)
        finally:
            # Unread responses would answer the next call.
            await self._settle(connection, clean=call.finished)

    async def _upload(self, upload: Upload, source: Input, progress: OnProgress | None) -> PutResult:
        connection, frame = await self._begin(upload.begin)
        try:
            report(upload.on_begun(frame), progress)
            while data := await to_thread.run_sync(source.read):
                await connection.send(upload.chunk(data), upload.timeout_s)
                while upload.must_wait:
                    report(upload.on_frame(await connection.receive(upload.timeout_s)), progress)
            await connection.send(upload.commit, upload.timeout_s)
            while upload.result is None:
                report(upload.on_frame(await connection.receive(upload.timeout_s)), progress)
            return upload.result
        finally:
            await self._settle(connection, clean=upload.clean)

    async def _download(
        self, call: Call[FoundValue | Progress | bytes], to: Target, progress: OnProgress | None
    ) -> tuple[FoundValue, int]:
        found, size = None, 0
        output = await to_thread.run_sync(open_output, to)
        try:
            async with aclosing(self._each(call)) as items:
                async for item in items:
                    if isinstance(item, bytes):
                        await to_thread.run_sync(output.write, item)
                        size += len(item)
                    elif isinstance(item, Progress):
                        report(item, progress)
                    else:
                        found = item
            if found is None:
                raise DaemonUnavailable("the daemon sent no value; is it of another version?")
            await to_thread.run_sync(output.commit)
        finally:
            output.close()
        return found, size

    async def _converse(self, steps: _blocks.Adding) -> Content:
        connection = _Connection(await _open_stream(self._addr), self._addr)
        response = None
        finished = False
        try:
            while True:
                step = await to_thread.run_sync(_next_step, steps, response)
                if isinstance(step, Content):
                    finished = True
                    return step
                await connection.send(step.request, CONTROL_STEP_S, step.descriptor)
                answer = parse_response(await connection.receive(CONTROL_STEP_S))
                while answer.prime.more:
                    answer = parse_response(await connection.receive(CONTROL_STEP_S))
                response = answer.prime
        finally:
            steps.close()
            await self._settle(connection, clean=finished)

    async def _begin(self, call: Call[Any]) -> tuple[_Connection, bytes]:
        """Send the request and return its first response; an idle connection may be dead by now.

        Every request may be sent twice, for all operations are idempotent.
        """
        if self._idle:
            idle = self._idle.pop()
            with suppress(DaemonUnavailable):
                return idle, await idle.exchange(call)
        fresh = _Connection(await _open_stream(self._addr), self._addr)
        return fresh, await fresh.exchange(call)

    async def _settle(self, connection: _Connection, *, clean: bool) -> None:
        if clean and not connection.broken and len(self._idle) < _IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            await connection.aclose()


class _Connection:
    """One connection to the daemon. Used by one call at a time."""

    def __init__(self, stream: ByteStream, addr: ControlAddr) -> None:
        self.broken = False
        self._stream = stream
        self._addr = addr
        self._reader = FrameReader(CONTROL_RESPONSE_BYTES_MAX)

    async def exchange(self, call: Call[Any]) -> bytes:
        """Send a request and return its first response; closes the connection if that fails."""
        async with AsyncExitStack() as on_failure:
            on_failure.push_async_callback(self.aclose)
            await self.send(call.request, call.timeout_s)
            frame = await self.receive(call.timeout_s)
            on_failure.pop_all()
        return frame

    async def send(self, data: bytes, timeout_s: float, descriptor: int | None = None) -> None:
        try:
            with anyio.fail_after(timeout_s):
                if descriptor is not None:
                    assert isinstance(self._stream, UNIXSocketStream)
                    await self._stream.send_fds(data[:1], [descriptor])
                    data = data[1:]
                await self._stream.send(data)
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon at {self._addr} takes no requests") from None
        except _LOST:
            pass  # it may have refused the request and closed before it had read all: its answer tells

    async def receive(self, timeout_s: float) -> bytes:
        """Return the next frame."""
        try:
            with anyio.fail_after(timeout_s):
                while (frame := self._reader.next_frame()) is None:
                    self._reader.feed(await self._stream.receive(_RECEIVE_BYTES))
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon did not answer within {timeout_s:g} s") from None
        except _LOST:
            self.broken = True
            raise DaemonUnavailable(f"the daemon at {self._addr} went away before it answered") from None
        except ProtocolViolation:
            self.broken = True
            raise DaemonUnavailable(f"what answers at {self._addr} is no PrimeDHT daemon") from None
        return frame

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)


def _next_step(steps: _blocks.Adding, response: PrimeResponse | None) -> _blocks.Step | Content:
    """Return the next step of an import, or its result. Reads files."""
    try:
        return next(steps) if response is None else steps.send(response)
    except StopIteration as end:
        content: Content = end.value
        return content


async def _open_stream(addr: ControlAddr) -> ByteStream:
    try:
        with anyio.fail_after(_CONNECT_TIMEOUT_S):
            if isinstance(addr, UnixAddr):
                return await anyio.connect_unix(addr.path)
            return await anyio.connect_tcp(addr.host, addr.port)
    except PermissionError as error:
        raise DaemonUnavailable(
            f"{addr}: {error.strerror}; ask the daemon's user to widen control.mode or control.group"
        ) from None
    except OSError as error:  # TimeoutError is one too
        raise DaemonUnavailable(
            f"no daemon answers at {addr} ({error.strerror or error}); "
            "start one with `primedht run`, or give --control"
        ) from None
