"""Files of 200 MB between us and helia, as those of 64 MB in tests/interop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from report import Report

sys.path.append(str(Path(__file__).parents[1] / "interop"))  # behind our own conftest

from peers import build_peers
from test_interop_bitswap import add, fetch, open_two, write_noise

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SIZE_BYTES = 200_000_000


@pytest.fixture(scope="module", autouse=True)
def built_peers() -> None:
    """The go and js peers."""
    build_peers()


@pytest.mark.parametrize("who_holds", ["ours", "theirs"])
async def test_helia_and_we_fetch_from_each_other(who_holds: str, tmp_path: Path, report: Report) -> None:
    file = tmp_path / "noise", write_noise(tmp_path / "noise", SIZE_BYTES)
    async with open_two("js", tmp_path / "ours") as (ours, helia):
        holder, reader = (ours, helia) if who_holds == "ours" else (helia, ours)
        took_s = await fetch(reader, await add(holder, file), file)
        report.add("blocks", **{f"helia_{who_holds}_holds_mb_per_s": SIZE_BYTES / took_s / 1e6})
