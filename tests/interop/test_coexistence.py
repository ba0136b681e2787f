"""PrimeDHT beside other people's libp2p software in one process.

protobuf keeps one registry of messages per process: two packages that register the same name or file
cannot be imported together. Ours are all under `primedht`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

OTHERS = ("p2pclient==0.3.0", "hivemind==1.1.12")
OURS = """
import primedht.client, primedht.errors
from primedht.pb import kad_pb2, keys_pb2, p2pd_pb2, record_pb2, store_pb2
"""
BESIDE = {
    "libp2p": "import primedht; primedht.open_node; import libp2p, libp2p.kad_dht, libp2p.bitswap",
    "p2pclient": "import p2pclient.pb.p2pd_pb2, p2pclient.libp2p_stubs.crypto.pb.crypto_pb2",
    # hivemind's package itself needs torch; its messages are what could collide.
    "hivemind": """
import importlib.util, pathlib, sys
folder = pathlib.Path(next(p for p in sys.path if (pathlib.Path(p) / "hivemind").is_dir())) / "hivemind/proto"
names = sorted(path.stem for path in folder.glob("*_pb2.py"))
assert "p2pd_pb2" in names and "dht_pb2" in names
sys.path.insert(0, str(folder))
package = importlib.util.module_from_spec(importlib.util.spec_from_loader("hivemind.proto", None))
package.__path__ = [str(folder)]
sys.modules["hivemind"] = sys.modules["hivemind.proto"] = package
for name in names:
    importlib.import_module(f"hivemind.proto.{name}")
""",
}


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other projects' packages, without what they depend on, in a folder of their own."""
    folder = tmp_path_factory.mktemp("others")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", str(folder), *OTHERS], check=True, timeout=240)
    return folder


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
@pytest.mark.parametrize("name", BESIDE)
def test_both_can_be_imported(name: str, ours_first: bool, others: Path) -> None:
    program = OURS + BESIDE[name] if ours_first else BESIDE[name] + OURS
    environ = os.environ | {"PYTHONPATH": str(others)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
