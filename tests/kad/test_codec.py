"""Messages to bytes and back; what a peer may not send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.ids import PeerId
from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, PeerInfo, Record
from primedht.pb import kad_pb2
from primedht.wire.addrs import parse, peer_suffix

peer_ids = st.binary(min_size=32, max_size=32).map(lambda digest: PeerId(b"\x12\x20" + digest))
peer_infos = st.builds(
    PeerInfo, peer_ids, st.lists(st.binary(min_size=1, max_size=40), max_size=5).map(tuple)
)
records = st.builds(
    Record,
    key=st.binary(max_size=100),
    value=st.binary(max_size=300),
    time_received=st.text("0123456789TZ:-.", max_size=30),
    publisher=st.binary(max_size=40),
    ttl_s=st.integers(0, 2**32 - 1),
    writer_unix_ms=st.integers(0, 2**63 - 1),
    tombstone=st.booleans(),
)
messages = st.builds(
    Message,
    type=st.sampled_from(MessageType),
    key=st.binary(max_size=100),
    record=st.none() | records,
    closer_peers=st.lists(peer_infos, max_size=5).map(tuple),
    provider_peers=st.lists(peer_infos, max_size=5).map(tuple),
)


@given(messages)
def test_messages_round_trip(message: Message) -> None:
    assert codec.decode(codec.encode(message)) == message


@given(messages)
def test_protobuf_reads_the_appended_peers(message: Message) -> None:
    wire = kad_pb2.Message.FromString(codec.encode(message))
    assert [bytes(peer.id) for peer in wire.closer_peers] == [bytes(peer.id) for peer in message.closer_peers]
    assert [tuple(peer.addrs) for peer in wire.provider_peers] == [
        peer.addrs for peer in message.provider_peers
    ]


@given(messages)
def test_a_peer_is_encoded_once_for_both_lists(message: Message) -> None:
    first = codec.encode(message)
    for peer in (*message.closer_peers, *message.provider_peers):
        assert peer.encoded is not None
        assert len(peer.encoded) == codec.peer_bytes(peer)
    assert codec.encode(message) == first


@given(records)
def test_the_size_of_a_record_is_never_underestimated(record: Record) -> None:
    for kind in MessageType:
        with_record = codec.encode(Message(kind, b"k", record))
        assert len(with_record) - len(codec.encode(Message(kind, b"k"))) <= codec.record_bytes(record)


@given(st.binary(max_size=200))
def test_behaviour_21_any_bytes_decode_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):
        codec.decode(data)


def test_a_literal_find_node_of_go_is_read() -> None:
    # type FIND_NODE, key "abc", and the dead field 10 that rust still sends
    assert codec.decode(b"\x08\x04\x12\x03abc\x50\x00") == Message(MessageType.FIND_NODE, b"abc")


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x06",  # unknown type
        kad_pb2.Message(key=b"k" * (limits.RECORD_KEY_BYTES_MAX + 1)).SerializeToString(),
        kad_pb2.Message(record=kad_pb2.Record(key=b"k" * 2000)).SerializeToString(),
        kad_pb2.Message(record=kad_pb2.Record(publisher=b"k" * 2000)).SerializeToString(),
        b"\x12\xff",
    ],
)
def test_oversized_or_unknown_messages_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        codec.decode(data)


def test_a_senseless_peer_entry_costs_only_itself() -> None:
    good = PeerId(b"\x12\x20" + bytes(32))
    wire = kad_pb2.Message(type=4)
    wire.closer_peers.add(id=b"nonsense")
    wire.closer_peers.add(id=bytes(good), addrs=[b"\x04\x7f\x00\x00\x01\x06\x10\x05"])
    assert [peer.id for peer in codec.decode(wire.SerializeToString()).closer_peers] == [good]


def test_behaviour_16_addresses_of_one_peer_are_cut_at_8_kib() -> None:
    wire = kad_pb2.Message(type=2)
    wire.provider_peers.add(id=b"\x12\x20" + bytes(32), addrs=[bytes([n]) * 500 for n in range(30)])
    [peer] = codec.decode(wire.SerializeToString()).provider_peers
    assert sum(map(len, peer.addrs)) <= limits.PEER_ADDRS_BYTES_MAX
    assert len(peer.addrs) == 16


def test_peers_are_fitted_into_a_budget() -> None:
    peers = [PeerInfo(PeerId(b"\x12\x20" + bytes([n]) * 32), (b"x" * 100,)) for n in range(20)]
    fitted = codec.fit_peers(peers, 1000)
    assert fitted == tuple(peers[: len(fitted)])
    assert len(codec.encode(Message(MessageType.FIND_NODE, closer_peers=fitted))) <= 1000 + 2
    assert len(fitted) == 1000 // codec.peer_bytes(peers[0])


@given(st.lists(peer_infos, max_size=30), st.integers(-10, 3000))
def test_an_even_fit_stays_in_the_budget_and_keeps_first_addresses(
    peers: list[PeerInfo], budget: int
) -> None:
    fitted = codec.fit_peers_evenly(peers, budget)
    assert sum(map(codec.peer_bytes, fitted)) <= max(0, budget)
    if sum(map(codec.peer_bytes, peers)) <= budget:
        assert fitted == tuple(peers)
    for info in fitted:
        whole = [peer.addrs for peer in peers if peer.id == info.id]
        assert any(set(info.addrs) <= set(addrs) for addrs in whole)


def test_long_lists_of_a_few_leave_room_for_the_others() -> None:
    greedy = [PeerInfo(PeerId(b"\x12\x20" + bytes([n]) * 32), (b"x" * 400,) * 20) for n in range(2)]
    modest = [PeerInfo(PeerId(b"\x12\x20" + bytes([n]) * 32), (b"y" * 20,)) for n in range(10, 28)]
    fitted = codec.fit_peers_evenly([*greedy, *modest], limits.SMALL_REPLY_BYTES_MAX)
    assert [info.id for info in fitted] == [info.id for info in (*greedy, *modest)]
    assert fitted[2:] == tuple(modest)
    assert fitted[0].addrs == (b"x" * 400,)


def test_a_peers_own_id_is_cut_off_its_addresses() -> None:
    """js may send it along; another's, as of a relay on the way, is part of the address."""
    own, other = (PeerId(b"\x12\x20" + bytes([n]) * 32) for n in range(2))
    plain = parse("/ip4/127.0.0.1/tcp/4001")
    relayed = plain + peer_suffix(other) + b"\xa2\x02"  # /p2p-circuit
    wire = kad_pb2.Message(type=4)
    offered = [plain + peer_suffix(own), relayed + peer_suffix(own), plain + peer_suffix(other), b"", plain]
    wire.closer_peers.add(id=bytes(own), addrs=[*offered, peer_suffix(own)])
    [peer] = codec.decode(wire.SerializeToString()).closer_peers
    assert peer.addrs == (plain, relayed, plain + peer_suffix(other), plain)


def test_of_a_flood_of_senseless_entries_few_are_looked_at() -> None:
    good = kad_pb2.Message.Peer(id=b"\x12\x20" + bytes(32))
    after_a_few = kad_pb2.Message(type=4, closer_peers=[good]).SerializeToString()
    few, many = (b"\x42\x00" * count for count in (10, limits.CLOSER_PEERS_MAX))
    assert len(codec.decode(few + after_a_few).closer_peers) == 1
    assert codec.decode(many + after_a_few).closer_peers == ()
