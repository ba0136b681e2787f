"""CIDs of files at full size, against what boxo and kubo call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from block_content import CHUNK_BYTES, MIB, Stream

from primedht.blocks.importer import import_file, root_of
from primedht.blocks.profiles import PROFILES

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/blocks/cids.json").read_text("utf-8"))


@pytest.mark.parametrize("profile", CHUNK_BYTES)
def test_a_gib_and_a_byte_has_the_cid_of_boxo(profile: str) -> None:
    part = root_of(import_file(Stream("1 GiB+1", (1 << 30) + 1), PROFILES[profile]))
    assert str(part.cid) == GOLDEN[profile]["1 GiB+1"]


@pytest.mark.parametrize(
    ("chunks", "cid"),
    [  # kubo, test/cli/cid_profiles_test.go: as many links as a node may have, and one more
        (1024, "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"),
        (1025, "bafybeihmzokxxjqwxjcryerhp5ezpcog2wcawfryb2xm64xiakgm4a5jue"),
    ],
)
def test_a_gib_has_the_cid_of_kubo(chunks: int, cid: str) -> None:
    part = root_of(import_file(Stream("v1-2025-seed", chunks * MIB), PROFILES["unixfs-v1-2025"]))
    assert str(part.cid) == cid
