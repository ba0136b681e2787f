"""Where values come from: TOML file, `PRIMEDHT_*` environment, command line; later ones win.

An unknown key is an error that names its source and the nearest valid key. Lists in the environment
are comma-separated.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from primedht import limits
from primedht.config.models import Config
from primedht.errors import ConfigInvalid

ENV_PREFIX = "PRIMEDHT_"
# Read by the command line itself, or by our tests; they are no keys of the tree.
_OTHER_ENV = ("PRIMEDHT_CONTROL", "PRIMEDHT_CONFIG")
_TEST_ENV_PREFIX = "PRIMEDHT_TEST_"
_DOTTED = re.compile(r"\b[a-z]+\.[a-z_]+\b")
COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and where each key that somebody set was set last."""

    config: Config
    origins: Mapping[str, str]


def load_config(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Merge file, environment and flags (dotted key to value; None is not given) into a `Config`.

    Raises `ConfigInvalid`, naming the source, the key and the nearest valid name.
    """
    return load(file, environ=environ, flags=flags).config


def load(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """As `load_config`, with the origin of every value: a file's path, a variable, `COMMAND_LINE`."""
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    layers = (
        *(_file_items(file) if file is not None else ()),
        *_environ_items(environ),
        *((key, value, COMMAND_LINE) for key, value in (flags or {}).items() if value is not None),
    )
    for key, value, origin in layers:
        section, _, name = key.partition(".")
        values.setdefault(section, {})[name] = value
        origins[key] = origin
    try:
        return Loaded(Config.model_validate(values), origins)
    except ValidationError as error:
        raise ConfigInvalid(_explain(error, origins)) from None


def keys() -> Iterator[str]:
    """Yield every dotted key of the tree, in its order."""
    for section, model in sections():
        for name in model.model_fields:
            yield f"{section}.{name}"


def env_name(key: str) -> str:
    """Return the environment variable that sets a dotted key."""
    return ENV_PREFIX + key.replace(".", "_").upper()


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the sections of the tree with their models, in its order."""
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        yield name, field.annotation


def _file_items(file: Path) -> Iterator[tuple[str, Any, str]]:
    try:
        with file.open("rb") as stream:
            raw = stream.read(limits.CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(f"{file}: cannot be read: {error.strerror}; check --config") from None
    if len(raw) > limits.CONFIG_BYTES_MAX:
        raise ConfigInvalid(
            f"{file}: larger than {limits.CONFIG_BYTES_MAX} bytes; is it a configuration file?"
        )
    try:
        tree = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"{file}: not valid TOML: {error}; correct it there") from None
    known = {section: set(model.model_fields) for section, model in sections()}
    for section, entries in tree.items():
        if section not in known:
            raise ConfigInvalid(f"{file}: unknown key {section}; {_nearest(section, [*known, *keys()])}")
        if not isinstance(entries, dict):
            raise ConfigInvalid(f"{file}: {section} must be a section; write [{section}]")
        for name, value in entries.items():
            key = f"{section}.{name}"
            if name not in known[section]:
                raise ConfigInvalid(f"{file}: unknown key {key}; {_nearest(key, keys())}")
            yield key, value, str(file)


def _environ_items(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    by_name = {env_name(key): key for key in keys()}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in _OTHER_ENV or name.startswith(_TEST_ENV_PREFIX):
            continue
        if name not in by_name:
            raise ConfigInvalid(
                f"environment: unknown variable {name}; {_nearest(name, [*by_name, *_OTHER_ENV])}"
            )
        key = by_name[name]
        text = environ[name]
        value = [part.strip() for part in text.split(",") if part.strip()] if _is_list(key) else text
        yield key, value, f"environment variable {name}"


def _is_list(key: str) -> bool:
    section, _, name = key.partition(".")
    field = dict(sections())[section].model_fields[name]
    return isinstance(field.default, tuple)


def _nearest(name: str, candidates: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return (
        f"did you mean {found[0]}?" if found else "docs/configuration.md lists all, as `primedht init` does"
    )


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    """Return one line for the first problem that pydantic found."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = [str(part) for part in problem["loc"]]
    key = ".".join(where[:2])
    message = problem["msg"].removeprefix("Value error, ")
    if len(where) < 2:  # a rule between keys: its text names them
        return f"{_blamed(message, origins)}: {message}"
    return f"{_blamed(key, origins)}: {key}: {message[:1].lower() + message[1:]}"


def _blamed(message: str, origins: Mapping[str, str]) -> str:
    """Return where the keys that a message names were set; where anything was, if none of them was."""
    named = [origins[key] for key in _DOTTED.findall(message) if key in origins]
    return ", ".join(dict.fromkeys(named or origins.values())) or "configuration"
