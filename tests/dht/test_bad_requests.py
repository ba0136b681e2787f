"""Requests that a node refuses (docs/protocol.md, rule 10): each resets its stream, for a logged reason,
and costs nothing else. What a peer sends in bytes that are no message is tested on real sockets
(test_raw_streams.py)."""

import pytest
import trio
from engine_lab import LINKS, add_provider, find_node, get_providers, get_value, multihash, pk_key, small
from inbound_lab import (
    KEY,
    PRIME_KEY,
    announce,
    lone_node,
    open_record,
    prime_record,
    put,
    refusal,
    tombstone,
)

from primedht import limits
from primedht.errors import (
    InvalidKey,
    InvalidRecord,
    PeerTimeout,
    ProtocolViolation,
    StaleRecord,
    ValueTooLarge,
)
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.sim.addresses import host_addr, public_ip
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld

CID = multihash(b"content")
ADDR = host_addr("10.9.9.9")
VIOLATION, INVALID = ProtocolViolation.code, InvalidRecord.code
LONG_KEY = bytes(limits.RECORD_KEY_BYTES_MAX + 1)
LONG_PROVIDER_KEY = bytes(limits.PROVIDER_KEY_BYTES_MAX + 1)


def put_under(key, record):
    return Message(MessageType.PUT_VALUE, key, record)


def stranger(world):
    return PeerInfo(world.keypair(99).peer, (ADDR,))


def bad_requests(world, client):
    """Return requests that make no sense and, for each, the code for which it is refused."""
    large = limits.VALUE_BYTES_MAX + 1
    signed_large = prime_record(1, bytes(limits.VALUE_BYTES_MAX + limits.SIGNED_OVERHEAD_BYTES_MAX))
    other_pk, name = pk_key(world.keypair(5)), b"/ipns/" + bytes(client.peer)
    nobody = PeerInfo(client.peer)
    violations = {
        "GET_VALUE without a key": get_value(b""),
        "GET_VALUE of a key too long": get_value(LONG_KEY),
        "FIND_NODE without a key": find_node(b""),
        "FIND_NODE of a key too long": find_node(LONG_KEY),
        "GET_PROVIDERS without a key": get_providers(b""),
        "GET_PROVIDERS of 81 bytes": get_providers(LONG_PROVIDER_KEY),
        "ADD_PROVIDER without a key": add_provider(b"", client.info),
        "ADD_PROVIDER of 81 bytes": add_provider(LONG_PROVIDER_KEY, client.info),
        "ADD_PROVIDER of nobody": add_provider(CID),
        "ADD_PROVIDER of somebody else": add_provider(CID, stranger(world)),
        "ADD_PROVIDER without addresses": add_provider(CID, nobody),
        "ADD_PROVIDER with somebody else's addresses": add_provider(CID, nobody, stranger(world)),
        "PUT_VALUE without a record": put_under(KEY, None),
        "PUT_VALUE without a key": put_under(b"", Record(b"", b"v")),
        "PUT_VALUE under another key": put_under(KEY, Record(b"other", b"v")),
        "PUT_VALUE with a key in its record only": put_under(b"", Record(KEY, b"v")),
        "PUT_VALUE with a key outside its record only": put_under(KEY, Record(b"", b"v")),
        "PUT_VALUE of a key too long": put_under(LONG_KEY, Record(LONG_KEY, b"v")),
        "PUT_VALUE with a record key too long": put_under(KEY, Record(LONG_KEY, b"v")),
        "PUT_VALUE with a publisher too long": put_under(KEY, open_record(b"v", publisher=LONG_KEY)),
    }
    return {what: (message, VIOLATION) for what, message in violations.items()} | {
        "another's public key": (put_under(other_pk, Record(other_pk, client.keys.public_key)), INVALID),
        "a forged name": (put_under(name, Record(name, b"junk")), INVALID),
        "a forged signature": (put_under(PRIME_KEY, Record(PRIME_KEY, b"junk")), INVALID),
        "a senseless /pk key": (put_under(b"/pk/x", Record(b"/pk/x", b"v")), InvalidKey.code),
        "a value too large": (put_under(KEY, open_record(bytes(large))), ValueTooLarge.code),
        "a signed value too large": (put_under(PRIME_KEY, signed_large), ValueTooLarge.code),
    }


async def test_bad_input_resets_its_stream_and_leaves_no_trace(autojump_clock):
    """Behaviour 21: senseless fields are refused, whichever they are, and the node is well."""
    async with lone_node() as (world, node, client, other):
        for what, (message, code) in bad_requests(world, client).items():
            assert await refusal(client, node, message) == code, what
            assert len(node.dht.storage) == node.dht.storage.bytes_used == 0, what
            assert len(node.dht.providers.store) == 0, what
        assert node.dht.peers.info(stranger(world).id).addrs == ()
        assert client.peer in node.host.connected(), "one bad request costs no connection"
        assert await put(client, node, open_record(b"v")) == "stored"
        assert await put(other, node, open_record(b"v", key=b"other")) == "stored"


async def test_the_largest_record_is_taken(autojump_clock):
    """Limits are limits and not less: a value of 64 KiB, a key of 1024 bytes, a signed one of 64 KiB."""
    async with lone_node() as (_, node, client, _):
        largest = bytes(limits.VALUE_BYTES_MAX)
        key = bytes(limits.RECORD_KEY_BYTES_MAX)
        for record in (open_record(largest, key=key), prime_record(1, largest)):
            assert await put(client, node, record) == "stored"
            assert (await client.request(node.peer, get_value(record.key))).record.value == record.value


@pytest.mark.parametrize(("kind", "ipfs_keys_only"), [("public", True), ("public", False), ("private", True)])
async def test_unknown_namespaces_are_refused_where_only_two_are_known(autojump_clock, kind, ipfs_keys_only):
    """The public DHT takes /pk and /ipns, as does whoever lives under its prefix. To ask is no mistake."""
    config = small(network_kind=kind, ipfs_keys_only=ipfs_keys_only, mode="server")
    async with SimWorld(1, 1, links=LINKS, config=config, ip_of=public_ip) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        for record in (open_record(b"v"), tombstone(), prime_record(1), open_record(b"v", key=b"/ns/key")):
            assert await put(client, node, record) == InvalidKey.code
            assert (await client.request(node.peer, get_value(record.key))).record is None
        own_key = Record(pk_key(client.keys), client.keys.public_key)
        assert await put(client, node, own_key) == "stored"


async def test_worse_records_are_refused(autojump_clock):
    async with lone_node() as (_, node, client, _):
        assert await put(client, node, open_record(b"v")) == "stored"
        assert await put(client, node, open_record(b"w", written_s_ago=1)) == StaleRecord.code


async def test_an_announcement_is_not_answered_and_of_mixed_entries_only_the_senders_is_kept(autojump_clock):
    """Behaviour 58: the sender's own entry counts, wherever it stands; addresses in several are one list."""
    async with lone_node() as (world, node, client, _):
        first, second = client.info.addrs[0], ADDR
        mixed = add_provider(
            CID,
            stranger(world),
            PeerInfo(client.peer),
            PeerInfo(client.peer, (first,)),
            PeerInfo(node.peer, (ADDR,)),
            PeerInfo(client.peer, (first, second)),
        )
        with pytest.raises(PeerTimeout):
            await client.request(node.peer, mixed, timeout_s=5)
        (info,) = node.dht.providers.store.providers(CID)
        assert info == PeerInfo(client.peer, (first, second))
        assert node.dht.peers.info(world.keypair(99).peer).addrs == ()


async def test_a_provider_is_kept_once_however_often_it_announces(autojump_clock):
    async with lone_node() as (_, node, client, other):
        for _ in range(3):
            await announce(client, node, add_provider(CID, client.info))
        await announce(other, node, add_provider(CID, other.info))
        assert len(node.dht.providers.store) == 2


async def test_a_client_serves_nobody(autojump_clock):
    """Every request to a node in client mode is reset: it does not serve the protocol at all."""
    async with lone_node(mode="client") as (_, node, client, _):
        requests = (
            find_node(b"key"),
            get_value(KEY),
            get_providers(CID),
            Message(MessageType.PUT_VALUE, KEY, open_record(b"v")),
            Message(MessageType.PING),
            add_provider(CID, client.info),
        )
        for message in requests:
            assert await refusal(client, node, message) == VIOLATION
        assert len(node.dht.storage) == len(node.dht.providers.store) == 0


async def test_a_node_that_cannot_store_says_so_by_a_reset(autojump_clock):
    """Whoever puts learns that we do not hold it, and the next closest peer is asked instead."""
    async with lone_node() as (_, node, client, _):
        node.store_faults.full = True
        assert await put(client, node, open_record(b"v")) == "store_full"
        node.store_faults.full = False
        node.store_faults.error_rate = 1.0
        assert await put(client, node, open_record(b"v")) == "store_unavailable"
        node.store_faults.error_rate = 0.0
        assert await put(client, node, open_record(b"v")) == "stored"


async def test_bad_requests_in_between_do_not_disturb_the_good_ones(autojump_clock):
    """A hundred requests at once, some of them bad: each has its own answer."""
    async with lone_node() as (world, node, client, _):
        bad = list(bad_requests(world, client).values())
        answers = {}

        async def ask(number):
            if number % 2:
                message, code = bad[number % len(bad)]
                answers[number] = await refusal(client, node, message) == code
            else:
                record = open_record(b"%d" % number, key=b"key %d" % number)
                answers[number] = await put(client, node, record) == "stored"

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
        assert all(answers.values())
        assert len(node.dht.storage) == 50
