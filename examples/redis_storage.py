"""A storage backend of your own: any object with the four methods that tests/contract checks.

async with open_redis_storage("redis://localhost", prefix=b"my-node") as storage:
    async with primedht.open_node(storage=storage) as node: ...
"""

from contextlib import asynccontextmanager

import coredis
import trio
from coredis.exceptions import RedisError

from primedht.errors import StoreUnavailable
from primedht.stores.kv import check_changes

PUT = """for i = 1, #ARGV, 3 do
  if ARGV[i] == '' then redis.call('HDEL', KEYS[1], ARGV[i + 1]); redis.call('ZREM', KEYS[2], ARGV[i + 1])
  else redis.call('HSET', KEYS[1], ARGV[i + 1], ARGV[i + 2]); redis.call('ZADD', KEYS[2], 0, ARGV[i + 1]) end
end"""
SCAN = """local names = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
return {names, #names > 0 and redis.call('HMGET', KEYS[1], unpack(names)) or {}}"""


class RedisStorage:
    def __init__(self, client, prefix):
        self._client, self._open = client, True
        self._keys = [prefix + b":values", prefix + b":names"]  # a hash; a sorted set for the order

    async def get(self, key):
        return await self._run(self._client.hget(self._keys[0], key))

    async def put(self, changes):
        check_changes(changes)
        arguments = [a for k, v in changes.items() for a in ("" if v is None else "set", k, v or b"")]
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # once sent it happens: wait until it has
            await self._run(self._client.eval(PUT, self._keys, arguments))

    async def scan(self, prefix, *, after=b"", limit=1000):
        start = b"(" + after if after >= prefix and after else b"[" + prefix
        names, values = await self._run(self._client.eval(SCAN, self._keys, [start, limit]))
        return [entry for entry in zip(names, values, strict=True) if entry[0].startswith(prefix)]

    async def aclose(self):
        self._open = False

    async def _run(self, command):
        if not self._open:
            raise StoreUnavailable("the storage is closed")
        try:
            return await command
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error


@asynccontextmanager
async def open_redis_storage(url, prefix):
    async with coredis.Redis.from_url(url) as client:
        yield RedisStorage(client, prefix)
