"""Peer ids in bytes and in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.peer.id import ID

from primedht.errors import InvalidArgument
from primedht.ids import PeerId


@given(st.binary(min_size=32, max_size=32))
def test_text_is_what_libp2p_prints(digest: bytes) -> None:
    peer = PeerId(b"\x12\x20" + digest)
    assert str(peer) == ID(bytes(peer)).to_base58()
    assert PeerId.from_text(str(peer)) == peer


@pytest.mark.parametrize(
    "text",
    [
        "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
        "bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgkjxzy3rqt5kczyn7lcm3l",
    ],
)
def test_both_cid_forms_are_read(text: str) -> None:
    assert str(PeerId.from_text(text)).startswith("12D3KooW")


@pytest.mark.parametrize(
    "text",
    ["", "x", "1", "Qm0", "k51", "b" * 200, "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNK", "bafkqaaa"],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        PeerId.from_text(text)


@given(st.binary(max_size=64))
def test_only_the_two_multihashes_of_the_spec_are_ids(raw: bytes) -> None:
    try:
        peer = PeerId(raw)
    except InvalidArgument:
        return
    assert raw == peer
    assert (raw[0] == 0x12 and len(raw) == 34) or (raw[0] == 0 and 3 <= len(raw) <= 44)
