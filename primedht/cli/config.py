"""`config show`: which values hold, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from primedht.cli import common
from primedht.cli.common import AsJson
from primedht.cli.help import App
from primedht.cli.settings import takes_settings

if TYPE_CHECKING:
    from rich.table import Table

    from primedht.config import Loaded

app = App(name="config", help="The configuration of a node.")


class Setting(NamedTuple):
    """A key's value as a node would use it. origin: "default", "profile", "file", "env" or "flag".

    source: the profile's name, the file's path, the variable or the option. text: the value as TOML.
    """

    key: str
    value: Any
    text: str
    origin: str
    source: str


@app.callback()
def _group() -> None:
    """Let `show` be a command of the group, not the group itself."""


@app.command(epilog="Example: primedht config show --config node.toml --profile low-latency")
@takes_settings
def show(*, config: Path | None, flags: dict[str, Any], as_json: AsJson = False) -> None:
    """Show the values that `primedht run` would use with these options, and where each comes from."""
    from primedht.config import load

    loaded = load(config, flags=flags)
    settings = list(settings_of(loaded))
    if as_json:
        common.print_json(
            {
                "protocol": loaded.config.protocol_id,
                "keys": {
                    each.key: {
                        "value": each.value,
                        "text": each.text,
                        "origin": each.origin,
                        "source": each.source,
                    }
                    for each in settings
                },
            }
        )
    else:
        common.console().print(_table(settings))


def settings_of(loaded: Loaded) -> Iterator[Setting]:
    """Yield every key with its effective value; secrets are masked."""
    from primedht import paths
    from primedht.config.reference import all_keys, masked

    config = loaded.config
    engine = config.to_dht_config()
    standins = {"node.data_dir": str(paths.default_data_dir()), "node.mdns": config.mdns_enabled}
    for key in all_keys():
        section, _, name = key.name.partition(".")
        value = getattr(getattr(config, section), name)
        origin, source = _origin(loaded, key.name, key.flag)
        if value is None and section == "dht":
            value, origin, source = getattr(engine, name), "profile", config.node.profile
        elif value is None:
            value = standins.get(key.name)
        value = masked(key.name, value)
        yield Setting(key.name, _plain(value), key.toml(value), origin, source)


def _origin(loaded: Loaded, key: str, flag: str | None) -> tuple[str, str]:
    from primedht.config.sources import COMMAND_LINE, env_name

    source = loaded.origins.get(key)
    if source is None:
        return "default", ""
    if source == COMMAND_LINE:
        return "flag", flag or ""
    return ("env", env_name(key)) if source.endswith(f" {env_name(key)}") else ("file", source)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _table(settings: list[Setting]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    section = ""
    for each in settings:
        head = each.key.partition(".")[0]
        if head != section:
            if section:
                table.add_row()
            table.add_row(Text(f"[{head}]", style="bold"))
            section = head
        chosen = each.origin not in ("default", "profile")
        table.add_row(
            each.key.partition(".")[2],
            Text(each.text, style="bold" if chosen else ""),
            Text(f"{each.origin} {each.source}".rstrip(), style="cyan" if chosen else "dim"),
        )
    return table
