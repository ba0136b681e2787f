"""The command tree, and what every command's failure looks like."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from primedht.cli import exits
from primedht.errors import PrimeDhtError

# Command name to the module whose `app` has it; the order is that of `--help`.
_MODULES = {
    "run": "node",
    "p2pd": "p2pd",
    "dev": "dev",
    "put": "values",
    "get": "values",
    "delete": "values",
    "put-many": "batches",
    "get-many": "batches",
    "provide": "providers",
    "stop-providing": "providers",
    "find-providers": "providers",
    "find-peer": "peers",
    "closest-peers": "peers",
    "peers": "peers",
    "connect": "peers",
    "ping": "peers",
    "id": "node",
    "status": "node",
    "drain": "node",
    "key": "key",
}
# Those that have commands of their own, and their place in `--help`.
_GROUPS = {"key": "Node"}


class _Commands(Mapping[str, Any]):
    """The commands by name; looking one up imports its module."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            module = _MODULES[name]
            group = typer.main.get_group(import_module(f"primedht.cli.{module}").app)
            if name in _GROUPS:
                group.rich_help_panel = _GROUPS[name]
                self._loaded[name] = group
            else:
                self._loaded |= group.commands
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _LazyGroup(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    cls=_LazyGroup,
    name="primedht",
    no_args_is_help=True,
    help="Store, find and move what machine learning makes, over libp2p, without servers.",
    epilog="Start with: primedht dev --nodes 3",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"primedht {version_of('primedht')}")
        raise typer.Exit


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status; failures are one line on standard error."""
    try:
        status = typer.main.get_command(app).main(arguments, prog_name="primedht", standalone_mode=False)
        sys.stdout.flush()
    except PrimeDhtError as error:
        return _fail(error.code, str(error), exits.status_of(error.code))
    except TyperException as error:
        return _fail("usage", _usage_text(error), exits.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return exits.INTERRUPTED
    except OSError as error:
        _abandon_output()
        if isinstance(error, BrokenPipeError):  # the reader of our output has enough
            return exits.FAILED
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "system_error"
        return _fail(code, f"{error.filename or 'output'}: {error.strerror or error}", exits.FAILED)
    return status if isinstance(status, int) else exits.OK


def _abandon_output() -> None:
    """Let nothing be written at exit: it would fail again, behind our message."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(code: str, message: str, status: int) -> int:
    text = " ".join(message.split()) or code
    print(f"error [{code}]: {exits.with_advice(code, text)}", file=sys.stderr)
    return status


def _usage_text(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "primedht"
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"
