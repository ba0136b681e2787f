"""One server to be measured, in a process of its own: ours, or py-libp2p's.

    python benchmarks/servers.py primedht|pylibp2p

Prints a JSON line (peer_id, addr) when it is ready and ends with its standard input. The line `sample` on
that begins to sample where its CPU time goes, `samples` prints the counts so far. It serves the DHT,
`discard` and `source` as the go and js peers do. Limits that would refuse the benchmark's clients are
raised; nothing else differs from the defaults.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import structlog
import trio
from harness import DISCARD, KEY, LISTEN, SOURCE, VALUE_BYTES
from libp2p import new_host
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerstore import PeerStore
from libp2p.rcmgr.manager import ResourceLimits, ResourceManager
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from primedht.assembly import open_node
from primedht.config import Config, LimitsConfig, NetworkConfig, NodeConfig

PIECE = bytes(64 << 10)
MANY = 100_000
SAMPLE_S = 0.001  # of CPU time; the kernel makes more of it
PARTS = {  # the first that is part of a frame's path
    "/trio/": "trio",
    "/host/sockets": "sockets",
    "/host/noise/": "Noise",
    "/host/yamux/": "Yamux",
    "/host/multistream": "multistream",
    "primedht/host/": "host",
    "primedht/kad/codec": "codec",
    "primedht/kad/": "routing table",
    "primedht/wire/": "framing",
    "primedht/stores/": "store",
    "primedht/records/": "records",
    "primedht/dht/": "handlers",
}


@asynccontextmanager
async def primedht_server() -> AsyncIterator[str]:
    """A node as the daemon runs it, its store on disk."""

    async def discard(stream: Any) -> None:
        size = 0
        while data := await stream.receive():
            size += len(data)
        await stream.send(size.to_bytes(8, "big"))

    async def source(stream: Any) -> None:
        wanted = b""
        while len(wanted) < 8:
            wanted += await stream.receive()
        left = int.from_bytes(wanted[:8], "big")
        while left:
            piece = PIECE[:left]
            await stream.send(piece)
            left -= len(piece)

    config = Config(
        network=NetworkConfig(protocol_prefix="/test"),
        node=NodeConfig(listen=(LISTEN,), mdns=False, mode="server", transport="primedht"),
        limits=LimitsConfig(connections_low=1000, connections_high=1000, connections_max=2000),
    )
    with tempfile.TemporaryDirectory() as folder:
        async with open_node(config, data_dir=folder) as node:
            node.host.streams.serve(DISCARD, discard)
            node.host.streams.serve(SOURCE, source)
            yield node.addrs[0]


@asynccontextmanager
async def pylibp2p_server() -> AsyncIterator[str]:
    """py-libp2p's stock host and DHT. It accepts 12 DHT streams at once by default, here `MANY`."""

    async def discard(stream: Any) -> None:
        size = 0
        try:
            while data := await stream.read(1 << 20):
                size += len(data)
        except StreamEOF:
            pass
        await stream.write(size.to_bytes(8, "big"))
        await stream.close()

    async def source(stream: Any) -> None:
        wanted = b""
        while len(wanted) < 8:
            wanted += await stream.read(8 - len(wanted))
        left = int.from_bytes(wanted, "big")
        while left:
            piece = PIECE[:left]
            await stream.write(piece)
            left -= len(piece)
        await stream.close()

    listen = [Multiaddr(LISTEN)]
    host = new_host(
        listen_addrs=listen,
        peerstore_opt=PeerStore(max_records=MANY, max_peers=MANY),
        connection_config=ConnectionConfig(
            max_connections=MANY,
            min_connections=0,
            low_watermark=0,
            high_watermark=MANY,
        ),
        resource_manager=ResourceManager(
            limits=ResourceLimits(max_connections=MANY, max_memory_mb=8192, max_streams=MANY),
            enable_metrics=False,
            enable_rate_limiting=False,
        ),
    )
    async with host.run(listen_addrs=listen):
        dht = KadDHT(host, DHTMode.SERVER)
        dht._inbound_limiter = trio.CapacityLimiter(MANY)
        async with background_trio_service(dht):
            host.set_stream_handler(TProtocol(DISCARD), discard)
            host.set_stream_handler(TProtocol(SOURCE), source)
            dht.value_store.put(KEY, bytes(VALUE_BYTES))
            yield str(host.get_addrs()[0])


class Sampler:
    """Counts, by the parts of `PARTS`, where this process spends its CPU time."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._part_of: dict[str, str | None] = {}

    def start(self) -> None:
        self.counts.clear()
        signal.set_wakeup_fd(-1)  # or each sample would wake trio
        signal.signal(signal.SIGPROF, self._on_sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)

    def _on_sample(self, _: int, frame: FrameType | None) -> None:
        while frame is not None:
            path = frame.f_code.co_filename
            if path not in self._part_of:
                self._part_of[path] = next((PARTS[each] for each in PARTS if each in path), None)
            part = self._part_of[path]
            if part is not None:
                self.counts[part] += 1
                return
            frame = frame.f_back
        self.counts["other"] += 1


async def main(kind: str) -> None:
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with {"primedht": primedht_server, "pylibp2p": pylibp2p_server}[kind]() as addr:
        print(json.dumps({"addr": addr, "peer_id": addr.rpartition("/p2p/")[2]}), flush=True)
        sampler = Sampler()
        while wanted := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            if wanted == "sample\n":
                sampler.start()
            else:
                print(json.dumps(sampler.counts), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
