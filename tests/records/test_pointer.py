"""Pointers to blocks: told apart from values, and good for one key of one network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from primedht.cids import DAG_CBOR, Cid
from primedht.errors import InvalidRecord
from primedht.kad.messages import Record
from primedht.keys import PrivateKey
from primedht.pb import record_pb2
from primedht.records.keys import prime_key
from primedht.records.pointer import MARK, Pointer, compressed_bytes_max, decode_pointer, sign_open_pointer
from primedht.records.record import Content, ValidRecord
from primedht.records.signed import Envelope, sign_envelope
from primedht.records.validator import RecordValidator

WRITER = PrivateKey(b"\x01" * 32)
NETWORK = "/lab/kad/1.0.0"
KEY = b"model_weights_v1"
NOW_MS = 1_700_000_000_000
POINTER = Pointer(Cid.of(b"node", 0x70), 3_000_000, 3_000_200, 4)


def validate(value: bytes, *, key: bytes = KEY, network_id: str = NETWORK) -> ValidRecord:
    validator = RecordValidator(network_id=network_id, network_kind="private", ipfs_keys_only=False)
    record = Record(key, value, writer_unix_ms=NOW_MS)
    return validator.validate(record, now_unix_s=NOW_MS / 1000, copied=True)


def test_a_pointer_has_one_form_and_sizes_that_can_be_true() -> None:
    assert decode_pointer(POINTER.encode()) == POINTER
    lies = [
        replace(POINTER, size_bytes=POINTER.dag_bytes + 1),
        replace(POINTER, blocks=1),
        replace(POINTER, root=Cid.of(b"node", DAG_CBOR)),
        replace(POINTER, root=Cid(1, 0x70, b"\x00\x04node")),
    ]
    for raw in (b"", b"\xff", POINTER.encode() + b"\x38\x01", *(lie.encode() for lie in lies)):
        with pytest.raises(InvalidRecord):
            decode_pointer(raw)


def test_a_pointer_to_what_was_compressed_says_so_and_no_codec_need_be_known() -> None:
    small = replace(POINTER, codec="zstd", content_bytes=9_000_000)
    assert decode_pointer(small.encode()) == small
    assert (small.value_bytes, POINTER.value_bytes) == (9_000_000, 3_000_000)
    assert decode_pointer(replace(small, codec="byte-grouped-2").encode()).codec == "byte-grouped-2"
    least = next(n for n in range(2_900_000, 3_000_000) if compressed_bytes_max(n) >= small.size_bytes)
    assert decode_pointer(replace(small, content_bytes=least).encode())
    for lie in (
        replace(small, codec=""), replace(small, content_bytes=0), replace(small, codec="Zstd"),
        replace(small, codec="a" * 33), replace(small, codec="z\n"), replace(small, content_bytes=least - 1),
    ):  # fmt: skip
        with pytest.raises(InvalidRecord):
            decode_pointer(lie.encode())


def test_a_pointer_without_a_codec_has_the_bytes_that_it_always_had() -> None:
    before = (
        "0a2401701220545ea538461003efdc8c81c244531b003f6f26cfccf6c0073b3239fdedf4944610c08db70118888fb7012004"
    )
    assert POINTER.encode().hex() == before


def test_an_open_pointer_is_its_writers_for_one_key_of_one_network() -> None:
    value = sign_open_pointer(WRITER, NETWORK, KEY, POINTER)
    valid = validate(value)
    assert (valid.content, valid.payload, valid.value) == (Content.POINTER, POINTER.encode(), value)
    assert not valid.authenticated, "the key is still anybody's"
    for valid in (validate(value, key=b"other"), validate(value, network_id="/other/kad/1.0.0")):
        assert (valid.content, valid.payload) == (Content.VALUE, value)


def test_what_is_not_signed_as_a_pointer_is_a_value() -> None:
    value = sign_open_pointer(WRITER, NETWORK, KEY, POINTER)
    wire = record_pb2.SignedPointer.FromString(value[len(MARK) :])
    wire.pointer = replace(POINTER, size_bytes=1).encode()
    forged = MARK + wire.SerializeToString()
    unsigned = MARK + record_pb2.SignedPointer(pointer=POINTER.encode()).SerializeToString()
    for plain in (
        b"", MARK, MARK + b"\xff", POINTER.encode(), value[:-1], value + b"\x00", value[1:], forged, unsigned,
    ):  # fmt: skip
        valid = validate(plain)
        assert (valid.content, valid.payload) == (Content.VALUE, plain)


def test_an_owners_pointer_must_be_one() -> None:
    key = prime_key("model", WRITER.peer_id, "resnet50")
    envelope = Envelope(Content.POINTER, NETWORK, 7, NOW_MS, NOW_MS + 60_000, POINTER.encode())
    valid = validate(sign_envelope(WRITER, key, envelope), key=key)
    assert (valid.content, valid.payload) == (Content.POINTER, POINTER.encode())
    with pytest.raises(InvalidRecord, match="pointer"):
        validate(sign_envelope(WRITER, key, replace(envelope, value=b"weights")), key=key)
    marked = replace(envelope, content=Content.VALUE, value=sign_open_pointer(WRITER, NETWORK, key, POINTER))
    assert validate(sign_envelope(WRITER, key, marked), key=key).content is Content.VALUE
