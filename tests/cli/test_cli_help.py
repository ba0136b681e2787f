"""Help: on every command, with an example, and quick."""

import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from processes import clean_environment, one_line_error, primedht

from primedht import cli
from primedht.cli import app
from primedht.cli.help import Command, Group


def walk() -> Iterator[tuple[list[str], Any]]:
    """Yield every command, those in groups too, with its name in words."""
    for name in app.COMMANDS:
        command = app.root().commands[name]
        if name in app.GROUPS:
            yield from (([name, inner], each) for inner, each in command.commands.items())
        else:
            yield [name], command


HEAVY = {
    "libp2p", "trio", "anyio", "google.protobuf", "rich", "cryptography", "structlog", "primedht.client",
}  # fmt: skip
EVERY_COMMAND = list(walk())


@pytest.mark.parametrize(
    ("words", "command"), EVERY_COMMAND, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_every_command_has_an_example(
    words: list[str], command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(command, Command)
    assert app.run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"primedht {' '.join(words)}" in shown.partition("Example: ")[2]
    assert max(map(len, shown.splitlines())) <= 80


def test_every_example_is_a_command_line_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    """Up to what it would do: options, arguments and their types."""
    for words, command in EVERY_COMMAND:
        assert isinstance(command, Command)
        example = command.epilog.partition("Example: ")[2]
        before, _, after = example.rpartition(f"primedht {' '.join(words)}")
        arguments = shlex.split(after)
        assert before == "" or before.endswith("| "), example
        with suppress(ValueError):  # `> file`
            arguments = arguments[: arguments.index(">")]
        command.make_context(words[-1], arguments)
    assert capsys.readouterr().out == ""


def test_the_overview_says_what_the_commands_say() -> None:
    for name, entry in app.COMMANDS.items():
        command = app.root().commands[name]
        assert isinstance(command, Group) == (name in app.GROUPS)
        assert command.get_short_help_str(200) == entry.summary


def test_every_module_with_commands_is_in_the_overview() -> None:
    for module in pkgutil.iter_modules(cli.__path__):
        if module.name == "__main__":
            continue
        loaded = import_module(f"primedht.cli.{module.name}")
        if module.name != "app" and hasattr(loaded, "app"):
            names = (
                {loaded.app.info.name}
                if loaded.app.info.name in app.GROUPS
                else {command.name or command.callback.__name__ for command in loaded.app.registered_commands}
            )
            assert names == {name for name, entry in app.COMMANDS.items() if entry.module == module.name}


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in app.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", shown, re.MULTILINE)


def modules_of(*arguments: str) -> set[str]:
    """Return the modules that a command line loads."""
    program = (
        "import sys\nfrom primedht.cli import app\n"
        f"app.run({list(arguments)!r})\n"
        "sys.stderr.write(repr(set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean_environment(), check=True
    )
    return set(literal_eval(result.stderr))


def test_the_overview_loads_no_command_and_nothing_heavy() -> None:
    """What takes time is counted by modules: times depend on the machine."""
    loaded = modules_of("--help")
    ours = {name for name in loaded if name.startswith("primedht.")}
    assert ours == {
        "primedht.cli",
        "primedht.cli.app",
        "primedht.cli.exits",
        "primedht.cli.help",
        "primedht.errors",
    }
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & {
        "rich",
        "pydantic",
        "libp2p",
        "trio",
        "google",
        "cryptography",
        "anyio",
        "structlog",
    }


@pytest.mark.parametrize("command", [["get", "--help"], ["status", "--help"], ["key", "--help"]])
def test_help_of_a_command_loads_no_daemon_and_no_rich(command: list[str]) -> None:
    assert not modules_of(*command) & HEAVY  # typer itself parses with pydantic


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shell_completion(shell: str) -> None:
    shown = primedht("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.returncode == 0
    script = shown.stdout.decode()
    assert f"_PRIMEDHT_COMPLETE=complete_{shell}" in script
    if path := shutil.which(shell):
        assert subprocess.run([path, "-n"], input=shown.stdout, capture_output=True).stderr == b""

    def complete(line: str) -> str:
        words = line.split(" ")
        result = primedht(
            _PRIMEDHT_COMPLETE=f"complete_{shell}",
            COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _TYPER_COMPLETE_ARGS=line,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result.stdout.decode()

    assert "status" in complete("primedht sta")
    assert "--min-holders" in complete("primedht put --m")
    assert "export" in complete("primedht key ex")


def test_completion_works_in_a_real_bash(tmp_path: Path) -> None:
    script = primedht("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    (tmp_path / "primedht").write_text(f'#!/bin/sh\nexec {sys.executable} -m primedht.cli "$@"\n')
    (tmp_path / "primedht").chmod(0o755)
    asked = 'COMP_WORDS=(primedht find-); COMP_CWORD=1; _primedht_completion primedht; echo "${COMPREPLY[@]}"'
    shown = subprocess.run(
        ["bash"], input=script + asked.encode(), capture_output=True, check=True,
        env=clean_environment(PATH=f"{tmp_path}:{os.environ['PATH']}"),
    )  # fmt: skip
    assert shown.stdout.split() == [b"find-providers", b"find-peer"]


def test_the_version() -> None:
    result = primedht("--version")
    assert (result.returncode, result.stdout.split()[0]) == (0, b"primedht")


def test_no_arguments_show_the_overview() -> None:
    assert b"Usage: primedht" in primedht().stdout


@pytest.mark.parametrize(("command", "step"), [("pin", "RUN@STEP"), ("rm", "RUN[@STEP]")])
def test_no_step_is_not_said_to_mean_the_latest_where_it_is_refused(command: str, step: str) -> None:
    shown = primedht("checkpoint", command, "--help").stdout.decode()
    assert step in shown
    assert "latest" not in shown
    refused = primedht("checkpoint", command, "run42")
    assert refused.returncode == 2
    assert one_line_error(refused).startswith("error [invalid_argument]")
