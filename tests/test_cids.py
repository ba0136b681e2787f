"""CIDs in text and binary. The texts are the CID specification's and IPFS documentation's examples."""

import base64

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht.cids import multihash_of, parse_cid
from primedht.errors import InvalidArgument

V0 = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"
V1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


def test_both_versions_name_the_same_multihash() -> None:
    """The documentation gives these two as forms of one CID."""
    assert multihash_of(parse_cid(V0)) == base58.b58decode(V0)
    assert multihash_of(parse_cid(V1))[:2] == b"\x12\x20"


@given(digest=st.binary(min_size=32, max_size=32))
def test_every_multibase_gives_the_same_bytes(digest: bytes) -> None:
    raw = b"\x01\x55\x12\x20" + digest
    texts = (
        "b" + base64.b32encode(raw).decode().lower().rstrip("="),
        "z" + base58.b58encode(raw).decode(),
        "f" + raw.hex(),
        "m" + base64.b64encode(raw).decode().rstrip("="),
        "u" + base64.urlsafe_b64encode(raw).decode().rstrip("="),
    )
    for text in texts:
        assert parse_cid(text) == raw
    assert multihash_of(raw) == raw[2:]


@pytest.mark.parametrize(
    "text", ["", "b", "Qm", "hello", V0[:-1], V1[:-2], V1 + "aa", "k0", "fzz", "é" * 40, "b" * 300]
)
def test_what_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_cid(text)


@given(raw=st.binary(max_size=120))
def test_any_bytes_give_a_multihash_or_an_invalid_argument(raw: bytes) -> None:
    try:
        multihash = multihash_of(raw)
    except InvalidArgument:
        return
    assert raw.endswith(multihash)
    assert 2 <= len(multihash) <= 80
