"""The reference of the keys, from the models: what a file with all of them and the manual page say."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from primedht.config.models import PROFILES, Config
from primedht.config.sources import env_name, sections
from primedht.config.types import Kind, Secret, Unset
from primedht.dht.config import DhtConfig, seconds
from primedht.units import exact_duration, exact_size

# The options of `primedht run` for the keys that people set most.
FLAGS: Mapping[str, str] = {
    "node.data_dir": "--data-dir",
    "node.listen": "--listen",
    "node.bootstrap": "--bootstrap",
    "network.name": "--network",
    "network.psk_file": "--psk",
    "node.mode": "--mode",
    "node.profile": "--profile",
    "control.listen": "--control",
    "node.mdns": "--mdns",
    "log.level": "--log-level",
    "log.format": "--log-format",
    "node.allow_network_fs": "--allow-network-fs",
}
_WIDTH = 100
_TYPE_NAMES = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration, described. default, example: as TOML; default None is unset.

    unset: what holds while it is unset. limits: such as "1 to 256", or "".
    """

    name: str
    text: str
    type: str
    limits: str
    default: str | None
    unset: str
    example: str
    secret: bool
    metadata: tuple[Any, ...]

    def toml(self, value: Any) -> str:
        """Return a value of this key as TOML; None is "none"."""
        return "none" if value is None else toml_text(value, self.metadata)

    @property
    def env(self) -> str:
        return env_name(self.name)

    @property
    def flag(self) -> str | None:
        return FLAGS.get(self.name)


def describe(section: str, model: type[BaseModel]) -> Iterator[Key]:
    """Yield the keys of one section in their order."""
    for name, field in model.model_fields.items():
        metadata = (*field.metadata, *_metadata(field.annotation))
        unset = next((each for each in metadata if isinstance(each, Unset)), Unset("", ""))
        default = None if field.default is None else toml_text(field.default, metadata)
        yield Key(
            name=f"{section}.{name}",
            text=" ".join((field.description or "").split()),
            type=_type_text(field, metadata),
            limits=_limits_text(metadata),
            default=default,
            unset=unset.text,
            example=unset.example if default is None else default,
            secret=any(isinstance(each, Secret) for each in metadata),
            metadata=tuple(metadata),
        )


def toml_text(value: Any, metadata: Sequence[Any]) -> str:
    """Return a value as TOML, durations, sizes and modes as people write them."""
    kind = next((each.text for each in metadata if isinstance(each, Kind)), "")
    if isinstance(value, tuple):
        return f"[{', '.join(toml_text(each, ()) for each in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if kind.startswith("duration"):
        return f'"{exact_duration(value)}"'
    if kind.startswith("size"):
        return f'"{exact_size(value)}"' if value else "0"
    if kind == "file mode":
        return f'"{value:04o}"'
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    return str(value) if isinstance(value, float) else f'"{value}"'


def example_file(values: Mapping[str, str] | None = None) -> str:
    """Return a TOML file with every key: `values` (dotted key to TOML) set, the others as comments."""
    given = dict(values or {})
    lines = [
        "# The configuration of a PrimeDHT node, with every key. A key behind a # has that value unless set,",
        "# or is only an example where it says so. Run it with: primedht run --config FILE",
        "# Each key is also the environment variable PRIMEDHT_SECTION_KEY, and wins there over the file.",
        '# Durations are like "48h" or "90s", or seconds; sizes like "10GiB" or "64KiB", or bytes.',
    ]
    for section, model in sections():
        lines += ["", "", *_wrapped(model.__doc__ or ""), f"[{section}]"]
        for key in describe(section, model):
            lines += ["", *_wrapped(f"{key.text} {_remark(key)}")]
            name = key.name.partition(".")[2]
            if key.name in given:
                lines.append(f"{name} = {given[key.name]}")
            else:
                lines.append(f"# {name} = {key.example}")
    return "\n".join(lines) + "\n"


def manual_page() -> str:
    """Return docs/configuration.md."""
    out = [_HEAD]
    for section, model in sections():
        out += [f"## [{section}]\n", f"{' '.join((model.__doc__ or '').split())}\n"]
        out += ["| key | default | type | meaning |", "|---|---|---|---|"]
        out += [_row(key) for key in describe(section, model)]
        out.append("")
    out += ["## Profiles\n", "What `node.profile` gives to the `[dht]` keys that are not set.\n"]
    parameters = [name for name, _ in Config().dht]
    out += [
        f"| key | {' | '.join(f'`{name}`' for name in PROFILES)} |",
        f"|---|{'---|' * len(PROFILES)}",
        *(
            f"| `dht.{name}` | {' | '.join(_parameter_text(make(), name) for make in PROFILES.values())} |"
            for name in parameters
        ),
        "",
        "## Options\n",
        "What `primedht run` and `primedht config show` take on the command line.\n",
        "| option | key |",
        "|---|---|",
        *(f"| `{flag}` | `{key}` |" for key, flag in FLAGS.items()),
    ]
    return "\n".join(out) + "\n"


_HEAD = """\
# Configuration

Written by `make docs` from the models in `primedht/config/models.py`; change it there.

A TOML file (`--config`, or `PRIMEDHT_CONFIG`), then environment variables, then options; later ones win.
`primedht init` writes a file with every key, and `primedht config show` says which values hold and
where each comes from. An unknown key is an error that names the file, the key and the nearest name.

A key `dht.alpha` is `alpha` in the section `[dht]`, and `PRIMEDHT_DHT_ALPHA` in the environment, where
lists are separated by commas. Durations are text such as `"48h"`, `"1h30m"` or `"500ms"`, or seconds;
sizes such as `"64KiB"` (1024) or `"10GB"` (1000), or bytes.
"""


def masked(key: str, value: Any) -> Any:
    """Return a value as outputs may show it: without what a secret one may hide."""
    if value is None or not any(each.secret and each.name == key for each in all_keys()):
        return value
    parts = urlsplit(str(value))
    where = parts.netloc.rpartition("@")
    return urlunsplit(
        parts._replace(
            netloc=f"***@{where[2]}" if where[1] else where[2],
            query="***" if parts.query else "",
            fragment="",
        )
    )


def all_keys() -> Iterator[Key]:
    """Yield every key, in the tree's order."""
    for section, model in sections():
        yield from describe(section, model)


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default is not None else key.unset
    kind = f"{key.type}, {key.limits}" if key.limits else key.type
    meaning = key.text + (f" Example: `{key.example}`." if key.default is None and key.example else "")
    cells = (f"`{key.name}`", default, kind, meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _remark(key: Key) -> str:
    kind = f"{key.type}, {key.limits}" if key.limits else key.type
    if key.default is not None:
        return f"({kind})"
    example = "" if key.name.startswith("dht.") else "; below is an example"
    return f"({kind}; default: {key.unset}{example})"


def _wrapped(text: str) -> list[str]:
    one_line = " ".join(text.split())
    return textwrap.wrap(
        one_line, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _parameter_text(config: DhtConfig, name: str) -> str:
    value = getattr(config, name)
    if name.endswith("_per_s"):
        return exact_size(value)
    return (
        exact_duration(seconds(value))
        if name in ("refresh_interval", "ttl", "request_timeout")
        else str(value)
    )


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield what is attached to an annotation and to its parts."""
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        if not isinstance(part, str):
            yield from _metadata(part)


def _type_text(field: FieldInfo, metadata: Sequence[Any]) -> str:
    kind = next((each.text for each in metadata if isinstance(each, Kind)), None)
    is_list = get_origin(field.annotation) is tuple
    if kind is None:
        kind = _plain_type(field.annotation)
    return f"list of {kind}" if is_list else kind


def _plain_type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        *most, last = (f'"{choice}"' for choice in get_args(annotation))
        return f"{', '.join(most)} or {last}"
    if annotation in _TYPE_NAMES:
        return _TYPE_NAMES[annotation]
    parts = [part for part in get_args(annotation) if part not in (NoneType, ...)]
    return _plain_type(parts[0])


def _limits_text(metadata: Sequence[Any]) -> str:
    low: Any = max((each.ge for each in _constraints(metadata, Ge)), default=None)
    above: object = next((each.gt for each in _constraints(metadata, Gt)), None)
    high: object = next((each.le for each in _constraints(metadata, Le)), None)
    longest: object = next((each.max_length for each in _constraints(metadata, MaxLen)), None)
    if any(isinstance(each, Kind) and each.text.startswith("duration") for each in metadata):
        return "over 0"
    if longest is not None:
        return f"up to {longest} characters"
    if low is not None and high is not None:
        return f"{low} to {high}"
    if above is not None:
        return f"over {above}" + (f" to {high}" if high is not None else "")
    return f"at least {low}" if low is not None else ""


def _constraints(metadata: Sequence[Any], kind: type) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, kind):
            yield each
        elif isinstance(each, FieldInfo):
            yield from _constraints(each.metadata, kind)
