"""The command tree, and what every command's failure looks like."""

from __future__ import annotations

import errno
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from primedht.cli import exits
from primedht.cli.help import App, Entry, Group, write_overview
from primedht.errors import PrimeDhtError

# The order is that of the overview.
COMMANDS = {
    "run": Entry("node", "Node", "Run a node until SIGTERM or Ctrl-C."),
    "p2pd": Entry("p2pd", "Node", "Run a node in the place of go-libp2p-daemon's p2pd."),
    "dev": Entry("dev", "Node", "Run a local cluster until Ctrl-C."),
    "sim": Entry("sim", "Node", "Run real nodes on a simulated network, in virtual time."),
    "init": Entry("init", "Node", "Write a configuration file with every key and its meaning."),
    "config": Entry("config", "Node", "The configuration of a node."),
    "id": Entry("node", "Node", "Print the node's peer id and addresses."),
    "status": Entry("node", "Node", "Show what the node is, whom it knows and what it keeps."),
    "doctor": Entry("doctor", "Node", "Check a node and its surroundings, and say what to do."),
    "drain": Entry("node", "Node", "Hand the records over before leaving for good."),
    "key": Entry("key", "Node", "Named keys that sign; keys of networks."),
    "put": Entry("values", "Values", "Store a value under a key."),
    "get": Entry("values", "Values", "Print the value of a key, byte for byte."),
    "delete": Entry("values", "Values", "Delete a value everywhere, and stop keeping it alive."),
    "put-many": Entry("batches", "Values", "Store many values, one JSON object a line."),
    "get-many": Entry("batches", "Values", "Get many values, one key a line."),
    "add": Entry("content", "Content", "Keep a file or a directory as blocks, and announce it."),
    "cat": Entry("content", "Content", "Print a file's bytes, as they are."),
    "fetch": Entry("content", "Content", "Write a file or a directory to disk, whole or not at all."),
    "ls": Entry("content", "Content", "List a directory, or what is pinned."),
    "pin": Entry("content", "Content", "Keep content, fetching what is missing, and announce it."),
    "unpin": Entry("content", "Content", "Keep content no longer; gc removes what nothing else needs."),
    "gc": Entry("content", "Content", "Remove the blocks that no pin needs."),
    "stat": Entry("content", "Content", "Show how much of some content is here, and what keeps it."),
    "block": Entry("block", "Content", "Single blocks."),
    "provide": Entry("providers", "Content", "Announce that this node has the content."),
    "stop-providing": Entry("providers", "Content", "Announce the content no longer."),
    "find-providers": Entry("providers", "Content", "Print peers that have the content."),
    "name": Entry("names", "Content", "Signed names that point at content: /ipns."),
    "model": Entry("model", "Models", "Models: named, versioned, signed."),
    "tensor": Entry("tensor", "Models", "Single tensors of models."),
    "checkpoint": Entry("checkpoint", "Models", "Checkpoints of training runs."),
    "alias": Entry("alias", "Models", "Short names for owners of models."),
    "find-peer": Entry("peers", "Peers", "Print a peer's addresses, one a line."),
    "closest-peers": Entry("peers", "Peers", "Print the reachable peers closest to a key, nearest first."),
    "peers": Entry("peers", "Peers", "List the known peers and how each was found."),
    "trace": Entry("trace", "Peers", "Draw how a lookup goes: who was asked, and what each said."),
    "connect": Entry("peers", "Peers", "Connect to a peer."),
    "ping": Entry("peers", "Peers", "Measure the round-trip time to a peer."),
}
GROUPS = ("alias", "block", "checkpoint", "config", "key", "model", "name", "tensor", "trace")
"""Those that have commands of their own."""


class _Commands(Mapping[str, Any]):
    """The commands by name; looking one up imports its module."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            module = import_module(f"primedht.cli.{COMMANDS[name].module}")
            group = typer.main.get_group(module.app)
            self._loaded |= {name: group} if name in GROUPS else group.commands
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Root(Group):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_overview(self, COMMANDS, ctx, formatter)


app = App(
    cls=_Root,
    name="primedht",
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


def root() -> Any:
    """Return the whole command line as one command."""
    return typer.main.get_command(app)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status; failures are one line on standard error."""
    try:
        status = root().main(arguments, prog_name="primedht", standalone_mode=False)
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
    print(_folded(f"error [{code}]: {exits.with_advice(code, text)}"), file=sys.stderr)
    return status


def _folded(line: str) -> str:
    """Return a line as a terminal should show it: it would break words. Elsewhere it stays one line."""
    columns = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    if not columns:
        return line
    return textwrap.fill(
        line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _usage_text(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "primedht"
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"
