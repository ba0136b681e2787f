"""The store on a Redis or Valkey server: for hosts without a disk of their own.

Per node, three keys of the server: a hash with the values, a sorted set with their names (all of
score 0, so in byte order), and a counter, the epoch. Every call is one Lua script, so it is atomic.

Each connection begins by raising the epoch, and a put carries the epoch that it was sent in. A put
whose answer was lost is thereby settled before anything else happens: it was applied earlier or is
refused for ever. A second node that opens the same prefix ends the first one's use in the same way.

Source: redis.io, "EVAL", "ZRANGEBYLEX", "Redis persistence"; coredis handbook, "Connections".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar, cast
from urllib.parse import urlsplit

import coredis
import structlog
import trio
from coredis.exceptions import AuthenticationError, AuthorizationError, RedisError, UnknownCommandError
from coredis.exceptions import ConnectionError as RedisConnectionError
from coredis.retry import NoRetryPolicy

from primedht import limits
from primedht.errors import ConfigInvalid, PrimeDhtError, StoreFull, StoreNotDurable, StoreUnavailable
from primedht.stores.kv import check_changes

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Deletes come last: the server checks its memory limit only until a script has written something.
_PUT = b"""
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local sets = tonumber(ARGV[2])
for i = 3, 2 + 2 * sets, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], 0, ARGV[i])
end
for i = 3 + 2 * sets, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
return 1
"""
_SCAN = b"""
local names = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if #names == 0 then return {} end
return {names, redis.call('HMGET', KEYS[1], unpack(names))}
"""
_LOST = (RedisConnectionError, TimeoutError, OSError, trio.TooSlowError)


class _TaskStatus(Protocol):
    """What `trio.Nursery.start` passes; the stubs that py-libp2p brings along lack trio's own name."""

    def started(self, value: _Session) -> None: ...


@dataclass(slots=True, eq=False)
class _Session:
    """One connection to the server, from its greeting until it breaks."""

    client: coredis.Redis[bytes]
    epoch: bytes
    ended: trio.Event = field(default_factory=trio.Event)
    calls: set[trio.CancelScope] = field(default_factory=set)


@asynccontextmanager
async def open_redis(url: str, *, prefix: bytes, durable: bool = True) -> AsyncIterator[RedisKeyValue]:
    """Use the server at `url` (`redis://`, `rediss://`, `unix:///path`), connecting at once.

    prefix: names this node's keys on the server: its peer id.
    durable: insist that the server has synced a put before it is acknowledged.
    Raises: `StoreNotDurable` unless the server appends to a file and syncs it always, or `durable`
    is False; `StoreUnavailable` if it cannot be reached; `ConfigInvalid` for a malformed URL.
    """
    # Each failed attempt would be logged with its traceback; what matters is logged here, once.
    logging.getLogger("coredis").setLevel(logging.CRITICAL)
    server = _server_of(url)
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        store = RedisKeyValue(url, server, prefix, durable, nursery)
        try:
            await store.connect()
            yield store
        except BaseException as error:  # noqa: BLE001 - raised again below, outside of the nursery
            raised = error
        await store.aclose()
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


class RedisKeyValue:
    """A `KeyValue` on a Redis server. Made by `open_redis`.

    durable: whether the server was found to sync every put. After a lost connection the next call
    connects anew; while the server is away, calls fail at once for `limits.REDIS_RETRY_S`.
    """

    def __init__(self, url: str, server: str, prefix: bytes, durable: bool, nursery: trio.Nursery) -> None:
        self.durable = durable
        self._url, self._server = url, server
        base = b"primedht:{" + prefix + b"}:"
        self._names = [base + b"values", base + b"names", base + b"epoch"]
        self._nursery = nursery
        self._connecting = trio.Lock()
        self._session: _Session | None = None
        self._failed_at = float("-inf")
        self._failure = ""
        self._over: str | None = None  # why this store can never be used again

    async def connect(self) -> None:
        """Connect now rather than at the first use. Raises as `open_redis` does."""
        await self._connected()

    async def get(self, key: bytes) -> bytes | None:
        if not 0 < len(key) <= limits.STORE_KEY_BYTES_MAX:
            await trio.lowlevel.checkpoint()
            return None
        return await self._call(lambda session: session.client.hget(self._names[0], key))

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        check_changes(changes)
        await trio.lowlevel.checkpoint()
        deletes = [key for key, value in changes.items() if value is None]
        sets = [part for key, value in changes.items() if value is not None for part in (key, value)]

        async def send(session: _Session) -> None:
            arguments = [session.epoch, str(len(sets) // 2).encode(), *sets, *deletes]
            if not await session.client.eval(_PUT, self._names, arguments):
                self._lose(session)
                if session is self._session:
                    self._over = "another node has opened the same prefix on the Redis server"
                raise StoreUnavailable(self._over or "the connection was lost before the put")

        with trio.CancelScope(shield=True):  # its own time limit holds; the outcome must be known
            await self._call(send)

    async def scan(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        start = b"(" + after if after >= prefix and after else b"[" + prefix
        end = _end_of(prefix)
        page: list[tuple[bytes, bytes]] = []
        while len(page) < limit:
            wanted = min(limit - len(page), limits.STORE_SCAN_ENTRIES_MAX)
            arguments = [start, end, str(wanted).encode()]
            names, values = await self._call(partial(self._scan_once, arguments))
            page += zip(names, values, strict=True)
            if len(names) < wanted:
                break
            start = b"(" + names[-1]
        return page

    async def _scan_once(self, arguments: list[bytes], session: _Session) -> tuple[list[bytes], list[bytes]]:
        reply = await session.client.eval(_SCAN, self._names, arguments)
        return cast("tuple[list[bytes], list[bytes]]", reply) if reply else ([], [])

    async def aclose(self) -> None:
        self._over = self._over or "the store is closed"
        if self._session is not None:
            self._lose(self._session)
        await trio.lowlevel.cancel_shielded_checkpoint()

    # --- the connection ------------------------------------------------------------------------------

    async def _call(self, use: Callable[[_Session], Awaitable[T]]) -> T:
        session = await self._connected()
        try:
            with trio.fail_after(limits.REDIS_TIMEOUT_S) as call:
                session.calls.add(call)
                try:
                    return await use(session)
                finally:
                    session.calls.discard(call)
        except _LOST as error:
            self._lose(session)
            why = f": {error}" if str(error) else ""
            raise StoreUnavailable(f"lost the Redis server at {self._server}{why}") from error
        except RuntimeError as error:
            if not session.ended.is_set():
                raise
            # coredis, of a pool that another call's failure has closed in the meantime
            raise StoreUnavailable(f"lost the Redis server at {self._server}") from error
        except RedisError as error:
            raise self._translated(error) from error

    async def _connected(self) -> _Session:
        async with self._connecting:
            if self._over is not None:
                raise StoreUnavailable(self._over)
            if self._session is not None and not self._session.ended.is_set():
                return self._session
            if trio.current_time() < self._failed_at + limits.REDIS_RETRY_S:
                raise StoreUnavailable(self._failure)
            try:
                self._session = cast(_Session, await self._nursery.start(self._serve_session))
            except PrimeDhtError as error:
                self._failed_at, self._failure = trio.current_time(), str(error)
                raise
            return self._session

    def _lose(self, session: _Session) -> None:
        if not session.ended.is_set():
            session.ended.set()
            for call in session.calls:
                call.cancel()
            if self._over is None:
                log.warning("redis_connection_lost", server=self._server)

    async def _serve_session(self, task_status: _TaskStatus) -> None:
        """Connect, check and fence; then keep the connection until it is lost.

        Nothing is raised through the client's own context, which would wrap it in groups.
        """
        failure: PrimeDhtError | None = None
        client = coredis.Redis.from_url(
            self._url, retry_policy=NoRetryPolicy(), verify_version=False, max_connections=1,
            stream_timeout=limits.REDIS_TIMEOUT_S, connect_timeout=limits.REDIS_TIMEOUT_S,
        )  # fmt: skip
        async with client:
            try:
                with trio.fail_after(limits.REDIS_TIMEOUT_S):
                    if self.durable:
                        await self._check_durable(client)
                    epoch = await client.incr(self._names[2])
            except StoreNotDurable as error:
                failure = error
            except (*_LOST, RedisError) as error:
                failure = self._translated(error)
            else:
                session = _Session(client, str(epoch).encode())
                task_status.started(session)
                await session.ended.wait()
        if failure is not None:
            raise failure

    async def _check_durable(self, client: coredis.Redis[bytes]) -> None:
        advice = "or set durable = false and accept that the last acknowledged records may be lost"
        try:
            found = await client.config_get(["appendonly", "appendfsync", "maxmemory-policy"])
        except (AuthorizationError, UnknownCommandError) as error:
            raise StoreNotDurable(
                f"the Redis server at {self._server} does not say how it keeps its data ({error}); "
                f"allow CONFIG GET {advice}"
            ) from error
        if found.get(b"appendonly") != b"yes" or found.get(b"appendfsync") != b"always":
            raise StoreNotDurable(
                f"the Redis server at {self._server} does not sync every write; "
                f"start it with `appendonly yes` and `appendfsync always`, {advice}"
            )
        if found.get(b"maxmemory-policy", b"").startswith(b"allkeys-"):
            raise StoreNotDurable(
                f"the Redis server at {self._server} may evict any key; "
                f"start it with `maxmemory-policy noeviction`, {advice}"
            )

    def _translated(self, error: Exception) -> PrimeDhtError:
        text = str(error)
        if text.startswith("OOM"):
            return StoreFull(f"the Redis server at {self._server} has reached its maxmemory")
        if isinstance(error, AuthenticationError):
            return StoreUnavailable(f"the Redis server at {self._server} wants other credentials: {text}")
        return StoreUnavailable(f"cannot use the Redis server at {self._server}: {text}")


def _server_of(url: str) -> str:
    """Return `url` as it may be shown, without credentials. Raises `ConfigInvalid`."""
    try:
        parts = urlsplit(url)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        place = port = ""
    if not place or parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigInvalid(
            "a Redis server is given as redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH"
        )
    return f"{parts.scheme}://{place}{port}"


def _end_of(prefix: bytes) -> bytes:
    """Return the ZRANGEBYLEX bound just after everything that starts with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return b"(" + stem[:-1] + bytes((stem[-1] + 1,)) if stem else b"+"
