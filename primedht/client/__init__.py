"""The client library: `Client` and `AsyncClient` for a running daemon. Loads neither libp2p nor pydantic."""

from typing import TYPE_CHECKING, Any

from primedht.client._blocks import Collected, Content, DagStat, DirectoryEntry, Pin
from primedht.client._checkpoints import CheckpointStep, FoundCheckpoint, PublishedCheckpoint
from primedht.client._models import FoundModel, KeptModel, ModelVersion, TensorPlace
from primedht.client._ops import DrainResult, Identity, ItemResult, PeerAddrs, PutItem
from primedht.client._transfer import Progress
from primedht.client.sync import Client

if TYPE_CHECKING:
    from primedht.client.aio import AsyncClient

__all__ = [
    "AsyncClient",
    "CheckpointStep",
    "Client",
    "Collected",
    "Content",
    "DagStat",
    "DirectoryEntry",
    "DrainResult",
    "FoundCheckpoint",
    "FoundModel",
    "Identity",
    "ItemResult",
    "KeptModel",
    "ModelVersion",
    "PeerAddrs",
    "Pin",
    "Progress",
    "PublishedCheckpoint",
    "PutItem",
    "TensorPlace",
]


def __getattr__(name: str) -> Any:
    """Import `AsyncClient` when it is asked for: programs without an event loop need no anyio."""
    if name == "AsyncClient":
        from primedht.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
