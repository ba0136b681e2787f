"""The Redis store against a real server: what it insists on, and what it does when the server is away."""

from __future__ import annotations

import os
import signal

import pytest
import trio
from redis_server import running_redis_server

from primedht import limits
from primedht.errors import ConfigInvalid, StoreFull, StoreNotDurable, StoreUnavailable
from primedht.stores.redis import open_redis


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(limits, "REDIS_RETRY_S", 0.01)


@pytest.fixture
def own_server(tmp_path):
    with running_redis_server(tmp_path) as server:
        yield server


async def until_usable(kv) -> None:
    with trio.fail_after(30):
        while True:
            try:
                await kv.get(b"k")
                return
            except StoreUnavailable:
                await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"appendfsync": "everysec"}, "appendfsync always"),
        ({"appendonly": "no"}, "appendonly yes"),
        ({"maxmemory-policy": "allkeys-lru"}, "noeviction"),
    ],
)
async def test_a_server_that_may_lose_data_is_refused_unless_that_is_agreed_to(
    tmp_path, options, advice
) -> None:
    with running_redis_server(tmp_path, **options) as server:
        with pytest.raises(StoreNotDurable, match=advice):
            async with open_redis(server.url, prefix=b"p"):
                pass
        async with open_redis(server.url, prefix=b"p", durable=False) as kv:
            assert kv.durable is False
            await kv.put({b"k": b"v"})
            assert await kv.get(b"k") == b"v"


async def test_nodes_do_not_see_each_other(redis_server) -> None:
    async with (
        open_redis(redis_server.url, prefix=b"one") as one,
        open_redis(redis_server.url, prefix=b"two") as two,
    ):
        assert one.durable
        await one.put({b"k": b"1"})
        await two.put({b"k": b"2"})
        assert (await one.get(b"k"), await two.get(b"k")) == (b"1", b"2")
        assert await one.scan(b"") == [(b"k", b"1")]


async def test_it_recovers_when_the_server_comes_back(own_server) -> None:
    """What was acknowledged is there; calls meanwhile fail clearly, however many they are."""
    async with open_redis(own_server.url, prefix=b"p") as kv:
        for _ in range(2):
            await kv.put({b"before": b"1"})
            own_server.kill()
            for _ in range(150):
                with pytest.raises(StoreUnavailable):
                    await kv.put({b"never": b"1"})
                with pytest.raises(StoreUnavailable):
                    await kv.get(b"before")
            own_server.start()
            await until_usable(kv)
            assert await kv.scan(b"") == [(b"before", b"1")]


async def test_kill_9_of_the_server_loses_nothing_acknowledged(own_server) -> None:
    acknowledged: set[bytes] = set()

    async def write(worker: int) -> None:
        for i in range(100_000):
            key = b"%d-%d" % (worker, i)
            try:
                await kv.put({key: key})
            except StoreUnavailable:
                return
            acknowledged.add(key)
            if len(acknowledged) == 500:
                own_server.kill()

    async with open_redis(own_server.url, prefix=b"p") as kv:
        async with trio.open_nursery() as nursery:
            for worker in range(5):
                nursery.start_soon(write, worker)
        own_server.start()
        await until_usable(kv)
        held = {key for key, _ in await kv.scan(b"", limit=10_000)}
        assert acknowledged <= held
        assert len(held) <= len(acknowledged) + 5  # one each whose answer was lost


async def test_a_server_that_hangs_is_given_up_and_its_put_never_lands_later(own_server, monkeypatch) -> None:
    """The lost put was sent to a stopped server; once that goes on, it finds its epoch over."""
    async with open_redis(own_server.url, prefix=b"p") as kv:
        await kv.put({b"k": b"old"})
        monkeypatch.setattr(limits, "REDIS_TIMEOUT_S", 0.2)
        own_server.send(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                await kv.put({b"k": b"lost"})
        finally:
            own_server.send(signal.SIGCONT)
        await until_usable(kv)
        seen = await kv.get(b"k")
        await kv.put({b"k": b"new"})
        assert seen in (b"old", b"lost")
        assert await kv.get(b"k") == b"new"


async def test_a_second_opener_ends_the_first_ones_use(redis_server) -> None:
    """Two nodes on one prefix would overwrite each other's records."""
    async with open_redis(redis_server.url, prefix=b"same") as first:
        await first.put({b"k": b"1"})
        async with open_redis(redis_server.url, prefix=b"same") as second:
            assert await second.get(b"k") == b"1"
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="another node"):
                    await first.put({b"k": b"2"})
            await second.put({b"k": b"3"})


async def test_a_full_server_is_a_full_store(own_server) -> None:
    async with open_redis(own_server.url, prefix=b"p") as kv:
        await kv.put({b"k": b"v"})
        assert own_server.command("CONFIG", "SET", "maxmemory", "1kb").startswith(b"+OK")
        with pytest.raises(StoreFull):
            await kv.put({b"k": None, b"one more": bytes(100_000)})
        assert await kv.get(b"k") == b"v"  # the refused put's deletion has not happened either
        assert own_server.command("CONFIG", "SET", "maxmemory", "0").startswith(b"+OK")
        await kv.put({b"later": bytes(100_000)})


async def test_a_server_that_is_not_there_is_unavailable(tmp_path) -> None:
    for url in (f"unix://{tmp_path}/none", "redis://127.0.0.1:1"):
        with pytest.raises(StoreUnavailable, match="Redis server"):
            async with open_redis(url, prefix=b"p"):
                pass


async def test_passwords_are_not_shown(own_server) -> None:
    assert own_server.command("CONFIG", "SET", "requirepass", "right").startswith(b"+OK")
    wrong = own_server.url.replace("unix://", "unix://:hunter2@")
    with pytest.raises(StoreUnavailable) as caught:
        async with open_redis(wrong, prefix=b"p"):
            pass
    assert "hunter2" not in str(caught.value)
    async with open_redis(own_server.url.replace("unix://", "unix://:right@"), prefix=b"p") as kv:
        await kv.put({b"k": b"v"})


@pytest.mark.parametrize("url", ["", "http://localhost", "not a url", "redis://localhost:port"])
async def test_a_malformed_url_is_a_configuration_error(url) -> None:
    with pytest.raises(ConfigInvalid):
        async with open_redis(url, prefix=b"p"):
            pass


async def test_puts_are_pipelined(redis_server) -> None:
    """Concurrent puts share the connection and the server's syncs: nobody waits for his turn."""
    async with open_redis(redis_server.url, prefix=os.urandom(8)) as kv:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for i in range(2000):
                    nursery.start_soon(kv.put, {b"%d" % i: b"x"})
        assert len(await kv.scan(b"", limit=5000)) == 2000
