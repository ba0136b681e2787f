"""What a node answers (docs/protocol.md, rules 1 and 11): whom it names, in how many bytes, and what stays
with itself."""

from contextlib import asynccontextmanager

import pytest
import trio
from engine_lab import LINKS, find_node, get_providers, get_value, info_of, multihash, small
from inbound_lab import KEY, lone_node, open_record, put

from primedht import limits
from primedht.dht.ports import Requester
from primedht.errors import InvalidRecord
from primedht.kad import codec
from primedht.kad.key import key_of
from primedht.kad.messages import Message, MessageType, PeerInfo
from primedht.records.validator import RecordValidator
from primedht.sim.addresses import host_addr, public_ip
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld
from primedht.wire import addrs as multiaddrs

CID = multihash(b"content")
SMALL = limits.SMALL_REPLY_BYTES_MAX


async def reply_to(node, peer, message, *, reply_bytes_max=limits.MESSAGE_BYTES_MAX):
    """Ask the handler of `node` as `peer` would; return the reply and its size."""
    handler = node.host.handler_for(node.config.network_id)
    reply = await handler(Requester(peer, "", reply_bytes_max), message)
    return reply, len(codec.encode(reply))


def named(reply):
    return [info.id for info in reply.closer_peers]


def long_addrs(number, *, count=limits.PEER_ADDRS_MAX):
    """Addresses that together fill what one peer may have."""
    path = b"/".join(b"%d" % number for _ in range(5)).ljust(240, b"x")
    tail = b"\xdd\x03\xf0\x01" + path  # /unix/ and 240 bytes
    return tuple(host_addr(f"10.{number}.0.{at}") + tail for at in range(count))


@asynccontextmanager
async def crowd():
    """A node with twenty members, all with as many long addresses as they like."""
    async with SimWorld(1, 1, links=LINKS) as world:
        (node,) = world.nodes
        peers = [await world.add_peer(answering(), addrs=long_addrs(at)) for at in range(20)]
        members = [peer.info for peer in peers]
        world.prefill(node, members)
        client = await world.add_peer(answering(), serves=False)
        yield world, node, members, client


# --- FIND_NODE ------------------------------------------------------------------------------------------


async def test_the_target_comes_first_whoever_it_is(autojump_clock):
    """Ourselves, the requester, a client: if its addresses are known; then the closest, in order."""
    async with SimWorld(2, 12, links=LINKS, config=small()) as world:
        await world.settle()
        a, b = world.nodes[:2]
        client = await world.add_peer(answering(), serves=False)
        await world.meet(client, [a])
        await trio.sleep(1)
        for requester in (b, client):
            for target in (info_of(a), client.info, info_of(b)):
                reply, _ = await reply_to(a, requester.peer, find_node(bytes(target.id)))
                assert reply.closer_peers[0] == target
                table = a.dht.routing_table
                others = {requester.peer, target.id} & set(table.peers())
                closest = [
                    peer for peer in table.find_closest(key_of(bytes(target.id)), 12) if peer not in others
                ]
                assert named(reply)[1:] == closest[: a.config.k_bucket_size]
                assert (reply.key, reply.record, reply.provider_peers) == (b"", None, ())


async def test_a_target_without_known_addresses_is_not_named(autojump_clock):
    async with lone_node() as (world, node, client, _):
        ghost = world.keypair(99).peer
        world.prefill(node, [PeerInfo(ghost)])
        for key in (bytes(ghost), bytes(world.keypair(98).peer), b"any bytes at all", bytes(1000)):
            assert named(await client.request(node.peer, find_node(key))) == []
        node.host.address_book.add(ghost, [host_addr("10.1.1.1")], ttl_s=10)
        assert named(await client.request(node.peer, find_node(b"any bytes at all"))) == [ghost]
        await trio.sleep(11)
        assert named(await client.request(node.peer, find_node(b"any bytes at all"))) == []


async def test_the_requester_is_never_named_unless_it_asks_for_itself(autojump_clock):
    """Behaviour 57: for all requests that name closer peers; k others take its place."""
    async with SimWorld(3, 8, links=LINKS, config=small()) as world:
        await world.settle()
        a, b = world.nodes[:2]
        await world.until(lambda: len(a.dht.routing_table) == 7, limit_s=60)
        near_b = bytes(b.peer)
        for message in (find_node(near_b + b"!"), get_value(near_b + b"!"), get_providers(near_b[:34])):
            reply, _ = await reply_to(a, b.peer, message)
            assert b.peer not in named(reply)
            assert a.peer not in named(reply)
            assert len(reply.closer_peers) == 5
        reply, _ = await reply_to(a, b.peer, find_node(near_b))
        assert named(reply)[0] == b.peer
        assert len(reply.closer_peers) == 1 + 5


# --- sizes ------------------------------------------------------------------------------------------------


async def test_long_address_lists_fit_in_16_kib_and_crowd_nobody_out(autojump_clock):
    """All k are named, each with its first addresses; none gets more than its share."""
    async with crowd() as (world, node, members, client):
        for message in (find_node(b"key"), get_value(bytes(1000)), find_node(bytes(members[0].id))):
            reply, size_bytes = await reply_to(node, client.peer, message)
            assert size_bytes <= SMALL
            assert set(named(reply)) == {member.id for member in members}
            for info in reply.closer_peers:
                known = node.dht.peers.info(info.id).addrs
                assert info.addrs
                assert info.addrs == known[: len(info.addrs)]
        assert size_bytes > SMALL / 2, "as many addresses as there is room for"
        greedy = PeerInfo(world.keypair(7).peer, long_addrs(77))
        modest = [PeerInfo(world.keypair(300 + at).peer, (host_addr(f"10.9.9.{at}"),)) for at in range(12)]
        fitted = codec.fit_peers_evenly([greedy, *modest], 2000)
        assert [info.id for info in fitted if info.id != greedy.id] == [info.id for info in modest]
        assert all(info in fitted for info in modest)


async def test_a_held_record_leaves_16_kib_for_closer_peers(autojump_clock):
    """A record of 60 KB goes out whole, and what is named beside it is what a small reply would name."""
    async with crowd() as (_, node, members, client):
        assert await put(client, node, open_record(bytes(60_000), publisher=bytes(1000))) == "stored"
        reply, size_bytes = await reply_to(node, client.peer, get_value(KEY))
        bare = len(codec.encode(Message(MessageType.GET_VALUE, KEY, reply.record)))
        assert len(reply.record.value) == 60_000
        assert set(named(reply)) == {member.id for member in members}
        assert size_bytes - bare <= SMALL
        reply, size_bytes = await reply_to(node, client.peer, get_value(KEY), reply_bytes_max=SMALL)
        assert (reply.closer_peers, size_bytes) == ((), bare), "too large for it anyway"


@pytest.mark.parametrize("value_bytes", [0, 1000, 8000, 14_000, 15_200])
async def test_a_requester_of_small_replies_gets_record_and_peers_in_16_kib(autojump_clock, value_bytes):
    async with crowd() as (_, node, _, client):
        key = bytes(range(256)) * 4
        assert await put(client, node, open_record(bytes(value_bytes), key=key)) == "stored"
        if value_bytes > 14_500:
            key = KEY
            assert await put(client, node, open_record(bytes(value_bytes))) == "stored"
        reply, size_bytes = await reply_to(node, client.peer, get_value(key), reply_bytes_max=SMALL)
        assert reply.record.value == bytes(value_bytes)
        assert size_bytes <= SMALL
        assert bool(reply.closer_peers) == (value_bytes < 14_000)


async def test_a_missing_or_expired_record_is_answered_with_closer_peers(autojump_clock):
    async with SimWorld(4, 4, links=LINKS) as world:
        await world.settle()
        node = world.nodes[0]
        client = await world.add_peer(answering(), serves=False)
        others = {other.peer for other in world.nodes[1:]}
        assert await put(client, node, open_record(b"v", ttl_s=60)) == "stored"
        for key, wait_s, value in ((b"missing", 0, None), (KEY, 0, b"v"), (KEY, 61, None)):
            await trio.sleep(wait_s)
            reply = await client.request(node.peer, get_value(key))
            assert (reply.record.value if reply.record else None) == value
            assert set(named(reply)) == others
            assert reply.key == key


async def test_a_record_is_validated_again_only_if_it_was_stored_since(autojump_clock, monkeypatch):
    """An earlier run, or one in another network, may have left what is not to be served."""
    validated: list[bytes] = []
    validate = RecordValidator.validate

    def counted(self, record, **rest):
        validated.append(record.value)
        if record.value == b"foul":
            raise InvalidRecord("it says so itself")
        return validate(self, record, **rest)

    async with SimWorld(4, 4, links=LINKS) as world:
        await world.settle()
        node = world.nodes[0]
        client = await world.add_peer(answering(), serves=False)

        async def served() -> bytes | None:
            reply = await client.request(node.peer, get_value(KEY))
            return reply.record.value if reply.record else None

        for value in (b"first", b"second", b"foul"):
            await trio.sleep(1)
            assert await put(client, node, open_record(value, ttl_s=60)) == "stored"
            with monkeypatch.context() as patched:
                patched.setattr(RecordValidator, "validate", counted)
                expected = None if value == b"foul" else value
                assert [await served() for _ in range(3)] == [expected] * 3
            assert validated == ([value] if expected else [value] * 3)
            validated.clear()


async def test_a_hot_key_is_cut_to_4_mib(autojump_clock):
    """Behaviour 17: a thousand providers with 8 KiB of addresses each: a reply of 4 MiB and no more."""
    async with crowd() as (_, node, members, client):
        offer_providers(node, 1000, addrs=long_addrs(1))
        reply, size_bytes = await reply_to(node, client.peer, get_providers(CID))
        assert limits.MESSAGE_BYTES_MAX * 0.9 < size_bytes <= limits.MESSAGE_BYTES_MAX
        assert 400 < len(reply.provider_peers) < 1000
        assert set(named(reply)) == {member.id for member in members}
        again, _ = await reply_to(node, client.peer, get_providers(CID))
        assert {info.id for info in again.provider_peers} != {info.id for info in reply.provider_peers}, (
            "shuffled"
        )


@pytest.mark.parametrize("reply_bytes_max", [limits.MESSAGE_BYTES_MAX, SMALL])
@pytest.mark.parametrize("key_bytes", [34, limits.PROVIDER_KEY_BYTES_MAX])
async def test_providers_and_closer_peers_share_one_budget(autojump_clock, reply_bytes_max, key_bytes):
    """Behaviour 18: closer peers, addresses and all, leave room for providers, and the whole fits."""
    async with crowd() as (_, node, members, client):
        key = CID.ljust(key_bytes, b"\0")
        offer_providers(node, 1000, addrs=long_addrs(1, count=2), key=key)
        reply, size_bytes = await reply_to(
            node, client.peer, get_providers(key), reply_bytes_max=reply_bytes_max
        )
        assert size_bytes <= reply_bytes_max
        assert set(named(reply)) == {member.id for member in members}
        assert len(reply.provider_peers) >= 10
        assert size_bytes > reply_bytes_max * 0.9 or len(reply.provider_peers) == 1000


def offer_providers(node, count, *, addrs, key=CID):
    for number in range(count):
        peer = PeerInfo(node.dht.peer_id.from_public_key(b"%d" % number * 20), addrs)
        assert node.dht.providers.store.add(key, peer)


# --- what stays private -------------------------------------------------------------------------------------


async def test_private_addresses_are_named_to_nobody_on_a_public_network(autojump_clock):
    """As a target, among the closest, as a provider, nor our own: whatever the book may hold."""
    config = small(network_kind="public", mode="server")
    async with SimWorld(5, 1, links=LINKS, config=config, ip_of=public_ip) as world:
        (node,) = world.nodes
        name = multiaddrs.parse("/dns4/peer.example/tcp/4001")
        private = [host_addr(ip) for ip in ("10.1.2.3", "127.0.0.1", "192.168.0.9", "169.254.1.1", "fe80::1")]
        both = await world.add_peer(answering(), addrs=(private[0], host_addr("9.9.9.9"), name, *private[1:]))
        await world.meet(both, [node])
        await world.until(lambda: both.peer in node.dht.routing_table)
        hidden = PeerInfo(world.keypair(9).peer, tuple(private))
        world.prefill(node, [hidden])
        node.host.address_book.set_own((*node.addrs, *private))
        await both.notify(node.peer, Message(MessageType.ADD_PROVIDER, CID, provider_peers=(both.info,)))
        await node.dht.provide(CID, announce=False)
        client = await world.add_peer(answering(), serves=False)
        targets = (bytes(both.peer), bytes(node.peer), bytes(hidden.id), b"any")
        for message in (*map(find_node, targets), get_value(b"/pk/" + bytes(both.peer)), get_providers(CID)):
            reply = await client.request(node.peer, message)
            infos = (*reply.closer_peers, *reply.provider_peers)
            assert not any(multiaddrs.is_private(addr) for info in infos for addr in info.addrs)
            assert hidden.id not in named(reply)
        assert {info.id: len(info.addrs) for info in reply.provider_peers} == {both.peer: 2, node.peer: 1}
