"""PrimeDHT: a libp2p Kademlia node that stores, finds and moves what machine learning makes.

    from primedht import open_node

    async with open_node(bootstrap=["/ip4/127.0.0.1/tcp/4101"]) as node:
        await node.put("model_weights_v1", b"...")

Names are imported when they are first used, so that a client does not load the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from primedht.assembly import open_node as open_node
    from primedht.config import Config as Config
    from primedht.dht.config import DhtConfig as DhtConfig
    from primedht.ids import PeerId as PeerId
    from primedht.kad.table import RoutingTable as RoutingTable
    from primedht.keys import PrivateKey as PrivateKey
    from primedht.node import Node as Node
    from primedht.stores.kv import KeyValue as StorageBackend

_HOMES = {
    "Config": ("primedht.config", "Config"),
    "DhtConfig": ("primedht.dht.config", "DhtConfig"),
    "Node": ("primedht.node", "Node"),
    "PeerId": ("primedht.ids", "PeerId"),
    "PrivateKey": ("primedht.keys", "PrivateKey"),
    "RoutingTable": ("primedht.kad.table", "RoutingTable"),
    "StorageBackend": ("primedht.stores.kv", "KeyValue"),
    "open_node": ("primedht.assembly", "open_node"),
}

__all__ = [
    "Config",
    "DhtConfig",
    "Node",
    "PeerId",
    "PrivateKey",
    "RoutingTable",
    "StorageBackend",
    "open_node",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
