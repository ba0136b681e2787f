from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from peers import build_peers


@pytest.fixture(scope="session")
def built_peers() -> None:
    """The go and js peers, built once a run. Run peers/build.sh first: a cold build takes minutes."""
    build_peers()
