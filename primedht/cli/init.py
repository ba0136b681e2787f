"""`init`: a configuration file to begin with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from primedht.cli import common
from primedht.cli.common import AsJson
from primedht.cli.help import App
from primedht.errors import InvalidArgument

app = App()


@app.command(epilog="Example: primedht init --network my-cluster")
def init(
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="FILE", help="Write it here; - is standard output.")
    ] = Path("primedht.toml"),
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="Set network.name, a private network of your own.")
    ] = None,
    bootstrap: Annotated[
        list[str] | None, typer.Option(metavar="ADDR", help="Set node.bootstrap. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a configuration file with every key and its meaning.

    A file that is there is left as it is.
    """
    from primedht.config import Config, load_config
    from primedht.config.reference import example_file, toml_text

    config: Config = load_config(environ={}, flags={"network.name": network, "node.bootstrap": bootstrap})
    values = {"network.name": toml_text(config.network.name, ())} if network else {}
    if bootstrap:
        values["node.bootstrap"] = toml_text(config.node.bootstrap, ())
    content = example_file(values)
    if str(file) == "-":
        sys.stdout.write(content)
        return
    _create(file, content)
    if as_json:
        common.print_json({"file": str(file)})
    else:
        print(f"wrote {file}; run a node with: primedht run --config {file}")


def _create(file: Path, content: str) -> None:
    """Write a file that is not there yet. Raises `InvalidArgument`."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise InvalidArgument(f"{file} exists and was left as it is; choose another --file") from None
    except OSError as error:
        raise InvalidArgument(f"{file}: {error.strerror}; choose another --file") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
