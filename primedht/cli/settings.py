"""The options that set keys of the configuration: `run` and `config show` take the same."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
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
_OPTIONS: dict[str, Any] = {
    "data_dir": Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where identity and records are kept.", rich_help_panel=_PANEL),
    ],
    "listen": Annotated[
        list[str] | None,
        typer.Option(metavar="MULTIADDR", help="Listen here. Repeatable.", rich_help_panel=_PANEL),
    ],
    "bootstrap": Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDR",
            help="Join through this multiaddr or HOST:PORT. Repeatable.",
            rich_help_panel=_PANEL,
        ),
    ],
    "network": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Be part of the private network NAME.", rich_help_panel=_PANEL),
    ],
    "psk": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Connect only to who has this pre-shared key; `primedht key psk` makes one.",
            rich_help_panel=_PANEL,
        ),
    ],
    "mode": Annotated[
        str | None,
        typer.Option(
            metavar="MODE", help="auto, client or server.", show_default="auto", rich_help_panel=_PANEL
        ),
    ],
    "profile": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="default, high-performance, low-latency or amino.",
            rich_help_panel=_PANEL,
        ),
    ],
    "control": Annotated[
        list[str] | None,
        typer.Option(
            metavar="MULTIADDR", help="Serve the control protocol here. Repeatable.", rich_help_panel=_PANEL
        ),
    ],
    "mdns": Annotated[
        bool | None,
        typer.Option("--mdns/--no-mdns", help="Find peers on the local network.", rich_help_panel=_PANEL),
    ],
    "log_level": Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="debug, info, warning or error.", rich_help_panel=_PANEL),
    ],
    "log_format": Annotated[
        str | None, typer.Option(metavar="FORMAT", help="console or json.", rich_help_panel=_PANEL)
    ],
    "allow_network_fs": Annotated[
        bool | None,
        typer.Option(
            "--allow-network-fs",
            help="Accept a data directory on a network file system.",
            rich_help_panel=_PANEL,
        ),
    ],
}


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, beside its own options, `--config` and those that set a key of the configuration.

    The command is called with `config` (a path or None) and `flags` (by dotted key; None is not given).
    """

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        from primedht.config.reference import FLAGS

        flags = {}
        for key, flag in FLAGS.items():
            value = given.pop(flag.removeprefix("--").replace("-", "_"))
            flags[key] = None if value in ([], ()) else value
        command(**given, flags=flags)

    own = inspect.signature(command, eval_str=True).parameters.values()
    options = {each.name: each for each in own if each.name != "flags"}
    for name, annotation in {"config": ConfigFile, **_OPTIONS}.items():
        options[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
        )
    vars(with_settings)["__signature__"] = inspect.Signature(list(options.values()))
    with_settings.__annotations__ = {name: each.annotation for name, each in options.items()}
    return with_settings
