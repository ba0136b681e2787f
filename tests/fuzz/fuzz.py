"""Fuzz one target for some time: `fuzz.py atheris|hypothesis TARGET SECONDS CORPUS`.

A program of its own, because libFuzzer ends its process. Exit status 0 is "nothing found". Each input has a
time limit and the process a memory limit; an input that breaks one, or the target, is printed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import resource
import sys
import time
from pathlib import Path

INPUT_SECONDS_MAX = 10
GROWTH_BYTES_MAX = 256 << 20  # of the process, whatever was fed to it
RSS_MB_MAX = 1024
INPUT_BYTES_MAX = 8192


def run_atheris(name: str, seconds: float, corpus: Path) -> None:
    """Does not return."""
    import atheris

    with atheris.instrument_imports(include=["primedht", "fuzz_targets"]):
        from fuzz_targets import TARGETS
    target = guarded(TARGETS[name])
    write_seeds(name, corpus)
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={math.ceil(seconds)}",  # 0 would be for ever
            f"-timeout={INPUT_SECONDS_MAX}",
            f"-rss_limit_mb={RSS_MB_MAX}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-artifact_prefix={corpus}-",
            "-print_final_stats=1",
            "-close_fd_mask=0",
        ],
        target,
    )
    atheris.Fuzz()


def run_hypothesis(name: str, seconds: float, corpus: Path) -> None:
    from fuzz_seeds import seeds
    from fuzz_targets import TARGETS
    from hypothesis import HealthCheck, example, given, settings
    from hypothesis import strategies as st

    target = guarded(TARGETS[name])
    found = seeds(name)
    damaged = st.builds(splice, st.sampled_from(found), st.integers(0, 2000), st.binary(max_size=60))
    inputs = st.one_of(st.binary(max_size=2000), damaged)
    ends = time.monotonic() + seconds

    def test(data: bytes) -> None:
        target(data)

    for seed in found:
        test = example(seed)(test)
    run = settings(
        max_examples=500,
        deadline=INPUT_SECONDS_MAX * 1000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(given(inputs)(test))
    while time.monotonic() < ends:
        run()


def splice(base: bytes, at: int, piece: bytes) -> bytes:
    """Return `base` with `piece` written over what is there, from `at` on."""
    at %= len(base)
    return base[:at] + piece + base[at + len(piece) :]


def guarded(target):
    """Return `target` with a limit on what the process grows to; it looks now and then."""
    calls, begin_bytes = 0, 0

    def run(data: bytes) -> None:
        nonlocal calls, begin_bytes
        calls += 1
        target(data)
        if calls % 1000 == 0:
            grown_to = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            begin_bytes = begin_bytes or grown_to
            assert grown_to - begin_bytes < GROWTH_BYTES_MAX, "unbounded memory"

    return run


def write_seeds(name: str, corpus: Path) -> None:
    from fuzz_seeds import seeds

    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


def main() -> None:
    engine, name, seconds, corpus = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    run = {"atheris": run_atheris, "hypothesis": run_hypothesis}[engine]
    run(name, float(seconds), Path(corpus))


if __name__ == "__main__":
    main()
