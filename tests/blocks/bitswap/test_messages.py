"""Bitswap messages: bytes and back, earlier versions, and what is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.blocks.bitswap.messages import (
    BITSWAP_100,
    BITSWAP_110,
    BITSWAP_120,
    BitswapMessage,
    Want,
    decode,
    encode,
)
from primedht.blocks.block import make_block
from primedht.cids import DAG_PB, RAW, Cid
from primedht.errors import ProtocolViolation
from primedht.pb import bitswap_pb2 as pb

TOO_LARGE = bytes(limits.BLOCK_BYTES_MAX + 1)
CIDS = st.builds(Cid.of, st.binary(max_size=8), st.sampled_from([RAW, DAG_PB]))
WANTS = st.builds(Want, CIDS, st.integers(-(2**31), 2**31 - 1), st.booleans(), st.booleans(), st.booleans())
BLOCKS = st.builds(make_block, st.binary(max_size=64), st.sampled_from([RAW, DAG_PB]))
MESSAGES = st.builds(
    BitswapMessage,
    st.lists(WANTS, max_size=4),
    st.booleans(),
    st.lists(BLOCKS, max_size=4),
    st.lists(CIDS, max_size=4),
    st.lists(CIDS, max_size=4),
)


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: BitswapMessage) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    with suppress(ProtocolViolation):
        decode(raw)


def test_a_block_of_version_0_keeps_its_cid() -> None:
    block = make_block(b"x", DAG_PB, version=0)
    for protocol in (BITSWAP_120, BITSWAP_110, BITSWAP_100):
        (found,) = decode(encode(BitswapMessage(blocks=[block]), protocol)).blocks
        assert found == block


def test_before_1_2_0_there_are_no_presences_and_every_want_is_for_the_block() -> None:
    cid = Cid.of(b"x")
    message = BitswapMessage(wants=[Want(cid, have=True)], haves=[cid], dont_haves=[cid])
    found = decode(encode(message, BITSWAP_110))
    assert not found.haves
    assert not found.dont_haves
    assert found.wants == [Want(cid, have=False, send_dont_have=False)]


def test_a_block_is_named_by_its_bytes_whatever_its_sender_wanted() -> None:
    block = make_block(b"right")
    raw = encode(BitswapMessage(blocks=[block])).replace(b"right", b"wrong")
    assert decode(raw).blocks[0].cid == Cid.of(b"wrong")


@pytest.mark.parametrize(
    "bad",
    [
        pb.Message(blocks=[pb.Message.Block(prefix=b"", data=b"x")]),
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x01\x55\x12\x14", data=b"x")]),  # a cut digest
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x01\x55\x00\x01", data=b"x")]),  # identity
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x09\x55\x12\x20", data=b"x")]),
        pb.Message(blocks=[pb.Message.Block(prefix=b"\x01\x55\x12\x20", data=TOO_LARGE)]),
        pb.Message(presences=[pb.Message.Presence(cid=b"nonsense")]),
        pb.Message(presences=[pb.Message.Presence(cid=bytes(limits.BITSWAP_CID_BYTES_MAX + 1))]),
        pb.Message(presences=[pb.Message.Presence()] * (limits.BITSWAP_ENTRIES_MAX + 1)),
    ],
)  # fmt: skip
def test_malformed_parts_are_refused(bad: pb.Message) -> None:
    with pytest.raises(ProtocolViolation):
        decode(bad.SerializeToString())
