"""The blocking client: plain sockets, no thread and no event loop of its own.

Thread-safe, and usable after a fork: every call takes an idle connection of this process or opens
one, so calls of several threads run side by side and a child never touches its parent's sockets.
"""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from math import inf
from typing import Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar, overload

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
from primedht.client.checkpoints import Checkpoints
from primedht.client.locate import locate
from primedht.client.models import Models
from primedht.control_addr import ControlAddr, UnixAddr
from primedht.errors import (
    DaemonUnavailable,
    OperationTimeout,
    ProtocolViolation,
    ValueNotFound,
    ValueTooLarge,
)
from primedht.events import OperationEnded
from primedht.limits import (
    CONTROL_RESPONSE_BYTES_MAX,
    CONTROL_STEP_S,
    CONTROL_TIMEOUT_S_MAX,
    VALUE_BYTES_MAX,
)
from primedht.results import FoundValue, KeptBlocks, PutResult
from primedht.wire.frames import FrameReader

P = ParamSpec("P")
T = TypeVar("T")
_CONNECT_TIMEOUT_S = 5.0
_RECEIVE_BYTES = 64 << 10
_IDLE_CONNECTIONS_MAX = 64  # as many calls side by side need no new connection each time


def _one(request: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    @documented_as(request, returns="{}")
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._one(request(*args, **kwargs))

    return method


def _all(request: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], list[T]]:
    @documented_as(request, returns="list[{}]")
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return list(self._each(request(*args, **kwargs)))

    return method


def _each(request: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], Iterator[T]]:
    @documented_as(request, returns="Iterator[{}]")
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._each(request(*args, **kwargs))

    return method


class Client:
    """Talks to the daemon of this machine. Keys as `str` are UTF-8; durations are seconds or timedelta.

    control: the socket's multiaddr, such as `/unix/run/primedht.sock`. data_dir: the daemon's data
    directory. With neither: `$PRIMEDHT_CONTROL`, then `$PRIMEDHT_NODE_DATA_DIR`, then the default.

    Every method raises the daemon's error by its code, `DaemonUnavailable` if no daemon answers and
    `OperationTimeout` if it does not answer in time.
    """

    def __init__(self, control: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._addr = locate(control, data_dir)
        self._pool = _Pool()

    @property
    def models(self) -> Models:
        """The models of the daemon."""
        return Models(self)

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of training runs."""
        return Checkpoints(self)

    @property
    def control(self) -> str:
        """The multiaddr of the control socket in use."""
        return str(self._addr)

    def put(
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
        """Store a value under `key`: bytes, or what a path object names or a binary file gives.

        Files are sent in pieces and never held in memory. once: do not keep the value alive by
        republishing. compress: "none", "auto" or "zstd", of what becomes blocks; None is the daemon's
        configuration. timeout: for storing it, once its bytes are with the daemon. progress: told how far
        it is. Raises `InvalidArgument` for a path that cannot be read.
        """
        if isinstance(value, bytes) and len(value) <= VALUE_BYTES_MAX and progress is None:
            return self._one(
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
            return self._upload(upload, source, progress)

    @overload
    def get(
        self, key: bytes | str, *, quorum: int = 1, max_bytes: int | None = None, timeout: Duration = 60
    ) -> bytes | None: ...

    @overload
    def get(
        self,
        key: bytes | str,
        *,
        to: Target,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        progress: OnProgress | None = None,
    ) -> int | None: ...

    def get(
        self,
        key: bytes | str,
        *,
        to: Target | None = None,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        progress: OnProgress | None = None,
    ) -> bytes | int | None:
        """Return the value of `key`, or None if nobody has one.

        to: write it there instead, and return its size. A path is written beside its place, synced and
        renamed: it never holds a part of the value, and stays as it was if there is none. A binary file
        is written from where it stands. max_bytes: of the value, beyond which `ValueTooLarge` is raised;
        None is the daemon's default, 1 GiB. timeout: for finding the value. progress: told how far it is.
        Raises `InvalidArgument` or `DiskFull` for a path that cannot be written.
        """
        try:
            if to is None:
                return self.get_record(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout).payload
            found = self.get_to(
                key, to, quorum=quorum, max_bytes=max_bytes, timeout=timeout, progress=progress
            )
            return found[1]
        except ValueNotFound:
            return None

    def get_to(
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
        return self._download(call, to, progress)

    def get_record(
        self,
        key: bytes | str,
        *,
        quorum: int = 1,
        max_bytes: int | None = None,
        timeout: Duration = 60,
        want_trace: bool = False,
    ) -> FoundValue:
        """Return the value of `key` and what is known about it. Raises `ValueNotFound`.

        max_bytes, timeout: as for `get`.
        """
        if max_bytes is None:
            try:
                return self._one(_ops.get_record(key, quorum=quorum, timeout=timeout, want_trace=want_trace))
            except ValueTooLarge:  # for one answer
                pass
        data = io.BytesIO()
        call = download(key, quorum=quorum, max_bytes=max_bytes, timeout=timeout, want_trace=want_trace)
        found, _ = self._download(call, data, None)
        return replace(found, value=data.getvalue(), payload=data.getvalue())

    def events(
        self, operations: Iterable[str] = (), *, want_trace: bool = False
    ) -> Generator[OperationEnded, None, None]:
        """Subscribe, and return what gives each operation of the daemon as it ends, until it is closed.

        operations: of these only, such as `("put", "get")`; see `primedht.events`. want_trace: with how
        their lookups went. Raises `SubscriberTooSlow` while iterating if too many events wait, and
        `DaemonUnavailable` when the daemon stops.
        """
        items = self._each(_ops.events(operations, want_trace=want_trace))
        next(items)  # it is subscribed

        def events() -> Generator[OperationEnded, None, None]:
            with closing(items):
                yield from (event for event in items if event is not None)

        return events()

    def add(
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
        """Add a file or a directory (a path object), bytes, or a binary file: cut into blocks, and pinned.

        profile: how it is cut, see `primedht.blocks.profiles`. name, ttl: of the pin; None is for good.
        pin: False leaves it to the next collection. announce: tell the DHT that it is here. in_place: the
        files are not copied but read where they are, as long as they stay as they are. hidden: take names
        that begin with a dot too. follow_links: symbolic links to files of the same directory, or of the same
        Hugging Face cache, are those files. on_added: told each path, and what it became.
        Raises `InvalidArgument` for what cannot be read, `StoreFull`, `DiskFull`; nothing stays then.
        """
        steps = _blocks.adding(
            source, profile=profile, name=name, ttl=ttl, pin=pin, announce=announce, in_place=in_place,
            hidden=hidden, follow_links=follow_links, descriptors=isinstance(self._addr, UnixAddr),
            on_added=on_added,
        )  # fmt: skip
        return self._converse(steps)

    def fetch(
        self, cid: AnyCid, to: str | os.PathLike[str], *, path: str = "", timeout: Duration = 3600
    ) -> int:
        """Write a file or a directory to a path, what is missing fetched first; returns the files' bytes.

        path: below a directory. It appears whole or not at all. Raises `BlockNotFound`, `InvalidDag`,
        `DiskFull`, and `InvalidArgument` for a path that cannot be written.
        """
        output = Extraction(to)
        try:
            for item in self._each(_blocks.export(cid, path, timeout=timeout)):
                if isinstance(item, ContentEntry):
                    output.entry(item)
                else:
                    output.write(item)
            output.commit()
        finally:
            output.close()
        return output.content_bytes

    def wait_kept(
        self, root: AnyCid, *, timeout: Duration = 3600, progress: OnProgress | None = None
    ) -> KeptBlocks:
        """Return who keeps what this node published, such as a model by the CID of its manifest.

        Ends once all who were asked have it or refuse, or after `timeout`; the daemon goes on by itself. If
        nobody is being asked any more, the closest peers are asked anew. Raises `BlockNotFound` for what
        this node did not publish.
        """
        kept: KeptBlocks | None = None
        for item in self._each(wait_kept(root, timeout=timeout)):
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

    def close(self) -> None:
        """Close the idle connections; the client can still be used afterwards."""
        self._pool.close()

    def __reduce__(self) -> tuple[type[Client], tuple[str]]:
        """Pickle the address only: a spawned process opens connections of its own."""
        return type(self), (self.control,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _one(self, call: Call[T]) -> T:
        items = list(self._each(call))
        if not items:
            raise DaemonUnavailable("the daemon sent no result; is it of another version?")
        return items[-1]

    def _each(self, call: Call[T]) -> Generator[T, None, None]:
        connection, frame = self._begin(call)
        try:
            while True:
                yield from call.on_frame(frame)
                if call.finished:
                    break
                frame = connection.receive(call.timeout_s)
        finally:
            # Unread responses would answer the next call.
            self._settle(connection, clean=call.finished)

    def _upload(self, upload: Upload, source: Input, progress: OnProgress | None) -> PutResult:
        connection, frame = self._begin(upload.begin)
        try:
            report(upload.on_begun(frame), progress)
            while data := source.read():
                connection.send(upload.chunk(data), upload.timeout_s)
                while upload.must_wait:
                    report(upload.on_frame(connection.receive(upload.timeout_s)), progress)
            connection.send(upload.commit, upload.timeout_s)
            while upload.result is None:
                report(upload.on_frame(connection.receive(upload.timeout_s)), progress)
            return upload.result
        finally:
            self._settle(connection, clean=upload.clean)

    def _download(
        self, call: Call[FoundValue | Progress | bytes], to: Target, progress: OnProgress | None
    ) -> tuple[FoundValue, int]:
        found, size = None, 0
        output = open_output(to)
        try:
            with closing(self._each(call)) as items:
                for item in items:
                    if isinstance(item, bytes):
                        output.write(item)
                        size += len(item)
                    elif isinstance(item, Progress):
                        report(item, progress)
                    else:
                        found = item
            if found is None:
                raise DaemonUnavailable("the daemon sent no value; is it of another version?")
            output.commit()
        finally:
            output.close()
        return found, size

    def _converse(self, steps: _blocks.Adding) -> Content:
        connection = _Connection(self._addr)
        finished = False
        try:
            step = next(steps)
            while True:
                connection.send(step.request, CONTROL_STEP_S, step.descriptor)
                response = parse_response(connection.receive(CONTROL_STEP_S))
                while response.prime.more:
                    response = parse_response(connection.receive(CONTROL_STEP_S))
                step = steps.send(response.prime)
        except StopIteration as end:
            finished = True
            content: Content = end.value
            return content
        finally:
            steps.close()
            self._settle(connection, clean=finished)

    def _begin(self, call: Call[Any]) -> tuple[_Connection, bytes]:
        """Send the request and return its first response.

        A connection of the pool may belong to a daemon that is gone: it is tried once, then a new
        one. Every request may be sent twice, for all operations are idempotent.
        """
        idle = self._pool.take()
        if idle is not None:
            with suppress(DaemonUnavailable):
                return idle, idle.exchange(call)
        fresh = _Connection(self._addr)
        return fresh, fresh.exchange(call)

    def _settle(self, connection: _Connection, *, clean: bool) -> None:
        if clean and not connection.broken:
            self._pool.give_back(connection)
        else:
            connection.close()


class _Connection:
    """One socket to the daemon. Used by one call at a time."""

    def __init__(self, addr: ControlAddr) -> None:
        self._reader = FrameReader(CONTROL_RESPONSE_BYTES_MAX)
        self._addr = addr
        self.broken = False
        self._socket = _open_socket(addr)

    def exchange(self, call: Call[Any]) -> bytes:
        """Send a request and return its first response; closes the connection if that fails."""
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.send(call.request, call.timeout_s)
            frame = self.receive(call.timeout_s)
            on_failure.pop_all()
        return frame

    def send(self, data: bytes, timeout_s: float, descriptor: int | None = None) -> None:
        try:
            self._socket.settimeout(min(timeout_s, CONTROL_TIMEOUT_S_MAX))
            if descriptor is not None:
                data = data[socket.send_fds(self._socket, [data], [descriptor]) :]
            self._socket.sendall(data)
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon at {self._addr} takes no requests") from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have refused the request and closed before it had read all: its answer tells
        except OSError as error:
            self.broken = True
            raise DaemonUnavailable(f"the daemon at {self._addr} went away: {error.strerror}") from None

    def receive(self, timeout_s: float) -> bytes:
        """Return the next frame."""
        deadline = time.monotonic() + timeout_s
        try:
            while (frame := self._reader.next_frame()) is None:
                left_s = deadline - time.monotonic()
                self._socket.settimeout(None if left_s == inf else max(0.001, left_s))
                data = self._socket.recv(_RECEIVE_BYTES)
                if not data:
                    self.broken = True
                    raise DaemonUnavailable(f"the daemon at {self._addr} went away before it answered")
                self._reader.feed(data)
        except TimeoutError:
            self.broken = True
            raise OperationTimeout(f"the daemon did not answer within {timeout_s:g} s") from None
        except OSError as error:
            self.broken = True
            raise DaemonUnavailable(f"the daemon at {self._addr} went away: {error.strerror}") from None
        except ProtocolViolation:
            self.broken = True
            raise DaemonUnavailable(f"what answers at {self._addr} is no PrimeDHT daemon") from None
        return frame

    def close(self) -> None:
        self._socket.close()


class _Pool:
    """Idle connections of this process."""

    _process_id: int
    _lock: threading.Lock
    _idle: list[_Connection]

    def __init__(self) -> None:
        self._renew()

    def take(self) -> _Connection | None:
        self._check_process()
        with self._lock:
            return self._idle.pop() if self._idle else None

    def give_back(self, connection: _Connection) -> None:
        self._check_process()
        with self._lock:
            if len(self._idle) < _IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        self._check_process()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _check_process(self) -> None:
        # After a fork the parent's sockets are its own, and its lock may be held by a lost thread.
        if self._process_id != os.getpid():
            self._renew()

    def _renew(self) -> None:
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._idle = []


def _open_socket(addr: ControlAddr) -> socket.socket:
    family = socket.AF_UNIX if isinstance(addr, UnixAddr) else _family(addr.host)
    target = addr.path if isinstance(addr, UnixAddr) else (addr.host, addr.port)
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(_CONNECT_TIMEOUT_S)
        opened.connect(target)
    except OSError as error:
        opened.close()
        reason = error.strerror or str(error)
        if isinstance(error, PermissionError):
            raise DaemonUnavailable(
                f"{addr}: {reason}; ask the daemon's user to widen control.mode or control.group"
            ) from None
        raise DaemonUnavailable(
            f"no daemon answers at {addr} ({reason}); start one with `primedht run`, or give --control"
        ) from None
    return opened


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
