"""The configuration: the tree of its keys, where their values come from, and its reference."""

from primedht.config.models import (
    BlocksConfig,
    Config,
    ControlConfig,
    DhtSection,
    LimitsConfig,
    LogConfig,
    NetworkConfig,
    NodeConfig,
    QuotasConfig,
    RecordsConfig,
    StorageConfig,
)
from primedht.config.sources import Loaded, env_name, keys, load, load_config

__all__ = [
    "BlocksConfig",
    "Config",
    "ControlConfig",
    "DhtSection",
    "LimitsConfig",
    "Loaded",
    "LogConfig",
    "NetworkConfig",
    "NodeConfig",
    "QuotasConfig",
    "RecordsConfig",
    "StorageConfig",
    "env_name",
    "keys",
    "load",
    "load_config",
]
