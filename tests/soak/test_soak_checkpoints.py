"""Checkpoints of full size between whole processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint_wire import publish_and_load_two_steps
from conftest import Sizes
from report import Report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def test_a_second_step_moves_only_what_changed_on_the_wire(
    tmp_path: Path, report: Report, sizes: Sizes
) -> None:
    """One layer of 24 changed: under 6 % of the TCP bytes between two daemons."""
    moved = publish_and_load_two_steps(tmp_path, sizes.model_mb << 20)
    share = moved["second_bytes"] / moved["first_bytes"]
    report.add(f"two checkpoints of {sizes.model_mb} MiB, one layer of 24 changed", **moved, share=share)
    assert moved["first_bytes"] > moved["state_bytes"], "all of it went through the proxies"
    assert share < 0.06
