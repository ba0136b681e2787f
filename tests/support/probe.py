"""A peer of our own that asks daemons for what they themselves hold."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from cluster import Daemon, at_once

from primedht.host.host import Host, HostConfig, open_host
from primedht.kad.messages import Message, MessageType
from primedht.keys import PrivateKey

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Copy:
    """What one node holds: the record's value, and the latest moment that its life may end."""

    value: bytes
    expires_unix_s: float


class Probe:
    """A client of the network: it serves nothing, so no routing table takes it in."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def copy(self, node: Daemon, key: bytes) -> Copy | None:
        """Return what the node's own store has under `key`, as it sends it to any peer."""
        question, asked_unix_s = Message(MessageType.GET_VALUE, key), time.time()
        reply = await self._host.rpc.request(node.peer_id, question, timeout_s=_TIMEOUT_S)
        if reply.record is None:
            return None
        return Copy(reply.record.value, asked_unix_s + reply.record.ttl_s)

    async def connect(self, nodes: Iterable[Daemon]) -> None:
        await at_once(nodes, lambda node: self._host.connect_addr(node.addr, timeout_s=_TIMEOUT_S))

    async def copies(self, nodes: Iterable[Daemon], keys: Iterable[bytes]) -> dict[bytes, list[Copy]]:
        """Return the copies that `nodes` hold themselves, by key."""
        nodes = list(nodes)
        found: dict[bytes, list[Copy]] = {key: [] for key in keys}
        await self.connect(nodes)

        async def ask(node: Daemon) -> None:
            async def one(key: bytes) -> None:
                copy = await self.copy(node, key)
                if copy is not None:
                    found[key].append(copy)

            await at_once(found, one, limit=2)

        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(ask, node)
        return found


@asynccontextmanager
async def open_probe(network: str) -> AsyncIterator[Probe]:
    config = HostConfig(listen=(), kad_protocol=f"/{network}/kad/1.0.0")
    async with open_host(PrivateKey.generate().serialize(), config) as host:
        yield Probe(host)
