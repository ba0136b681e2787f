"""A model of full size that outlives the process that pushed it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Sizes
from durable_models import push_kill_and_pull
from report import Report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


async def test_a_model_survives_the_node_that_pushed_it(tmp_path: Path, report: Report, sizes: Sizes) -> None:
    took = await push_kill_and_pull(tmp_path, sizes.model_mb << 20)
    report.add(
        f"a model of {sizes.model_mb} MiB, pushed on one of five nodes, killed, and pulled on another",
        **{f"{what}_s": seconds for what, seconds in took.items()},
    )
