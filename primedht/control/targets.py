"""Where clients want inbound streams delivered: Unix sockets of our own user, and loopback."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

import trio

from primedht import control_addr, limits
from primedht.control_addr import ControlAddr, TcpAddr, UnixAddr
from primedht.errors import InvalidArgument, LocalError, NotPermitted, ProtocolViolation
from primedht.wire import addrs, varint

_UNIX = 400  # multiformats/multiaddr, protocols.csv
_PEER_CREDENTIALS = struct.Struct("3i")  # unix(7), SO_PEERCRED: pid, uid, gid


class HandlerUnreachable(LocalError):
    """Nobody takes streams where a client registered their handler."""


def parse_target(addr: bytes) -> ControlAddr:
    """Parse a binary `/unix/PATH`, `/ip4/IP/tcp/PORT` or `/ip6/IP/tcp/PORT`.

    Go's clients write a Unix path with its leading slash, Python's without, js percent-encodes it.
    Raises `InvalidArgument` for anything else and `NotPermitted` for what is not of this machine.
    """
    path = _unix_path(addr)
    if path is not None:
        if len(path) > limits.UNIX_SOCKET_PATH_BYTES_MAX:
            raise InvalidArgument(f"a socket path of {len(path)} bytes; no socket can have it")
        return control_addr.parse("/unix/" + os.fsdecode(path).lstrip("/"))
    endpoint = addrs.tcp_endpoint(addr)
    if endpoint is None or endpoint[1] == 0:
        raise InvalidArgument(f"{addrs.format_addr(addr)}: give /unix/PATH or /ip4/127.0.0.1/tcp/PORT")
    target = TcpAddr(str(endpoint[0]), endpoint[1])
    if not target.is_loopback:
        raise NotPermitted(f"{target} is not a loopback address; streams are delivered on this machine only")
    return target


def check_owner(target: ControlAddr) -> None:
    """Refuse a path that is no socket, or another user's. Raises `NotPermitted`.

    Nothing there is no fault: `dial` looks again, and at who listens then.
    """
    if not isinstance(target, UnixAddr):
        return
    try:
        status = Path(target.path).stat()
    except OSError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.getuid():
        raise NotPermitted(f"{target.path} is not a socket of the daemon's user")


async def dial(target: ControlAddr) -> trio.SocketStream:
    """Connect to a target. Raises `HandlerUnreachable`, and `NotPermitted` for another user's socket."""
    try:
        with trio.fail_after(limits.CONTROL_TARGET_DIAL_S):
            if not isinstance(target, UnixAddr):
                return await trio.open_tcp_stream(target.host, target.port)
            stream = await trio.open_unix_socket(target.path)
    except (OSError, trio.TooSlowError) as error:
        raise HandlerUnreachable(f"nobody takes streams at {target}: {error}") from None
    if _listener_user(stream) != os.getuid():
        await trio.aclose_forcefully(stream)
        raise NotPermitted(f"another user listens at {target.path}")
    return stream


def _listener_user(stream: trio.SocketStream) -> int:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, user_id, _ = _PEER_CREDENTIALS.unpack(raw)
    return int(user_id)


def _unix_path(addr: bytes) -> bytes | None:
    """Return the path of a `/unix` multiaddr, None for one of another protocol."""
    try:
        head = varint.decode(addr)
        if head is None or head[0] != _UNIX:
            return None
        size = varint.decode(addr, head[1])
    except ProtocolViolation:
        raise InvalidArgument(f"malformed multiaddr {addr[:64].hex()}") from None
    if size is None or size[1] + size[0] != len(addr):
        raise InvalidArgument(f"malformed multiaddr {addr[:64].hex()}; /unix/PATH is its only part")
    return addr[size[1] :]
