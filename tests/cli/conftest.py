import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from processes import fake_daemon


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The control address of a daemon with a fake node."""
    address = f"/unix{tmp_path_factory.mktemp('daemon')}/c.sock"
    with fake_daemon(address):
        yield address
