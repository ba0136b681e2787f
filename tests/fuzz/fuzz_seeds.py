"""Inputs to begin with: what other implementations have sent, from the golden files."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz_targets import IDENTITY, LOCAL, PEER, PSK
from libp2p.identity.identify.pb.identify_pb2 import Identify as IdentifyMessage

from primedht.blocks.bitswap.messages import (
    BITSWAP_120,
    BITSWAP_ZSTD,
    BitswapMessage,
    Want,
    encode,
)
from primedht.blocks.block import make_block
from primedht.blocks.compression import shrink, zstd
from primedht.host.multistream import GREETING, MULTISTREAM, encode_line
from primedht.host.pnet.session import PskSession
from primedht.host.pnet.xsalsa20 import NONCE_BYTES
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.pb import autonat_pb2
from primedht.wire import addrs
from primedht.wire.frames import encode_frame

_TESTS = Path(__file__).parents[1]
_ADDR = addrs.parse("/ip4/192.0.2.1/tcp/4001")


def seeds(target: str) -> list[bytes]:
    """Return inputs for a target of `fuzz_targets`."""
    return {
        "noise": _noise,
        "yamux": _yamux,
        "frames": _frames,
        "pnet": _pnet,
        "kad": _kad,
        "multistream": _multistream,
        "identify": _identify,
        "autonat": _autonat,
        "bitswap": _bitswap,
    }[target]()


def _recordings() -> list[dict[str, object]]:
    path = _TESTS / "host/noise/vectors/recorded_peers.json"
    recordings = json.loads(path.read_text("utf-8"))["recordings"]
    assert isinstance(recordings, list)
    return recordings


def _noise() -> list[bytes]:
    sound = [bytes([role]) + bytes(200) + b"a message" * 20 for role in (0, 2)]
    payload = LOCAL.payload
    own = [bytes([role | 1]) + len(payload).to_bytes(2, "big") + payload + bytes(100) for role in (0, 2)]
    # As input in the place of the honest peer's: 4 replaces what it has sent.
    replayed = []
    for each in _recordings():
        raw = bytes.fromhex(str(each["received"]))[:1999]
        role = 2 if each["our_role"] == "initiator" else 0
        replayed.append(bytes([role, 4]) + len(raw).to_bytes(2, "big") + raw)
    return sound + own + replayed


def _yamux() -> list[bytes]:
    found = []
    for each in _recordings():
        messages = each["messages"]
        assert isinstance(messages, list)
        for message in map(bytes.fromhex, messages):
            # One byte of time and one of choice before each piece: raw bytes.
            pieces = [message[start : start + 255] for start in range(0, len(message), 255)]
            found.append(b"\0" + b"".join(bytes([0, 5, 0, len(piece)]) + piece for piece in pieces))
    return found


def _records() -> list[Record]:
    golden = json.loads((_TESTS / "golden/records/js_ipns.json").read_text("utf-8"))
    values = [value for value in _strings(golden) if len(value) > 40]
    raw = [bytes.fromhex(value) for value in values if all(c in "0123456789abcdef" for c in value)]
    return [Record(b"/ipns/key", value) for value in raw if len(value) % 2 == 0][:10]


def _strings(tree: object) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [text for child in children for text in _strings(child)]


def _messages() -> list[bytes]:
    peer = PeerInfo(IDENTITY.public_key.peer_id, (_ADDR,))
    questions = [Message(kind, b"key of 32 bytes" + bytes(17)) for kind in MessageType]
    answers = [
        Message(MessageType.FIND_NODE, b"k", closer_peers=(peer, peer)),
        Message(MessageType.ADD_PROVIDER, b"k", provider_peers=(peer,)),
        Message(MessageType.GET_VALUE, b"k", Record(b"k", b"v", "2026-01-01T00:00:00Z", ttl_s=9), (peer,)),
        *(Message(MessageType.PUT_VALUE, record.key, record) for record in _records()),
    ]
    return [codec.encode(message) for message in (*questions, *answers)]


def _kad() -> list[bytes]:
    return _messages()


def _frames() -> list[bytes]:
    raw = b"".join(map(encode_frame, _messages()))
    cut = b"".join(b"\x3f" + raw[start : start + 64] for start in range(0, len(raw), 64))
    return [b"\xff\xff" + cut, b"\x00\x10" + cut, b"\xff\xff\x3f" + b"\xff" * 12]


def _pnet() -> list[bytes]:
    nonce = bytes([7]) * NONCE_BYTES
    sealed = bytearray(200)
    PskSession(PSK, nonce).seal(GREETING.ljust(200, b"."), memoryview(sealed))
    pieces = [b"".join(bytes([0, each]) for each in text) for text in (nonce, GREETING)]  # of one byte
    return [pieces[0] + bytes([199]) + bytes(sealed), pieces[1], b"\xff" + bytes(300)]


def _multistream() -> list[bytes]:
    lines = [MULTISTREAM, "/a/1", "/b/1", "na", "ls", "/kad/1.0.0", "\xff\xfe"]
    talk = b"".join(map(encode_line, lines))
    cut = b"".join(b"\x4f" + talk[start : start + 80] for start in range(0, len(talk), 80))
    return [bytes([side, said]) + cut for side in (0, 1) for said in (0, 1, 2, 3)]


def _identify() -> list[bytes]:
    message = IdentifyMessage(
        protocol_version="ipfs/0.1.0",
        agent_version="kubo/0.22.0",
        public_key=IDENTITY.public_key.serialized,
        listen_addrs=[_ADDR, addrs.parse("/ip6/::1/tcp/1")],
        observed_addr=_ADDR,
        protocols=["/ipfs/kad/1.0.0", "/ipfs/id/1.0.0"],
    ).SerializeToString()
    other = IdentifyMessage(public_key=b"\x08\x01\x12\x20" + bytes(32)).SerializeToString()
    return [encode_frame(message), encode_frame(message) * 2, encode_frame(other), encode_frame(b"\xff")]


def _autonat() -> list[bytes]:
    message = autonat_pb2.Message
    near = [addrs.parse("/ip4/127.0.0.1/tcp/4001"), _ADDR]
    asked = message.PeerInfo(id=bytes(PEER), addrs=near)
    dial = message(type=message.DIAL, dial=message.Dial(peer=asked))
    return [dial.SerializeToString(), message(type=message.DIAL_RESPONSE).SerializeToString()]


def _bitswap() -> list[bytes]:
    text = b"the same few words again and again " * 100
    blocks = [make_block(text), make_block(text[1:])]
    message = BitswapMessage([Want(blocks[0].cid)], False, blocks, [blocks[0].cid], [blocks[1].cid])
    frames = [shrink(block.data) for block in blocks]
    assert None not in frames
    whole = zstd.compress(text)
    cut = b"".join(bytes([1]) + whole[start : start + 9] for start in range(0, len(whole), 9))
    lie = zstd.compress(bytes(1 << 20))
    return [
        b"\x01" + encode(message, BITSWAP_120),
        b"\x03" + encode(message, BITSWAP_ZSTD, frames),
        b"\x03" + encode(message, BITSWAP_ZSTD, [frames[0], None]),
        b"\x03" + encode(message, BITSWAP_ZSTD, [lie, lie]),
        b"\x00" + len(text).to_bytes(3, "big") + cut,
        b"\x00" + len(text).to_bytes(3, "big") + b"\xff" + whole,
        b"\x00\x00\x10\x00\xff" + lie,
    ]
