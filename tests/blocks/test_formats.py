"""Blocks, dag-pb nodes and UnixFS data: what is right comes back, what is wrong is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht.blocks import unixfs
from primedht.blocks.block import make_block, matches, verified_block
from primedht.blocks.dagpb import Link, decode_node, encode_node
from primedht.blocks.directories import DirectoryTree, check_name
from primedht.blocks.importer import import_symlink, root_of
from primedht.blocks.profiles import PROFILES
from primedht.cids import DAG_PB, IDENTITY, LIBP2P_KEY, RAW, Cid
from primedht.errors import InvalidArgument, InvalidDag, Unsupported
from primedht.limits import BLOCK_BYTES_MAX, DIRECTORY_DEPTH_MAX, FILE_NAME_BYTES_MAX

CID = Cid.of(b"x")
PART = root_of(import_symlink("target", PROFILES["ipfs-v1"]))


@given(data=st.binary(max_size=100), codec=st.sampled_from([RAW, DAG_PB, LIBP2P_KEY]))
def test_a_cid_comes_back_from_text_and_from_bytes(data: bytes, codec: int) -> None:
    cid = Cid.of(data, codec)
    assert Cid.from_text(str(cid)) == cid == Cid.from_bytes(bytes(cid))
    v0 = Cid.of(data, DAG_PB, version=0)
    assert Cid.from_text(str(v0)) == v0 == Cid.from_bytes(bytes(v0))
    assert v0.as_v1() == Cid.of(data, DAG_PB)
    assert matches(cid, data)
    assert not matches(cid, data + b"x")


def test_bytes_that_are_not_of_the_cid_are_no_block() -> None:
    assert verified_block(CID, b"x").data == b"x"
    assert verified_block(Cid(1, RAW, bytes((IDENTITY, 1)) + b"i"), b"i").data == b"i"
    with pytest.raises(InvalidArgument, match="not those of"):
        verified_block(CID, b"y")
    with pytest.raises(Unsupported, match="0x1e"):
        verified_block(Cid(1, RAW, b"\x1e\x20" + bytes(32)), b"x")
    for make in (make_block, lambda data: verified_block(Cid.of(data), data)):
        with pytest.raises(InvalidArgument, match="2097153 bytes"):
            make(bytes(BLOCK_BYTES_MAX + 1))


@given(
    links=st.lists(st.builds(Link, st.just(CID), st.integers(0, 2**64 - 1), st.text(max_size=9))),
    data=st.binary(max_size=99),
)
def test_a_node_comes_back(links: list[Link], data: bytes) -> None:
    node = decode_node(encode_node(links, data))
    assert (list(node.links), node.data) == (links, data)


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_node_or_refused(raw: bytes) -> None:
    try:
        unixfs.decode(decode_node(raw).data)
    except InvalidDag:
        return


@pytest.mark.parametrize("raw", [b"\xff", b"\x12\x02\x0a\x00", b"\x12\x05\x0a\x01\x00\x12\x00"])
def test_what_is_no_node_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDag):
        decode_node(raw)


@pytest.mark.parametrize("raw", [b"", b"\x08\x09", b"\x12\x01x", b"\xff"])
def test_what_is_no_unixfs_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDag):
        unixfs.decode(raw)


@pytest.mark.parametrize("content", [b"", b"x", bytes(127), bytes(128), bytes(300_000)])
def test_a_leaf_is_read_back(content: bytes) -> None:
    node = decode_node(unixfs.leaf_node(content))
    assert node.links == ()
    leaf = unixfs.decode(node.data)
    assert (leaf.kind, leaf.content, leaf.size_bytes) == (unixfs.Kind.FILE, content, len(content))


def test_an_inner_node_is_read_back() -> None:
    node = unixfs.decode(unixfs.file_data([3, 4]))
    assert (node.kind, node.size_bytes, node.part_bytes) == (unixfs.Kind.FILE, 7, (3, 4))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "nul\x00", "x" * (FILE_NAME_BYTES_MAX + 1), "é" * 128, "\udcff"]
)
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_name(name)


@pytest.mark.parametrize("path", ["../x", "a/../x", "/etc/passwd", "a//b", "a/", "a/./b"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        DirectoryTree(PROFILES["ipfs-v1"]).add(path, PART)


def test_a_path_is_taken_once_and_not_below_a_file() -> None:
    tree = DirectoryTree(PROFILES["ipfs-v1"])
    tree.add("a/b", PART)
    tree.add_directory("a")
    with pytest.raises(InvalidArgument, match="twice"):
        tree.add("a/b", PART)
    with pytest.raises(InvalidArgument, match="below a file"):
        tree.add("a/b/c", PART)
    with pytest.raises(InvalidArgument, match="directories deep"):
        tree.add("/".join("d" * (DIRECTORY_DEPTH_MAX + 1)), PART)
