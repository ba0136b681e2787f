"""`run`, `id`, `status` and `drain`: the daemon itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from primedht.cli import common, exits
from primedht.cli.common import AsJson, Control, DataDirOption, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.cli.settings import takes_settings
from primedht.cli.watch import Interval, Watch, show

app = App()


@app.command(
    epilog="Example: primedht run --network my-cluster --bootstrap 192.0.2.7:4101",
)
@takes_settings
def run(*, config: Path | None, flags: dict[str, Any]) -> None:
    """Run a node until SIGTERM or Ctrl-C.

    Prints one JSON line on standard output when it is ready; logs go to standard error.
    """
    from primedht.config import load_config
    from primedht.logs import configure_logs

    effective = load_config(config, flags=flags)
    configure_logs(effective.log.level, effective.log.format)
    from primedht import daemon

    daemon.run(effective)


@app.command("id", epilog="Example: primedht id")
def show_id(
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print the node's peer id and addresses."""
    identity = common.client(control, data_dir).identify()
    common.print_result(
        {"peer_id": str(identity.id), "addrs": list(identity.addrs)},
        identity.id,
        *(f"{addr}/p2p/{identity.id}" for addr in identity.addrs),
        as_json=as_json,
    )


@app.command(epilog="Example: primedht status --watch --interval 5s")
def status(
    watch: Watch = False,
    interval: Interval = "2s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what the node is, whom it knows and what it keeps."""
    from primedht.cli.status_view import status_view

    daemon = common.client(control, data_dir)
    show(daemon.status, status_view, dict if as_json else None, watch=watch, interval=interval)


@app.command(epilog="Example: primedht drain")
def drain(
    timeout: Timeout = "10m",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Hand the records over before leaving for good.

    Waits until other peers hold every record of this node.
    """
    limit_s = common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("handing over"):
        result = daemon.drain(timeout=limit_s)
    common.print_result(
        {"handed_over": result.handed_over, "left_over": result.left_over},
        f"handed over {result.handed_over} records, {result.left_over} left over",
        as_json=as_json,
    )
    if result.left_over:
        raise typer.Exit(exits.PARTIAL)
