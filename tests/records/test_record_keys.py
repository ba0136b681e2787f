"""Key classes, wire keys and their text."""

from __future__ import annotations

import pytest
from golden_records import owners
from hypothesis import example, given
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import InvalidKey
from primedht.ids import PeerId
from primedht.keys import PrivateKey
from primedht.records.keys import (
    KeyClass,
    classify,
    format_key,
    ipns_key,
    parse_key_text,
    parse_prime_key,
    peer_of,
    pk_key,
    prime_key,
)

OWNER = PrivateKey(b"\x01" * 32).peer_id
HASHED = PeerId(b"\x12\x20" + bytes(range(32)))
OPEN_KEYS = [b"model_weights_v1", b"gradient:7:node", b"\x00\xff", b"/pk", b"/primed", b"/ipfs/x", b"/"]


def private(key: bytes) -> KeyClass:
    return classify(key, network_kind="private", ipfs_keys_only=False)


def test_a_private_network_takes_all_four_classes() -> None:
    assert private(pk_key(HASHED)) is KeyClass.PK
    assert private(ipns_key(OWNER)) is KeyClass.IPNS
    assert private(prime_key("model", OWNER, "resnet50@3")) is KeyClass.PRIME
    for key in OPEN_KEYS:
        assert private(key) is KeyClass.OPEN


@pytest.mark.parametrize(
    ("network_kind", "ipfs_keys_only"), [("public", True), ("public", False), ("private", True)]
)
def test_public_networks_and_ipfs_key_rules_take_pk_and_ipns_only(network_kind, ipfs_keys_only) -> None:
    def classified(key: bytes) -> KeyClass:
        return classify(key, network_kind=network_kind, ipfs_keys_only=ipfs_keys_only)

    assert classified(pk_key(OWNER)) is KeyClass.PK
    assert classified(ipns_key(HASHED)) is KeyClass.IPNS
    for key in (*OPEN_KEYS, prime_key("model", OWNER, "x")):
        with pytest.raises(InvalidKey):
            classified(key)


def test_keys_have_1_to_1024_bytes() -> None:
    """Behaviour 22: an empty key is an error, here and before anything is sent."""
    assert private(bytes(limits.RECORD_KEY_BYTES_MAX)) is KeyClass.OPEN
    for key in (b"", bytes(limits.RECORD_KEY_BYTES_MAX + 1)):
        with pytest.raises(InvalidKey):
            private(key)


@pytest.mark.parametrize("owner", owners(), ids=str)
def test_pk_and_ipns_keys_are_binary_as_others_write_them(owner) -> None:
    peer = PeerId(owner.peer_id_raw)
    assert {record.key for record in owner.records} == {ipns_key(peer)}
    assert peer_of(ipns_key(peer)) == peer_of(pk_key(peer)) == peer


@pytest.mark.parametrize(
    "key",
    [
        b"/pk/", b"/pk/text", b"/ipns/", b"/ipns/" + str(OWNER).encode(), b"/ipns/" + OWNER + b"/x",
        b"/prime/", b"/prime/model", f"/prime/model/{OWNER}".encode(), f"/prime/model/{OWNER}/".encode(),
        f"/prime//{OWNER}/x".encode(), f"/prime/Model/{OWNER}/x".encode(),
        f"/prime/1/{OWNER}/x".encode(), f"/prime/{'m' * 33}/{OWNER}/x".encode(),
        f"/prime/m/{OWNER}//x".encode(), f"/prime/m/{OWNER}/x/".encode(),
        f"/prime/m/{OWNER}/./x".encode(), f"/prime/m/{OWNER}/x/../y".encode(),
        f"/prime/m/{OWNER}/x\n".encode(), f"/prime/m/{OWNER}/x\x00".encode(),
        f"/prime/m/{OWNER}/".encode() + b"\xff", f"/prime/m/{OWNER}/{'x' * 513}".encode(),
        f"/prime/m/{HASHED}/x".encode(), b"/prime/m/nobody/x", b"/prime/m/" + OWNER + b"/x",
        f"/prime/m/1{OWNER}/x".encode(), f"/prime/m/ {OWNER}/x".encode(),
    ],
)  # fmt: skip
def test_malformed_keys_in_known_namespaces_are_refused_and_never_open(key: bytes) -> None:
    with pytest.raises(InvalidKey):
        private(key)


def test_a_prime_key_has_its_parts() -> None:
    key = prime_key("checkpoint", OWNER, "runs/größe/7")
    assert key == f"/prime/checkpoint/{OWNER}/runs/größe/7".encode()
    parsed = parse_prime_key(key)
    assert (parsed.kind, parsed.owner, parsed.path) == ("checkpoint", OWNER, "runs/größe/7")
    assert peer_of(key) == OWNER


def test_text_names_keys() -> None:
    cid_text = next(owner for owner in owners() if owner.maker == "boxo" and owner.type == "Ed25519")
    peer = PeerId.from_text(cid_text.peer_id)
    assert parse_key_text("model_weights_v1") == b"model_weights_v1"
    assert parse_key_text("größe") == "größe".encode()
    assert parse_key_text("0x00fF") == b"\x00\xff"
    assert parse_key_text(f"/pk/{peer}") == b"/pk/" + peer
    assert parse_key_text(f"/ipns/{peer}") == b"/ipns/" + peer
    assert parse_key_text(f"/prime/model/{peer}/a/b") == prime_key("model", peer, "a/b")
    k51 = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
    assert parse_key_text(f"/ipns/{k51}") == ipns_key(PeerId.from_text(k51))
    assert parse_key_text(f"/prime/m/{k51}/x") == prime_key("m", PeerId.from_text(k51), "x")


@pytest.mark.parametrize(
    "text",
    ["", "0x", "0x1", "0xzz", "0x 00", "/pk/x", "/ipns/", "/prime/m/x", "/prime/m", "\ud800", "a" * 1025],
)
def test_text_that_names_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidKey):
        parse_key_text(text)


def test_prime_text_with_half_a_pair_is_refused() -> None:
    with pytest.raises(InvalidKey):
        parse_key_text(f"/prime/m/{OWNER}/\ud800")


def test_keys_are_shown_as_readable_as_can_be() -> None:
    assert format_key(b"gradient:7:node") == "gradient:7:node"
    assert format_key(pk_key(HASHED)) == f"/pk/{HASHED}"
    assert format_key(ipns_key(OWNER)) == f"/ipns/{OWNER}"
    assert format_key(prime_key("m", OWNER, "x")) == f"/prime/m/{OWNER}/x"
    assert format_key(b"0x12") == "0x30783132"
    assert format_key(b"a\x1b[2J") == "0x611b5b324a"
    assert format_key(b"/pk/junk") == "0x2f706b2f6a756e6b"


@given(
    st.one_of(
        st.binary(min_size=1, max_size=80),
        st.text(min_size=1, max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=40).map(lambda rest: b"/pk/" + rest),
        st.binary(min_size=32, max_size=32).map(lambda digest: b"/ipns/\x12\x20" + digest),
        st.text(max_size=20).map(lambda path: f"/prime/m/{OWNER}/{path}".encode("utf-8", "surrogatepass")),
    )
)
@example(b"0x00")
@example(b"/ipns/k51")
def test_shown_keys_read_back(key: bytes) -> None:
    assert parse_key_text(format_key(key)) == key


@given(st.binary(max_size=100).map(lambda rest: b"/prime/" + rest) | st.binary(max_size=100))
def test_classifying_any_bytes_raises_only_invalid_key(key: bytes) -> None:
    for network_kind in ("private", "public"):
        try:
            classify(key, network_kind=network_kind, ipfs_keys_only=False)
        except InvalidKey:
            continue
