from __future__ import annotations

import pytest
from peers import build_peers


@pytest.fixture(scope="session")
def built_peers() -> None:
    """The go and js peers, built once a run. Run peers/build.sh first: a cold build takes minutes."""
    build_peers()
