"""The captures in the documentation, and commands on real terminals of their widths, coloured and not."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from capture import COLUMNS, COMMANDS, FOLDER, capture, to_svg
from processes import clean_environment

_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[1-7]|9[0-7])m")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def test_every_capture_is_shown_and_none_is_missing() -> None:
    names = {
        f"{name}-{columns}.{kind}" for name in COMMANDS for columns in COLUMNS for kind in ("svg", "txt")
    }
    assert names == {path.name for path in FOLDER.iterdir()}
    page = (FOLDER.parent / "terminal.md").read_text("utf-8")
    assert names == set(re.findall(r"\(captures/([^)]+)\)", page))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.name)
def test_captures_fit_their_terminal(path: Path) -> None:
    shown = path.read_text("utf-8")
    assert "\x1b" not in shown
    columns = int(path.stem.rpartition("-")[2])
    for line in shown.splitlines():
        assert len(line) <= columns or line.startswith("error ["), line


@pytest.mark.parametrize(
    "command", [COMMANDS["status"], COMMANDS["peers"], ["trace", "closest", "k"]], ids=" ".join
)
@pytest.mark.parametrize("columns", COLUMNS)
def test_commands_fit_and_obey_no_color(control: str, command: list[str], columns: int) -> None:
    """As `make captures` makes them, here of a fake node."""
    environment = {"PRIMEDHT_CONTROL": control}
    coloured = capture(command, columns=columns, colour=True, environment=environment)
    plain = capture(command, columns=columns, colour=False, environment=environment)
    assert _COLOUR.search(coloured)
    assert not _COLOUR.search(plain)
    assert _STYLE.sub("", coloured) == _STYLE.sub("", plain)
    assert max(map(len, _STYLE.sub("", plain).splitlines())) <= columns
    assert "</svg>" in to_svg(coloured, name="test", title="primedht", columns=columns)


def test_an_error_is_folded_between_words_on_a_terminal(control: str) -> None:
    """In a pipe it is one line: see test_cli_commands.py."""
    monitor, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        process = subprocess.run(
            [sys.executable, "-m", "primedht.cli", "get", "absent", "--control", control],
            stdin=terminal, stdout=terminal, stderr=terminal,
            env={name: value for name, value in clean_environment().items() if name != "COLUMNS"},
        )  # fmt: skip
        shown = os.read(monitor, 65536).decode().splitlines()
    finally:
        os.close(monitor)
        os.close(terminal)
    assert process.returncode == 3
    assert len(shown) > 1
    assert max(map(len, shown)) <= 60
    assert " ".join(line.strip() for line in shown).endswith("or wait until its publisher is reachable")
