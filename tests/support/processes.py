"""Processes under test: daemons and command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent
READY_S = 60


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without configuration that the machine's user may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRIMEDHT_")}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", **extra}


def primedht(
    *arguments: object, input: bytes = b"", cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "primedht.cli", *map(str, arguments)],
        input=input, capture_output=True, timeout=60, env=clean_environment(**environ), cwd=cwd,
    )  # fmt: skip


def one_line_error(result: subprocess.CompletedProcess[bytes]) -> str:
    """Return the single line of a failed command line's standard error, having checked its form."""
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error ["), lines
    assert ";" in lines[0], f"it does not say what to do: {lines[0]}"
    return lines[0]


@contextmanager
def fake_daemon(control: str) -> Iterator[subprocess.Popen[bytes]]:
    """A control socket in front of a fake node."""
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "fake_daemon.py"), control],
        stdout=subprocess.PIPE, env=clean_environment(),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Daemon:
    """A real `primedht run` process. ready: the line that it printed."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, log: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.log = log
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait()}: {log.read_text()}"
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def peer_id(self) -> str:
        return str(self.ready["peer_id"])

    @property
    def addr(self) -> str:
        return str(self.ready["addrs"][0])

    def call(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command line against this daemon."""
        return primedht(*arguments, "--data-dir", self.data_dir, **options)

    def call_json(self, *arguments: object, **options: Any) -> Any:
        result = self.call(*arguments, "--json", **options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@contextmanager
def daemon(
    data_dir: Path,
    *arguments: object,
    bootstrap: Sequence[str] = (),
    network: str = "test",
    program: Sequence[str] = ("-m", "primedht.cli"),
    **environ: str,
) -> Iterator[Daemon]:
    """Run a node on a free loopback port until the block is left; then it is killed.

    program: what Python runs. environ: of the node, beside what others have.
    """
    log = data_dir.with_name(f"{data_dir.name}.log")
    command = [
        *(sys.executable, *program, "run", "--data-dir", str(data_dir), "--no-mdns"),
        *("--network", network, "--listen", "/ip4/127.0.0.1/tcp/0"),
        *(part for addr in bootstrap for part in ("--bootstrap", addr)),
        *map(str, arguments),
    ]
    with log.open("ab") as log_stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log_stream,
            env=clean_environment(**environ),
        )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Daemon(process, data_dir, log)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until(condition: Callable[[], object], *, what: str, timeout_s: float = 60.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)
