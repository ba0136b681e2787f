"""Coverage-guided fuzzing at full length: ten minutes for each core, two for each decoder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import Sizes
from report import Report

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))  # behind our own conftest

from fuzz_targets import CORES, DECODERS
from fuzzing import fuzz_all, is_atheris_here

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not is_atheris_here(), reason="atheris has no wheel for this Python or machine"),
]


@pytest.mark.parametrize(("what", "targets", "share"), [("cores", CORES, 1.0), ("decoders", DECODERS, 0.2)])
async def test_atheris_finds_nothing(
    what: str, targets: dict[str, object], share: float, report: Report, sizes: Sizes, tmp_path: Path
) -> None:
    seconds = sizes.fuzz_s * share
    runs = await fuzz_all("atheris", targets, seconds, tmp_path)
    report.add(
        f"fuzzing: {what}, {seconds:g} s each, nothing found",
        **{f"inputs tried on {target}": count for target, count in sorted(runs.items())},
    )
