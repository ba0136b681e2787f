"""`run`, `id`, `status` and `drain`: the daemon itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primedht.cli import common, exits
from primedht.cli.common import AsJson, Control, DataDirOption, Timeout
from primedht.cli.help import App

app = App()


@app.command(
    epilog="Example: primedht run --network my-cluster --bootstrap 192.0.2.7:4101",
)
def run(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="PRIMEDHT_CONFIG", help="A TOML file; see configs/node.toml."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where identity and records are kept.")
    ] = None,
    listen: Annotated[
        list[str] | None, typer.Option(metavar="MULTIADDR", help="Listen here. Repeatable.")
    ] = None,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDR", help="Join through this multiaddr or HOST:PORT. Repeatable."),
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="Be part of the private network NAME.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="auto, client or server.", show_default="auto")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="default, high-performance, low-latency or amino."),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(metavar="MULTIADDR", help="Serve the control protocol here. Repeatable."),
    ] = None,
    mdns: Annotated[
        bool | None, typer.Option("--mdns/--no-mdns", help="Find peers on the local network.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(metavar="FORMAT", help="console or json.")] = None,
    allow_network_fs: Annotated[
        bool, typer.Option("--allow-network-fs", help="Accept a data directory on a network file system.")
    ] = False,
) -> None:
    """Run a node until SIGTERM or Ctrl-C.

    Prints one JSON line on standard output when it is ready; logs go to standard error.
    """
    from primedht.config import load_config
    from primedht.logs import configure_logs

    effective = load_config(
        config,
        flags={
            "node.data_dir": data_dir,
            "node.listen": listen,
            "node.bootstrap": bootstrap,
            "network.name": network,
            "node.mode": mode,
            "node.profile": profile,
            "control.listen": control,
            "node.mdns": mdns,
            "log.level": log_level,
            "log.format": log_format,
            "node.allow_network_fs": allow_network_fs or None,
        },
    )
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
    if as_json:
        common.print_json({"peer_id": str(identity.id), "addrs": list(identity.addrs)})
    else:
        print(identity.id, *(f"{addr}/p2p/{identity.id}" for addr in identity.addrs), sep="\n")


@app.command(epilog="Example: primedht status --json")
def status(
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what the node is, whom it knows and what it keeps."""
    state = common.client(control, data_dir).status()
    if as_json:
        common.print_json(state)
        return
    from primedht.cli.status_view import status_view

    common.print_wide(status_view(state))


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
    result = common.client(control, data_dir).drain(timeout=limit_s)
    if as_json:
        common.print_json({"handed_over": result.handed_over, "left_over": result.left_over})
    else:
        print(f"handed over {result.handed_over} records, {result.left_over} left over")
    if result.left_over:
        raise typer.Exit(exits.PARTIAL)
