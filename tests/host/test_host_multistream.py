"""multistream-select: both sides, any chunking, any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.host.multistream import (
    MULTISTREAM,
    Proposer,
    ProtocolRefused,
    Responder,
    encode_line,
    negotiate,
)

NAMES = st.lists(
    st.sampled_from(["/a/1", "/b/1", "/ipfs/kad/1.0.0", "/x" * 400]), min_size=1, max_size=4, unique=True
)


@settings(deadline=None)
@given(ours=NAMES, theirs=NAMES, data=st.data())
def test_both_sides_agree_on_the_first_common_protocol_however_bytes_are_cut(ours, theirs, data):
    proposer, responder = Proposer(ours), Responder(theirs.__contains__)
    common = next((name for name in ours if name in theirs), None)
    to_responder, to_proposer = bytearray(proposer.opening()), bytearray()
    try:
        while to_responder or to_proposer:
            for queue, side, back in (
                (to_responder, responder, to_proposer),
                (to_proposer, proposer, to_responder),
            ):
                size = data.draw(st.integers(1, len(queue))) if queue else 0
                piece = bytes(queue[:size])
                del queue[:size]
                back += side.feed(piece)
    except ProtocolRefused:
        assert common is None
    else:
        assert proposer.protocol == responder.protocol == common
        assert proposer.rest() == responder.rest() == b""


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_protocol_violation_or_wait_for_more(noise):
    for side in (Responder(lambda name: False), Proposer(["/a/1"])):
        try:
            side.feed(noise)
        except ProtocolViolation:
            continue
        assert side.protocol is None


@settings(deadline=None)
@given(name=st.binary(min_size=1, max_size=100))
def test_a_name_of_any_bytes_is_merely_not_supported(name):
    """B1."""
    line = bytes([len(name) + 1]) + name + b"\n"
    responder = Responder(lambda text: False)
    assert responder.feed(encode_line(MULTISTREAM) + line) == encode_line(MULTISTREAM) + encode_line("na")


@pytest.mark.parametrize("size", [limits.MULTISTREAM_LINE_BYTES_MAX + 1, 1 << 40])
def test_lines_are_bounded_before_they_arrive(size):
    """B21."""
    from primedht.wire import varint

    with pytest.raises(ProtocolViolation):
        Responder(lambda name: True).feed(varint.encode(size))


def test_what_follows_the_agreement_is_kept():
    responder = Responder(lambda name: name == "/a/1")
    responder.feed(encode_line(MULTISTREAM) + encode_line("/a/1") + b"request")
    assert responder.protocol == "/a/1"
    assert responder.rest() == b"request"
    proposer = Proposer(["/a/1"])
    proposer.feed(encode_line(MULTISTREAM) + encode_line("/a/1") + b"answer")
    assert proposer.rest() == b"answer"


def test_proposals_are_bounded():
    responder = Responder(lambda name: False)
    with pytest.raises(ProtocolViolation):
        responder.feed(encode_line(MULTISTREAM) + encode_line("/x") * (limits.MULTISTREAM_PROPOSALS_MAX + 1))


class Script:
    """A connection that delivers `incoming` and never more than asked for."""

    def __init__(self, incoming: bytes) -> None:
        self.incoming = incoming
        self.sent = b""

    async def read(self, n=None):
        data, self.incoming = self.incoming[:n], self.incoming[n:]
        return data

    async def write(self, data):
        self.sent += data


async def test_over_a_connection_not_one_byte_too_many_is_read():
    script = Script(encode_line(MULTISTREAM) + encode_line("/noise") + b"\x00\x20handshake")
    assert await negotiate(script, Responder(lambda name: name == "/noise")) == "/noise"
    assert script.incoming == b"\x00\x20handshake"
    with pytest.raises(ProtocolViolation, match="ended"):
        await negotiate(Script(b""), Responder(lambda name: True))
