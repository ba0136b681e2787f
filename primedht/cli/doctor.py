"""`doctor`: checks a node and its surroundings; without a daemon, what can be checked without one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from primedht.cli import common, exits
from primedht.cli.common import AsJson, Control, DataDirOption
from primedht.cli.help import App
from primedht.cli.settings import ConfigFile
from primedht.errors import DaemonUnavailable, InvalidArgument, NotPermitted, PrimeDhtError

if TYPE_CHECKING:
    from primedht.config import Config
    from primedht.findings import Finding

app = App()


@app.command(epilog="Example: primedht doctor --config node.toml")
def doctor(
    as_json: AsJson = False,
    config: ConfigFile = None,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Check a node and its surroundings, and say what to do.

    Asks the daemon, if one runs: it tries its listeners, each bootstrap address and a record of its own,
    and looks at its table, clock, disk, store and limits. Exits with 0 if nothing is wrong.
    """
    from primedht.doctor.local import check_configuration
    from primedht.findings import worst_of

    loaded, finding = check_configuration(config)
    findings = [finding]
    with _waiting("asking the daemon", quiet=as_json):
        findings += _examine(loaded.config, control, data_dir)
    if as_json:
        common.print_json(
            {
                "worst": worst_of(findings),
                "daemon": any((each.check, each.code) == ("daemon", "ok") for each in findings),
                "findings": [
                    {name: getattr(each, name) for name in ("check", "code", "severity", "text", "advice")}
                    for each in findings
                ],
            }
        )
    else:
        from primedht.cli.doctor_view import doctor_view

        common.console().print(doctor_view(findings))
    status = next((exits.status_of(each.code) for each in findings if each.severity == "error"), exits.OK)
    raise typer.Exit(status)


def _examine(config: Config, control: str | None, data_dir: Path | None) -> list[Finding]:
    """Let the daemon examine itself, or say why it does not and look at what it would use."""
    from primedht import paths
    from primedht.client import Client
    from primedht.client.locate import CONTROL_ENV
    from primedht.doctor import local
    from primedht.findings import Finding

    directory = (data_dir or config.node.data_dir or paths.default_data_dir()).expanduser().absolute()
    if control is None and data_dir is None and not os.environ.get(CONTROL_ENV):
        control, data_dir = next(iter(config.control.listen), None), directory
    try:
        client = Client(control, data_dir=data_dir)
        began = time.perf_counter()
        peer_id = client.identify().id
        took_ms = (time.perf_counter() - began) * 1000
        said = Finding.good("daemon", f"{peer_id} answers at {client.control} in {took_ms:.0f} ms")
        return [said, *client.examine()]
    except InvalidArgument:  # of --control: a mistake in calling us, no finding
        raise
    except (DaemonUnavailable, NotPermitted) as error:
        failure = Finding.of_error("daemon", error, otherwise="control_refused")
        if "control.mode" in str(error):  # it is there and is not ours to use
            failure = Finding.problem("daemon", "control_refused", failure.text)
        if failure.code == "control_refused":
            return [failure]
        return [failure, *local.check_data_dir(directory, config), local.check_clock()]
    except PrimeDhtError as error:
        return [Finding.problem("daemon", "daemon_failed", f"{error} [{error.code}]")]


@contextmanager
def _waiting(what: str, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal that something is going on: a dead bootstrap address takes its time."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
