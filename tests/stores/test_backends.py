"""From a backend's name in the configuration to an open store."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest

from primedht.errors import ConfigInvalid
from primedht.stores import backends
from primedht.stores.backends import open_backend
from primedht.stores.lmdb import LmdbKeyValue
from primedht.stores.memory import MemoryKeyValue


@pytest.fixture
def third_party(monkeypatch):
    """A package with two entry points of ours, one of which is broken."""
    module = ModuleType("third_party_storage")
    module.opened = []

    @asynccontextmanager
    async def open_storage(url, prefix):
        module.opened.append((url, prefix))
        yield MemoryKeyValue()

    module.open_storage = open_storage
    monkeypatch.setitem(sys.modules, module.__name__, module)
    installed = EntryPoints(
        [
            EntryPoint("theirs", f"{module.__name__}:open_storage", backends.ENTRY_POINTS),
            EntryPoint("broken", f"{module.__name__}:missing", backends.ENTRY_POINTS),
        ]
    )
    monkeypatch.setattr(backends, "entry_points", lambda **params: installed.select(**params))
    return module


async def opened(name, path=None, url=None):
    async with open_backend(name, path=path, url=url, prefix=b"node", durable=True) as store:
        await store.put({b"k": b"v"})
        assert await store.get(b"k") == b"v"
        return store


async def test_our_own_backends_open_by_name(tmp_path) -> None:
    assert isinstance(await opened("memory"), MemoryKeyValue)
    assert isinstance(await opened("lmdb", path=tmp_path / "s"), LmdbKeyValue)


async def test_an_entry_point_of_a_third_party_opens_by_name(third_party) -> None:
    await opened("theirs", url="their://place")
    assert third_party.opened == [("their://place", b"node")]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unheard-of", "unknown"),
        ("broken", "does not load"),
        ("lmdb", "data directory"),
        ("redis", "redis://"),
    ],
)
async def test_what_cannot_be_opened_says_what_to_do(third_party, name, says) -> None:
    with pytest.raises(ConfigInvalid, match=says):
        await opened(name)


async def test_redis_without_its_package_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    monkeypatch.delitem(sys.modules, "primedht.stores.redis", raising=False)
    with pytest.raises(ConfigInvalid, match=r"pip install primedht\[redis\]"):
        await opened("redis", url="redis://localhost")
