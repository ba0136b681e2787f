"""TCP sockets as the layers above need them: exact reads, writes that never block half-way.

A Noise frame that is cut by a cancelled sender ends the connection, and the layers above cancel all
the time (timeouts). So `TcpStream.write` hands its bytes over as a whole, without waiting: what the
kernel does not take is buffered and flushed by a task; senders of bulk wait in `drain` beforehand.

`TcpStream.read(n)` returns n bytes unless the stream ends, however small the pieces are in which
they arrive (docs/py-libp2p.md, B14: py-libp2p gives up after 100 pieces).
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Callable

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

from primedht import limits
from primedht.errors import ListenFailed
from primedht.wire.addrs import IpAddress

_READ_BYTES = 64 << 10
_UNSENT_BYTES = 128 << 10  # left in the kernel: what is urgent cannot overtake it there
_DRAIN_BYTES = 256 << 10  # senders wait above this
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_USER_TIMEOUT_MS = 60_000

Spawn = Callable[[Callable[[], object]], None]


class TcpStream(ReadWriteCloser):
    """A connected socket. At most one task reads; any number write.

    received_at: `trio.current_time()` when bytes last came in; -inf before the first.
    """

    def __init__(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        self._sock = sock
        self._nursery = nursery
        self._in = bytearray()
        self._out = bytearray()
        self._eof = False
        self._closed = False
        self._drained = trio.Event()
        self.received_at = -math.inf
        self.remote = endpoint_of(sock.getpeername())
        self.local = endpoint_of(sock.getsockname())

    async def read(self, n: int | None = None) -> bytes:
        """Return exactly `n` bytes, fewer only at the end; without `n`, whatever comes next."""
        wanted = 1 if n is None else n
        while len(self._in) < wanted and not self._eof:
            await self._fill()
        taken = bytes(self._in) if n is None else bytes(self._in[:n])
        del self._in[: len(taken)]
        return taken

    async def _fill(self) -> None:
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                try:
                    await trio.lowlevel.wait_readable(self._sock.fileno())
                except trio.ClosedResourceError:
                    data = b""
                else:
                    continue
            except OSError as error:
                if not self._closed:
                    self.abort()
                    raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error
                data = b""
            break
        if data:
            self._in += data
            self.received_at = trio.current_time()
        else:
            self._eof = True

    async def write(self, data: bytes) -> None:
        """Take all of `data` at once. Raises `ConnectionClosedError`; never waits."""
        if self._closed:
            raise ConnectionClosedError("connection is closed", transport="tcp")
        if self._out:
            self._out += data
            if len(self._out) > limits.CONNECTION_BACKLOG_BYTES_MAX:
                self.abort()
                raise ConnectionClosedError("the peer does not read", transport="tcp")
            return
        sent = self._send(data)
        if sent < len(data):
            self._out += memoryview(data)[sent:]
            self._nursery.start_soon(self._flush)

    # --- for our Noise: `noise.Wire` ------------------------------------------------------------

    def receive_nowait(self, buffer: memoryview) -> int | None:
        """Put what has arrived into `buffer`; return its size, 0 at the end, None if nothing has."""
        if self._in:
            size = min(len(self._in), len(buffer))
            buffer[:size] = self._in[:size]
            del self._in[:size]
            return size
        if self._eof:
            return 0
        try:
            size = self._sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self.abort()
            raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error
        if size:
            self.received_at = trio.current_time()
        else:
            self._eof = True
        return size

    async def wait_readable(self) -> None:
        """Wait until `receive_nowait` has something to return."""
        if not self._in and not self._eof:
            try:
                await trio.lowlevel.wait_readable(self._sock.fileno())
            except trio.ClosedResourceError:
                return  # `abort` has set `_eof`, or `interrupt` it is

    def interrupt(self) -> None:
        """Let `wait_readable` return at once, if a task is in it."""
        trio.lowlevel.notify_closing(self._sock.fileno())

    def write_nowait(self, data: memoryview) -> int:
        """As `write`, but what the kernel does not take waits for `flush`: return how much that is now."""
        if self._closed:
            raise ConnectionClosedError("connection is closed", transport="tcp")
        sent = 0 if self._out else self._send(data)
        if sent < len(data):
            self._out += data[sent:]
        return len(self._out)

    @property
    def backlog_bytes(self) -> int:
        """Bytes taken that the kernel has not taken yet."""
        return len(self._out)

    async def flush(self) -> None:
        """Wait until the backlog is empty; for one task. Raises `ConnectionClosedError`."""
        await self._flush()
        if self._closed:
            raise ConnectionClosedError("connection is closed", transport="tcp")

    # --- sending --------------------------------------------------------------------------------

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.abort()
            raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error

    async def drain(self) -> None:
        """Wait until little enough is buffered for more. Raises `ConnectionClosedError`."""
        while len(self._out) > _DRAIN_BYTES and not self._closed:
            await self._drained.wait()
        if self._closed:
            raise ConnectionClosedError("connection is closed", transport="tcp")

    async def _flush(self) -> None:
        while self._out and not self._closed:
            with trio.move_on_after(limits.WRITE_STALL_TIMEOUT_S) as patience:
                try:
                    await trio.lowlevel.wait_writable(self._sock.fileno())
                except trio.ClosedResourceError:
                    continue  # `interrupt` wakes it too
            if patience.cancelled_caught:
                self.abort()
                return
            try:
                with memoryview(self._out) as view:
                    sent = self._sock.send(view)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                self.abort()
                return
            del self._out[:sent]
            if len(self._out) <= _DRAIN_BYTES:
                self._wake()

    def _wake(self) -> None:
        self._drained.set()
        self._drained = trio.Event()

    def abort(self) -> None:
        """Close at once. Idempotent; a waiting reader sees the end."""
        if self._closed:
            return
        self._closed = True
        self._eof = True
        trio.lowlevel.notify_closing(self._sock.fileno())
        self._sock.close()
        self._out.clear()
        self._wake()

    async def close(self) -> None:
        """Hand what is buffered to the kernel, as far as it takes it, and close. Does not wait."""
        if self._out and not self._closed:
            try:
                with memoryview(self._out) as view:
                    self._sock.send(view)
            except OSError:
                pass  # the peer is gone or does not read: it loses what was left
        self.abort()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def get_remote_address(self) -> tuple[str, int] | None:
        """(ip, port), for IPv6 too (docs/py-libp2p.md, B19)."""
        return self.remote


def endpoint_of(address: tuple[object, ...]) -> tuple[str, int]:
    """Cut a 4-tuple of IPv6 to (ip, port), without a zone, IPv4-mapped addresses as IPv4."""
    host, port = str(address[0]).partition("%")[0], int(str(address[1]))
    return (host[7:] if host.startswith("::ffff:") and "." in host else host), port


async def connect_tcp(ip: IpAddress, port: int, nursery: trio.Nursery) -> TcpStream:
    """Connect to `ip`:`port`. Raises `OSError`; the caller sets the time limit."""
    sock = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        prepare(sock)
        code = sock.connect_ex((str(ip), port))
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise OSError(code, os.strerror(code))
        await trio.lowlevel.wait_writable(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        return TcpStream(sock, nursery)
    except BaseException:
        sock.close()
        raise


def prepare(sock: socket.socket) -> None:
    """Make a connection's socket non-blocking, without delay, and notice a dead peer (B17)."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS), ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES)
    for name, value in (*_KEEPALIVE, *options):
        if hasattr(socket, name):  # not on every platform
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def listen_tcp(ip: IpAddress, port: int) -> socket.socket:
    """Return a listening socket. Raises `ListenFailed`.

    SO_REUSEPORT stays off: with it a second node would share the port without an error.
    """
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenFailed(f"cannot listen on {ip} port {port}: {error.strerror}") from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(ip), port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        hint = "; is another node running?" if error.errno == errno.EADDRINUSE else ""
        raise ListenFailed(f"cannot listen on {ip} port {port}: {error.strerror}{hint}") from error
    return sock
