"""A node without a network, for tests of what stands in front of a real one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import trio
from fake_host import FakeHost

from primedht import limits
from primedht.cids import multihash_of
from primedht.clock import SystemClock
from primedht.dht.config import seconds
from primedht.dht.events import Events
from primedht.dht.lookup import LookupResult
from primedht.errors import (
    InvalidKey,
    KeyNotFound,
    PeerNotFound,
    PeerUnreachable,
    QuorumNotReached,
    StoreFull,
    ValueNotFound,
)
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.results import (
    Asked,
    DiscoveredPeer,
    FoundValue,
    NameRecord,
    ProvideResult,
    PublishedName,
    PutResult,
    Refusal,
    Trace,
)
from primedht.transfers import InlineSink, InlineSource
from primedht.wire import addrs

ADDR = addrs.parse("/ip4/127.0.0.1/tcp/4101")


def peer(number: int) -> PeerId:
    return PeerId.from_public_key(b"\x08\x01\x12\x20" + number.to_bytes(32, "big"))


class FakeNode:
    """Behaves like `primedht.node.Node` in the calls that the control socket makes."""

    def __init__(self) -> None:
        self.peer_id = peer(0)
        self.addrs = [f"/ip4/127.0.0.1/tcp/4101/p2p/{self.peer_id}"]
        self.values: dict[bytes, bytes] = {}
        self.provided: set[bytes] = set()
        self.names: dict[PeerId, NameRecord] = {}
        self.connected = [PeerInfo(peer(1), (ADDR, ADDR))]
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.events = Events(SystemClock())
        self.open_transfers = 0
        self.capacity = 1 << 40
        self.slow_key_reached = trio.Event()
        self.slow_key_go = trio.Event()
        self.dht = SimpleNamespace(
            put_value=self._put_value,
            get_value=self._get_value,
            search_value=self._search_value,
            closest_peers=self._closest_peers,
            config=SimpleNamespace(network_id="/test/kad/1.0.0"),
            routing_table={peer(3)},
            events=self.events,
        )
        self.host = FakeHost(ADDR, lambda: tuple(each.id for each in self.connected))
        self.config = SimpleNamespace(limits=SimpleNamespace(connections_low=7))

    def own_addrs(self) -> tuple[bytes, ...]:
        return (ADDR,)

    def peers(self) -> list[DiscoveredPeer]:
        return [DiscoveredPeer(peer(1), (addrs.format_addr(ADDR),), "bootstrap", True)]

    def connected_peers(self) -> list[PeerInfo]:
        return self.connected

    async def put(self, key: bytes, value: bytes, **options: object) -> PutResult:
        with self.events.operation("put", key) as outcome:
            result = await self._put(key, value, **options)
            outcome.peers, outcome.value_bytes, outcome.trace = result.holders, len(value), result.trace
            return result

    async def _put(self, key: bytes, value: bytes, **options: object) -> PutResult:
        self.calls.append(("put", options))
        if not key:
            raise InvalidKey("a key has 1 to 1024 bytes, not 0")
        if options.get("min_holders") == 99:
            raise QuorumNotReached("2 of 99 holders", found=2, wanted=99, best=b"best")
        self.values[key] = value
        trace = _trace(key)
        return PutResult(
            key=key, holders=(self.peer_id, peer(1)), refused=(Refusal(peer(2), "peer_timeout"),),
            wanted=3, replication_factor=3, degraded=True, sequence=7, expires_unix_s=1e9, trace=trace,
        )  # fmt: skip

    async def get_record(
        self, key: bytes, *, quorum: int = 1, max_bytes: int = 1 << 30, timeout: float = 60
    ) -> FoundValue:
        if key == b"slow":
            self.slow_key_reached.set()
            await self.slow_key_go.wait()
            return FoundValue(key, b"at last", b"at last", False, ())
        if key == b"never":
            await trio.sleep_forever()
        if key == b"bug":
            raise ZeroDivisionError
        if key not in self.values:
            raise ValueNotFound(f"no value of {key!r}").with_trace(_trace(key))
        value = self.values[key]
        return FoundValue(key, value, value, True, (peer(1),), writer_unix_ms=5, expires_unix_s=1e9)

    @asynccontextmanager
    async def open_sink(self, key: bytes, *, size: int | None = None, **options: object) -> AsyncIterator:
        """Keys that begin with `large` are of any size, and never held; others are inline."""

        async def store(value: bytes, timeout: float) -> PutResult:
            if key == b"slow":
                self.slow_key_reached.set()
                await self.slow_key_go.wait()
            return await self.put(key, value, timeout=timeout, **options)

        if not key:
            raise InvalidKey("a key has 1 to 1024 bytes, not 0")
        self.open_transfers += 1
        try:
            if key.startswith(b"large"):
                yield LargeSink(store, self.capacity)
            else:
                yield InlineSink(store, size=size, bytes_max=limits.INLINE_BYTES_MAX)
        finally:
            self.open_transfers -= 1

    async def open_source(
        self, key: bytes, *, quorum: int = 1, max_bytes: int = 1 << 30, timeout: float = 60
    ) -> object:
        """`large/SIZE` gives so many bytes of `large_piece`; `broken/SIZE` fails half-way."""
        kind, _, size = key.partition(b"/")
        if kind not in (b"large", b"broken"):
            return InlineSource(await self.get_record(key, quorum=quorum, timeout=timeout))
        self.open_transfers += 1
        return LargeSource(self, key, int(size), fails=kind == b"broken")

    async def delete(self, key: bytes, **options: object) -> PutResult:
        result = await self.put(key, b"")
        del self.values[key]
        return result

    async def publish_name(self, value: str, **options: object) -> PublishedName:
        self.calls.append(("publish_name", {"value": value, **options}))
        if options["key"] == "absent":
            raise KeyNotFound("no key is called 'absent'")
        record = NameRecord(self.peer_id, value, 5, 1e10, 300.0, (peer(1),))
        self.names[self.peer_id] = record
        return PublishedName(record, await self.put(b"/ipns/" + self.peer_id, b"record"))

    async def resolve_name(self, name: PeerId, *, quorum: int = 1, timeout: float = 60) -> NameRecord:
        if name not in self.names:
            raise ValueNotFound(f"no value of /ipns/{name}")
        return self.names[name]

    async def provide(self, cid: bytes, *, timeout: float = 60) -> ProvideResult:
        self.provided.add(multihash_of(cid))
        return ProvideResult(multihash_of(cid), (peer(1),), (Refusal(peer(2), "peer_unreachable"),))

    async def stop_providing(self, cid: bytes) -> bool:
        was = multihash_of(cid) in self.provided
        self.provided.discard(multihash_of(cid))
        return was

    def find_providers(self, cid: bytes, *, limit: int = 20, timeout: float = 60) -> AsyncIterator[PeerInfo]:
        multihash = multihash_of(cid)

        async def found() -> AsyncIterator[PeerInfo]:
            for number in range(1, limit + 1 if multihash in self.provided else 1):
                await trio.lowlevel.checkpoint()
                yield PeerInfo(peer(number), (ADDR,))

        return found()

    async def find_peer(self, id: PeerId, *, timeout: float = 60) -> PeerInfo:
        if id != peer(1):
            raise PeerNotFound(f"no address of {id}")
        return PeerInfo(id, (ADDR,))

    async def closest_peers(self, key: bytes, *, timeout: float = 60) -> list[PeerInfo]:
        return [PeerInfo(peer(number), (ADDR,)) for number in (1, 2, 3)]

    async def connect(self, addr: str, *, timeout: float = 60) -> PeerInfo:
        if "dead" in addr:
            raise PeerUnreachable(f"nobody at {addr}")
        return PeerInfo(peer(1), (ADDR,))

    async def connect_peer(self, id: PeerId, to: Sequence[bytes] = (), *, timeout: float = 60) -> None:
        self.connected.insert(0, PeerInfo(id, tuple(to)))

    async def disconnect(self, id: PeerId) -> None:
        self.connected = [each for each in self.connected if each.id != id]

    async def ping(self, id: PeerId, *, timeout: float = 60) -> float:
        return 0.0125

    def status(self) -> dict[str, object]:
        return {
            "peer_id": str(self.peer_id),
            "addrs": self.addrs,
            "network": {"kind": "private", "protocol": "/test/kad/1.0.0", "psk_fingerprint": None},
            "mode": {"serving": True, "reason": "auto: private networks are served"},
            "uptime_s": 4321.0,
            "routing_table": {
                "peers": 28, "bucket_sizes": [20, 7, 1], "bucket_size_max": 20, "why_empty": None,
                "network_size_estimate": 31.6,
            },
            "bootstrap": [
                {"addr": "/ip4/192.0.2.7/tcp/4101", "code": "peer_unreachable", "detail": "refused"},
                {"addr": "/ip4/192.0.2.8/tcp/4101", "code": "ok", "detail": "answered"},
            ],
            "storage": {
                "backend": "memory", "durable": False, "records": len(self.values), "bytes": 490 << 10,
                "bytes_max": 1 << 20, "records_max": 200_000, "by_namespace": {"pk": 0, "open": 3},
                "kept_alive": 7, "evicted": 2, "refused": 0, "corrupt": 0,
            },
            "kept_alive": [
                {"key": key, "bytes": len(key) - 5, "expires_unix_s": 2e9, "republish_unix_s": 0}
                for key in ("key-0", "key-1", "key-2" + "x" * 60, "key-3", "key-4", "key-5", "key-6")
            ],
            "blocks": {"blocks": 12, "bytes": 3 << 20, "bytes_max": 6 << 20, "referenced_bytes": 1 << 20},
            "providers": {"keys": 1, "records": 2, "provided": 1, "bytes": 250, "bytes_max": 256},
            "repair": {"copies_sent": 0},
            "replicate": None,
            "jobs": [],
            "host": {"connections": 1},
        }  # fmt: skip

    async def drain(self, budget: float = 3600) -> tuple[int, int]:
        self.calls.append(("drain", {"budget_s": seconds(budget)}))
        return len(self.values), 0

    async def _put_value(self, key: bytes, value: bytes, **options: object) -> PutResult:
        return await self.put(key, value, **options)

    async def _get_value(self, key: bytes, *, timeout_s: float) -> FoundValue:
        return await self.get_record(key)

    async def _closest_peers(self, key: bytes, *, timeout_s: float) -> LookupResult:
        return LookupResult((peer(1),), _trace(key))

    def _search_value(self, key: bytes, *, timeout_s: float) -> AsyncIterator[FoundValue]:
        async def found() -> AsyncIterator[FoundValue]:
            yield FoundValue(key, b"older", b"older", False, ())
            yield await self.get_record(key)

        return found()


class LargeSink:
    """Takes any number of bytes and keeps their hash; `capacity` bytes fit."""

    def __init__(self, store, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self._hash = hashlib.sha256()
        self._size = 0

    async def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        if self._size > self._capacity:
            raise StoreFull("no room")

    async def commit(self, *, timeout: float) -> PutResult:
        return await self._store(f"{self._size} {self._hash.hexdigest()}".encode(), timeout)


LARGE_PIECE = bytes(range(256)) * 256


class LargeSource:
    def __init__(self, node: FakeNode, key: bytes, size: int, *, fails: bool) -> None:
        self.found = FoundValue(key, b"", b"", True, (peer(1),))
        self.size = size
        self._node = node
        self._left = size
        self._fails = fails

    async def read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._fails and self._left < self.size / 2:
            raise PeerUnreachable("the peer that has the rest is gone")
        piece = LARGE_PIECE[: self._left]
        self._left -= len(piece)
        return piece

    async def aclose(self) -> None:
        self._node.open_transfers -= 1


def _trace(key: bytes) -> Trace:
    first = Asked(peer(1), 1, 0.0, 0.25, "answered", 3, True)
    second = Asked(peer(2), 2, 0.25, 0.25, "timeout", heard_from=peer(1))
    return Trace(key, (first, second), "converged", 0.5)
