"""The store on disk: an LMDB environment with one writer thread and group commit.

Puts that arrive while a commit is being synced wait together and become one transaction: one sync
for all of them, and each returns only after it. A crash at any instant leaves the last commit that
was completed; nothing needs repair.

Reads take microseconds (they are memory accesses through the map), so they run where they are
asked for. The map doubles when it is full; a lock keeps reads away from it for that moment, as
LMDB requires (lmdb.h, `mdb_env_set_mapsize`).
"""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import structlog
import trio

from primedht import limits
from primedht.errors import PrimeDhtError, StoreCorrupt, StoreFull, StoreUnavailable
from primedht.stores.kv import check_changes

log = structlog.get_logger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CORRUPT = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.PanicError)
_DATA_FILE = "data.mdb"
_READS_A_TURN = 8  # in a row, of some microseconds each, before other tasks get theirs


@dataclass(slots=True, eq=False)
class _Write:
    """One `put` on its way through the writer thread."""

    changes: dict[bytes, bytes | None]
    size_bytes: int
    done: trio.Event = field(default_factory=trio.Event)
    error: PrimeDhtError | None = None


@asynccontextmanager
async def open_lmdb(
    path: str | os.PathLike[str], *, map_bytes: int = limits.LMDB_MAP_BYTES
) -> AsyncIterator[LmdbKeyValue]:
    """Open the environment in the directory `path`, making it if there is none.

    map_bytes: the map's size to start with; it grows by itself.
    Raises: `StoreCorrupt` if the files are not what LMDB wrote; `StoreUnavailable` if they cannot be
    opened (permissions, already open in this process).
    """
    env = await trio.to_thread.run_sync(_open_env, Path(path), map_bytes)
    store = LmdbKeyValue(env, Path(path))
    try:
        yield store
    finally:
        await store.aclose()


class LmdbKeyValue:
    """A `KeyValue` in an LMDB environment. Made by `open_lmdb`.

    A `put` that has begun runs to its end even if its caller is cancelled: at most some commits.
    """

    def __init__(self, env: lmdb.Environment, path: Path) -> None:
        self._env = env
        self._path = path
        self._map_lock = threading.Lock()  # held while reading, and while the map moves
        self._failed: str | None = None  # why nothing may touch the environment any more
        self._closed = False
        self._reads = 0
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._serve_writes, name="lmdb-writer", daemon=True)
        self._thread.start()

    async def get(self, key: bytes) -> bytes | None:
        self._reads += 1
        if self._reads % _READS_A_TURN:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if not 0 < len(key) <= limits.STORE_KEY_BYTES_MAX:
            return None
        with self._map_lock:
            self._check_usable()
            try:
                with self._env.begin() as txn:
                    return txn.get(key)
            except lmdb.Error as error:
                raise self._translate(error) from error

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        check_changes(changes)
        await trio.lowlevel.checkpoint()
        self._check_usable()
        if not changes:
            return
        size_bytes = sum(len(key) + len(value or b"") for key, value in changes.items())
        write = _Write(dict(changes), size_bytes)
        self._queue.put(write)
        with trio.CancelScope(shield=True):
            await write.done.wait()
        if write.error is not None:
            raise type(write.error)(str(write.error))  # its own: others of the batch raise theirs

    async def scan(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        await trio.lowlevel.checkpoint()
        page: list[tuple[bytes, bytes]] = []
        with self._map_lock:
            self._check_usable()
            try:
                with self._env.begin() as txn, txn.cursor() as cursor:
                    found = cursor.set_range(max(prefix, after)) if prefix or after else cursor.first()
                    if found and after and cursor.key() == after:
                        found = cursor.next()
                    while found and len(page) < limit:
                        key, value = cursor.item()
                        if not key.startswith(prefix):
                            break
                        page.append((key, value))
                        found = cursor.next()
            except lmdb.Error as error:
                raise self._translate(error) from error
        return page

    async def aclose(self) -> None:
        """Commit what is on its way, then close the environment."""
        with trio.CancelScope(shield=True):
            if not self._closed:
                self._closed = True
                self._queue.put(None)
            await trio.to_thread.run_sync(self._thread.join)
            with self._map_lock:
                self._env.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._failed is not None:
            raise StoreUnavailable(self._failed)

    # --- the writer thread ---------------------------------------------------------------------------

    def _serve_writes(self) -> None:
        closing = False
        while not closing:
            batch: list[_Write] = []
            size_bytes = 0
            write = self._queue.get()
            while write is not None:
                batch.append(write)
                size_bytes += write.size_bytes
                if size_bytes >= limits.LMDB_COMMIT_BYTES_MAX:
                    break
                try:
                    write = self._queue.get_nowait()
                except queue.Empty:
                    break
            closing = write is None
            if batch:
                self._commit_all(batch)
                try:
                    self._token.run_sync_soon(_finish, batch)
                except trio.RunFinishedError:
                    return  # nobody is left to be told

    def _commit_all(self, batch: Sequence[_Write]) -> None:
        """Commit `batch` in one transaction; if it does not fit, each of its puts in one of its own."""
        error: PrimeDhtError | None
        try:
            error = self._commit(batch)
        except BaseException as unexpected:  # the thread's supervisor: callers wait for it
            self._failed = f"the store's writer failed: {unexpected!r}"
            log.critical("store_writer_failed", path=str(self._path), exc_info=True)
            error = StoreUnavailable(self._failed)
        if isinstance(error, StoreFull) and len(batch) > 1:
            for write in batch:
                write.error = self._commit([write])
            return
        for write in batch:
            write.error = error

    def _commit(self, batch: Sequence[_Write]) -> PrimeDhtError | None:
        while True:
            if self._failed is not None:
                return StoreUnavailable(self._failed)
            try:
                with self._env.begin(write=True) as txn:
                    for write in batch:
                        for key, value in write.changes.items():
                            if value is None:
                                txn.delete(key)
                            else:
                                txn.put(key, value)
                return None
            except lmdb.MapFullError:
                error = self._grow(sum(write.size_bytes for write in batch))
                if error is not None:
                    return error
            except lmdb.Error as error:
                return self._translate(error)

    def _grow(self, wanted_bytes: int) -> PrimeDhtError | None:
        with self._map_lock:
            map_bytes = self._env.info()["map_size"]
            grown_bytes = max(2 * map_bytes, map_bytes + 2 * wanted_bytes)
            if grown_bytes > limits.LMDB_MAP_BYTES_MAX:
                return StoreFull(f"the store may not grow beyond {limits.LMDB_MAP_BYTES_MAX} bytes")
            try:
                self._env.set_mapsize(grown_bytes)
            except (lmdb.Error, MemoryError) as error:
                # LMDB has let go of the old map by now: nothing may touch it any more.
                self._failed = (
                    f"the store's memory map cannot grow to {grown_bytes} bytes ({error}); "
                    "raise the address space limit and start again"
                )
                return StoreUnavailable(self._failed)
        log.info("store_grown", map_bytes=grown_bytes)
        return None

    def _translate(self, error: lmdb.Error | OSError) -> PrimeDhtError:
        return _translated(error, self._path)


def _finish(batch: Sequence[_Write]) -> None:
    for write in batch:
        write.done.set()


def _translated(error: lmdb.Error | OSError, path: Path) -> PrimeDhtError:
    code = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    if isinstance(error, lmdb.DiskError) or code in _FULL:
        return StoreFull(f"no room on the disk that holds {path}; free some and try again ({error})")
    if isinstance(error, _CORRUPT):
        return _corrupt(path, str(error))
    return StoreUnavailable(f"cannot use the store in {path}: {error}")


def _corrupt(path: Path, why: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the store in {path} is damaged ({why}); restore it from a copy, or move the directory away: "
        "the node then starts empty and peers fill it again, but its own records are not republished"
    )


def _open_env(path: Path, map_bytes: int) -> lmdb.Environment:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = lmdb.open(
            str(path), map_size=map_bytes, mode=0o600, sync=True, metasync=True, writemap=False,
            readahead=False, max_dbs=0,
        )  # fmt: skip
    except (lmdb.Error, OSError) as error:
        raise _translated(error, path) from error
    try:
        # A map beyond the file's end would kill the process at the first read there.
        needed_bytes = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if (path / _DATA_FILE).stat().st_size < needed_bytes:
            raise _corrupt(path, "its file has been cut short")
        env.reader_check()  # slots of readers that were killed
    except (lmdb.Error, OSError) as error:
        env.close()
        raise _translated(error, path) from error
    except StoreCorrupt:
        env.close()
        raise
    return env
