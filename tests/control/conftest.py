"""A control server in front of a fake node, and raw connections to it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from control_lab import ControlLab, open_lab
from fake_node import FakeNode


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ControlLab]:
    with trio.fail_after(60):
        async with open_lab(FakeNode(), tmp_path) as opened:
            yield opened
