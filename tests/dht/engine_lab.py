"""What the engine's tests say often: messages, keys and small worlds."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from primedht.dht.config import DhtConfig
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.sim.clock import true_unix_now
from primedht.sim.faults import ConstantLatency, Links
from primedht.wire import varint

ONE_WAY_S = 0.020
LINKS = Links(ConstantLatency(ONE_WAY_S))
ROUND_TRIP_S = 2 * ONE_WAY_S


def small(**changes):
    """A configuration whose limits a handful of nodes can reach."""
    return DhtConfig(k_bucket_size=5, alpha=2, replication_factor=3).with_changes(**changes)


def multihash(text):
    return b"\x12\x20" + hashlib.sha256(text).digest()


def pk_key(keys):
    return b"/pk/" + bytes(keys.peer)


def get_value(key):
    return Message(MessageType.GET_VALUE, key)


def put_value(key, value, *, written_s_ago=0.0, **fields):
    written = int((true_unix_now() - written_s_ago) * 1000)
    return Message(MessageType.PUT_VALUE, key, Record(key, value, writer_unix_ms=written, **fields))


def found_value(key, value, **fields):
    """A GET_VALUE reply with a record."""
    return Message(MessageType.GET_VALUE, key, put_value(key, value, **fields).record)


def find_node(key):
    return Message(MessageType.FIND_NODE, key)


def get_providers(key):
    return Message(MessageType.GET_PROVIDERS, key)


def add_provider(key, *peers):
    return Message(MessageType.ADD_PROVIDER, key, provider_peers=peers)


def info_of(node):
    return PeerInfo(node.peer, node.addrs)


def rsa_public_key():
    """A serialised RSA public key, too long to stand in a peer id by itself."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"\x08\x00\x12" + varint.encode(len(der)) + der
