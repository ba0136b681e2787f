"""Hostile bytes: hypothesis and a coverage-guided fuzzer (atheris) on everything that reads a peer's.

Each core, Noise and Yamux, gets a minute of atheris here; hypothesis takes a sixth of that there, and
atheris for each decoder. `make soak` takes ten times that. Where atheris cannot be installed hypothesis is
what remains.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import CORES, DECODERS
from fuzzing import fuzz_all, is_atheris_here

SECONDS = 60.0

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(900)]
needs_atheris = pytest.mark.skipif(
    not is_atheris_here(), reason="atheris has no wheel for this Python or machine"
)


@needs_atheris
async def test_atheris_finds_nothing_in_noise_and_yamux(tmp_path: Path) -> None:
    await fuzz_all("atheris", CORES, SECONDS, tmp_path)


@needs_atheris
async def test_atheris_finds_nothing_in_the_decoders(tmp_path: Path) -> None:
    await fuzz_all("atheris", DECODERS, SECONDS / 6, tmp_path)


async def test_hypothesis_finds_nothing_in_noise_and_yamux(tmp_path: Path) -> None:
    await fuzz_all("hypothesis", CORES, SECONDS / 6, tmp_path)


@pytest.mark.parametrize("engine", [pytest.param("atheris", marks=needs_atheris), "hypothesis"])
async def test_a_fault_is_found(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fuzzer's failure is the test's: here keys of nine bytes are made to fail."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import primedht.kad.codec as codec\n"
        "decode = codec.decode\n"
        "def checked(data):\n"
        "    message = decode(data)\n"
        "    assert len(message.key) != 9, 'nine'\n"
        "    return message\n"
        "codec.decode = checked\n",
        "utf-8",
    )
    with pytest.raises(AssertionError, match="nine"):
        await fuzz_all(engine, {"kad": DECODERS["kad"]}, 20, tmp_path)
