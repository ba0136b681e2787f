"""Hostile bytes: hypothesis and a coverage-guided fuzzer (atheris) on everything that reads a peer's.

`FUZZ_SECONDS` is how long atheris works on each core, Noise and Yamux; hypothesis takes a sixth of that
there, and atheris for each decoder. Two programs run at a time. Where atheris cannot be installed
hypothesis is what remains.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from fuzz_targets import CORES, DECODERS

SECONDS = float(os.environ.get("FUZZ_SECONDS", 60))
PROGRAM = Path(__file__).with_name("fuzz.py")
AT_ONCE = 2
START_S = 120.0  # importing with instrumentation, on a busy machine

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(6 * SECONDS + 4 * START_S)]
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine"
)


def saved_inputs(corpus: Path) -> list[str]:
    """Return the inputs that libFuzzer saved because they failed."""
    return [f"{path.name}: {path.read_bytes().hex()}" for path in corpus.parent.glob(f"{corpus.name}-*")]


@dataclass
class Findings:
    """What the programs of one test said that failed."""

    said: list[str] = field(default_factory=list)

    async def fuzz(self, engine: str, target: str, seconds: float, folder: Path) -> None:
        corpus = folder / f"{engine}-{target}"
        command = [sys.executable, str(PROGRAM), engine, target, str(seconds), str(corpus)]
        with trio.fail_after(seconds + START_S):
            done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            tail = done.stdout.decode("utf-8", "replace").splitlines()[-40:]
            self.said.append("\n".join([f"{engine} {target}:", *tail, *saved_inputs(corpus)]))


async def fuzz_all(engine: str, targets: dict[str, object], seconds: float, folder: Path) -> None:
    """Fuzz each of `targets` for `seconds`."""
    findings, places = Findings(), trio.CapacityLimiter(AT_ONCE)

    async def one(target: str) -> None:
        async with places:
            await findings.fuzz(engine, target, seconds, folder)

    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(one, target)
    assert not findings.said, "\n\n".join(findings.said)


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
