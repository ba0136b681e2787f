"""The types of configuration values: how each is read, which limits it has, and how it is called.

Metadata beside pydantic's own: `Kind` names a type for people, `Unset` says what holds while a key
is not set, `Secret` keeps a value out of every output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from primedht import control_addr
from primedht.errors import InvalidArgument
from primedht.ids import PeerId
from primedht.peer_addr import to_multiaddr
from primedht.units import parse_duration, parse_size
from primedht.wire import addrs


@dataclass(frozen=True, slots=True)
class Kind:
    """How a type is called in the reference."""

    text: str


@dataclass(frozen=True, slots=True)
class Unset:
    """What holds while the key is None, and an example of a value (as TOML) for files that show it."""

    text: str
    example: str


@dataclass(frozen=True, slots=True)
class Secret:
    """The value may carry a password: outputs show it masked."""


def _mapped(parse: Any) -> BeforeValidator:
    """Make a validator of a function that raises `InvalidArgument` (pydantic wants ValueError)."""

    def validate(value: Any) -> Any:
        try:
            return parse(value)
        except InvalidArgument as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(validate)


def _listen_addr(value: Any) -> Any:
    if isinstance(value, str) and addrs.tcp_endpoint(addrs.parse(value)) is None:
        raise InvalidArgument(f"cannot listen on {value[:128]}; give /ip4/IP/tcp/PORT or /ip6/IP/tcp/PORT")
    return value


def _multiaddr(value: Any) -> Any:
    if isinstance(value, str):
        addrs.parse(value)
    return value


def _bootstrap_addr(value: Any) -> Any:
    return to_multiaddr(value) if isinstance(value, str) else value


def _control_addr(value: Any) -> Any:
    if isinstance(value, str):
        control_addr.parse(value)
    return value


def _file_mode(value: Any) -> Any:
    """Accept "0660" or 0o660 and return the number."""
    if isinstance(value, str):
        if not re.fullmatch(r"(?:0o?)?[0-7]{3}", value):
            raise InvalidArgument(f"{value[:20]!r} is not a file mode; write it like 0600")
        value = int(value.removeprefix("0o"), 8)
    if isinstance(value, int) and (value & ~0o666 or value & 0o600 != 0o600):
        raise InvalidArgument(
            f"{value:04o} is not the mode of a socket that its owner uses; 0600 to 0666 are"
        )
    return value


def _peer_id(value: Any) -> Any:
    if isinstance(value, str):
        PeerId.from_text(value)
    return value


Seconds = Annotated[
    float, _mapped(parse_duration), Field(gt=0, le=10 * 365 * 86400), Kind("duration, or seconds")
]
SecondsOrZero = Annotated[
    float, _mapped(parse_duration), Field(ge=0, le=10 * 365 * 86400), Kind("duration, or seconds")
]
Bytes = Annotated[int, _mapped(parse_size), Field(ge=0), Kind("size, or bytes")]
Rate = Annotated[Annotated[Bytes, Field(ge=1)] | None, Unset("no limit", '"10MiB"')]
Count = Annotated[int, Field(ge=1)]
ListenAddr = Annotated[str, _mapped(_listen_addr), Kind("multiaddr")]
Multiaddr = Annotated[str, _mapped(_multiaddr), Kind("multiaddr")]
BootstrapAddr = Annotated[str, _mapped(_bootstrap_addr), Kind("multiaddr or HOST:PORT")]
ControlListen = Annotated[str, _mapped(_control_addr), Kind("/unix/PATH or /ip4/127.0.0.1/tcp/PORT")]
FileMode = Annotated[int, _mapped(_file_mode), Kind("file mode")]
PeerIdText = Annotated[str, _mapped(_peer_id), Kind("peer id")]
Share = Annotated[float, Field(gt=0, le=1)]
Profile = Literal["default", "high-performance", "low-latency", "amino"]
