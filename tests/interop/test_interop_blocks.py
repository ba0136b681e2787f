"""CIDs and files against boxo, the library under kubo's `ipfs add` and `ipfs cat`."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from pathlib import Path

import pytest
from block_content import CHUNK_BYTES, KIB, content, make_tree
from peers.driver import HERE

from primedht.blocks.balanced import Part
from primedht.blocks.importer import import_path, root_of
from primedht.blocks.profiles import PROFILES

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("built_peers"), pytest.mark.timeout(900)]


def _boxo(*arguments: object) -> bytes:
    done = subprocess.run([HERE / ".build/boxoadd", *map(str, arguments)], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _write_blocks(path: Path, profile: str, folder: Path) -> Part:
    """Write each block of a file to a file that is called after its CID."""
    folder.mkdir()
    importing = import_path(path, PROFILES[profile])
    while True:
        try:
            block = next(importing).block
        except StopIteration as end:
            part: Part = end.value
            return part
        (folder / str(block.cid)).write_bytes(block.data)


def _safetensors() -> bytes:
    table, tensors = {}, b""
    for name, size in (("embed", 3 << 20), ("norm", 1536), ("head", 700_001), ("empty", 0)):
        table[name] = {"dtype": "U8", "shape": [size], "data_offsets": [len(tensors), len(tensors) + size]}
        tensors += content(name, size)
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + tensors


@pytest.mark.parametrize("profile", CHUNK_BYTES)
def test_any_files_and_directories_have_the_cids_of_boxo(profile: str, tmp_path: Path) -> None:
    rng = random.Random(profile)
    make_tree(tmp_path / "tree")
    for index in range(12):
        size = rng.choice([rng.randrange(100), rng.randrange(20 * CHUNK_BYTES[profile])])
        (tmp_path / "tree" / f"random-{index}").write_bytes(content(f"{index}", size))
    paths = [tmp_path / "tree", *sorted((tmp_path / "tree").glob("random-*"))]
    cids = _boxo("--profile", profile, *paths).decode().split()
    assert cids == [str(root_of(import_path(path, PROFILES[profile])).cid) for path in paths]


@pytest.mark.parametrize("profile", PROFILES)
def test_boxo_reads_what_we_cut(profile: str, tmp_path: Path) -> None:
    for name, data in (("model", _safetensors()), ("odd", content("odd", 700 * KIB + 1)), ("none", b"")):
        path = tmp_path / name
        path.write_bytes(data)
        part = _write_blocks(path, profile, tmp_path / f"{name}-blocks")
        assert _boxo("--read", tmp_path / f"{name}-blocks", part.cid) == data
