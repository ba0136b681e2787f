"""Models of some size between whole processes, killed and limited as in the full-size runs of tests/soak."""

from __future__ import annotations

from pathlib import Path

import pytest
from transfers import pull_across_a_kill

pytestmark = pytest.mark.timeout(300)

MIB = 1 << 20


def test_a_killed_pull_fetches_under_2_percent_again(tmp_path: Path) -> None:
    shares = pull_across_a_kill(tmp_path, 256 * MIB)
    assert shares["kept"] >= 0.6
    assert shares["again"] < 0.02
