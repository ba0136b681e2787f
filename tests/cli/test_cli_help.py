"""Help: on every command, with an example, and quick."""

import subprocess
import sys

import pytest
from processes import clean_environment, primedht

from primedht.cli import app

COMMANDS = [name for name in app._MODULES if name not in app._GROUPS]
KEY_COMMANDS = ["new", "ls", "import", "export"]


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + [["key", name] for name in KEY_COMMANDS])
def test_every_command_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*command, "--help"]) == 0
    example = capsys.readouterr().out.partition("Example: ")[2]
    assert f"primedht {' '.join(command)}" in example


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in app._MODULES:
        assert f" {name} " in shown


def test_the_overview_loads_nothing_heavy() -> None:
    heavy = ("libp2p", "trio", "pydantic", "google.protobuf", "cryptography", "primedht.client")
    program = (
        "import sys\nfrom primedht.cli import app\napp.run(['--help'])\n"
        f"sys.stderr.write(repr([name for name in {heavy!r} if name in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean_environment(), check=True
    )
    assert result.stderr == "[]"


def test_the_version() -> None:
    result = primedht("--version")
    assert (result.returncode, result.stdout.split()[0]) == (0, b"primedht")


def test_no_arguments_show_the_overview() -> None:
    assert b"Usage: primedht" in primedht().stdout
