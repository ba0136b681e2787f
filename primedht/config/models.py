"""The configuration tree. Every key is documented here and nowhere else.

The text below each key is its entry in docs/configuration.md and in what `primedht init` writes; type
and limits come from its annotation, its environment variable from its name. Frozen and strict: values
are validated alone and together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from primedht import control_addr, limits
from primedht.config.types import (
    BootstrapAddr,
    Bytes,
    ControlListen,
    Count,
    FileMode,
    ListenAddr,
    Multiaddr,
    PeerIdText,
    Profile,
    Rate,
    Seconds,
    SecondsOrZero,
    Secret,
    Share,
    Unset,
)
from primedht.dht.config import DhtConfig, Quotas
from primedht.errors import ConfigInvalid
from primedht.wire import addrs

_NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PROTOCOL_PREFIX = re.compile(r"(?:/[A-Za-z0-9._-]{1,64}){1,8}")
_OF_PROFILE = "the profile's"


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class NetworkConfig(_Section):
    """Which network this node is part of."""

    kind: Literal["private", "public"] = "private"
    """Decides which keys and addresses are accepted, and how diverse the peers' IP addresses must be.
    "public" needs the profile "amino"."""

    name: Annotated[str | None, Unset("none", '"my-cluster"')] = None
    """A private network of its own: the protocol is /NAME/kad/1.0.0, and nodes with another name do not
    mix. 1 to 64 letters, digits, '.', '_' or '-'."""

    protocol_prefix: Annotated[str | None, Unset("/ipfs", '"/ipfs/lan"')] = None
    """Any other beginning of the protocol id, in the place of a name."""

    psk_file: Annotated[Path | None, Unset("none", '"/etc/primedht/swarm.key"')] = None
    """The pre-shared key that locks a private network: only nodes that have the same one can connect.
    `primedht key psk` makes such a file; kubo's swarm.key is one."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.name is not None and self.protocol_prefix is not None:
            raise ValueError("network.name and network.protocol_prefix exclude each other; remove one")
        if self.name is not None and not _NETWORK_NAME.fullmatch(self.name):
            raise ValueError("network.name must be 1 to 64 letters, digits, '.', '_' or '-'")
        if self.protocol_prefix is not None and not _PROTOCOL_PREFIX.fullmatch(self.protocol_prefix):
            raise ValueError("network.protocol_prefix must look like /ipfs/lan")
        if self.psk_file is not None and self.kind == "public":
            raise ValueError('network.psk_file makes a network private; network.kind cannot be "public"')
        return self

    @property
    def protocol_id(self) -> str:
        """The Kademlia protocol id that names the network on the wire."""
        prefix = f"/{self.name}" if self.name is not None else self.protocol_prefix or "/ipfs"
        return f"{prefix}/kad/1.0.0"


class NodeConfig(_Section):
    """This process: where its data is, where it listens, whom it knows."""

    data_dir: Annotated[Path | None, Unset("$XDG_DATA_HOME/primedht", '"/var/lib/primedht"')] = None
    """The folder of identity, keys and records. A node that a program embeds is in memory without it."""

    allow_network_fs: bool = False
    """Accept a data directory on NFS and the like, where locks and durability cannot be trusted."""

    listen: tuple[ListenAddr, ...] = ("/ip4/0.0.0.0/tcp/4101", "/ip6/::/tcp/4101")
    """Where peers connect to; port 0 is any free one."""

    announce: tuple[Multiaddr, ...] = ()
    """What to tell peers in the place of the addresses found: for forwarded ports and names."""

    mode: Literal["auto", "client", "server"] = "auto"
    """Whether this node serves others. "auto" serves on private networks, and on public ones with a
    public address."""

    bootstrap: tuple[BootstrapAddr, ...] = ()
    """Peers to join through, such as "192.0.2.7:4101"; several are better than one."""

    mdns: Annotated[bool | None, Unset("on if network.name is set", "true")] = None
    """Find peers of the same network on the local one by mDNS."""

    profile: Profile = "default"
    """Where the [dht] keys that are not set come from."""

    transport: Literal["primedht", "libp2p"] = "primedht"
    """Whose Noise and Yamux run: ours, or py-libp2p's, to tell a fault apart."""

    grace: Seconds = 4.0
    """How long SIGTERM lets requests end and records be handed over."""


class DhtSection(_Section):
    """The engine's parameters. What is not set comes from node.profile."""

    k_bucket_size: Annotated[Count | None, Field(le=256), Unset(_OF_PROFILE, "20")] = None
    """k: peers per bucket, and in a lookup's result."""

    alpha: Annotated[Count | None, Unset(_OF_PROFILE, "3")] = None
    """Requests of one lookup in flight; at most k_bucket_size."""

    replication_factor: Annotated[Count | None, Unset(_OF_PROFILE, "3")] = None
    """R: peers that hold a value; at most k_bucket_size."""

    refresh_interval: Annotated[Seconds | None, Unset(_OF_PROFILE, '"1h"')] = None
    """Between two refreshes of a bucket."""

    ttl: Annotated[Seconds | None, Unset(_OF_PROFILE, '"24h"')] = None
    """The life of a value from its put, unless the put says otherwise."""

    resiliency: Annotated[Count | None, Unset(_OF_PROFILE, "3")] = None
    """beta: the closest peers that must have answered before a lookup ends; at most k_bucket_size."""

    disjoint_paths: Annotated[Count | None, Unset(_OF_PROFILE, "1")] = None
    """Paths of a lookup that share no peer, so that liars on one cannot lead the others astray; each
    costs a lookup's requests. At most alpha."""

    optimistic_provide: Annotated[bool | None, Unset(_OF_PROFILE, "false")] = None
    """Whether `provide` returns when most of the likely closest peers have been told, and goes on in the
    background."""

    request_timeout: Annotated[Seconds | None, Unset(_OF_PROFILE, '"10s"')] = None
    """How long one request to a peer may take."""

    repair_bytes_per_s: Annotated[Bytes | None, Unset(_OF_PROFILE, '"256KiB"')] = None
    """What repair may send and ask for in a second."""


class RecordsConfig(_Section):
    """Sizes of values."""

    value_bytes_max: Annotated[Bytes, Field(ge=1, le=limits.VALUE_BYTES_MAX)] = limits.VALUE_BYTES_MAX
    """The largest value in one record, ours or a peer's."""

    inline_bytes_max: Annotated[Bytes, Field(ge=1, le=limits.VALUE_BYTES_MAX)] = limits.INLINE_BYTES_MAX
    """The largest value that `put` keeps in the record itself; larger ones become blocks. At most
    value_bytes_max."""

    compression: Literal["none", "auto", "zstd"] = "none"
    """Whether larger ones are compressed first, unless a put says otherwise. "auto" tries the first MiB,
    and does it if that saves a tenth. Not compressed, their blocks have the CIDs that kubo gives them."""


class StorageConfig(_Section):
    """Where records are kept."""

    backend: Annotated[str, Field(min_length=1, max_length=64)] = "lmdb"
    """"lmdb", "memory", "redis", or a name that a package registers under primedht.storage."""

    url: Annotated[str | None, Field(repr=False), Secret(), Unset("none", '"redis://localhost:6379/0"')] = (
        None
    )
    """The server, for "redis" and others that have one; it may carry a password."""

    durable: bool = True
    """Refuse a backend that may lose what it acknowledged, such as "memory"."""


class QuotasConfig(_Section):
    """What the stores may hold. 0 is no limit of that kind."""

    records_bytes_max: Bytes = Quotas().records_bytes_max
    """Records of all kinds together; beyond it the farthest from us give way."""

    records_max: Annotated[int, Field(ge=0)] = Quotas().records_max
    """Their number."""

    namespace_share: Share = Quotas().namespace_share
    """The share of both that one kind of keys may take: /pk, /ipns, /prime, all others."""

    peer_share: Share = Quotas().peer_share
    """The share that what one peer sent may take."""

    ip_block_share: Share = Quotas().ip_block_share
    """The share that what one block of public IP addresses sent may take (a /24, or a /48 of IPv6)."""

    provider_bytes_max: Bytes = Quotas().provider_bytes_max
    """Provider records together; beyond it random ones give way."""

    providers_per_key_max: Count = Quotas().providers_per_key_max
    """Providers remembered of one content."""

    blocks_bytes_max: Bytes = 0
    """Blocks of files and models, not counting those that stay in files of yours. When it is reached,
    what nothing pins goes; if that is not enough, nothing more is added or fetched."""


class BlocksConfig(_Section):
    """Blocks on their way between nodes."""

    compression: Literal["none", "zstd"] = "none"
    """"zstd" sends blocks compressed to nodes of ours that say so too, and takes them so, where that saves
    a tenth. Their CIDs, what is stored, and what kubo and others are sent stay as they are."""


class ReplicateConfig(_Section):
    """Others' large values that this node keeps, on private networks."""

    allow: tuple[PeerIdText, ...] = ()
    """Peer ids whose values are kept: of the peer that asks, or of the record's writer. With
    network.psk_file every peer's are."""

    bytes_max: Bytes = 10 << 30
    """What is kept in all; 0 keeps nothing."""

    peer_share: Share = 0.5
    """The share of it that one peer may fill."""

    ip_block_share: Share = 0.5
    """The share of it that one block of public IP addresses may fill (a /24, or a /48 of IPv6)."""


class LimitsConfig(_Section):
    """Connections to peers, and how fast data moves over them."""

    connections_low: Count = 160  # go-libp2p, connmgr's default
    """Down to how many they are trimmed."""

    connections_high: Count = 200
    """Above how many they are trimmed."""

    connections_max: Count = 300
    """Beyond this none is accepted."""

    connections_grace: SecondsOrZero = 20.0  # kubo, config.DefaultConnMgrGracePeriod
    """How old a connection must be to be trimmed."""

    inbound_per_ip_max: Count = 64
    """Accepted of one IP address that is not loopback."""

    upload_rate: Rate = None
    """Bytes a second that this node sends, lookups and other DHT traffic aside."""

    download_rate: Rate = None
    """Bytes a second that this node takes in, lookups and other DHT traffic aside."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.connections_low <= self.connections_high <= self.connections_max:
            raise ValueError(
                f"limits.connections_low is {self.connections_low}, limits.connections_high is "
                f"{self.connections_high}, limits.connections_max is {self.connections_max}; "
                "they must not fall in this order"
            )
        return self


class ControlConfig(_Section):
    """The control socket, through which programs of this machine use the node."""

    listen: tuple[ControlListen, ...] = ()
    """Where it is; if empty, control.sock in the data directory. TCP is for loopback only."""

    mode: FileMode = 0o600
    """Who may open it: "0600" the daemon's user, "0660" a group too, "0666" everybody."""

    group: Annotated[str | None, Unset("the user's own", '"ml"')] = None
    """The group of the socket; needs a mode that admits groups."""

    tcp_trusted: bool = False
    """Allow signing and administration over TCP too."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        for text in self.listen:
            addr = control_addr.parse(text)
            if isinstance(addr, control_addr.TcpAddr) and not addr.is_loopback:
                raise ValueError(
                    f"control.listen {text} is not a loopback address; use /ip4/127.0.0.1/tcp/PORT"
                )
        if self.group is not None and not self.mode & 0o060:
            raise ValueError(
                f'control.group has no effect while control.mode is "{self.mode:04o}"; set it to "0660"'
            )
        return self


class LogConfig(_Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""

    format: Literal["console", "json"] = "console"
    """For people, or one JSON object a line."""


class Config(_Section):
    """Everything that can be configured, valid by construction."""

    network: NetworkConfig = NetworkConfig()
    node: NodeConfig = NodeConfig()
    dht: DhtSection = DhtSection()
    records: RecordsConfig = RecordsConfig()
    storage: StorageConfig = StorageConfig()
    quotas: QuotasConfig = QuotasConfig()
    blocks: BlocksConfig = BlocksConfig()
    replicate: ReplicateConfig = ReplicateConfig()
    limits: LimitsConfig = LimitsConfig()
    control: ControlConfig = ControlConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_network()
        self._check_storage()
        try:
            self.to_dht_config()
        except ConfigInvalid as error:
            raise ValueError(f"dht.{error}") from None  # its text begins with the parameter's name
        return self

    def _check_network(self) -> None:
        if self.network.kind == "public":
            if self.node.profile != "amino":
                raise ValueError('network.kind "public" needs node.profile "amino"')
            for text in self.node.bootstrap:
                addr = addrs.parse(text)
                if addrs.split_peer(addr)[1] is None and "dnsaddr" not in addrs.names_of(addr):
                    raise ValueError(
                        f'node.bootstrap {text} must end in /p2p/PEER_ID, as network.kind is "public"'
                    )
        if self.node.mode == "server" and not self.node.listen:
            raise ValueError('node.mode "server" needs an address in node.listen')

    def _check_storage(self) -> None:
        backend = self.storage.backend
        if backend == "redis" and not self.storage.url:
            raise ValueError('storage.backend "redis" needs storage.url')
        if backend in ("lmdb", "memory") and self.storage.url:
            raise ValueError(f'storage.url is for "redis"; storage.backend is "{backend}"')
        value_bytes_max = self.records.value_bytes_max
        if self.records.inline_bytes_max > value_bytes_max:
            raise ValueError(
                f"records.inline_bytes_max is {self.records.inline_bytes_max}; it must not exceed "
                f"records.value_bytes_max ({value_bytes_max})"
            )
        if 0 < self.quotas.records_bytes_max < value_bytes_max:
            raise ValueError(
                f"quotas.records_bytes_max is {self.quotas.records_bytes_max}; one value may have "
                f"records.value_bytes_max ({value_bytes_max}) bytes"
            )

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
        return PROFILES[self.node.profile]().with_changes(
            **chosen,
            mode=self.node.mode,
            network_kind=self.network.kind,
            ipfs_keys_only=public or self.node.profile == "amino",
            network_id=self.protocol_id,
            value_bytes_max=self.records.value_bytes_max,
            inline_bytes_max=self.records.inline_bytes_max,
            quotas=Quotas(**self.quotas.model_dump(exclude={"blocks_bytes_max"})),
        )


PROFILES = {
    "default": DhtConfig,
    "high-performance": DhtConfig.high_performance,
    "low-latency": DhtConfig.low_latency,
    "amino": DhtConfig.amino,
}
