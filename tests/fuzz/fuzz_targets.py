"""What the fuzzers run: functions of some bytes, each of which drives one decoder or state machine.

A target lets the errors through that the code promises, and raises for anything else: another
exception, a broken invariant, or more in memory than the limits allow. Targets keep no state.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError

from primedht import limits
from primedht.blocks.bitswap.messages import BITSWAP_120, BITSWAP_ZSTD, decode
from primedht.blocks.compression import Decompressor
from primedht.errors import DecompressionFailed, ProtocolViolation, PskMismatch
from primedht.host.addresses import Addresses, AddressFilter
from primedht.host.autonat import AutoNat
from primedht.host.identify import Identify
from primedht.host.multistream import MULTISTREAM, Proposer, Responder, encode_line
from primedht.host.noise.handshake import Handshake, HandshakeFailed
from primedht.host.noise.payload import LocalIdentity, verify_payload
from primedht.host.noise.session import FRAME_BYTES_MAX, NoiseSession, SessionFailed
from primedht.host.pnet.session import PskSession
from primedht.host.pnet.xsalsa20 import NONCE_BYTES
from primedht.host.yamux import (
    MemoryBudget,
    PeerSilent,
    Session,
    SessionEnded,
    SessionLimits,
    YamuxViolation,
)
from primedht.host.yamux.frames import HEADER_BYTES
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.keys import PrivateKey
from primedht.pb import autonat_pb2
from primedht.psk import Psk
from primedht.wire import varint
from primedht.wire.frames import FrameReader, encode_frame

Target = Callable[[bytes], None]

IDENTITY = PrivateKey(bytes(range(32)))
EPHEMERALS = tuple(X25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
LOCAL = LocalIdentity.create(IDENTITY.public_key.serialized, IDENTITY.sign, ("/yamux/1.0.0",))
PEER = IDENTITY.public_key.peer_id
PSK = Psk(bytes(range(32)))


class Tape:
    """The input, read as decisions; zeros when it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size_bytes: int = 1) -> int:
        return int.from_bytes(self.take(size_bytes), "big")

    def take(self, size_bytes: int) -> bytes:
        taken = self._data[self._at : self._at + size_bytes]
        self._at += size_bytes
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))


# --- noise ----------------------------------------------------------------------------------------------


def _check(payload: bytes, remote_static: bytes) -> None:
    verify_payload(payload, remote_static, None)


def _handshake(is_initiator: bool, payload: bytes, number: int) -> Handshake:
    return Handshake(
        LOCAL.static,
        payload,
        _check,
        is_initiator=is_initiator,
        ephemeral=EPHEMERALS[number],
    )


def noise(data: bytes) -> None:
    """A peer that follows the protocol, its payload aside, over a wire that does anything to its bytes.

    So damage reaches every message, and payloads get past the encryption. What comes after the
    handshake goes through the same wire.
    """
    tape = Tape(data)
    choice = tape.number()
    payload = tape.take(tape.number(2) % 600) if choice & 1 else LOCAL.payload
    ours = _handshake(bool(choice & 2), LOCAL.payload, 0)
    theirs = _handshake(not choice & 2, payload, 1)
    to_ours, to_theirs = bytearray(theirs.start()), bytearray(ours.start())
    with suppress(HandshakeFailed):  # what it refuses of ours only ends the run
        for _ in range(4):
            _mangle(to_ours, tape)
            while to_ours:
                piece = bytes(to_ours[: 1 + tape.number() * 4])
                del to_ours[: len(piece)]
                to_theirs += ours.feed(piece)
                assert len(ours._buffer) <= FRAME_BYTES_MAX + 1024
            to_ours += theirs.feed(bytes(to_theirs))
            to_theirs.clear()
    if ours.result is not None and theirs.result is not None:
        _transport(
            NoiseSession(theirs.result.send, theirs.result.receive),
            NoiseSession(ours.result.send, ours.result.receive),
            tape,
        )


def _mangle(pipe: bytearray, tape: Tape) -> None:
    """Change `pipe` as the tape says; mostly not at all."""
    what = tape.number() & 15
    if what == 1 and pipe:
        pipe[tape.number(2) % len(pipe)] ^= 1 + tape.number() % 255
    elif what == 2:
        del pipe[tape.number(2) % (len(pipe) + 1) :]
    elif what == 3:
        at = tape.number(2) % (len(pipe) + 1)
        pipe[at:at] = tape.take(tape.number())
    elif what == 4:
        pipe[:] = tape.take(tape.number(2) % 2000)
    elif what == 5:
        pipe += bytes(pipe)


def _transport(sender: NoiseSession, receiver: NoiseSession, tape: Tape) -> None:
    """What arrives is a prefix of what was sent, and nothing is buffered beyond one frame."""
    sent, received, damaged = b"", b"", False
    while tape:
        messages = [tape.take(tape.number()) for _ in range(tape.number() % 4)]
        sent += b"".join(messages)
        buffer = memoryview(bytearray(FRAME_BYTES_MAX))
        pipe = bytearray(buffer[: sender.seal_into(messages, buffer)])
        before = bytes(pipe)
        _mangle(pipe, tape)
        damaged |= pipe != before
        while pipe:
            piece = bytes(pipe[: 1 + tape.number() * 8])
            del pipe[: len(piece)]
            try:
                opened = receiver.open(memoryview(receiver.rest + piece))
            except SessionFailed:
                assert damaged
                return
            received += b"".join(opened)
            assert len(receiver.rest) < FRAME_BYTES_MAX
    assert sent.startswith(received)
    assert damaged or sent == received


# --- yamux ----------------------------------------------------------------------------------------------

_KINDS = (0, 0, 0, 1, 1, 2, 3, 77)
_FLAGS = (0, 0, 1, 1, 2, 4, 8, 5)
_LENGTHS = (0, 1, 100, 5000, 256 << 10, (256 << 10) + 1, 16 << 20, (1 << 32) - 1)
_YAMUX_LIMITS = SessionLimits(inbound_streams_max=20, accept_backlog=8, unread_bytes_max=1 << 20)


def yamux(data: bytes) -> None:
    """A session between a hostile peer, who sends any frames, and an application that does anything."""
    tape = Tape(data)
    now = 1.0
    budget = MemoryBudget()
    session = Session(is_client=bool(tape.number() & 1), now=now, budget=budget, session_limits=_YAMUX_LIMITS)
    streams: list[Any] = []
    try:
        while tape:
            now += tape.number() / 64
            _yamux_step(session, streams, tape, now)
            while (stream := session.accept()) is not None:
                streams.append(stream)
            session.pop_changed()
            _check_yamux(session, budget)
    except YamuxViolation:
        assert session.is_over
    except PeerSilent:
        pass  # the owner ends the session then, as below
    session.take(1 << 30)
    session.end("the wire is cut")
    assert budget.unread_bytes == 0
    assert budget.growth_bytes == 0


def _yamux_step(session: Session, streams: list[Any], tape: Tape, now: float) -> None:
    what = tape.number() & 15
    stream = streams[tape.number() % len(streams)] if streams else None
    if what < 5:  # a frame that may make sense
        kind, flags = _KINDS[tape.number() & 7], _FLAGS[tape.number() & 7]
        length = _LENGTHS[tape.number() & 7]
        header = bytes([tape.number() == 255, kind]) + flags.to_bytes(2, "big")
        header += (tape.number() & 31).to_bytes(4, "big") + length.to_bytes(4, "big")
        payload = bytes(min(length, 300 << 10)) if kind == 0 and tape.number() & 3 else b""
        message = header + payload
        alone = stream is not None and not stream.incoming.size and tape.number() & 1
        if not alone or session.receive_alone(stream, message, now, 1 << 20) is None:
            session.receive(message, now)
    elif what < 8:
        session.receive(tape.take(tape.number()), now)
    elif what == 8:
        session.receive(tape.take(HEADER_BYTES), now)
    elif what == 9 and session.can_open:
        with suppress(SessionEnded):
            streams.append(session.open())
    elif what == 10:
        session.take(tape.number(2))
    elif what == 11:
        session.tick(now + tape.number())
    elif stream is None:
        return
    elif what == 12:
        stream.receive(tape.number(2) or None)
    elif what == 13 and not stream.finished and stream.failure is None:
        stream.send(bytes(tape.number(2)))
    elif what == 14:
        stream.finish()
    elif what == 15:
        (stream.reset if tape.number() & 1 else stream.show)()


def _check_yamux(session: Session, budget: MemoryBudget) -> None:
    open_streams = list(session.streams.values())
    unread = sum(stream.incoming.size for stream in open_streams)
    assert session.unread_bytes == unread == budget.unread_bytes <= _YAMUX_LIMITS.unread_bytes_max
    assert session.queued_bytes == sum(stream.outgoing.size for stream in open_streams)
    assert sum(stream.inbound for stream in open_streams) <= _YAMUX_LIMITS.inbound_streams_max
    assert len(session.waiting) <= _YAMUX_LIMITS.accept_backlog
    assert session.outbox.control_bytes <= limits.YAMUX_CONTROL_BYTES_MAX + 64 * HEADER_BYTES
    assert len(session._reader._partial_header) < HEADER_BYTES
    for stream in open_streams:
        assert 0 <= stream.window.left <= stream.window.size <= limits.YAMUX_WINDOW_BYTES_MAX
        assert stream.credit >= 0


# --- decoders -------------------------------------------------------------------------------------------


def frames(data: bytes) -> None:
    """Varints and length-prefixed frames, in pieces of any size."""
    tape = Tape(data)
    frame_bytes_max = tape.number(2)
    reader = FrameReader(frame_bytes_max)
    with suppress(ProtocolViolation):
        while tape:
            piece = tape.take(1 + tape.number() % 64)
            before = reader.buffered_bytes
            reader.feed(piece)
            while (frame := reader.next_frame()) is not None:
                assert len(frame) <= frame_bytes_max
                again = FrameReader(frame_bytes_max)
                again.feed(encode_frame(frame))
                assert again.next_frame() == frame
            assert reader.buffered_bytes <= max(before, varint.VARINT_BYTES_MAX + frame_bytes_max) + 64
    with suppress(ProtocolViolation):
        found = varint.decode(data)
        if found is not None:
            value, end = found
            assert varint.encode(value) == data[:end]


def kad(data: bytes) -> None:
    """A kad message: what is taken in is within the limits, and encodes to what decodes to the same."""
    try:
        message = codec.decode(data)
    except ProtocolViolation:
        return
    assert len(message.key) <= limits.RECORD_KEY_BYTES_MAX
    assert len(message.closer_peers) <= limits.CLOSER_PEERS_MAX
    assert len(message.provider_peers) <= limits.PROVIDER_PEERS_MAX
    for peer in (*message.closer_peers, *message.provider_peers):
        assert len(peer.addrs) <= limits.PEER_ADDRS_MAX
        assert sum(map(len, peer.addrs)) <= limits.PEER_ADDRS_BYTES_MAX
    assert codec.decode(codec.encode(message)) == message


def multistream(data: bytes) -> None:
    """Both sides of a negotiation, each with a peer that says anything, in pieces of any size."""
    tape = Tape(data)
    proposes = tape.number() & 1
    side: Any = Proposer(("/a/1", "/b/1")) if proposes else Responder(("/a/1", "/b/1").__contains__)
    said = tape.number()
    if said & 1:  # an honest beginning
        side.feed(encode_line(MULTISTREAM))
    with suppress(ProtocolViolation):
        while tape and side.protocol is None:
            wanted = side.wanted_bytes
            assert 0 < wanted <= limits.MULTISTREAM_LINE_BYTES_MAX + varint.VARINT_BYTES_MAX
            line = tape.take(1 + tape.number() % 80)
            answer = side.feed(encode_line(line.decode("latin-1")) if said & 2 else line)
            assert len(answer) <= 64 * (1 + len(line))
    assert side.protocol in (None, "/a/1", "/b/1")


def identify(data: bytes) -> None:
    """What a peer may say of itself: only facts within the limits are believed."""
    addresses = Addresses(
        AddressFilter("private", prefix_is_ipfs=False),
        lambda: (),
        lambda peer: False,
        is_kept=lambda peer: False,
        peers_max=10,
    )
    host: Any = SimpleNamespace(swarm=None)
    heard: list[PeerId] = []
    side = Identify(host, addresses, b"", "", lambda peer, facts: heard.append(peer))
    connection = SimpleNamespace(peer=PEER, is_closed=False, protocols=frozenset(), agent_version="")
    tape = Tape(data)

    class Said:
        async def receive_frame(self, reader: FrameReader) -> bytes | None:
            while (frame := reader.next_frame()) is None:
                if not tape:
                    return None
                reader.feed(tape.take(4096))
            return frame

    stream: Any = Said()
    stream.connection = connection
    try:
        trio.run(side._take, stream)
    except ProtocolViolation:
        return
    facts = side.facts[PEER]
    assert len(facts.protocols) <= limits.IDENTIFY_PROTOCOLS_MAX
    assert all(len(name) <= limits.IDENTIFY_PROTOCOL_CHARS_MAX for name in facts.protocols)
    assert len(facts.agent_version) <= limits.AGENT_VERSION_CHARS_MAX
    assert heard == [PEER]


def autonat(data: bytes) -> None:
    """Whatever a peer asks, it is dialled only at the IP address that it comes from, and not often."""
    dialled: list[bytes] = []

    async def probe(addr: bytes, peer: PeerId) -> None:
        assert peer == PEER
        dialled.append(addr)

    side = AutoNat(PEER, lambda: (), AddressFilter("private", prefix_is_ipfs=False), probe)
    connection: Any = SimpleNamespace(peer=PEER, socket=SimpleNamespace(remote=("127.0.0.1", 1)))
    try:
        request = autonat_pb2.Message.FromString(data)
    except DecodeError:
        return

    async def ask_often() -> None:
        for _ in range(limits.AUTONAT_DIALS_PER_PEER_MAX + 2):
            response = await side._answer(request, connection)
            assert response.status in (0, 101, 200)
            assert len(response.statusText) <= limits.AUTONAT_TEXT_CHARS_MAX

    trio.run(ask_often)
    assert len(dialled) <= limits.AUTONAT_DIALS_PER_PEER_MAX
    assert all(addr[:5] == b"\x04\x7f\0\0\x01" for addr in dialled)


def pnet(data: bytes) -> None:
    """A connection under a pre-shared key, with a peer that says anything, in pieces of any size."""
    tape = Tape(data)
    session = PskSession(PSK, bytes(NONCE_BYTES))
    try:
        while tape and session.wanted_bytes:
            assert session.wanted_bytes <= NONCE_BYTES
            session.feed(tape.take(1 + tape.number() % session.wanted_bytes))
        while tape and not session.wanted_bytes:
            session.open(memoryview(bytearray(tape.take(1 + tape.number()))))
    except PskMismatch:
        assert not session.is_proven


def bitswap(data: bytes) -> None:
    """A message of blocks, some as zstd frames; or the frame of a value, in pieces of any size."""
    tape = Tape(data)
    choice = tape.number()
    if choice & 1:
        with suppress(ProtocolViolation):
            message = decode(tape.rest(), BITSWAP_ZSTD if choice & 2 else BITSWAP_120)
            assert sum(len(block.data) for block in message.blocks) <= limits.BITSWAP_MESSAGE_BYTES_MAX
            assert len(message.wire_bytes) == len(message.blocks)
        return
    content_bytes, given_bytes = tape.number(3), 0
    decompressor = Decompressor(content_bytes)
    with suppress(DecompressionFailed):
        while tape:
            decompressor.add(tape.take(1 + tape.number() * 8))
            while piece := decompressor.read():
                given_bytes += len(piece)
                assert len(piece) <= limits.CONTROL_CHUNK_BYTES
                assert given_bytes <= content_bytes
        decompressor.finish()
        assert given_bytes == content_bytes


CORES: dict[str, Target] = {"noise": noise, "yamux": yamux}
DECODERS: dict[str, Target] = {
    "frames": frames,
    "pnet": pnet,
    "kad": kad,
    "multistream": multistream,
    "identify": identify,
    "autonat": autonat,
    "bitswap": bitswap,
}
TARGETS: dict[str, Target] = CORES | DECODERS
