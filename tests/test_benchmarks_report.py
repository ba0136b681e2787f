"""docs/benchmarks.md is what `make bench` writes from the figures beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_document_is_made_of_the_figures(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/report.py"), str(ROOT / "docs/benchmarks")]
    subprocess.run([*command, "--docs", str(tmp_path)], check=True, timeout=100)
    written = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert written == (ROOT / "docs/benchmarks.md").read_text("utf-8")
    charts = {path.name for path in (tmp_path / "benchmarks").glob("*.svg")}
    assert charts == {path.name for path in (ROOT / "docs/benchmarks").glob("*.svg")}
    assert all(f"benchmarks/{chart}" in written for chart in charts)
