"""How far a command is, on standard error: when, what and where."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from processes import clean_environment, primedht, wait_until

from primedht.cli import progress
from primedht.cli.progress import Meter, _State
from primedht.client import Progress


class Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Stream:
    """What a test makes standard error, which pytest has of its own by now; and no patience."""
    stream = Stream(terminal=request.param)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(progress, "_LINE_INTERVAL_S", 0.01)
    return stream


on_terminal = pytest.mark.parametrize("terminal", [True], indirect=True)
on_file = pytest.mark.parametrize("terminal", [False], indirect=True)


@on_terminal
def test_a_terminal_gets_a_bar_that_is_gone_in_the_end(
    terminal: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    with redirect_stderr(terminal), Meter("storing") as meter:
        wait_until(lambda: "storing" in terminal.getvalue(), what="a bar without an end")
        sys.stdout.write("a result\n")  # it may go to a file: it is not the bar's
        assert capsys.readouterr().out == "a result\n"
        meter.on_transfer(Progress("transfer", 1 << 20, 4 << 20))
        wait_until(lambda: "1.0 MiB of 4.0 MiB, " in terminal.getvalue(), what="a bar")
        assert "/s, " in terminal.getvalue()
        assert " left" in terminal.getvalue()
        meter.on_transfer(Progress("store", 4 << 20, 4 << 20))
        wait_until(lambda: "storing" in terminal.getvalue().rpartition("MiB")[2], what="the next stage")
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is empty again


@on_file
def test_a_file_gets_plain_lines(terminal: Stream) -> None:
    with redirect_stderr(terminal), Meter("getting") as meter:
        meter.count(1_234, 0.5)
        wait_until(lambda: terminal.getvalue().count("\n") > 1, what="two lines")
    line = terminal.getvalue().splitlines()[0]
    assert line.startswith("getting: 1,234 done, ")
    assert line.endswith(" left")
    assert "\x1b" not in terminal.getvalue()


@on_file
def test_the_quiet_and_the_quick_say_nothing(terminal: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    with redirect_stderr(terminal), Meter("storing", quiet=True) as meter:
        meter.count(1, None)
    monkeypatch.setattr(progress, "_PATIENCE_S", 60.0)
    with redirect_stderr(terminal), Meter("storing"):
        pass
    assert terminal.getvalue() == ""


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.chain([100.0], itertools.repeat(110.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    state = _State("moving")
    assert state.text() == "10s"
    state.at("300 done", 300, None)
    assert state.text() == "300 done, 30/s"
    state.at("300 done", 300, 0.25)
    assert state.text() == "300 done, 30/s, 30s left"
    state.at("1.0 MiB of 2.0 MiB", 1 << 20, 0.5, as_bytes=True)
    assert state.text() == "1.0 MiB of 2.0 MiB, 102.4 KiB/s, 10s left"
    state.enter("storing")
    assert (state.doing, state.text(), state.share) == ("storing", "0ms", None)


def test_large_values_go_by_files_whole_or_not_at_all(control: str, tmp_path: Path) -> None:
    size = 5 << 20
    result = primedht("get", f"large/{size}", "-o", tmp_path / "out", "--json", "--control", control)
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "out").stat().st_size == size
    assert f'"bytes": {size}'.encode() in result.stdout
    assert b"value_base64" not in result.stdout
    result = primedht("get", f"broken/{size}", "-o", tmp_path / "other", "--control", control)
    assert result.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    result = primedht("put", "large", "--file", tmp_path / "out", "--control", control)
    assert result.stdout.startswith(b"stored on 2 of 3")


def test_a_pipe_is_put_as_it_comes(control: str, tmp_path: Path) -> None:
    for arguments in (["-"], ["--file", "-"]):
        reader, writer = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-m", "primedht.cli", "put", "piped", *arguments, "--control", control],
            stdin=reader, stdout=subprocess.PIPE, env=clean_environment(),
        ) as process:  # fmt: skip
            os.close(reader)
            os.write(writer, b"one ")
            os.write(writer, b"two")
            os.close(writer)
            assert process.wait(60) == 0
        assert primedht("get", "piped", "--control", control).stdout == b"one two"
