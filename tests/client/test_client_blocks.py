"""Both clients against the blocks of a node: files go in as descriptors or in pieces, and come out whole."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))

from block_content import content, make_tree
from control_lab import LOOPBACK, ControlLab, RawClient, open_lab, until
from fake_node import FakeNode

from primedht import limits
from primedht.blocks import unixfs
from primedht.blocks.block import make_block
from primedht.blocks.blocks import open_blocks
from primedht.blocks.dagpb import Link, encode_node
from primedht.blocks.importer import import_path, root_of
from primedht.blocks.profiles import PROFILES
from primedht.cids import DAG_PB, Cid
from primedht.client import AsyncClient, Client
from primedht.clock import SystemClock
from primedht.control_addr import ControlAddr
from primedht.errors import (
    BlockNotFound,
    FileChanged,
    InvalidArgument,
    InvalidDag,
    NotPermitted,
    StoreFull,
    Unsupported,
)
from primedht.pb import p2pd_pb2 as pb
from primedht.stores.memory import MemoryKeyValue
from primedht.wire.frames import encode_frame

DATA = content("data", 3_000_000)
V1 = PROFILES["unixfs-v1-2025"]


class BlocksNode(FakeNode):
    blocks: Any


async def _lab(folder: Path, addr: ControlAddr | None, *, trusted: bool = True) -> AsyncIterator[ControlLab]:
    node = BlocksNode()
    with trio.fail_after(60):
        async with open_blocks(MemoryKeyValue(), SystemClock(), bytes_max=20_000_000) as blocks:
            node.blocks = blocks
            async with open_lab(node, folder, addr=addr, tcp_trusted=trusted) as lab:
                yield lab


@pytest.fixture(params=["unix", "tcp"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlLab]:
    async for each in _lab(tmp_path, LOOPBACK if request.param == "tcp" else None):
        yield each


@pytest.fixture
async def unix_lab(tmp_path: Path) -> AsyncIterator[ControlLab]:
    async for each in _lab(tmp_path, None):
        yield each


def blocks_of(lab: ControlLab) -> Any:
    return cast("BlocksNode", lab.node).blocks


async def connect(lab: ControlLab) -> RawClient:
    return RawClient(await lab._connect())


async def ask(lab: ControlLab, work: Callable[[Client], Any]) -> Any:
    """Let the blocking client do something in a thread of its own."""

    def run() -> Any:
        with Client(str(lab.addr)) as client:
            return work(client)

    return await trio.to_thread.run_sync(run)


# --- in and out -----------------------------------------------------------------------------------


async def test_a_file_goes_in_and_comes_out(lab: ControlLab, tmp_path: Path) -> None:
    file, out = tmp_path / "file", tmp_path / "out"
    file.write_bytes(DATA)
    added = await ask(lab, lambda client: client.add(file, name="mine"))
    assert added.cid == root_of(import_path(file, V1)).cid
    assert added.content_bytes == len(DATA)
    assert await ask(lab, lambda client: b"".join(client.cat(added.cid))) == DATA
    ranged = await ask(lab, lambda client: b"".join(client.cat(str(added.cid), offset=5, length=7)))
    assert ranged == DATA[5:12]
    assert await ask(lab, lambda client: client.fetch(bytes(added.cid), out)) == len(DATA)
    assert out.read_bytes() == DATA
    (pin,) = await ask(lab, lambda client: client.pins())
    assert (pin.cid, pin.name, pin.recursive, pin.expires_unix_s) == (added.cid, "mine", True, None)
    stat = await ask(lab, lambda client: client.stat(added.cid))
    assert (stat.bytes, stat.missing, stat.pins) == (added.dag_bytes, 0, (pin,))


async def test_a_directory_goes_in_and_comes_out(lab: ControlLab, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    seen: list[str] = []
    added = await ask(
        lab, lambda client: client.add(tmp_path / "tree", on_added=lambda path, _: seen.append(path))
    )
    assert added.cid == root_of(import_path(tmp_path / "tree", V1)).cid
    assert "b/deep/er/file" in seen
    names = [entry.name for entry in await ask(lab, lambda client: client.list_directory(added.cid, "b"))]
    assert names == ["c.bin", "deep", "empty.bin", "link"]
    await ask(lab, lambda client: client.fetch(added.cid, tmp_path / "again"))
    assert root_of(import_path(tmp_path / "again", V1)).cid == added.cid
    await ask(lab, lambda client: client.fetch(added.cid, tmp_path / "one", path="b/c.bin"))
    assert (tmp_path / "one").read_bytes() == content("b/c.bin", 300 << 10)
    with pytest.raises(InvalidArgument, match="exists"):
        await ask(lab, lambda client: client.fetch(added.cid, tmp_path / "again"))


@pytest.mark.parametrize("source", [b"", b"bytes" * 100_000, "stream"])
async def test_bytes_and_streams_go_in(lab: ControlLab, source: bytes | str) -> None:
    data = DATA if isinstance(source, str) else source
    given: Any = io.BytesIO(data) if isinstance(source, str) else source
    added = await ask(lab, lambda client: client.add(given, profile="ipfs-v0"))
    assert await ask(lab, lambda client: b"".join(client.cat(added.cid))) == data


async def test_an_empty_directory_goes_in(lab: ControlLab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    added = await ask(lab, lambda client: client.add(tmp_path / "empty", profile="ipfs-v0"))
    assert str(added.cid) == "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"  # kubo's empty directory
    assert await ask(lab, lambda client: client.list_directory(added.cid)) == []


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
async def test_the_asynchronous_client_does_the_same(lab: ControlLab, backend: str, tmp_path: Path) -> None:
    file, out = tmp_path / "file", tmp_path / "out"
    file.write_bytes(DATA)

    async def main() -> None:
        async with AsyncClient(str(lab.addr)) as client:
            added = await client.add(file)
            assert b"".join([piece async for piece in client.cat(added.cid)]) == DATA
            assert await client.fetch(added.cid, out) == len(DATA)
            assert [pin.cid for pin in await client.pins()] == [added.cid]
            assert await client.unpin(added.cid) == 1
            assert (await client.collect()).bytes == added.dag_bytes
            block = await client.put_block(b"block")
            assert await client.get_block(block) == b"block"
            with pytest.raises(InvalidArgument):
                await client.add(tmp_path / "none")

    await trio.to_thread.run_sync(lambda: anyio.run(main, backend=backend))
    assert out.read_bytes() == DATA


async def test_pins_and_collection(lab: ControlLab, tmp_path: Path) -> None:
    first = await ask(lab, lambda client: client.add(b"a" * 100_000))
    loose = await ask(lab, lambda client: client.add(b"b" * 100_000, pin=False))
    await ask(lab, lambda client: client.pin(first.cid, name="x", ttl=60, announce=False))
    assert len(await ask(lab, lambda client: client.pins())) == 2
    done = await ask(lab, lambda client: client.collect())
    assert (done.blocks, done.broken) == (1, ())
    with pytest.raises(BlockNotFound):
        await ask(lab, lambda client: client.get_block(loose.cid))
    assert await ask(lab, lambda client: client.unpin(first.cid, name="x")) == 1
    assert (await ask(lab, lambda client: client.collect())).blocks == 0
    assert await ask(lab, lambda client: client.unpin(first.cid)) == 1
    assert (await ask(lab, lambda client: client.collect())).blocks == 1


async def test_blocks_go_in_and_come_out(lab: ControlLab) -> None:
    cid = await ask(lab, lambda client: client.put_block(b"block", codec=DAG_PB))
    assert cid == Cid.of(b"block", DAG_PB)
    assert await ask(lab, lambda client: client.get_block(cid)) == b"block"
    with pytest.raises(Unsupported):
        await ask(lab, lambda client: client.put_block(b"x", codec=0x0129))
    with pytest.raises(InvalidArgument, match="at most 2097152"):
        await ask(lab, lambda client: client.put_block(bytes(limits.BLOCK_BYTES_MAX + 1)))
    assert len(await ask(lab, lambda client: client.get_block(cid))) == 5


# --- what goes wrong ------------------------------------------------------------------------------


async def test_a_quota_leaves_nothing_and_the_daemon_usable(lab: ControlLab, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    (tmp_path / "tree" / "z.bin").write_bytes(content("z", 25_000_000))
    with pytest.raises(StoreFull):
        await ask(lab, lambda client: client.add(tmp_path / "tree"))
    with pytest.raises(StoreFull):
        await ask(lab, lambda client: client.add(io.BytesIO(content("z", 25_000_000))))
    assert blocks_of(lab).store.counts.blocks == 0
    assert (await ask(lab, lambda client: client.add(b"small"))).content_bytes == 5


async def test_what_cannot_be_read_is_a_clear_error(lab: ControlLab, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    for path in ("pipe", "folder", "none"):
        with pytest.raises(InvalidArgument):
            await ask(lab, lambda client, path=path: client.add(tmp_path / path))  # type: ignore[misc]
    with pytest.raises(InvalidArgument, match="no profile"):
        await ask(lab, lambda client: client.add(b"x", profile="none"))
    assert blocks_of(lab).store.counts.blocks == 0


async def test_a_client_that_goes_away_leaves_nothing(lab: ControlLab) -> None:
    raw = await connect(lab)
    assert (await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))).prime.HasField("progress")
    await raw.ask_prime(add_entry=pb.AddEntry(path=b"a", kind=pb.FILE))
    await raw.ask_prime(add_data=pb.AddData(data=bytes(300_000)))
    await raw.stream.aclose()
    await until(lambda: not blocks_of(lab).store._holds)
    assert blocks_of(lab).store.counts.blocks == 0


async def test_clients_that_send_no_more_of_their_files_take_no_thread_from_the_daemon(
    lab: ControlLab,
) -> None:
    async with AsyncExitStack() as clients:
        for _ in range(int(trio.to_thread.current_default_thread_limiter().total_tokens)):
            raw = await connect(lab)
            await clients.enter_async_context(raw.stream)
            await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
            await raw.ask_prime(add_entry=pb.AddEntry(path=b"a", kind=pb.FILE))
        with trio.fail_after(10):
            await trio.to_thread.run_sync(int)
            raw = await connect(lab)
            await clients.enter_async_context(raw.stream)
            await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
            await raw.ask_prime(add_entry=pb.AddEntry(path=b"b", kind=pb.SYMLINK, target=b"a"))
            assert (await raw.ask_prime(add_commit=pb.AddCommit())).prime.added.cid


@pytest.mark.parametrize(
    "steps",
    [
        [{"add_data": pb.AddData(data=b"x")}],
        [{"add_entry": pb.AddEntry(path=b"a", kind=pb.FILE)}, {"add_commit": pb.AddCommit()}],
        [{"add_entry": pb.AddEntry(path=b"a", kind=pb.FILE, descriptor=True)}],
        [{"status": pb.StatusRequest()}],
        [
            {"add_entry": pb.AddEntry(path=b"a", kind=pb.FILE)},
            {"add_data": pb.AddData(data=bytes(limits.CONTROL_CHUNK_BYTES_MAX + 1))},
        ],
    ],
)
async def test_steps_out_of_order_end_the_connection(lab: ControlLab, steps: list[dict[str, Any]]) -> None:
    raw = await connect(lab)
    await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
    responses = [await raw.ask_prime(**step) for step in steps]
    assert responses[-1].error.code == "malformed_request"
    assert await raw.frame() is None
    assert blocks_of(lab).store.counts.blocks == 0


@pytest.mark.parametrize("path", [b"../x", b"/x", b"a//b", b"\xff", b"a/\x00", b"x" * 300])
async def test_paths_that_lead_elsewhere_are_refused(lab: ControlLab, path: bytes) -> None:
    raw = await connect(lab)
    await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
    refused = await raw.ask_prime(add_entry=pb.AddEntry(path=path, kind=pb.SYMLINK, target=b"t"))
    assert refused.error.code == "invalid_argument"
    assert (await raw.ask_prime(status=pb.StatusRequest())).type == pb.Response.OK


async def test_a_step_without_a_beginning_is_refused(lab: ControlLab) -> None:
    raw = await connect(lab)
    response = await raw.ask_prime(add_commit=pb.AddCommit())
    assert response.error.code == "malformed_request"


async def test_over_tcp_nobody_takes_away_what_others_keep(tmp_path: Path) -> None:
    async for lab in _lab(tmp_path, LOOPBACK, trusted=False):
        added = await ask(lab, lambda client: client.add(b"x"))
        with pytest.raises(NotPermitted):
            await ask(lab, lambda client, cid=added.cid: client.unpin(cid))  # type: ignore[misc]
        with pytest.raises(NotPermitted):
            await ask(lab, lambda client: client.collect())


# --- in place -------------------------------------------------------------------------------------


async def test_files_stay_in_place(unix_lab: ControlLab, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    added = await ask(unix_lab, lambda client: client.add(tmp_path / "tree", in_place=True))
    assert added.cid == root_of(import_path(tmp_path / "tree", V1)).cid
    counts = blocks_of(unix_lab).store.counts
    assert counts.referenced_bytes > 300 << 10
    assert counts.bytes_used < 2000
    cat = lambda client: b"".join(client.cat(added.cid, "b/c.bin"))  # noqa: E731
    assert await ask(unix_lab, cat) == content("b/c.bin", 300 << 10)
    (tmp_path / "tree" / "b" / "c.bin").write_bytes(b"changed")
    with pytest.raises(FileChanged):
        await ask(unix_lab, cat)


async def test_in_place_needs_a_path_and_the_unix_socket(lab: ControlLab, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="in_place"):
        await ask(lab, lambda client: client.add(b"x", in_place=True))
    raw = await connect(lab)
    await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
    refused = await raw.ask_prime(
        add_entry=pb.AddEntry(path=b"", kind=pb.FILE, in_place=os.fsencode(tmp_path / "x"))
    )
    assert refused.error.code == "invalid_argument"


async def _send_with_descriptors(raw: RawClient, descriptors: list[int], **operation: object) -> None:
    request = pb.Request(type=pb.Request.PRIME, prime=pb.PrimeRequest(**operation))
    frame = encode_frame(request.SerializeToString())
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(d.to_bytes(4, "little") for d in descriptors))
    sent = await raw.stream.socket.sendmsg([frame], [rights])
    assert sent == len(frame)


async def test_a_path_that_is_not_the_descriptors_file_is_refused(
    unix_lab: ControlLab, tmp_path: Path
) -> None:
    """The daemon reads the path later, by its own rights: the client must have been able to open it."""
    (tmp_path / "mine").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    raw = await connect(unix_lab)
    await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
    descriptor = os.open(tmp_path / "mine", os.O_RDONLY)
    entry = pb.AddEntry(path=b"", kind=pb.FILE, descriptor=True, in_place=os.fsencode(tmp_path / "secret"))
    await _send_with_descriptors(raw, [descriptor], add_entry=entry)
    os.close(descriptor)
    assert "not the file" in (await raw.response()).error.msg


async def test_a_descriptor_that_is_no_file_is_refused(unix_lab: ControlLab, tmp_path: Path) -> None:
    raw = await connect(unix_lab)
    await raw.ask_prime(add_begin=pb.AddBegin(profile="ipfs-v1"))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    entry = pb.AddEntry(path=b"", kind=pb.FILE, descriptor=True)
    await _send_with_descriptors(raw, [descriptor], add_entry=entry)
    os.close(descriptor)
    assert (await raw.response()).error.code == "invalid_argument"


async def test_descriptors_that_nobody_asked_for_are_closed(unix_lab: ControlLab, tmp_path: Path) -> None:
    def open_count() -> int:
        return len(os.listdir("/proc/self/fd"))

    raw = await connect(unix_lab)
    await raw.ask_prime(status=pb.StatusRequest())
    before = open_count()
    mine = [os.open(tmp_path, os.O_RDONLY) for _ in range(3)]
    for _ in range(2):
        await _send_with_descriptors(raw, mine, status=pb.StatusRequest())
    for descriptor in mine:
        os.close(descriptor)
    assert (await raw.response()).type == pb.Response.OK
    assert (await raw.response()).error.code == "malformed_request"
    assert await raw.frame() is None
    await until(lambda: open_count() < before)  # the connection itself is closed as well


# --- DAGs that are made to hurt -------------------------------------------------------------------


async def _planted(lab: ControlLab, links: list[Link], data: bytes) -> Cid:
    leaf = make_block(b"x")
    block = make_block(encode_node(links, data), DAG_PB)
    await blocks_of(lab).store.put([leaf, block])
    return block.cid


async def test_what_would_be_written_elsewhere_is_refused_and_nothing_stays(
    lab: ControlLab, tmp_path: Path
) -> None:
    leaf = make_block(b"x").cid
    work = tmp_path / "work"
    work.mkdir()
    for name in ("..", "../../escape", "/tmp/escape"):
        cid = await _planted(lab, [Link(leaf, 1, "fine"), Link(leaf, 1, name)], unixfs.directory_data())
        with pytest.raises(InvalidDag):
            await ask(lab, lambda client, cid=cid: client.fetch(cid, work / "out"))  # type: ignore[misc]
    for target in ("/etc/passwd", "../x", "a/../../x", "a\x00b", "sub/x"):
        link = await _planted(lab, [], unixfs.symlink_data(target))
        cid = await _planted(lab, [Link(link, 1, "link")], unixfs.directory_data())
        if target == "sub/x":
            await ask(lab, lambda client, cid=cid: client.fetch(cid, work / "plain"))  # type: ignore[misc]
            continue
        with pytest.raises(InvalidDag, match="leads elsewhere"):
            await ask(lab, lambda client, cid=cid: client.fetch(cid, work / "out"))  # type: ignore[misc]
    assert [path.name for path in work.iterdir()] == ["plain"]


async def test_a_claim_of_2_to_the_40_bytes_is_refused_before_it_is_written(
    lab: ControlLab, tmp_path: Path
) -> None:
    leaf = make_block(b"x").cid
    cid = await _planted(lab, [Link(leaf, 1)], unixfs.file_data([1 << 50]))
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(Exception, match="are free; make room"):
        await ask(lab, lambda client: client.fetch(cid, work / "out"))
    small = await _planted(lab, [Link(leaf, 1)], unixfs.file_data([9]))
    with pytest.raises(InvalidDag):
        await ask(lab, lambda client: client.fetch(small, work / "out"))
    assert list(work.iterdir()) == []


async def test_what_is_missing_is_told_before_anything_is_written(lab: ControlLab, tmp_path: Path) -> None:
    absent = Cid.of(hashlib.sha256(b"absent").digest())
    cid = await _planted(
        lab, [Link(make_block(b"x").cid, 1, "a"), Link(absent, 1, "b")], unixfs.directory_data()
    )
    with pytest.raises(BlockNotFound):
        await ask(lab, lambda client: client.fetch(cid, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert (await ask(lab, lambda client: client.stat(cid))).missing == 1
    with pytest.raises(BlockNotFound):
        await ask(lab, lambda client: client.pin(cid))
    assert await ask(lab, lambda client: client.pins()) == []
