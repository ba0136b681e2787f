"""Every implementation with every other, as dialer and as listener, at full size."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import pytest
from conftest import Sizes
from report import Report

sys.path.append(str(Path(__file__).parents[1] / "interop"))  # behind our own conftest

from pairing import KINDS, Kind, PairingSizes, run_pairing
from peers import build_peers

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

STREAMS = 1000
WITHOUT: Kind = "ours without extensions"
PAIRINGS = [
    *product(KINDS, KINDS),
    *((WITHOUT, kind) for kind in KINDS),
    *((kind, WITHOUT) for kind in KINDS),
]


@pytest.fixture(scope="module")
def built() -> None:
    build_peers()


@pytest.mark.parametrize(("dialer", "listener"), PAIRINGS)
@pytest.mark.usefixtures("built")
async def test_a_pairing_stands_everything(
    dialer: Kind, listener: Kind, report: Report, sizes: Sizes
) -> None:
    pairing = PairingSizes(sizes.bulk_mb * 1_000_000, sizes.calls, STREAMS)
    took_s = await run_pairing(dialer, listener, pairing, timeout_s=1200)
    half = sizes.calls / 2
    figures = (
        f"{sizes.bulk_mb / took_s['bulk_s']:.0f} MB/s, "
        f"{half / took_s['calls_reused_s']:.0f} calls/s on reused and "
        f"{half / took_s['calls_new_s']:.0f} on new streams"
    )
    scenario = f"pairings: {sizes.bulk_mb} MB there and back, {sizes.calls} calls, {STREAMS} streams at once"
    report.add(scenario, **{f"{dialer} dials {listener}": figures})
