"""Both clients: values that come from files and go to files, and what interrupts them."""

import hashlib
import io
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fake_node import LARGE_PIECE
from processes import fake_daemon

from primedht import errors, limits
from primedht.client import AsyncClient, Client, Progress

DATA = hashlib.shake_256(b"seed").digest(1_000_003)


class Blocking:
    """`Client` and, behind the same calls, `AsyncClient` on one of its event loops."""

    def __init__(self, control: str, backend: str) -> None:
        self._control = control
        self._backend = backend
        self._blocking = Client(control) if backend == "blocking" else None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._blocking is not None:
            return getattr(self._blocking, name)

        def call(*args: object, **options: object) -> object:
            async def main() -> object:
                with anyio.fail_after(60):
                    async with AsyncClient(self._control) as client:
                        return await getattr(client, name)(*args, **options)

            return anyio.run(main, backend=self._backend)

        return call


@pytest.fixture(params=["blocking", "trio", "asyncio"])
def client(request: pytest.FixtureRequest, control: str) -> Any:
    return Blocking(control, request.param)


def stored(client: Any, key: str) -> bytes:
    return client.get(key)


def expected(data: bytes) -> bytes:
    """What the fake node keeps of a large value."""
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()


# --- puts --------------------------------------------------------------------------------------------


def test_a_file_is_put(client: Any, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    seen: list[Progress] = []
    result = client.put("large", tmp_path / "in", progress=seen.append, want_trace=True)
    assert result.key == b"large"
    assert result.trace is not None
    assert stored(client, "large") == expected(DATA)
    assert seen[0] == Progress("transfer", 0, len(DATA))
    assert Progress("transfer", len(DATA), len(DATA)) in seen
    assert [each.done_bytes for each in seen] == sorted(each.done_bytes for each in seen)


def test_an_open_file_is_put_from_where_it_stands(client: Any, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    with (tmp_path / "in").open("rb") as stream:
        stream.seek(1000)
        client.put("large", stream)
        assert not stream.closed
    assert stored(client, "large") == expected(DATA[1000:])
    client.put("large", io.BytesIO(b""))
    assert stored(client, "large") == expected(b"")


def test_a_pipe_is_put_though_its_size_is_unknown(client: Any) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as stream:
            stream.write(DATA)

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[Progress] = []
    with os.fdopen(reading, "rb") as stream:
        client.put("large", stream, progress=seen.append)
    writer.join()
    assert stored(client, "large") == expected(DATA)
    assert seen[0] == Progress("transfer", 0, None)


def test_bytes_of_any_size_and_kind_are_put(client: Any) -> None:
    for data in (DATA, bytearray(DATA), memoryview(DATA)):
        client.put("large", data)
        assert stored(client, "large") == expected(DATA)
    client.put("small", bytearray(b"v"), once=True)
    assert stored(client, "small") == b"v"


def test_a_value_that_is_too_large_is_refused_before_it_is_read(client: Any, tmp_path: Path) -> None:
    with (tmp_path / "in").open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(errors.ValueTooLarge, match=r"records\.inline_bytes_max"):
        client.put("k", tmp_path / "in")
    with pytest.raises(errors.ValueTooLarge), (tmp_path / "in").open("rb") as stream:
        client.put("k", io.BufferedReader(_NotSeekable(stream)))


class _NotSeekable(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)


def test_a_device_is_read_as_a_pipe_whatever_its_end_says(client: Any) -> None:
    with pytest.raises(errors.ValueTooLarge):
        client.put("endless", Path("/dev/zero"))
    client.put("empty", Path("/dev/null"))
    assert client.get("empty") == b""


def test_a_file_that_cannot_be_read(client: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="absent: No such file or directory; check the path"):
        client.put("large", tmp_path / "absent")
    (tmp_path / "text").write_text("text")
    with pytest.raises(TypeError, match="binary mode"), (tmp_path / "text").open() as stream:
        client.put("large", stream)
    with pytest.raises(TypeError, match="not int"):
        client.put("large", 5)
    assert client.identify(), "a connection in the middle of a put is not used again"


def test_a_file_that_shrinks_is_not_put(client: Any) -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 10)) if self.tell() < 50 else b""

    client.put("small", b"before")
    with pytest.raises(errors.InvalidArgument, match="50 bytes of a value that was announced with 100"):
        client.put("small", Shrinking(bytes(100)))
    assert stored(client, "small") == b"before"


def test_a_progress_that_fails_ends_the_put(client: Any) -> None:
    def fail(progress: Progress) -> None:
        if progress.done_bytes > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.put("large", io.BytesIO(DATA), progress=fail)
    assert client.identify()


# --- gets --------------------------------------------------------------------------------------------


def large(size: int) -> bytes:
    return (LARGE_PIECE * (size // len(LARGE_PIECE) + 1))[:size]


def test_a_value_goes_to_a_file(client: Any, tmp_path: Path) -> None:
    seen: list[Progress] = []
    out = tmp_path / "out"
    assert client.get("large/1000003", to=out, progress=seen.append) == 1_000_003
    assert out.read_bytes() == large(1_000_003)
    assert (seen[0], seen[-1]) == (
        Progress("transfer", 0, 1_000_003),
        Progress("transfer", 1_000_003, 1_000_003),
    )
    assert client.get("large/7", to=str(out)) == 7
    assert out.read_bytes() == large(7)
    assert os.listdir(tmp_path) == ["out"]


def test_a_value_goes_to_an_open_file(client: Any) -> None:
    stream = io.BytesIO()
    stream.write(b"before ")
    assert client.get("large/1000003", to=stream) == 1_000_003
    assert stream.getvalue() == b"before " + large(1_000_003)


def test_what_is_known_of_a_value_comes_beside_its_file(client: Any, tmp_path: Path) -> None:
    found, size = client.get_to("large/1000003", tmp_path / "out")
    assert (found.key, found.payload, size) == (b"large/1000003", b"", 1_000_003)
    assert (tmp_path / "out").stat().st_size == size
    with pytest.raises(errors.ValueNotFound):
        client.get_to("absent", tmp_path / "other")
    assert os.listdir(tmp_path) == ["out"]


def test_without_a_value_the_file_stays_as_it_was(client: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert client.get("absent", to=out) is None
    assert os.listdir(tmp_path) == []
    out.write_bytes(b"old")
    assert client.get("absent", to=out) is None
    with pytest.raises(errors.PeerUnreachable):
        client.get("broken/10000000", to=out)
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_that_cannot_be_written(client: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="choose another path"):
        client.get("large/7", to=tmp_path / "absent" / "out")
    with pytest.raises(errors.DiskFull):
        client.get("large/7", to="/dev/full")
    assert client.identify()


def test_a_progress_that_fails_ends_the_get(client: Any, tmp_path: Path) -> None:
    def fail(progress: Progress) -> None:
        if progress.done_bytes > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.get("large/10000000", to=tmp_path / "out", progress=fail)
    assert os.listdir(tmp_path) == []
    assert client.identify()


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_cancelled_get_leaves_no_part(backend: str, control: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(control) as client:
            with anyio.CancelScope() as scope:
                await client.get(
                    "large/1000000000", to=tmp_path / "out",
                    progress=lambda progress: scope.cancel() if progress.done_bytes > 500_000 else None,
                )  # fmt: skip
            assert scope.cancelled_caught
            assert os.listdir(tmp_path) == []
            assert await client.identify()

    anyio.run(main, backend=backend)


# --- interruptions -----------------------------------------------------------------------------------


@pytest.fixture(params=["blocking", "trio", "asyncio"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, AbstractContextManager[Any]]:
    control = f"/unix{tmp_path}/c.sock"
    return Blocking(control, request.param), fake_daemon(control)


def test_a_daemon_killed_in_mid_transfer_leaves_no_part(fresh: Any, tmp_path: Path) -> None:
    client, running = fresh
    out = tmp_path / "out"
    with running as daemon:

        def kill(progress: Progress) -> None:
            if progress.done_bytes > 10 * limits.CONTROL_CHUNK_BYTES:
                daemon.kill()
                daemon.wait()

        with pytest.raises(errors.DaemonUnavailable):
            client.get("large/1000000000", to=out, progress=kill)
    assert not out.exists()
    assert {name for name in os.listdir(tmp_path) if name != "c.sock"} == set()


def test_a_daemon_killed_while_it_is_given_a_value(fresh: Any) -> None:
    client, running = fresh
    with running as daemon:

        def kill(progress: Progress) -> None:
            if progress.done_bytes > 10 * limits.CONTROL_CHUNK_BYTES:
                daemon.kill()
                daemon.wait()

        with pytest.raises(errors.DaemonUnavailable):
            client.put("large", io.BytesIO(bytes(1 << 24)), progress=kill)


def test_a_stale_connection_is_replaced_before_a_transfer(tmp_path: Path) -> None:
    control = f"/unix{tmp_path}/c.sock"
    with fake_daemon(control):
        client = Client(control)
        client.identify()
    with fake_daemon(control):
        client.put("large", io.BytesIO(DATA))
        assert client.get("large") == expected(DATA)
    with fake_daemon(control):
        assert client.get("large/9", to=tmp_path / "out") == 9


def test_memory_does_not_grow_with_the_value(tmp_path: Path) -> None:
    size = 128 << 20
    with (tmp_path / "in").open("wb") as sparse:
        sparse.truncate(size)
    with fake_daemon(f"/unix{tmp_path}/c.sock") as daemon:
        client = Client(f"/unix{tmp_path}/c.sock")
        client.put("large", io.BytesIO(DATA))
        before = peak_kib(daemon.pid), peak_kib(os.getpid())
        client.put("large", tmp_path / "in")
        assert client.get(f"large/{size}", to=tmp_path / "out") == size
        after = peak_kib(daemon.pid), peak_kib(os.getpid())
    assert max(b - a for a, b in zip(before, after, strict=True)) < 16 << 10


def peak_kib(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
