"""Files of 200 MB between us and the daemon that most of IPFS runs: `ipfs`, kubo's, on disk at both ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from report import Report

sys.path.append(str(Path(__file__).parents[1] / "interop"))  # behind our own conftest

from kubo import LAN, open_kubo
from ours import open_ours
from peers import connect
from peers.driver import HERE
from test_interop_bitswap import File, add, fetch, write_noise

from primedht.cids import Cid

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SIZE_BYTES = 200_000_000


@pytest.fixture(scope="module", autouse=True)
def built_kubo() -> None:
    """kubo, built: some three minutes of CPU the first time."""
    done = subprocess.run([HERE / "build.sh", "kubo"], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    if not (HERE / ".build/ipfs").exists():
        pytest.skip("no go toolchain for kubo")


def noise_file(path: Path, seed: int) -> File:
    return path, write_noise(path, SIZE_BYTES + seed)


async def test_kubo_and_we_fetch_from_each_other(tmp_path: Path, report: Report) -> None:
    """Connected, each way in both profiles; kubo from kubo beside it."""
    files = [noise_file(tmp_path / str(number), number) for number in range(3)]
    async with (
        open_ours(prefix=LAN, data_dir=tmp_path / "ours") as ours,
        open_kubo(tmp_path / "kubo") as kubo,
        open_kubo(tmp_path / "more") as more,
    ):
        await connect(kubo, ours)  # type: ignore[arg-type]
        await connect(kubo, more)  # type: ignore[arg-type]
        for holder, reader, file in ((ours, kubo, files[0]), (kubo, ours, files[1]), (kubo, more, files[2])):
            for profile in ("unixfs-v1-2025", "ipfs-v0"):
                took_s = await fetch(reader, await add(holder, file, profile), file)
                name = f"{reader.kind}_from_{holder.kind}_{profile.replace('-', '_')}_mb_per_s"
                report.add("blocks", **{name: SIZE_BYTES / took_s / 1e6})


@pytest.mark.parametrize("who_holds", ["ours", "kubo"])
async def test_provider_records_alone_lead_to_kubo_and_back(who_holds: str, tmp_path: Path) -> None:
    """Both know a third node only. kubo cannot be a client of its LAN DHT, so ours is."""
    file = noise_file(tmp_path / "noise", 4)
    async with (
        open_ours(prefix=LAN) as third,
        open_ours(prefix=LAN, mode="client", data_dir=tmp_path / "ours") as ours,
        open_kubo(tmp_path / "kubo") as kubo,
    ):
        await connect(kubo, third)  # type: ignore[arg-type]
        holder, reader = (ours, kubo) if who_holds == "ours" else (kubo, ours)
        cid = await add(holder, file)
        if who_holds == "kubo":
            await kubo.call("provide", cid=cid)
        await connect(ours, third)  # type: ignore[arg-type]
        if who_holds == "ours":
            await ours.call("provide", multihash=Cid.from_bytes(cid).multihash)
        await fetch(reader, cid, file)
