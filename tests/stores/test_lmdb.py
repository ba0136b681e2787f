"""The LMDB store: durable when acknowledged, growing by itself, clear about damage and full disks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import tracemalloc

import pytest
import trio

from primedht import limits
from primedht.errors import StoreCorrupt, StoreFull, StoreUnavailable
from primedht.stores.lmdb import open_lmdb

WRITER = """
import sys, trio
from primedht.stores.lmdb import open_lmdb

async def write(kv, worker, start):
    for i in range(start, start + 100_000):
        key = b"%d/%06d" % (worker, i)
        await kv.put({key: key * 20, b"last/%d" % worker: key})
        print("ack", key.decode(), flush=True)

async def main(path, start):
    async with open_lmdb(path, map_bytes=1 << 18) as kv, trio.open_nursery() as nursery:
        for worker in range(4):
            nursery.start_soon(write, kv, worker, start)

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""

FULL_DISK = """
import resource, sys, trio
from primedht.errors import StoreFull
from primedht.stores.lmdb import open_lmdb

async def main(path):
    async with open_lmdb(path, map_bytes=1 << 20) as kv:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))
        written = 0
        try:
            for i in range(1000):
                await kv.put({b"%04d" % i: bytes(10_000)})
                written += 1
        except StoreFull as error:
            print("full:", error)
        assert 50 < written < 300, written
        assert len(await kv.scan(b"")) == written
        async with trio.open_nursery() as nursery:
            async def small(i):
                try:
                    await kv.put({b"%04d" % i: None})
                except StoreFull:
                    pass
            for i in range(20):
                nursery.start_soon(small, i)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await kv.put({b"after": bytes(100_000)})
        assert await kv.get(b"after") == bytes(100_000)
    print("usable again")

trio.run(main, sys.argv[1])
"""


def acknowledged_until_killed(path, start: int, lines: int) -> list[bytes]:
    """Run the writers, kill them after `lines` lines, and return all that they said was stored."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(start)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line[4:-1] for line in said if line.startswith(b"ack ") and line.endswith(b"\n")]


async def test_everything_acknowledged_survives_kill_9(tmp_path) -> None:
    """Extra: kill -9 during write. Four writers share commits, and the map grows meanwhile."""
    rng = random.Random(1)
    acknowledged: list[bytes] = []
    for start in range(0, 5_000_000, 1_000_000):
        acknowledged += acknowledged_until_killed(tmp_path / "s", start, rng.randrange(1, 400))
        async with open_lmdb(tmp_path / "s") as kv:
            for key in acknowledged:
                assert await kv.get(key) == key * 20
            for worker in range(4):  # the two changes of a put are there together
                last = await kv.get(b"last/%d" % worker)
                entries = await kv.scan(b"%d/" % worker, limit=100_000)
                assert last == (entries[-1][0] if entries else None)
    assert len(acknowledged) > 100


async def test_puts_that_wait_together_share_a_commit(tmp_path) -> None:
    """Group commit: a thousand concurrent puts take a handful of transactions."""
    async with open_lmdb(tmp_path / "s") as kv:
        before = kv._env.info()["last_txnid"]
        async with trio.open_nursery() as nursery:
            for i in range(1000):
                nursery.start_soon(kv.put, {b"%d" % i: b"x"})
        assert kv._env.info()["last_txnid"] - before < 500
        assert len(await kv.scan(b"", limit=2000)) == 1000


async def test_the_map_grows_by_itself_under_readers(tmp_path) -> None:
    async with open_lmdb(tmp_path / "s", map_bytes=1 << 17) as kv:
        await kv.put({b"fixed": b"value"})

        async def read(cancel_scope: trio.CancelScope) -> None:
            while not cancel_scope.cancel_called:
                assert await kv.get(b"fixed") == b"value"
                assert (await kv.scan(b"fixed"))[0][1] == b"value"

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read, nursery.cancel_scope)
            async with trio.open_nursery() as writers:
                for i in range(200):
                    writers.start_soon(kv.put, {b"%d" % i: bytes(50_000)})
            nursery.cancel_scope.cancel()
        assert kv._env.info()["map_size"] >= 200 * 50_000
        assert len(await kv.scan(b"")) == 201
    async with open_lmdb(tmp_path / "s", map_bytes=1 << 17) as kv:  # a smaller start does not matter
        assert len(await kv.scan(b"")) == 201
        await kv.put({b"more": bytes(500_000)})


async def test_a_put_larger_than_the_map_fits(tmp_path) -> None:
    async with open_lmdb(tmp_path / "s", map_bytes=1 << 17) as kv:
        await kv.put({b"%d" % i: bytes(limits.STORE_VALUE_BYTES_MAX) for i in range(20)})
        assert len(await kv.scan(b"")) == 20


async def test_the_map_has_an_upper_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "LMDB_MAP_BYTES_MAX", 1 << 20)
    async with open_lmdb(tmp_path / "s", map_bytes=1 << 19) as kv:
        await kv.put({b"small": b"x"})
        with pytest.raises(StoreFull):
            await kv.put({b"%d" % i: bytes(100_000) for i in range(20)})
        assert await kv.scan(b"") == [(b"small", b"x")]
        outcomes: list[str] = []

        async def offer(key: bytes, size: int) -> None:
            try:
                await kv.put({key: bytes(size)})
                outcomes.append("stored")
            except StoreFull:
                outcomes.append("full")

        async with trio.open_nursery() as nursery:  # what fits is not refused because of what does not
            nursery.start_soon(offer, b"fits", 10)
            nursery.start_soon(offer, b"huge", limits.STORE_VALUE_BYTES_MAX)
            nursery.start_soon(offer, b"fits too", 10)
        assert sorted(outcomes) == ["full", "stored", "stored"]


def test_a_full_disk_refuses_and_recovers(tmp_path) -> None:
    """A process's file size limit stands in for the disk: what was stored stays, nothing is half-written."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "s")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "full: no room on the disk" in done.stdout
    assert "usable again" in done.stdout


async def test_a_cancelled_put_is_finished_first(tmp_path) -> None:
    """A put that has begun is settled when its caller is let go."""
    async with open_lmdb(tmp_path / "s") as kv:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kv.put, {b"a": b"1", b"b": b"2"})
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert len(await kv.scan(b"")) in (0, 2)


async def test_closing_commits_what_is_on_its_way(tmp_path) -> None:
    outcomes = []

    async def offer(kv, i: int) -> None:
        try:
            await kv.put({b"%d" % i: b"x"})
            outcomes.append(i)
        except StoreUnavailable:
            return

    async with trio.open_nursery() as nursery, open_lmdb(tmp_path / "s") as kv:
        for i in range(100):
            nursery.start_soon(offer, kv, i)
        while not outcomes:
            await trio.lowlevel.checkpoint()
    async with open_lmdb(tmp_path / "s") as kv:
        held = {int(key) for key, _ in await kv.scan(b"")}
        assert held == set(outcomes)


async def test_the_writer_thread_ends_with_the_store(tmp_path) -> None:
    async with open_lmdb(tmp_path / "s"):
        assert "lmdb-writer" in {thread.name for thread in threading.enumerate()}
    assert "lmdb-writer" not in {thread.name for thread in threading.enumerate()}


async def test_files_are_private(tmp_path) -> None:
    async with open_lmdb(tmp_path / "deep" / "s") as kv:
        await kv.put({b"k": b"v"})
    assert (tmp_path / "deep" / "s").stat().st_mode & 0o077 == 0
    assert (tmp_path / "deep" / "s" / "data.mdb").stat().st_mode & 0o077 == 0


async def filled(path) -> None:
    async with open_lmdb(path) as kv:
        await kv.put({b"%d" % i: bytes(10_000) for i in range(100)})


async def test_garbage_in_place_of_the_database_is_named_as_damage(tmp_path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreCorrupt, match="restore it from a copy"):
        async with open_lmdb(tmp_path / "s"):
            pass
    assert (tmp_path / "s" / "data.mdb").read_bytes().startswith(b"not a")


async def test_a_file_cut_short_is_named_as_damage(tmp_path) -> None:
    """Reading beyond its end would kill the process with SIGBUS."""
    await filled(tmp_path / "s")
    with (tmp_path / "s" / "data.mdb").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(StoreCorrupt, match="cut short"):
        async with open_lmdb(tmp_path / "s"):
            pass


async def test_a_path_that_cannot_be_used_is_unavailable(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        async with open_lmdb(tmp_path / "file"):
            pass


async def test_opening_twice_is_refused(tmp_path) -> None:
    async with open_lmdb(tmp_path / "s"):
        with pytest.raises(StoreUnavailable):
            async with open_lmdb(tmp_path / "s"):
                pass


async def test_memory_does_not_grow_with_what_was_written(tmp_path) -> None:
    async with open_lmdb(tmp_path / "s") as kv:
        await kv.put({b"warm": b"up"})
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for i in range(50):
                await kv.put({b"%d" % i: bytes(100_000)})
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 500_000
