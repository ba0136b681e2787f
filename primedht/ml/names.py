"""Names of models: `<owner>/<name>[@version]`, the owner being a key.

An owner is written as a peer id, as `me` (this node's own key), or as an alias that is set on this machine
only: nobody can take a name away, and nobody gets one by being first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from primedht import limits
from primedht.errors import InvalidArgument, UnknownOwner
from primedht.ids import PeerId
from primedht.records.keys import prime_key

_KIND = "model"
_ME = "me"
_WORD = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{limits.MODEL_NAME_CHARS_MAX - 1}}}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ModelName:
    """version: None is the latest."""

    owner: PeerId
    name: str
    version: int | None = None

    @property
    def key(self) -> bytes:
        """The key of the record that lists the versions. Raises `InvalidKey` for an owner who cannot sign."""
        return prime_key(_KIND, self.owner, self.name)

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}" + (f"@{self.version}" if self.version is not None else "")


def parse_name(text: str, me: PeerId, aliases: Mapping[str, PeerId]) -> ModelName:
    """Return the name that `text` is. Raises `InvalidArgument`, `UnknownOwner`."""
    owner, slash, rest = text.partition("/")
    name, at, version = rest.partition("@")
    if (
        not (owner and slash)
        or not is_word(name)
        or (at and version != _LATEST and not _VERSION.fullmatch(version))
    ):
        raise InvalidArgument(
            f"{text[:200]!r} is no model's name; write OWNER/NAME or OWNER/NAME@VERSION, as in me/bert@3, "
            f"NAME of at most {limits.MODEL_NAME_CHARS_MAX} letters, digits, dots, dashes and underscores"
        )
    number = int(version) if version not in ("", _LATEST) else None
    return ModelName(parse_owner(owner, me, aliases), name, number)


def check_alias(alias: str) -> None:
    """Raise `InvalidArgument` unless `alias` can stand for an owner."""
    is_peer = True
    try:
        PeerId.from_text(alias)
    except InvalidArgument:
        is_peer = False
    if alias == _ME or is_peer or not is_word(alias):
        raise InvalidArgument(
            f"{alias[:100]!r} cannot be an alias: use letters, digits, dots, dashes and underscores, "
            f"and neither {_ME!r} nor a peer id"
        )


def is_word(name: str) -> bool:
    """Return whether `name` can be the name of a model or a run."""
    return _WORD.fullmatch(name) is not None


def parse_owner(text: str, me: PeerId, aliases: Mapping[str, PeerId]) -> PeerId:
    """Return the owner that `text` stands for. Raises `UnknownOwner`."""
    if text == _ME:
        return me
    if text in aliases:
        return aliases[text]
    try:
        return PeerId.from_text(text)
    except InvalidArgument:
        raise UnknownOwner(
            f"no alias {text[:100]!r} is set; set it with `primedht alias set {text[:100]} PEER_ID`, "
            "or write the owner's peer id"
        ) from None
