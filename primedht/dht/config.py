"""The engine's parameters. The first five are the seed's, with its words and defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from primedht import limits
from primedht.errors import ConfigInvalid

Duration = float | int | timedelta


def seconds(duration: Duration) -> float:
    """Return a duration given as seconds or timedelta in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


@dataclass(frozen=True, slots=True)
class Quotas:
    """What the stores may hold, in bytes and records; 0 means no limit of that kind.

    Per peer and per IP block (/24, /48) bounds what one party can fill; `namespace_share` bounds
    one key class (`pk`, `ipns`, `prime`, open) as a share of the total.
    """

    records_bytes_max: int = 1 << 30
    records_max: int = 200_000
    namespace_share: float = 0.9
    peer_share: float = 0.25
    ip_block_share: float = 0.5
    provider_bytes_max: int = 256 << 20
    providers_per_key_max: int = limits.PROVIDERS_PER_KEY_MAX


@dataclass(frozen=True, slots=True)
class DhtConfig:
    """Parameters of one `Dht`. Durations are seconds or timedelta.

    k_bucket_size: k, peers per bucket and in a lookup's result. alpha: requests of one lookup in
    flight. replication_factor: R, holders of a value. refresh_interval: between bucket refreshes.
    ttl: life of an open value from its put. resiliency: beta, closest peers that must have answered.
    disjoint_paths: lookups go along so many paths that share no peer (S/Kademlia), so that liars on one
    cannot lead the others astray; each path costs a lookup's requests.
    optimistic_provide: `provide` returns when most of the likely closest peers have been told, and goes on in
    the background.
    mode: "auto" serves on private networks and, on public ones, where an address of ours is public.
    """

    k_bucket_size: int = 20
    alpha: int = 3
    replication_factor: int = 3
    refresh_interval: Duration = 3600
    ttl: Duration = 86400
    resiliency: int = limits.RESILIENCY
    disjoint_paths: int = 1
    optimistic_provide: bool = False
    request_timeout: Duration = limits.REQUEST_TIMEOUT_S
    mode: Literal["auto", "client", "server"] = "auto"
    network_kind: Literal["private", "public"] = "private"
    ipfs_keys_only: bool = False  # /pk and /ipns only, go's rule under the prefix /ipfs of the public DHT
    network_id: str = "/ipfs/kad/1.0.0"  # binds envelopes and snapshots: the protocol id
    value_bytes_max: int = limits.VALUE_BYTES_MAX
    inline_bytes_max: int = limits.INLINE_BYTES_MAX
    quotas: Quotas = Quotas()
    repair_bytes_per_s: int = 256 << 10

    def __post_init__(self) -> None:
        k = self.k_bucket_size
        checks = (
            (1 <= k <= 256, f"k_bucket_size is {k}; it must be 1 to 256"),
            (1 <= self.alpha <= k, f"alpha is {self.alpha}; it must be 1 to k_bucket_size ({k})"),
            (
                1 <= self.replication_factor <= k,
                f"replication_factor is {self.replication_factor}; it must be 1 to k_bucket_size ({k})",
            ),
            (
                1 <= self.resiliency <= k,
                f"resiliency is {self.resiliency}; it must be 1 to k_bucket_size ({k})",
            ),
            (
                1 <= self.disjoint_paths <= self.alpha,
                f"disjoint_paths is {self.disjoint_paths}; it must be 1 to alpha ({self.alpha})",
            ),
            (seconds(self.refresh_interval) > 0, "refresh_interval must be positive"),
            (seconds(self.ttl) > 0, "ttl must be positive"),
            (seconds(self.request_timeout) > 0, "request_timeout must be positive"),
        )
        for holds, problem in checks:
            if not holds:
                raise ConfigInvalid(problem)

    @classmethod
    def high_performance(cls) -> DhtConfig:
        """The seed's preset for large private networks."""
        return cls(k_bucket_size=32, alpha=8, replication_factor=5, refresh_interval=1800, ttl=172800)

    @classmethod
    def low_latency(cls) -> DhtConfig:
        """The seed's preset for small private networks."""
        return cls(k_bucket_size=10, alpha=2, replication_factor=2, refresh_interval=7200, ttl=43200)

    @classmethod
    def amino(cls) -> DhtConfig:
        """The public IPFS DHT: go-libp2p-kad-dht's values (amino/defaults.go)."""
        return cls(
            k_bucket_size=20, alpha=10, replication_factor=20, refresh_interval=600, ttl=172800,
            network_kind="public", ipfs_keys_only=True,
        )  # fmt: skip

    def with_changes(self, **changes: object) -> DhtConfig:
        """Return a copy with `changes` applied and validated."""
        return replace(self, **changes)  # type: ignore[arg-type]
