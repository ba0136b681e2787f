"""What `--help` shows: plain text in sections.

Typer's own form needs rich, which takes longer to load than everything else that help needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

_TYPE = re.compile(r" <[\w[\]]+>$")  # of an argument: its text says what it is


class Entry(NamedTuple):
    """A command as the overview lists it. module: where it is defined, in `primedht.cli`."""

    module: str
    section: str
    summary: str


class Command(TyperCommand):
    """A command whose options stand in the sections that they name."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self, ctx, formatter)


class Group(TyperGroup):
    """Commands under one name; without one of them it shows them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self, ctx, formatter)
        rows = [(name, self.commands[name].get_short_help_str(200)) for name in self.commands]
        _write_section(formatter, "Commands", rows)


class App(typer.Typer):
    """The commands of one module."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"cls": Group, "rich_markup_mode": None} | settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        return super().command(name, **{"cls": Command} | settings)


def write_overview(group: TyperGroup, entries: Mapping[str, Entry], ctx: Any, formatter: Any) -> None:
    """Write all commands by section, then the options of the command line itself."""
    width = max(map(len, entries))
    for section in dict.fromkeys(entry.section for entry in entries.values()):
        rows = [
            (f"{name:<{width}}", each.summary) for name, each in entries.items() if each.section == section
        ]
        _write_section(formatter, section, rows)
    _write_options(group, ctx, formatter)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None:
            continue
        default = "Arguments" if param.param_type_name == "argument" else "Options"
        section = getattr(param, "rich_help_panel", None) or default
        sections.setdefault(section, []).append((_TYPE.sub("", record[0]), record[1]))
    for section, rows in sections.items():
        _write_section(formatter, section, rows)


def _write_section(formatter: Any, name: str, rows: Iterable[tuple[str, str]]) -> None:
    if listed := list(rows):
        with formatter.section(name if os.environ.get("NO_COLOR") else typer.style(name, bold=True)):
            formatter.write_dl(listed)
