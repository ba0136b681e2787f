"""Every backend that the contract suite runs on, each as `open_store()`: a context manager of a `KeyValue`.

A third party's backend joins by one more entry in `BACKENDS`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from redis_server import running_redis_server

from primedht.stores.kv import KeyValue
from primedht.stores.lmdb import open_lmdb
from primedht.stores.memory import MemoryKeyValue
from primedht.stores.redis import open_redis

OpenStore = Callable[[], AbstractAsyncContextManager[KeyValue]]

EXAMPLE = Path(__file__).parents[2] / "examples" / "redis_storage.py"
BACKENDS = ("memory", "lmdb", "redis", "redis-example")
DURABLE = ("lmdb", "redis", "redis-example")
OURS = ("memory", "lmdb", "redis")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A real server that syncs every write, on a Unix socket of its own."""
    with running_redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@asynccontextmanager
async def open_memory():
    store = MemoryKeyValue()
    yield store
    await store.aclose()


def example_module():
    spec = importlib.util.spec_from_file_location("redis_storage", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opener(backend: str, request: pytest.FixtureRequest) -> OpenStore:
    if backend == "memory":
        return open_memory
    if backend == "lmdb":
        path = request.getfixturevalue("tmp_path") / "store"
        return lambda: open_lmdb(path, map_bytes=1 << 20)
    server = request.getfixturevalue("redis_server")
    prefix = request.node.nodeid.encode()
    if backend == "redis":
        return lambda: open_redis(server.url, prefix=prefix)
    return lambda: example_module().open_redis_storage(server.url, prefix=prefix)


@pytest.fixture(params=BACKENDS)
def open_store(request) -> OpenStore:
    return opener(request.param, request)


@pytest.fixture(params=DURABLE)
def open_durable_store(request) -> OpenStore:
    return opener(request.param, request)


@pytest.fixture(params=OURS)
def open_own_store(request) -> OpenStore:
    return opener(request.param, request)


@pytest.fixture
async def store(open_store):
    async with open_store() as opened:
        yield opened
