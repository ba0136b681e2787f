"""The options that set keys of the configuration: `run` and `config show` take the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

_PANEL = "Configuration"

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="PRIMEDHT_CONFIG",
        help="A TOML file; `primedht init` writes one.",
        rich_help_panel=_PANEL,
    ),
]
SetDataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where identity and records are kept.", rich_help_panel=_PANEL),
]
Listen = Annotated[
    list[str] | None,
    typer.Option(metavar="MULTIADDR", help="Listen here. Repeatable.", rich_help_panel=_PANEL),
]
Bootstrap = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDR", help="Join through this multiaddr or HOST:PORT. Repeatable.", rich_help_panel=_PANEL
    ),
]
Network = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Be part of the private network NAME.", rich_help_panel=_PANEL),
]
PskFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Connect only to who has this pre-shared key; `primedht key psk` makes one.",
        rich_help_panel=_PANEL,
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(metavar="MODE", help="auto, client or server.", show_default="auto", rich_help_panel=_PANEL),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="default, high-performance, low-latency or amino.",
        rich_help_panel=_PANEL,
    ),
]
SetControl = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MULTIADDR", help="Serve the control protocol here. Repeatable.", rich_help_panel=_PANEL
    ),
]
Mdns = Annotated[
    bool | None,
    typer.Option("--mdns/--no-mdns", help="Find peers on the local network.", rich_help_panel=_PANEL),
]
LogLevel = Annotated[
    str | None,
    typer.Option(metavar="LEVEL", help="debug, info, warning or error.", rich_help_panel=_PANEL),
]
LogFormat = Annotated[
    str | None, typer.Option(metavar="FORMAT", help="console or json.", rich_help_panel=_PANEL)
]
AllowNetworkFs = Annotated[
    bool | None,
    typer.Option(
        "--allow-network-fs",
        help="Accept a data directory on a network file system.",
        rich_help_panel=_PANEL,
    ),
]


def flag_values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a command's options set, by dotted key; None is not given.

    parameters: those of the command's context, by name.
    """
    from primedht.config.reference import FLAGS

    given = {key: parameters[flag.removeprefix("--").replace("-", "_")] for key, flag in FLAGS.items()}
    return {key: None if value in ([], ()) else value for key, value in given.items()}
