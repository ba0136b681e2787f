"""Writes what is derived from the code: `make docs` runs it, tests/test_docs.py checks its freshness."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import primedht
from primedht import client, errors, events, findings, results
from primedht.cli.app import COMMANDS
from primedht.client.aio import AsyncClient
from primedht.client.models import Models
from primedht.config.reference import example_file, manual_page
from primedht.dht.config import DhtConfig, Quotas

ROOT = Path(__file__).parent.parent
_WIDTH = 100
_QUOTED = re.compile(r"""(: |-> )(?:'([^']*)'|"([^"]*)")""")
_FORWARD = re.compile(r"""ForwardRef\((["'])(.*?)\1\)""")
_ENTRY = re.compile(r"^(\w[\w, ]*): (.*)$", re.DOTALL)

_HEAD = """\
# Python API

Written by `make docs` from the signatures and docstrings; change it there.

`primedht` has the node, for programs that embed one; `primedht.client` the clients of a running daemon,
which load neither libp2p nor an event loop that is not yours. [configuration.md](configuration.md) explains
`Config`, [design.md](design.md) what keys, values and lifetimes are.
"""


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with what it should say."""
    yield ROOT / "docs" / "configuration.md", manual_page()
    yield ROOT / "docs" / "python-api.md", api_page()
    yield ROOT / "README.md", readme()
    yield ROOT / "configs" / "node.toml", example_file({"network.name": '"my-cluster"'})


def readme() -> str:
    """Return README.md as it is, with the table of commands that there are."""
    text = (ROOT / "README.md").read_text("utf-8")
    head, begin, rest = text.partition("<!-- commands: written by `make docs` -->\n")
    _, end, tail = rest.partition("<!-- end -->\n")
    rows = [f"| {entry.section} | `primedht {name}` | {entry.summary} |" for name, entry in COMMANDS.items()]
    return "\n".join(
        (f"{head}{begin}", "| for | command | what it does |", "|---|---|---|", *rows, "", f"{end}{tail}")
    )


def api_page() -> str:
    """Return docs/python-api.md."""
    out = [_HEAD]
    out += ["## open_node\n", *_callable("open_node", primedht.open_node)]
    for kind in (primedht.Node, client.Client, Models):
        out += _class(kind)
    out += [
        "## AsyncClient\n",
        _text(AsyncClient),
        "Its methods are those of `Client`, awaited; those that give an iterator give an asynchronous one.\n",
    ]
    out += [
        *_class(DhtConfig),
        *_class(Quotas),
        *_class(primedht.PeerId),
        *_class(primedht.StorageBackend, "StorageBackend"),
    ]
    out.append("## Results\n")
    shapes = [*_shapes(results), *_shapes(events), findings.Finding]
    shapes += [getattr(client, name) for name in client.__all__ if name not in ("Client", "AsyncClient")]
    for shape in shapes:
        out += [f"### {shape.__name__}\n", f"```python\n{_fields(shape)}\n```\n", _text(shape)]
    out += ["## Errors\n", _ERRORS, "| class | code | meaning |", "|---|---|---|"]
    out += [_error_row(kind, depth) for kind, depth in _tree(errors.PrimeDhtError, 0)]
    return "\n".join(out).rstrip() + "\n"


_ERRORS = """\
All are in `primedht.errors`, in one tree; `error.code` is stable, and the same on the command line.
A `LocalError` is the caller's or this node's own, a `RemoteError` a peer's.
"""


def _class(kind: type, name: str = "") -> list[str]:
    title = name or kind.__name__
    out = [f"## {title}\n"]
    if dataclasses.is_dataclass(kind):
        out.append(f"```python\n{_fields(kind)}\n```\n")
    elif "__init__" in vars(kind) and kind not in (primedht.Node, primedht.StorageBackend):
        out.append(f"```python\n{_signature(kind.__name__, kind.__init__)}\n```\n")
    out.append(_text(kind))
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.__doc__:
            out += [f"### {title}.{name}\n", _text(member.fget)]
        elif inspect.isroutine(inspect.unwrap(getattr(member, "__func__", member))) and member.__doc__:
            out += [f"### {title}.{name}\n", *_callable(name, getattr(member, "__func__", member))]
    return out


def _callable(name: str, function: Any) -> list[str]:
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    return [f"```python\n{prefix}{_signature(name, function)}\n```\n", _text(function)]


def _signature(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name in ("self", "cls"):
        signature = signature.replace(parameters=parameters[1:])
    return _broken(_plain(f"{name}{signature}").removesuffix(" -> None").replace("(/, ", "("))


def _broken(text: str) -> str:
    """Break a call that is too long for a line."""
    if len(text) <= _WIDTH:
        return text
    head, _, rest = text.partition("(")
    inside, _, tail = rest.rpartition(")")
    lines = "".join(f"    {part},\n" for part in _split(inside))
    return f"{head}(\n{lines}){tail}"


def _plain(signature: str) -> str:
    """Take the quotes off annotations, and spell default objects as they are written."""
    unquoted = _QUOTED.sub(lambda found: found[1] + (found[2] or found[3] or ""), signature)
    return re.sub(r"= (\w+)\([^()]*\)", r"= \1()", unquoted)


def _split(text: str) -> list[str]:
    """Split parameters at the commas that are in no bracket."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _fields(shape: type) -> str:
    """Return a dataclass or named tuple as its call would be."""
    if dataclasses.is_dataclass(shape):
        return _signature(shape.__name__, shape.__init__)
    return _broken(_FORWARD.sub(r"\2", f"{shape.__name__}{inspect.signature(shape)}"))


def _shapes(module: Any) -> list[type]:
    found = [
        kind for kind in vars(module).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    ]
    return [kind for kind in found if kind.__module__ == module.__name__]


def _text(documented: Any) -> str:
    """Return a docstring as Markdown: paragraphs, and `Args:` and `Raises:` as lists."""
    paragraphs: list[str] = []
    entries: list[str] | None = None
    for line in inspect.cleandoc(documented.__doc__ or "").splitlines():
        if line in ("Args:", "Raises:"):
            entries = []
            paragraphs += [f"**{line}**", entries]  # type: ignore[list-item]
        elif entries is not None and line.startswith("        ") and entries:
            entries[-1] += f" {line.strip()}"
        elif entries is not None and line.startswith("    "):
            entries.append(line.strip())
        elif not line:
            paragraphs.append("")
            entries = None
        elif paragraphs and isinstance(paragraphs[-1], str) and paragraphs[-1] and entries is None:
            paragraphs[-1] += f"\n{line}"
        else:
            paragraphs.append(line)
            entries = None
    shown = [each if isinstance(each, str) else "\n".join(map(_entry, each)) for each in paragraphs if each]
    return "\n\n".join(shown) + "\n"


def _entry(text: str) -> str:
    found = _ENTRY.match(text)
    if found is None:
        return f"* {text}"
    names = ", ".join(f"`{name}`" for name in found[1].split(", "))
    return f"* {names}: {found[2]}"


def _tree(kind: type[errors.PrimeDhtError], depth: int) -> Iterator[tuple[type[errors.PrimeDhtError], int]]:
    if kind.__module__ == errors.__name__:
        yield kind, depth
    for each in kind.__subclasses__():
        yield from _tree(each, depth + 1)


def _error_row(kind: type[errors.PrimeDhtError], depth: int) -> str:
    meaning = " ".join((kind.__doc__ or "").split())
    return f"| {'&nbsp;' * 4 * depth}`{kind.__name__}` | `{kind.code}` | {meaning} |"


if __name__ == "__main__":
    for path, content in pages():
        path.write_text(content, "utf-8")
