"""What models and checkpoints need of a node's records."""

from __future__ import annotations

from typing import Protocol

from primedht.blocks.replicate.placing import Placing
from primedht.cids import Cid
from primedht.ids import PeerId
from primedht.results import FoundValue, PutResult


class Records(Protocol):
    """Signed records, and blocks on other nodes, as `Node` has them."""

    async def put(
        self, key: bytes, value: bytes, *, ttl: float, once: bool = False, timeout: float
    ) -> PutResult: ...

    async def get_record(self, key: bytes, *, timeout: float) -> FoundValue: ...

    async def delete(self, key: bytes, *, timeout: float) -> PutResult: ...

    async def replicate(self, root: Cid, owner: PeerId) -> Placing: ...
