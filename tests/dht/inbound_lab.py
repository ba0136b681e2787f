"""What the tests of inbound requests say often: a lone node, peers that put things on it, signed records."""

from contextlib import asynccontextmanager

import trio
from engine_lab import LINKS, ROUND_TRIP_S, get_value, small

from primedht.errors import ProtocolViolation
from primedht.kad.messages import Message, MessageType, Record
from primedht.keys import PrivateKey
from primedht.records.keys import prime_key
from primedht.records.record import Content
from primedht.records.signed import Envelope, sign_envelope
from primedht.sim.clock import true_unix_now
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld

OWNER = PrivateKey(b"\x01" * 32)
PRIME_KEY = prime_key("model", OWNER.peer_id, "m")
KEY = b"model_weights_v1"
DAY_S = 86_400.0


@asynccontextmanager
async def lone_node(seed=1, **changes):
    """A world of one node and two clients of it, in a network with room for little."""
    async with SimWorld(seed, 1, links=LINKS, config=small(**changes)) as world:
        clients = [await world.add_peer(answering(), serves=False) for _ in range(2)]
        yield world, world.nodes[0], *clients


def open_record(value, *, written_s_ago=0.0, key=KEY, **fields):
    written = int((true_unix_now() - written_s_ago) * 1000)
    return Record(key, value, **{"writer_unix_ms": written, **fields})


def tombstone(*, written_s_ago=0.0, **fields):
    return open_record(b"", written_s_ago=written_s_ago, tombstone=True, **fields)


def prime_record(
    sequence,
    value=b"v",
    *,
    life_s=3600.0,
    issued_s_ago=0.0,
    content=Content.VALUE,
    network_id=None,
    key=PRIME_KEY,
    **fields,
):
    """A record of `OWNER`, signed now."""
    issued_ms = int((true_unix_now() - issued_s_ago) * 1000)
    network_id = network_id or small().network_id
    envelope = Envelope(content, network_id, sequence, issued_ms, issued_ms + int(life_s * 1000), value)
    return Record(key, sign_envelope(OWNER, key, envelope), **fields)


async def put(client, node, record):
    """PUT_VALUE; return "stored" if the record was echoed, else the code for which the node reset."""
    return await refusal(client, node, Message(MessageType.PUT_VALUE, record.key, record)) or "stored"


async def refusal(client, node, message):
    """Send a request; return the code for which the node reset the stream, None if it answered."""
    try:
        reply = await client.request(node.peer, message)
    except ProtocolViolation as error:
        return str(error).partition("reset the stream (")[2].rstrip(")") or str(error)
    if message.type is MessageType.PUT_VALUE:
        assert reply == message, "an accepted record is echoed, byte for byte"
    return None


async def served(client, node, key=KEY):
    """Return the record that `node` answers GET_VALUE with."""
    return (await client.request(node.peer, get_value(key))).record


async def held(node, key=KEY):
    return await node.dht.storage.get(key)


async def ends_in_s(node, key=KEY):
    """Return how long the record that `node` holds has to live."""
    return (await held(node, key)).expires_unix_s - true_unix_now()


async def announce(client, node, message):
    """Send what has no reply, and wait until it has come."""
    await client.notify(node.peer, message)
    await trio.sleep(ROUND_TRIP_S)
