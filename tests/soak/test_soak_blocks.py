"""Files of full size: their CIDs, against what boxo and kubo call them, and how fast they are told."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from block_content import CHUNK_BYTES, MIB, Stream
from processes import primedht
from report import Report

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


@pytest.mark.parametrize("profile", CHUNK_BYTES)
def test_only_hash_reaches_55_percent_of_bare_sha256(profile: str, tmp_path: Path, report: Report) -> None:
    """`primedht add --only-hash` of a GiB, start included, and hashlib on the same file: best of 5 each."""
    path = tmp_path / "noise"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(16 * MIB))
    bare_s, ours_s = [], []
    for _ in range(5):
        started = time.monotonic()
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        bare_s.append(time.monotonic() - started)
        started = time.monotonic()
        assert primedht("add", "--only-hash", "--quiet", "--profile", profile, path).returncode == 0
        ours_s.append(time.monotonic() - started)
    share = min(bare_s) / min(ours_s)
    name = profile.replace("-", "_")
    report.add(
        "add --only-hash of a GiB",
        **{f"{name}_of_bare_sha256": share, f"{name}_mb_per_s": 1024 * MIB / min(ours_s) / 1e6},
    )
    assert share >= 0.55
