"""Files between PrimeDHT and those who made bitswap: go's boxo, which kubo runs on, and helia."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from ours import IPFS, AnyPeer, open_any, open_ours
from peers import connect, in_table

from primedht.cids import Cid

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120), pytest.mark.usefixtures("built_peers")]

Kind = Literal["go", "js"]
File = tuple[Path, str]
"""Its path and its SHA-256."""
FETCH_S = 120
VERSIONS = ("1.2.0", "1.1.0", "1.0.0")
SPEAKS = {"go": [f"--bitswap={version}" for version in VERSIONS], "js": ["--bitswap"]}


def write_noise(path: Path, size_bytes: int) -> str:
    """Write a file of so many bytes and return their SHA-256."""
    noise = random.Random(size_bytes)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size_bytes, 1 << 20):
            piece = noise.randbytes(min(1 << 20, size_bytes - start))
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> File:
    """64 MB."""
    path = tmp_path_factory.mktemp("file") / "noise"
    return path, write_noise(path, 64_000_000)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> File:
    path = tmp_path_factory.mktemp("small") / "noise"
    return path, write_noise(path, 4_000_000)


async def add(holder: AnyPeer, file: File, profile: str = "unixfs-v1-2025") -> bytes:
    """Give the file to `holder` and return its CID."""
    cid: bytes = (await holder.call("add_file", path=str(file[0]), profile=profile))["cid"]
    return cid


async def fetch(reader: AnyPeer, cid: bytes, file: File) -> float:
    """Let `reader` fetch the file from wherever it finds it; return the seconds that it took."""
    path, sha256 = file
    fetched = await reader.call("fetch", cid=cid, timeout_s=FETCH_S)
    assert (fetched["bytes_n"], fetched["sha256"]) == (path.stat().st_size, sha256)
    return float(fetched["seconds"])


@asynccontextmanager
async def open_two(
    kind: Kind, data_dir: Path, *, compression: Literal["none", "zstd"] = "none"
) -> AsyncIterator[tuple[AnyPeer, AnyPeer]]:
    """Ours, on disk, and a peer of `kind`, connected."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(
            open_ours(prefix=IPFS, data_dir=data_dir, compression=compression)
        )
        theirs = await stack.enter_async_context(open_any(kind, prefix=IPFS, options=SPEAKS[kind]))
        await connect(theirs, ours)  # type: ignore[arg-type]
        yield ours, theirs


@pytest.mark.parametrize("kind", ["go", "js"])
async def test_a_connected_peer_fetches_what_only_we_have(kind: Kind, file: File, tmp_path: Path) -> None:
    async with open_two(kind, tmp_path) as (ours, theirs):
        await fetch(theirs, await add(ours, file), file)


@pytest.mark.parametrize("kind", ["go", "js"])
async def test_we_fetch_what_only_a_connected_peer_has(kind: Kind, file: File, tmp_path: Path) -> None:
    async with open_two(kind, tmp_path) as (ours, theirs):
        await fetch(ours, await add(theirs, file), file)


@pytest.mark.parametrize("who_holds", ["ours", "theirs"])
@pytest.mark.parametrize("kind", ["go", "js"])
async def test_holder_and_reader_find_each_other_by_provider_records_alone(
    kind: Kind, who_holds: str, file: File
) -> None:
    """Both are clients of the DHT, whom a third node names to nobody, unless as a provider."""
    async with (
        open_ours(prefix=IPFS) as third,
        open_ours(prefix=IPFS, mode="client") as ours,
        open_any(kind, prefix=IPFS, mode="client", options=SPEAKS[kind]) as theirs,
    ):
        for peer in (ours, theirs):
            await connect(peer, third)  # type: ignore[arg-type]
            await in_table(peer, third)  # type: ignore[arg-type]
        holder, reader = (ours, theirs) if who_holds == "ours" else (theirs, ours)
        cid = await add(holder, file)
        await holder.call("provide", multihash=Cid.from_bytes(cid).multihash)
        assert holder.peer_id not in (await reader.call("peers"))["connected"]
        await fetch(reader, cid, file)
        assert holder.peer_id in (await reader.call("peers"))["connected"]


@pytest.mark.parametrize("version", ["1.1.0", "1.0.0"])
async def test_peers_with_an_older_bitswap(version: str, small_file: File, tmp_path: Path) -> None:
    """1.0.0 sends blocks without their prefix, so only those of version 0 CIDs keep their name."""
    options = [f"--bitswap={version}"]
    async with (
        open_ours(prefix=IPFS, data_dir=tmp_path) as ours,
        open_any("go", prefix=IPFS, options=options) as theirs,
        open_any("go", prefix=IPFS, options=options) as more,
    ):
        for peer in (theirs, more):
            await connect(peer, ours)  # type: ignore[arg-type]
        cid = await add(theirs, small_file, "ipfs-v0")
        await fetch(ours, cid, small_file)
        await theirs.call("disconnect", peer=ours.peer_id)
        await fetch(more, cid, small_file)


@pytest.mark.parametrize("kind", ["go", "js"])
async def test_a_node_that_compresses_blocks_for_its_like_sends_others_what_they_know(
    kind: Kind, tmp_path: Path
) -> None:
    async with open_two(kind, tmp_path / "ours", compression="zstd") as (ours, theirs):
        for number, (holder, reader) in enumerate(((ours, theirs), (theirs, ours))):
            data = b"".join(b"%d: token %d\n" % (number, index) for index in range(150_000))
            file = tmp_path / f"text {number}", hashlib.sha256(data).hexdigest()
            file[0].write_bytes(data)
            await fetch(reader, await add(holder, file), file)
        exchanged = await ours.call("exchanged")
        for way in ("sent", "received"):
            assert exchanged[f"wire_bytes_{way}"] == exchanged[f"bytes_{way}"] > len(data)
