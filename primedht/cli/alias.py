"""`alias`: short names for owners of models, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption
from primedht.cli.help import App

app = App(name="alias", help="Short names for owners of models.")

_Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="Letters, digits, dots, dashes, underscores.")]


@app.command("set", epilog="Example: primedht alias set org 12D3KooW...")
def set_alias(
    alias: _Alias,
    owner: Annotated[str, typer.Argument(metavar="PEER_ID", help="The owner's peer id.")],
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let an alias stand for an owner; nobody else learns of it."""
    common.client(control, data_dir).models.set_alias(alias, owner)


@app.command("ls", epilog="Example: primedht alias ls")
def list_aliases(as_json: AsJson = False, control: Control = None, data_dir: DataDirOption = None) -> None:
    """List the aliases with their owners."""
    for alias, owner in common.client(control, data_dir).models.aliases().items():
        common.print_result({"alias": alias, "owner": str(owner)}, f"{alias}  {owner}", as_json=as_json)


@app.command(epilog="Example: primedht alias rm org")
def rm(
    alias: _Alias, as_json: AsJson = False, control: Control = None, data_dir: DataDirOption = None
) -> None:
    """Forget an alias."""
    was_set = common.client(control, data_dir).models.remove_alias(alias)
    text = f"{alias} is forgotten" if was_set else f"{alias} was not set"
    common.print_result({"was_set": was_set}, text, as_json=as_json)
