"""One simulated machine, and the node that runs on it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import trio

from primedht.dht.config import DhtConfig
from primedht.dht.dht import Dht, open_dht
from primedht.dht.ports import Rng
from primedht.kad.key import key_of
from primedht.kad.messages import PeerInfo
from primedht.sim.addresses import host_addr
from primedht.sim.clock import SimClock
from primedht.sim.host import SimHost
from primedht.sim.peer import KeyPair
from primedht.sim.store import FaultyKeyValue, StoreFaults
from primedht.stores.memory import MemoryKeyValue
from primedht.wire import addrs as multiaddrs

if TYPE_CHECKING:
    from primedht.sim.world import SimWorld

_GRACE_S = 4.0
"""What a node that stops in order gets for handing its records over (docs/architecture.md)."""


class SimNode:
    """What stays over restarts (keys, disk, clock, address), and the process that runs now, if any."""

    def __init__(
        self, world: SimWorld, index: int, keys: KeyPair, config: DhtConfig, bootstrap: Sequence[str]
    ) -> None:
        self.index = index
        self.keys = keys
        self.peer = keys.peer
        self.key = key_of(keys.peer)  # our point of the keyspace
        self.config = config
        self.bootstrap = tuple(bootstrap)
        self.clock = SimClock()
        self.disk = MemoryKeyValue()
        self.store_faults = StoreFaults()
        self.addrs = (host_addr(world.ip_of(index)),)
        self.dialable = True
        self.starts_count = 0
        self._world = world
        self._host: SimHost | None = None
        self._dht: Dht | None = None
        self._store: FaultyKeyValue | None = None
        self._scope = trio.CancelScope()
        self._up = trio.Event()
        self._stop = trio.Event()
        self._down = trio.Event()

    def __repr__(self) -> str:
        return f"SimNode({self.index})"

    @property
    def addr(self) -> str:
        """Our address with `/p2p`, as a bootstrap list names it."""
        return f"{multiaddrs.format_addr(self.addrs[0])}/p2p/{self.peer}"

    @property
    def info(self) -> PeerInfo:
        return PeerInfo(self.peer, self.addrs)

    @property
    def running(self) -> bool:
        return self._dht is not None

    def goes_on(self, life: int) -> bool:
        """Whether the life of that `starts_count` goes on, and nothing has begun to end it."""
        is_ending = self._scope.cancel_called or self._stop.is_set()
        return self.running and self.starts_count == life and not is_ending

    @property
    def dht(self) -> Dht:
        """The engine. Raises `RuntimeError` while the node is down."""
        if self._dht is None:
            raise RuntimeError(f"node {self.index} is down")
        return self._dht

    @property
    def host(self) -> SimHost:
        """The host of the process that runs, or ran last."""
        assert self._host is not None
        return self._host

    @property
    def store(self) -> FaultyKeyValue:
        """The store of the process that runs, or ran last."""
        assert self._store is not None
        return self._store

    @property
    def serving(self) -> bool:
        """Whether the node runs and serves the kad protocol."""
        return self.running and self.config.network_id in self.host.protocols()

    async def start(self) -> None:
        """Start the process; returns when the engine is open."""
        if self.running:
            raise RuntimeError(f"node {self.index} is running")
        self._scope = trio.CancelScope()
        self._up, self._stop, self._down = trio.Event(), trio.Event(), trio.Event()
        self._world.nursery.start_soon(self._run)
        await self._up.wait()

    async def crash(self, *, silent: bool = False) -> None:
        """End the process as SIGKILL does; with `silent`, as a pulled plug does. The disk stays."""
        self.host.crash(silent=silent)
        self.store.cut()
        self._scope.cancel()
        await self._down.wait()

    async def stop(self) -> None:
        """End the process in order, as SIGTERM does."""
        self._stop.set()
        await self._down.wait()

    async def restart(self, *, keep_store: bool = True) -> None:
        """Start again, a running process after a crash."""
        if self.running:
            await self.crash()
        if not keep_store:
            self.disk = MemoryKeyValue()
        await self.start()

    async def _run(self) -> None:
        world, self.starts_count = self._world, self.starts_count + 1
        life = f"{world.seed}/{self.index}/{self.starts_count}"
        self._host = world.network.add_host(
            self.peer,
            self.addrs,
            protocol=self.config.network_id,
            accepts=world.accepts,
            dialable=self.dialable,
            connections_max=world.connections_max,
        )
        self._store = FaultyKeyValue(self.disk, StoreFaults(), random.Random(f"store {life}"))
        ports = self._host.ports(self.clock, cast(Rng, random.Random(f"engine {life}")))
        try:
            with self._scope:
                async with open_dht(ports, self._store, self.config, bootstrap=self.bootstrap) as dht:
                    self._dht = dht
                    self._store.faults = self.store_faults  # from now on: a start is tried until it works
                    self._up.set()
                    await self._stop.wait()
                    await dht.hand_over(budget_s=_GRACE_S)
        finally:
            self._dht = None
            self._host.close()
            self._store.cut()
            self._up.set()  # nobody shall wait for one that crashed while it was starting
            self._down.set()
