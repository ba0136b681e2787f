"""The sockets that the control protocol is served on: who may open them, and who had them before."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from primedht.control_addr import ControlAddr, TcpAddr, UnixAddr
from primedht.errors import AddressInUse, ConfigInvalid, InvalidArgument
from primedht.limits import UNIX_SOCKET_PATH_BYTES_MAX

log = structlog.get_logger(__name__)

_BACKLOG = 1024
_STALE_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use Unix sockets. mode: of the socket file. group: its group's name, or None."""

    mode: int = 0o600
    group: str | None = None


@dataclass(frozen=True, slots=True)
class ControlListener:
    """A bound and listening socket. addr: as bound, a TCP port of 0 replaced by the real one."""

    listener: trio.SocketListener
    addr: ControlAddr


@contextmanager
def open_listeners(addrs: Sequence[ControlAddr], access: Access) -> Iterator[list[ControlListener]]:
    """Bind all of `addrs`; on leaving, remove the socket files that are still ours.

    Raises `AddressInUse` if somebody listens there, `ConfigInvalid` for an unknown group and
    `InvalidArgument` for a path that cannot hold a socket.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_open_listener(addr, access)) for addr in addrs]


@contextmanager
def _open_listener(addr: ControlAddr, access: Access) -> Iterator[ControlListener]:
    if isinstance(addr, TcpAddr):
        bound = _bind_tcp(addr)
        with bound:
            host, port = bound.getsockname()[:2]
            log.warning("control_over_tcp", addr=str(addr), reason="any user of this machine may connect")
            yield ControlListener(_listener(bound), TcpAddr(host, port))
        return
    bound = _bind_unix(addr, access)
    with bound, _removed_after(Path(addr.path)):
        yield ControlListener(_listener(bound), addr)


def _listener(bound: socket.socket) -> trio.SocketListener:
    bound.listen(_BACKLOG)
    bound.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def _bind_tcp(addr: TcpAddr) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in addr.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((addr.host, addr.port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"control socket {addr}: port in use; choose another --control") from None
        raise InvalidArgument(f"control socket {addr}: {error.strerror}; choose another --control") from None
    return bound


def _bind_unix(addr: UnixAddr, access: Access) -> socket.socket:
    path = Path(addr.path)
    if len(os.fsencode(path)) > UNIX_SOCKET_PATH_BYTES_MAX:
        raise InvalidArgument(
            f"control socket {path}: over {UNIX_SOCKET_PATH_BYTES_MAX} bytes; choose a shorter path"
        )
    _remove_stale(path)
    group_id = _group_id(access.group)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)  # nobody else may connect between bind and chmod
    try:
        bound.bind(str(path))
        if group_id is not None:
            os.chown(path, -1, group_id)
        path.chmod(access.mode)
        _widen_parent(path.parent, access, group_id)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"control socket {path}: in use; choose another --control") from None
        raise InvalidArgument(f"control socket {path}: {error.strerror}; check its folder") from None
    finally:
        os.umask(old_mask)
    return bound


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on. Raises `AddressInUse` for anything else there."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # absent, or its folder cannot be read: binding will say so
    if not stat.S_ISSOCK(mode):
        raise AddressInUse(f"control socket {path}: a file that is no socket; choose another --control")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_STALE_CHECK_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            log.info("control_socket_replaced", path=str(path), reason="nobody listens on it")
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # a full backlog, or another user's: somebody is there
    raise AddressInUse(
        f"control socket {path}: another process listens on it; stop it, or choose another --control"
    )


def _group_id(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigInvalid(f"control.group: there is no group {name!r} on this machine") from None


def _widen_parent(folder: Path, access: Access, group_id: int | None) -> None:
    """Let those whom the socket admits pass through its folder too, if it is a private one of ours."""
    status = folder.stat()
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) != 0o700:
        return
    passable = (0o010 if access.mode & 0o060 else 0) | (0o001 if access.mode & 0o006 else 0)
    if passable:
        if group_id is not None:
            os.chown(folder, -1, group_id)
        folder.chmod(0o700 | passable)


@contextmanager
def _removed_after(path: Path) -> Iterator[None]:
    mine = path.stat().st_ino
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if path.lstat().st_ino == mine:
                path.unlink()
