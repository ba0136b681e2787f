"""A node's data directory: its lock, layout version, identity and the place of its control socket.

    identity      the node's private key, libp2p's protobuf form, 0600
    keys/         named keys, 0700
    version       the number of this layout
    lock          flock'ed while a node uses the directory
    control       the multiaddr of the running daemon's control socket
    control.sock  that socket, unless the path is too long for one
    store/        records, provider records, known peers, the index of blocks
    blocks/       large blocks, a file each

Everything here is done before the node starts and in blocking calls.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from primedht import mounts, paths
from primedht.errors import (
    DataDirLocked,
    DataDirTooNew,
    DataDirUnusable,
    DiskFull,
    IdentityCorrupt,
    LocalError,
    MalformedKey,
    NetworkFileSystem,
    StoreUnavailable,
)
from primedht.identity_keys import AnyPrivateKey
from primedht.keys import PrivateKey
from primedht.keystore import read_identity_file, write_key_file
from primedht.limits import DATA_DIR_FREE_BYTES_MIN, UNIX_SOCKET_PATH_BYTES_MAX

log = structlog.get_logger(__name__)

VERSION = 1
_IDENTITY, _VERSION, _LOCK, _KEYS, _STORE = "identity", "version", "lock", "keys", "store"
_BLOCKS = "blocks"
_BACKUP_PREFIX = "backup-of-version-"
# What may be in a directory that nobody has used as a data directory yet.
_HARMLESS = {"lost+found", _LOCK}
_NOT_BACKED_UP = (
    _LOCK,
    _BLOCKS,
    paths.CONTROL_FILE,
    paths.CONTROL_SOCKET,
    "lost+found",
    _BACKUP_PREFIX + "*",
    ".*",
)


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory of the current layout. `open_data_dir` gives one that is locked."""

    path: Path

    @property
    def keys_path(self) -> Path:
        """Where named keys are."""
        return self.path / _KEYS

    @property
    def store_path(self) -> Path:
        """Where the embedded store is."""
        return self.path / _STORE

    @property
    def blocks_path(self) -> Path:
        """Where large blocks are."""
        return self.path / _BLOCKS

    def identity(self) -> AnyPrivateKey:
        """Return the node's key; on first use an Ed25519 key is made and written durably.

        Raises `IdentityCorrupt`, `KeyFileExposed`, `DiskFull` or `DataDirUnusable`. An identity that
        cannot be read is never replaced.
        """
        path = self.path / _IDENTITY
        try:
            return read_identity_file(path)
        except FileNotFoundError:
            pass
        except MalformedKey as error:
            raise IdentityCorrupt(
                f"{error}; restore it from a backup, or move it away to start with a new identity"
            ) from None
        except StoreUnavailable as error:
            raise DataDirUnusable(f"{error}; check its owner and permissions") from None
        key = PrivateKey.generate()
        try:
            write_key_file(path, key)
        except StoreUnavailable as error:
            raise DataDirUnusable(f"{error}; check its owner and permissions") from None
        return key

    def control_socket_path(self) -> Path:
        """Return where the control socket goes: here, or in the runtime directory if that is too long."""
        path = self.path / paths.CONTROL_SOCKET
        if len(os.fsencode(path)) <= UNIX_SOCKET_PATH_BYTES_MAX:
            return path
        directory = paths.runtime_dir()
        _make_dir(directory)
        if directory.is_symlink():  # /tmp is everybody's: another user may have put a link there
            raise DataDirUnusable(f"{directory} is a symbolic link; remove it")
        _close_to_others(directory)
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        short = directory / f"{name}.sock"
        if len(os.fsencode(short)) > UNIX_SOCKET_PATH_BYTES_MAX:
            raise DataDirUnusable(
                f"{short} is over {UNIX_SOCKET_PATH_BYTES_MAX} bytes, too long for a socket; "
                "give a shorter --control"
            )
        log.info("control_socket_moved", path=str(short), reason="data directory's path is too long")
        return short

    def record_control(self, addrs: list[str]) -> None:
        """Write where the daemon's control socket is, for clients that know only the directory."""
        write_private(self.path / paths.CONTROL_FILE, "".join(f"{addr}\n" for addr in addrs).encode())

    def forget_control(self) -> None:
        """Remove what `record_control` wrote."""
        with suppress(OSError):  # leaving: a stale file only costs a client one failed connect
            (self.path / paths.CONTROL_FILE).unlink()


Migration = Callable[[Path], None]


@contextmanager
def open_data_dir(
    path: Path, *, allow_network_fs: bool = False, migrations: Mapping[int, Migration] | None = None
) -> Iterator[DataDir]:
    """Create or check, lock and, if it is of an older version, migrate a data directory.

    Raises `DataDirLocked`, `DataDirTooNew`, `DataDirUnusable`, `NetworkFileSystem` or `DiskFull`.
    """
    path = path.expanduser().absolute()
    _check_file_system(path, allow_network_fs=allow_network_fs)
    _make_dir(path)
    _read_version(path)  # before anything is changed: the directory may be none of ours
    _check_room(path)
    with _locked(path):
        _settle_version(path, _MIGRATIONS if migrations is None else migrations)
        _close_to_others(path)
        yield DataDir(path)


def prepare_data_dir(path: Path) -> DataDir:
    """Create or check a data directory without locking it, for work on its named keys.

    Raises as `open_data_dir` does, but neither locks nor migrates.
    """
    path = path.expanduser().absolute()
    _make_dir(path)
    version = _read_version(path)
    if version is None:
        _write_version(path)
    elif version > VERSION:
        raise _too_new(path, version)
    _close_to_others(path)
    return DataDir(path)


def inspect_data_dir(path: Path, *, allow_network_fs: bool = False) -> DataDir | None:
    """Return a data directory that a node could use as it is, or None where there is none yet.

    Makes and changes nothing. Raises as `open_data_dir` does, and `IdentityCorrupt` or `KeyFileExposed`.
    """
    path = path.expanduser().absolute()
    _check_file_system(path, allow_network_fs=allow_network_fs)
    if not path.exists():
        return None
    _check_usable(path)
    version = _read_version(path)
    if version is not None and version > VERSION:
        raise _too_new(path, version)
    if (path / _LOCK).exists():
        with _locked(path, record=False):
            pass
    if (path / _IDENTITY).exists():
        DataDir(path).identity()
    return DataDir(path)


def write_private(path: Path, data: bytes) -> None:
    """Write or replace a 0600 file durably: after a crash at any moment it is the old or the new one.

    Raises `DiskFull` or `DataDirUnusable`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(descriptor)
            temporary.rename(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _as_local(error, path) from None


# --- opening ---------------------------------------------------------------------------------------


def _check_file_system(path: Path, *, allow_network_fs: bool) -> None:
    kind = mounts.file_system_of(path)
    if kind in mounts.NETWORK_FILE_SYSTEMS and not allow_network_fs:
        raise NetworkFileSystem(
            f"{path} is on a network file system ({kind}), where locks and durability cannot be trusted; "
            "choose a local --data-dir, or pass --allow-network-fs"
        )


def _make_dir(path: Path) -> None:
    """Make `path`, or check that what is there is a directory of our user that can be used."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise DataDirUnusable(f"{path} is not a directory; choose another") from None
    except OSError as error:
        raise _as_local(error, path) from None
    _check_usable(path)


def _check_usable(path: Path) -> None:
    try:
        if not path.is_dir():
            raise DataDirUnusable(f"{path} is not a directory; choose another")
        status = path.stat()
        usable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise _as_local(error, path) from None
    if status.st_uid != os.getuid():
        raise DataDirUnusable(f"{path} belongs to user id {status.st_uid}; choose a directory of your own")
    if not usable:
        raise DataDirUnusable(f"{path} is not readable and writable; check its permissions")


def _close_to_others(path: Path) -> None:
    """Let nobody else into a directory that is known to be ours."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o700)


def _check_room(path: Path) -> None:
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < DATA_DIR_FREE_BYTES_MIN:
        raise DiskFull(f"{path}: only {free_bytes} bytes are free; free some space, nothing was changed")


@contextmanager
def _locked(path: Path, *, record: bool = True) -> Iterator[None]:
    """Hold the lock. record: write down who has it; the id only makes another process's message better."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _as_local(error, path / _LOCK) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise DataDirLocked(
                f"{path} is in use by process {owner or 'unknown'}; stop it, or choose another --data-dir"
            ) from None
        except OSError as error:
            raise _as_local(error, path / _LOCK) from None
        if record:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock; the file stays, for unlinking it would race


def _settle_version(path: Path, migrations: Mapping[int, Migration]) -> None:
    version = _read_version(path)
    if version is None:
        _write_version(path)
        return
    if version > VERSION:
        raise _too_new(path, version)
    if version < VERSION:
        _back_up(path, version)
        for step in range(version, VERSION):
            migrations[step](path)
        _write_version(path)
        log.info("data_dir_migrated", path=str(path), from_version=version, to_version=VERSION)


def _read_version(path: Path) -> int | None:
    """Return the layout's version, or None for a directory that is not used yet."""
    try:
        with (path / _VERSION).open("rb") as stream:
            text = stream.read(64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return _version_of_unmarked(path)
    except OSError as error:
        raise _as_local(error, path / _VERSION) from None
    if not text.isdecimal():
        raise DataDirUnusable(f"{path / _VERSION} holds no version number; restore it from a backup")
    return int(text)


def _version_of_unmarked(path: Path) -> int | None:
    found = {entry.name for entry in path.iterdir()} - _HARMLESS
    found = {name for name in found if not name.startswith(".")}
    if not found:
        return None
    if _IDENTITY in found or _KEYS in found:
        return 0
    raise DataDirUnusable(
        f"{path} is not empty and not a PrimeDHT data directory (it has {min(found)!r}); choose another"
    )


def _write_version(path: Path) -> None:
    write_private(path / _VERSION, f"{VERSION}\n".encode())


def _too_new(path: Path, version: int) -> DataDirTooNew:
    return DataDirTooNew(
        f"{path} was written by a newer PrimeDHT (layout {version}, this one knows {VERSION}); "
        "install that version, or choose another --data-dir"
    )


def _back_up(path: Path, version: int) -> None:
    """Copy the directory's content beside itself, whole or not at all."""
    stem = f"{_BACKUP_PREFIX}{version}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    copy = next(path / name for name in _numbered(stem) if not (path / name).exists())
    partial = copy.with_name(f".{copy.name}")
    try:
        shutil.copytree(path, partial, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_BACKED_UP))
        partial.chmod(0o700)
        partial.rename(copy)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        cause = error if isinstance(error, OSError) and error.errno else OSError(errno.EIO, str(error))
        raise _as_local(cause, copy) from None
    log.info("data_dir_backed_up", path=str(copy))


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    for number in itertools.count(2):
        yield f"{stem}-{number}"


def _adopt_unmarked(path: Path) -> None:
    """0 to 1: directories from before the version file; only modes may differ."""
    for name, mode in ((_IDENTITY, 0o600), (_KEYS, 0o700), (_STORE, 0o700)):
        if (path / name).exists():
            (path / name).chmod(mode)


_MIGRATIONS: Mapping[int, Migration] = {0: _adopt_unmarked}


def _as_local(error: OSError, path: Path) -> LocalError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{path}: {error.strerror}; free some space, nothing was half-written")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DataDirUnusable(f"{path}: {error.strerror}; check its owner and permissions")
    return DataDirUnusable(f"{path}: {error.strerror or error}; check the data directory")
