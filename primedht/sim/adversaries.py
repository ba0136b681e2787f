"""Peers that want the network to fail: what they answer, and what they send unasked.

They know each other and every honest node, are in tables like anybody else, and answer at once. Each
follows one plan; `add_adversaries` deals the plans out in turn.

Source of the list: Baumgart and Mies, "S/Kademlia" (2007), 2.2; Sybils and eclipses by ground keys:
Prünster et al., "Total Eclipse of the Heart" (2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from random import Random

import trio

from primedht import limits
from primedht.dht.ports import Requester
from primedht.errors import RemoteError
from primedht.ids import PeerId
from primedht.kad.key import Key, common_prefix_length, key_of
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.sim.addresses import host_addr
from primedht.sim.peer import KeyPair, SimPeer
from primedht.sim.world import SimWorld

_NAMED = 20  # peers that a lying answer names
_STORED_MAX = 5000
_FLOOD_PAUSE_S = 0.5
_GRIND_TRIES_MAX = 1 << 20


class Plan(StrEnum):
    """What an adversary does; in all else it behaves."""

    MISLEAD = "mislead"  # names fellow adversaries as the closest peers
    POISON = "poison"  # names peers that do not exist
    WITHHOLD = "withhold"  # takes records, and never returns one
    REPLAY = "replay"  # returns the first record of a key that it ever saw
    FORGE = "forge"  # returns records that it made up or changed
    FALSE_PROVIDER = "false_provider"  # names providers that do not exist
    FLOOD = "flood"  # stores and asks without end
    COLLUDE = "collude"  # names fellow adversaries, takes records, and never returns one: the worst


class Adversary:
    """One adversary's mind. honest: every honest peer, sorted by key; fellows: all adversaries."""

    def __init__(
        self, plan: Plan, rng: Random, honest: Sequence[PeerInfo], fellows: Sequence[PeerInfo]
    ) -> None:
        self.plan = plan
        self._rng = rng
        self._honest = honest
        self._fellows = fellows
        self._records: dict[bytes, Record] = {}

    async def answer(self, requester: Requester, message: Message) -> Message | None:
        """The peer's `RequestHandler`."""
        await trio.lowlevel.checkpoint()
        if message.type is MessageType.ADD_PROVIDER:
            return None
        if message.type is MessageType.PING:
            return message
        if message.type is MessageType.PUT_VALUE:
            self._store(message)
            return message
        reply = Message(message.type, message.key, closer_peers=self._closer(message.key, requester.peer))
        if message.type is MessageType.GET_VALUE:
            return replace(reply, record=self._record(message.key))
        if message.type is MessageType.GET_PROVIDERS and self.plan is Plan.FALSE_PROVIDER:
            return replace(reply, provider_peers=self._nobodies(message.key))
        return reply

    async def flood(self, peer: SimPeer) -> None:
        """Store junk and ask, for ever, at honest nodes in turn."""
        while True:
            target = self._honest[self._rng.randrange(len(self._honest))].id
            key = b"junk %d" % self._rng.getrandbits(64)
            junk = Record(key, self._rng.randbytes(4096), publisher=bytes(peer.peer))
            message = Message(MessageType.PUT_VALUE, key, junk)
            try:
                await peer.request(target, message, timeout_s=limits.REQUEST_TIMEOUT_S)
                await peer.request(target, Message(MessageType.FIND_NODE, key), timeout_s=5.0)
            except RemoteError:
                pass
            await trio.sleep(_FLOOD_PAUSE_S)

    def _store(self, message: Message) -> None:
        record = message.record
        if record is None or len(self._records) >= _STORED_MAX:
            return
        if self.plan is Plan.REPLAY:
            self._records.setdefault(message.key, record)
        elif self.plan not in (Plan.WITHHOLD, Plan.COLLUDE):
            self._records[message.key] = record

    def _record(self, key: bytes) -> Record | None:
        record = self._records.get(key)
        if self.plan is not Plan.FORGE or self._rng.random() < 0.2:
            return record
        if record is None:
            return Record(key, self._rng.randbytes(200))
        at = self._rng.randrange(len(record.value) or 1)
        changed = record.value[:at] + bytes([record.value[at] ^ 1]) + record.value[at + 1 :]
        return replace(record, value=changed, writer_unix_ms=record.writer_unix_ms + 1)

    def _closer(self, key: bytes, asker: PeerId) -> tuple[PeerInfo, ...]:
        if self.plan is Plan.POISON:
            return self._nobodies(key)
        known = self._fellows if self.plan in (Plan.MISLEAD, Plan.COLLUDE) else self._honest
        point = key_of(key)
        named = sorted(known, key=lambda info: key_of(info.id) ^ point)[: _NAMED + 1]
        return tuple(info for info in named if info.id != asker)[:_NAMED]

    def _nobodies(self, key: bytes) -> tuple[PeerInfo, ...]:
        """Return peers that do not exist, as close to `key` as a few tries bring them."""
        made = [_peer_of(self._rng.randbytes(32)) for _ in range(4 * _NAMED)]
        point = key_of(key)
        made.sort(key=lambda peer: key_of(peer) ^ point)
        addrs = [host_addr(f"192.0.2.{at + 1}") for at in range(_NAMED)]
        return tuple(PeerInfo(peer, (addr,)) for peer, addr in zip(made[:_NAMED], addrs, strict=True))


async def add_adversaries(
    world: SimWorld, count: int, *, plans: Sequence[Plan] = tuple(Plan), seed: int
) -> list[SimPeer]:
    """Add `count` adversaries to a world whose nodes run; they are in no table yet (`prefill_all`)."""
    honest = [node.info for node in world.nodes]
    fellows: list[PeerInfo] = []
    added = []
    for number in range(count):
        plan = plans[number % len(plans)]
        adversary = Adversary(plan, Random(f"adversary {seed}/{number}"), honest, fellows)
        peer = await world.add_peer(adversary.answer)
        peer.keeps_requests = False
        fellows.append(peer.info)
        added.append(peer)
        if plan is Plan.FLOOD:
            world.nursery.start_soon(adversary.flood, peer)
    return added


async def add_sybils(
    world: SimWorld, target: bytes, count: int, *, plan: Plan, seed: int, ip_blocks: int = 2
) -> list[SimPeer]:
    """Add `count` adversaries closer to `target` (a preimage) than any honest node, from few /16 blocks.

    They name each other only. Their ids are ground: nobody has the keys, which nothing here asks for.
    """
    rng = Random(f"sybils {seed}")
    point = key_of(target)
    closest = world.closest(target, 1)
    bits = common_prefix_length(closest[0].key, point) + 1 if closest else 1
    fellows: list[PeerInfo] = []
    added = []
    for _ in range(count):
        keys = grind(rng, point, bits)
        block, host = len(world.peers) % ip_blocks, len(world.peers) // ip_blocks
        ip = f"203.{block}.{host // 250}.{host % 250 + 1}"
        adversary = Adversary(plan, rng, fellows, fellows)
        peer = await world.add_peer(adversary.answer, keys=keys, addrs=(host_addr(ip),))
        peer.keeps_requests = False
        fellows.append(peer.info)
        added.append(peer)
    return added


def grind(rng: Random, point: Key, bits: int) -> KeyPair:
    """Return an id whose key shares `bits` leading bits with `point`. Raises `ValueError`."""
    template = KeyPair.from_seed(hashlib.sha256(b"sybil").digest())
    for _ in range(_GRIND_TRIES_MAX):
        peer = _peer_of(rng.randbytes(32))
        if common_prefix_length(key_of(peer), point) >= bits:
            return template._replace(peer=peer)
    raise ValueError(f"no id shares {bits} bits with the target")


def _peer_of(public_key: bytes) -> PeerId:
    return PeerId.from_public_key(b"\x08\x01\x12\x20" + public_key)
