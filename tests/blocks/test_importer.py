"""CIDs equal those of boxo and kubo (tests/golden/blocks); imports stream; bad input is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from block_content import (
    CHUNK_BYTES,
    KIB,
    MIB,
    Stream,
    content,
    edge_sizes,
    make_kubo_directory,
    make_tree,
    make_wide,
)
from hypothesis import given
from hypothesis import strategies as st

from primedht.blocks.balanced import Blocks, Part
from primedht.blocks.dagpb import decode_node
from primedht.blocks.importer import import_file, import_path, root_of
from primedht.blocks.profiles import PROFILES, Profile, profile_named
from primedht.cids import DAG_PB
from primedht.errors import InvalidArgument

GOLDEN = json.loads((Path(__file__).parent.parent / "golden/blocks/cids.json").read_text("utf-8"))
WIDE_FILES = 8000
EDGES = [(profile, name) for profile in CHUNK_BYTES for name in edge_sizes(profile)]
TINY = Profile("tiny", 1, 4, 3, raw_leaves=True, shard_by="block")


def _root(seed: str, size: int, profile: str) -> str:
    return str(root_of(import_file(Stream(seed, size), PROFILES[profile])).cid)


def _run(blocks: Blocks) -> tuple[Part, dict[bytes, bytes]]:
    stored = {}
    while True:
        try:
            block = next(blocks).block
        except StopIteration as end:
            return end.value, stored
        stored[block.cid.multihash] = block.data


@pytest.mark.parametrize(("profile", "name"), EDGES)
def test_cids_of_every_edge_size_are_those_of_boxo(profile: str, name: str) -> None:
    assert _root(name, edge_sizes(profile)[name], profile) == GOLDEN[profile][name]


@pytest.mark.parametrize(
    ("profile", "seed", "size", "cid"),
    [  # kubo, test/cli/cid_profiles_test.go
        ("ipfs-v0", "v0-seed", 174 * 256 * KIB, "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
        ("ipfs-v0", "v0-seed", 175 * 256 * KIB, "QmepeWtdmS1hHXx1oZXsPUv6bMrfRRKfZcoPPU4eEfjnbf"),
    ],
)
def test_cids_are_those_of_kubo(profile: str, seed: str, size: int, cid: str) -> None:
    assert _root(seed, size, profile) == cid


@pytest.mark.parametrize(
    ("profile", "cid"),
    [  # kubo, as above
        ("ipfs-v0", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        ("unixfs-v1-2025", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
    ],
)
def test_hello_world_has_the_cid_of_kubo(profile: str, cid: str) -> None:
    assert str(root_of(import_file(io.BytesIO(b"hello world"), PROFILES[profile])).cid) == cid


@pytest.mark.parametrize(
    ("size", "cid"),
    [  # zeros
        (256 * KIB + 1, "bafybeigllfqgfpqydppr6cmv56g7ax4wyhruzswvcefv6j5kj77nzttfki"),
        (45_613_057, "bafybeihqwzd3o6q6v3pmwhzjy22vokhr767burokmqemg63hptx2nqd7ym"),
    ],
)
def test_cids_of_zeros_are_those_of_another_calculator(size: int, cid: str) -> None:
    assert str(root_of(import_file(io.BytesIO(bytes(size)), PROFILES["ipfs-v1"])).cid) == cid


@pytest.mark.parametrize("profile", CHUNK_BYTES)
def test_cids_of_directories_are_those_of_boxo(profile: str, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    assert str(root_of(import_path(tmp_path / "tree", PROFILES[profile])).cid) == GOLDEN[profile]["tree"]


def test_cids_of_sharded_directories_are_those_of_boxo(tmp_path: Path) -> None:
    make_wide(tmp_path / "wide", WIDE_FILES)
    for profile in CHUNK_BYTES:
        assert str(root_of(import_path(tmp_path / "wide", PROFILES[profile])).cid) == GOLDEN[profile]["wide"]


@pytest.mark.parametrize(
    ("profile", "seed", "files", "chars", "last_chars", "cid"),
    [  # kubo, test/cli/cid_profiles_test.go: at the threshold, and one byte over it
        ("ipfs-v0", "hamt-unixfs-v0-2015", 4096, 30, 30, "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN"),
        ("ipfs-v0", "hamt-unixfs-v0-2015", 4033, 31, 31, "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP"),
        (
            "unixfs-v1-2025", "hamt-unixfs-v1-2025", 4766, 11, 21,
            "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4",
        ),
        (
            "unixfs-v1-2025", "hamt-unixfs-v1-2025", 4766, 11, 22,
            "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu",
        ),
    ],
)  # fmt: skip
def test_directories_become_hamts_at_the_same_size_as_in_kubo(
    profile: str, seed: str, files: int, chars: int, last_chars: int, cid: str, tmp_path: Path
) -> None:
    make_kubo_directory(tmp_path / "files", seed, files, chars, last_chars)
    assert str(root_of(import_path(tmp_path / "files", PROFILES[profile])).cid) == cid


def test_sizes_of_the_part_count_every_block(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    part, stored = _run(import_path(tmp_path / "tree", PROFILES["unixfs-v1-2025"]))
    assert part.content_bytes == sum(
        path.stat().st_size
        for path in (tmp_path / "tree").rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    root = decode_node(stored[part.cid.multihash])
    assert part.dag_bytes == len(stored[part.cid.multihash]) + sum(link.tsize for link in root.links)


@given(leaves=st.integers(1, 200))
def test_all_leaves_are_equally_deep_and_in_order(leaves: int) -> None:
    data = content("leaves", leaves * TINY.chunk_bytes)
    part, stored = _run(import_file(io.BytesIO(data), TINY))
    depths: set[int] = set()
    seen = []

    def visit(multihash: bytes, codec: int, depth: int) -> None:
        if codec != DAG_PB:
            depths.add(depth)
            seen.append(stored[multihash])
            return
        links = decode_node(stored[multihash]).links
        assert len(links) <= TINY.links_max
        for link in links:
            visit(link.cid.multihash, link.cid.codec, depth + 1)

    visit(part.cid.multihash, part.cid.codec, 0)
    assert len(depths) == 1
    assert b"".join(seen) == data


def test_a_file_of_any_size_needs_little_memory() -> None:
    def peak(size: int) -> int:
        tracemalloc.start()
        root_of(import_file(Stream("memory", size), PROFILES["ipfs-v0"]))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(64 * MIB) < peak(8 * MIB) + MIB


def test_short_reads_change_nothing() -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 1000))

    data = content("dribble", 300 * KIB)
    for profile in PROFILES.values():
        whole = root_of(import_file(io.BytesIO(data), profile))
        assert root_of(import_file(Dribble(data), profile)) == whole


def test_hidden_files_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    profile = PROFILES["unixfs-v1-2025"]
    without = root_of(import_path(tmp_path, profile))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"secret")
    assert root_of(import_path(tmp_path, profile)) == without
    assert root_of(import_path(tmp_path, profile, hidden=True)) != without


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgument, match="pipe"):
        root_of(import_path(tmp_path, PROFILES["ipfs-v1"]))
    with pytest.raises(FileNotFoundError):
        root_of(import_path(tmp_path / "nothing", PROFILES["ipfs-v1"]))
    with pytest.raises(InvalidArgument, match="ipfs-v0"):
        profile_named("ipfs-v2")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "\udcff").write_bytes(b"")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        root_of(import_path(tmp_path, PROFILES["ipfs-v1"]))


def test_raw_leaves_are_named_by_the_plain_hash() -> None:
    part = root_of(import_file(io.BytesIO(b"x"), PROFILES["unixfs-v1-2025"]))
    assert part.cid.digest == hashlib.sha256(b"x").digest()


def test_a_link_to_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    os.symlink(b"\xff", os.fsencode(tmp_path / "link"))
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        root_of(import_path(tmp_path, PROFILES["unixfs-v1-2025"]))
