"""The configuration tree: TOML file, `PRIMEDHT_*` environment, flags; later ones win.

Frozen and strict: an unknown key is an error that names its source and the nearest valid key, and
values are validated together. Environment names derive from the tree: `dht.alpha` is
`PRIMEDHT_DHT_ALPHA`, lists are comma-separated.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from primedht import control_addr, limits
from primedht.dht.config import DhtConfig, Quotas
from primedht.errors import ConfigInvalid, InvalidArgument
from primedht.peer_addr import to_multiaddr
from primedht.units import parse_duration, parse_size
from primedht.wire import addrs

ENV_PREFIX = "PRIMEDHT_"
# Read by the command line itself, or by our tests; they are no keys of the tree.
_OTHER_ENV = ("PRIMEDHT_CONTROL", "PRIMEDHT_CONFIG")
_TEST_ENV_PREFIX = "PRIMEDHT_TEST_"
_NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PROTOCOL_PREFIX = re.compile(r"(?:/[A-Za-z0-9._-]{1,64}){1,8}")


def _mapped(parse: Any) -> BeforeValidator:
    """Make a validator of a function that raises `InvalidArgument` (pydantic wants ValueError)."""

    def validate(value: Any) -> Any:
        try:
            return parse(value)
        except InvalidArgument as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(validate)


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
        return int(value.removeprefix("0o"), 8)
    return value


Seconds = Annotated[float, _mapped(parse_duration), Field(gt=0, le=10 * 365 * 86400)]
Bytes = Annotated[int, _mapped(parse_size), Field(ge=0)]
Multiaddr = Annotated[str, _mapped(_multiaddr)]
BootstrapAddr = Annotated[str, _mapped(_bootstrap_addr)]
ControlListen = Annotated[str, _mapped(_control_addr)]
FileMode = Annotated[int, _mapped(_file_mode), Field(ge=0o600, le=0o666)]
Share = Annotated[float, Field(gt=0, le=1)]
Profile = Literal["default", "high-performance", "low-latency", "amino"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NetworkConfig(_Section):
    """Which network this node is part of.

    kind: decides open keys, address filters and IP diversity limits. name: a private network of its
    own, protocol /NAME/kad/1.0.0. protocol_prefix: any other prefix, such as /ipfs/lan.
    """

    kind: Literal["private", "public"] = "private"
    name: str | None = None
    protocol_prefix: str | None = None

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.name is not None and self.protocol_prefix is not None:
            raise ValueError("network.name and network.protocol_prefix exclude each other; remove one")
        if self.name is not None and not _NETWORK_NAME.fullmatch(self.name):
            raise ValueError("network.name must be 1 to 64 letters, digits, '.', '_' or '-'")
        if self.protocol_prefix is not None and not _PROTOCOL_PREFIX.fullmatch(self.protocol_prefix):
            raise ValueError("network.protocol_prefix must look like /ipfs/lan")
        return self

    @property
    def protocol_id(self) -> str:
        """The Kademlia protocol id that names the network on the wire."""
        prefix = f"/{self.name}" if self.name is not None else self.protocol_prefix or "/ipfs"
        return f"{prefix}/kad/1.0.0"


class NodeConfig(_Section):
    """This process: where its data is, where it listens, whom it knows.

    data_dir: None is in memory when embedded, and the XDG data directory for the daemon.
    mdns: None is on when the network has a name. transport: whose Noise and Yamux run: ours, or
    py-libp2p's, to tell a fault apart. grace: seconds for a graceful end.
    """

    data_dir: Path | None = None
    allow_network_fs: bool = False
    listen: tuple[Multiaddr, ...] = ("/ip4/0.0.0.0/tcp/4101", "/ip6/::/tcp/4101")
    announce: tuple[Multiaddr, ...] = ()
    mode: Literal["auto", "client", "server"] = "auto"
    bootstrap: tuple[BootstrapAddr, ...] = ()
    mdns: bool | None = None
    profile: Profile = "default"
    transport: Literal["primedht", "libp2p"] = "primedht"
    grace: Seconds = 4.0


class DhtSection(_Section):
    """The engine's parameters; what is not set comes from `node.profile`."""

    k_bucket_size: int | None = None
    alpha: int | None = None
    replication_factor: int | None = None
    refresh_interval: Seconds | None = None
    ttl: Seconds | None = None
    resiliency: int | None = None
    disjoint_paths: int | None = None
    request_timeout: Seconds | None = None
    repair_bytes_per_s: Bytes | None = None


class RecordsConfig(_Section):
    """Sizes of values, in bytes: the largest in one record, and the largest kept inline by `put`."""

    value_bytes_max: Annotated[Bytes, Field(ge=1, le=limits.VALUE_BYTES_MAX)] = limits.VALUE_BYTES_MAX
    inline_bytes_max: Annotated[Bytes, Field(ge=1, le=limits.VALUE_BYTES_MAX)] = limits.INLINE_BYTES_MAX


class StorageConfig(_Section):
    """Where records are kept.

    backend: lmdb, memory, redis, or an entry point of `primedht.storage`. url: of the server, for
    redis. durable: false accepts a backend that may lose acknowledged writes.
    """

    backend: Annotated[str, Field(min_length=1, max_length=64)] = "lmdb"
    url: Annotated[str | None, Field(repr=False)] = None  # may carry a password
    durable: bool = True


class QuotasConfig(_Section):
    """What the stores may hold; 0 means no limit of that kind."""

    records_bytes_max: Bytes = Quotas().records_bytes_max
    records_max: Annotated[int, Field(ge=0)] = Quotas().records_max
    namespace_share: Share = Quotas().namespace_share
    peer_share: Share = Quotas().peer_share
    ip_block_share: Share = Quotas().ip_block_share
    provider_bytes_max: Bytes = Quotas().provider_bytes_max
    providers_per_key_max: Annotated[int, Field(ge=1)] = Quotas().providers_per_key_max


class LimitsConfig(_Section):
    """Connections to peers: above `high` they are trimmed to `low`, beyond `max` none is accepted.

    inbound_per_ip_max: of one IP address that is not loopback.
    """

    connections_low: Annotated[int, Field(ge=1)] = 160  # go-libp2p, connmgr's default
    connections_high: Annotated[int, Field(ge=1)] = 200
    connections_max: Annotated[int, Field(ge=1)] = 300
    inbound_per_ip_max: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.connections_low <= self.connections_high <= self.connections_max:
            raise ValueError("limits must satisfy connections_low <= connections_high <= connections_max")
        return self


class ControlConfig(_Section):
    """The control socket. listen: empty is a Unix socket in the data directory.

    mode, group: who may use it. tcp_trusted: allow signing and administration over TCP too.
    """

    listen: tuple[ControlListen, ...] = ()
    mode: FileMode = 0o600
    group: str | None = None
    tcp_trusted: bool = False

    @model_validator(mode="after")
    def _loopback(self) -> Self:
        for text in self.listen:
            addr = control_addr.parse(text)
            if isinstance(addr, control_addr.TcpAddr) and not addr.is_loopback:
                raise ValueError(
                    f"control.listen {text} is not a loopback address; use /ip4/127.0.0.1/tcp/PORT"
                )
        return self


class LogConfig(_Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Config(_Section):
    """Everything that can be configured, valid by construction."""

    network: NetworkConfig = NetworkConfig()
    node: NodeConfig = NodeConfig()
    dht: DhtSection = DhtSection()
    records: RecordsConfig = RecordsConfig()
    storage: StorageConfig = StorageConfig()
    quotas: QuotasConfig = QuotasConfig()
    limits: LimitsConfig = LimitsConfig()
    control: ControlConfig = ControlConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.network.kind == "public" and self.node.profile != "amino":
            raise ValueError('network.kind "public" needs node.profile "amino"')
        if self.storage.backend == "redis" and not self.storage.url:
            raise ValueError('storage.backend "redis" needs storage.url')
        if self.records.inline_bytes_max > self.records.value_bytes_max:
            raise ValueError("records.inline_bytes_max must not exceed records.value_bytes_max")
        try:
            self.to_dht_config()
        except ConfigInvalid as error:
            raise ValueError(f"dht: {error}") from None
        return self

    @property
    def protocol_id(self) -> str:
        """The Kademlia protocol id that names the network on the wire."""
        return self.network.protocol_id

    @property
    def mdns_enabled(self) -> bool:
        """Whether to announce and look for peers by mDNS; only named networks do so unasked."""
        return self.network.name is not None if self.node.mdns is None else self.node.mdns

    def to_dht_config(self) -> DhtConfig:
        """Return the engine's parameters: the profile's, with what is set here in their place.

        Raises `ConfigInvalid` if they do not fit together.
        """
        public = self.network.kind == "public"
        chosen = {name: value for name, value in self.dht if value is not None}
        return _PROFILES[self.node.profile]().with_changes(
            **chosen,
            mode=self.node.mode,
            network_kind=self.network.kind,
            ipfs_keys_only=public or self.node.profile == "amino",
            network_id=self.protocol_id,
            value_bytes_max=self.records.value_bytes_max,
            inline_bytes_max=self.records.inline_bytes_max,
            quotas=Quotas(**dict(self.quotas)),
        )


_PROFILES = {
    "default": DhtConfig,
    "high-performance": DhtConfig.high_performance,
    "low-latency": DhtConfig.low_latency,
    "amino": DhtConfig.amino,
}


# --- loading ---------------------------------------------------------------------------------------


def load_config(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Merge file, environment and flags (dotted key to value; None is not given) into a `Config`.

    Raises `ConfigInvalid`, naming the source, the key and the nearest valid name.
    """
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    layers = (
        *(_file_items(file) if file is not None else ()),
        *_environ_items(environ),
        *((key, value, "command line") for key, value in (flags or {}).items() if value is not None),
    )
    for key, value, origin in layers:
        section, _, name = key.partition(".")
        values.setdefault(section, {})[name] = value
        origins[key] = origin
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalid(_explain(error, origins)) from None


def keys() -> Iterator[str]:
    """Yield every dotted key of the tree, in its order."""
    for section, model in _sections():
        for name in model.model_fields:
            yield f"{section}.{name}"


def env_name(key: str) -> str:
    """Return the environment variable that sets a dotted key."""
    return ENV_PREFIX + key.replace(".", "_").upper()


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
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
    known = {section: set(model.model_fields) for section, model in _sections()}
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
    field = dict(_sections())[section].model_fields[name]
    return isinstance(field.default, tuple)


def _nearest(name: str, candidates: Iterator[str] | list[str]) -> str:
    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f"did you mean {found[0]}?" if found else "see `primedht run --help` and configs/node.toml"


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    """Return one line for the first problem that pydantic found."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = [str(part) for part in problem["loc"]]
    key = ".".join(where[:2])
    message = problem["msg"].removeprefix("Value error, ")
    origin = origins.get(key) or ", ".join(dict.fromkeys(origins.values())) or "configuration"
    if len(where) < 2:  # a rule between keys: its text names them
        return f"{origin}: {message}"
    return f"{origin}: {key}: {message[:1].lower() + message[1:]}"
