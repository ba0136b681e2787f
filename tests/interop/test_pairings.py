"""Four pairings of implementations, at a size for every day; all of them are in tests/soak."""

from __future__ import annotations

import pytest
from pairing import Kind, PairingSizes, run_pairing

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

SIZES = PairingSizes(bulk_bytes=64 << 20, calls=1000, streams=1000)


@pytest.mark.parametrize(
    ("dialer", "listener"),
    [
        ("ours", "go"),
        ("js", "ours without extensions"),
        ("ours", "stock"),
        ("stock", "ours"),
    ],
)
async def test_a_pairing_stands_everything(dialer: Kind, listener: Kind) -> None:
    await run_pairing(dialer, listener, SIZES)
