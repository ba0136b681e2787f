"""Runs fuzz.py, a program of its own, two at a time, and gathers what it found."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trio

PROGRAM = Path(__file__).with_name("fuzz.py")
AT_ONCE = 2
START_S = 120.0  # importing with instrumentation, on a busy machine
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def is_atheris_here() -> bool:
    return importlib.util.find_spec("atheris") is not None


def saved_inputs(corpus: Path) -> list[str]:
    """Return the inputs that libFuzzer saved because they failed."""
    return [f"{path.name}: {path.read_bytes().hex()}" for path in corpus.parent.glob(f"{corpus.name}-*")]


@dataclass
class Findings:
    """What the programs of one test said that failed, and how many inputs libFuzzer tried."""

    said: list[str] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)

    async def fuzz(self, engine: str, target: str, seconds: float, folder: Path) -> None:
        corpus = folder / f"{engine}-{target}"
        command = [sys.executable, str(PROGRAM), engine, target, str(seconds), str(corpus)]
        with trio.fail_after(seconds + START_S):
            done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
        said = done.stdout.decode("utf-8", "replace")
        if (runs := _RUNS.search(said)) is not None:
            self.runs[target] = int(runs[1])
        if done.returncode:
            tail = said.splitlines()[-40:]
            self.said.append("\n".join([f"{engine} {target}:", *tail, *saved_inputs(corpus)]))


async def fuzz_all(engine: str, targets: Iterable[str], seconds: float, folder: Path) -> dict[str, int]:
    """Fuzz each of `targets` for `seconds`; return how many inputs libFuzzer tried."""
    findings, places = Findings(), trio.CapacityLimiter(AT_ONCE)

    async def one(target: str) -> None:
        async with places:
            await findings.fuzz(engine, target, seconds, folder)

    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(one, target)
    assert not findings.said, "\n\n".join(findings.said)
    return findings.runs
