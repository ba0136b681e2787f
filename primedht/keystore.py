"""Named private keys on disk, one file each, and the reading and writing of such files.

A key file holds libp2p's `PrivateKey` message, is readable by its owner only, and appears whole or
not at all. Nothing here overwrites a key.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from primedht import limits
from primedht.errors import (
    DiskFull,
    InvalidArgument,
    KeyExists,
    KeyFileExposed,
    KeyNotFound,
    MalformedKey,
    StoreUnavailable,
)
from primedht.identity_keys import AnyPrivateKey, parse_identity
from primedht.keys import PrivateKey

_SUFFIX = ".key"
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{limits.KEY_NAME_CHARS_MAX - 1}}}", re.ASCII)
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Keystore:
    """The named keys in one folder. Blocking, but only ever for a few small files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self) -> dict[str, PrivateKey]:
        """Return all keys by name, sorted. Raises as `get` does when one cannot be read."""
        with _storage_errors(self._folder):
            if not self._folder.is_dir():
                return {}
            names = sorted(path.stem for path in self._folder.iterdir() if self._is_key_file(path))
        return {name: self.get(name) for name in names}

    def get(self, name: str) -> PrivateKey:
        """Return the key called `name`.

        Raises `KeyNotFound`, `KeyFileExposed`, `MalformedKey`, `StoreUnavailable`, or
        `InvalidArgument` for what cannot be a name.
        """
        try:
            return read_key_file(self._path(name))
        except FileNotFoundError:
            raise KeyNotFound(f"no key is called {name!r}") from None

    def add(self, name: str, key: PrivateKey) -> None:
        """Keep `key` under `name`. Raises `KeyExists`, `DiskFull`, `StoreUnavailable`, `InvalidArgument`."""
        path = self._path(name)
        try:
            with _storage_errors(self._folder):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise StoreUnavailable(f"{self._folder} is not a folder") from None
        try:
            write_key_file(path, key)
        except FileExistsError:
            raise KeyExists(f"a key called {name!r} exists already; choose another name") from None

    def generate(self, name: str) -> PrivateKey:
        """Make a key and keep it under `name`. Raises as `add` does."""
        key = PrivateKey.generate()
        self.add(name, key)
        return key

    def import_key(self, name: str, content: bytes) -> PrivateKey:
        """Keep a key given as libp2p's message, that in base64, or Ed25519 PEM, under `name`.

        Raises `MalformedKey`, and as `add` does.
        """
        if len(content) > limits.KEY_FILE_BYTES_MAX:
            raise MalformedKey(f"{len(content)} bytes are too many for a private key")
        key = PrivateKey.parse_any(content)
        self.add(name, key)
        return key

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name[: limits.KEY_NAME_CHARS_MAX]!r} cannot name a key: use up to "
                f"{limits.KEY_NAME_CHARS_MAX} letters, digits, dots, dashes and underscores"
            )
        return self._folder / (name + _SUFFIX)

    def _is_key_file(self, path: Path) -> bool:
        return path.suffix == _SUFFIX and _NAME.fullmatch(path.stem) is not None


def read_key_file(path: Path) -> PrivateKey:
    """Read an Ed25519 key, which can sign records. Raises as `read_identity_file`."""
    key = read_identity_file(path)
    if not isinstance(key, PrivateKey):
        raise MalformedKey(f"{path}: a private key of type {key.type.name}; only Ed25519 keys can sign here")
    return key


def read_identity_file(path: Path) -> AnyPrivateKey:
    """Read a private key of any type that may identify a node.

    Raises:
        FileNotFoundError: there is no such file.
        KeyFileExposed: its group or others may read or write it.
        MalformedKey, StoreUnavailable: it holds something else, or cannot be read.
    """
    with _storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode & 0o777
            if mode & 0o077:
                raise KeyFileExposed(f"{path} has mode {mode:04o}; run: chmod 600 {path}")
            content = file.read(limits.KEY_FILE_BYTES_MAX)
    try:
        return parse_identity(content)
    except MalformedKey as error:
        raise MalformedKey(f"{path}: {error}") from None


def write_key_file(path: Path, key: AnyPrivateKey) -> None:
    """Write a private key, mode 0600: after a crash at any moment, `path` has all of it or is absent.

    Raises `FileExistsError` (nothing is overwritten), `DiskFull` or `StoreUnavailable`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with _storage_errors(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # a umask may have left less than the owner needs
                file.write(key.serialize())
                file.flush()
                os.fsync(descriptor)
            _publish(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        _sync_folder(path.parent)


def _publish(temporary: Path, path: Path) -> None:
    """Give the finished file its name. A hard link, unlike a rename, never replaces another file."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.rename(temporary, path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into ours; whether a file exists is the caller's matter."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{path}: {error.strerror}") from error
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
