"""Manifests: one form, signed, and refused where they lie."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.blocks.links import links_of
from primedht.cids import DAG_CBOR, Cid
from primedht.errors import InvalidArgument, InvalidManifest
from primedht.keys import PrivateKey
from primedht.records.dagcbor import encode
from primedht.tensors.dtypes import DTYPES
from primedht.tensors.manifest import (
    Manifest,
    ModelFile,
    ModelMetadata,
    PlacedTensor,
    encode_table,
    parse_manifest,
    parse_table,
)
from primedht.tensors.schema import TensorSpan

KEY = PrivateKey(bytes(range(32)))
FILES = (ModelFile("config.json", 12, Cid.of(b"1")), ModelFile("model.safetensors", 1000, Cid.of(b"2")))


def unsigned() -> Manifest:
    model = ModelMetadata(
        "resnet50", 3, "ResNet", 25_557_032, 1_760_000_000, 1_760_000_100,
        {"batch_size": 32, "learning_rate": 0.001, "optimizer": {"Adam": {"beta1": 0.9, "beta2": 0.999}}},
    )  # fmt: skip
    return Manifest(
        model, KEY.peer_id, Cid.of(b"root"), FILES, tensors=Cid.of(b"table"), base=Cid.of(b"base", DAG_CBOR),
        metadata={"license": "MIT", "epoch": "é"},
    )  # fmt: skip


def test_a_manifest_comes_back_and_is_the_same_bytes_each_time() -> None:
    manifest = unsigned().signed(KEY)
    data = manifest.encode()
    assert parse_manifest(data) == manifest
    assert data == unsigned().signed(KEY).encode()
    assert manifest.size_bytes == 1012


def test_another_cbor_library_reads_it_and_writes_the_same() -> None:
    data = unsigned().signed(KEY).encode()
    read = cbor2.loads(data)
    assert read["model"]["parameters_count"] == 25_557_032
    assert read["model"]["training_config"]["optimizer"] == {"Adam": {"beta1": 0.9, "beta2": 0.999}}
    assert read["root"].tag == 42
    assert read["root"].value == b"\x00" + bytes(Cid.of(b"root"))


def test_its_links_lead_to_all_that_it_consists_of() -> None:
    data = unsigned().signed(KEY).encode()
    linked = set(links_of(Cid.of(data, DAG_CBOR), data))
    assert linked == {Cid.of(b"root"), Cid.of(b"1"), Cid.of(b"2"), Cid.of(b"table")}


def test_a_changed_manifest_is_not_the_owner_s() -> None:
    manifest = unsigned().signed(KEY)
    other = PrivateKey.generate()
    for forged in (
        replace(manifest, model=replace(manifest.model, version=4)),
        replace(manifest, root=Cid.of(b"evil")),
        replace(manifest, files=(replace(FILES[0], size_bytes=1 << 40), FILES[1])),
        replace(manifest, metadata={}),
        replace(manifest, base=None),
        replace(manifest, owner=other.peer_id),
        replace(manifest, signature=bytes(64)),
        replace(manifest, signature=b""),
        unsigned().signed(other),
    ):
        with pytest.raises(InvalidManifest, match="signature"):
            parse_manifest(forged.encode())


@pytest.mark.parametrize("files", [(), FILES[::-1], (FILES[0], FILES[0])])
def test_files_out_of_order_or_twice_are_refused(files: tuple[ModelFile, ...]) -> None:
    with pytest.raises(InvalidManifest, match="order"):
        parse_manifest(replace(unsigned(), files=files).signed(KEY).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "another"}, {"format": 2}, {"codec": "xor"}, {"model": []}, {"model": {}}, {"root": b"x"},
        {"files": {}}, {"files": [[1, 2, 3]]}, {"files": [["a", 2]]}, {"files": [["a", -1, Cid.of(b"1")]]},
        {"files": [["a", True, Cid.of(b"1")]]}, {"metadata": {"a": 1}}, {"owner": b"x"}, {"owner": "x"},
        {"signature": 1}, {"tensors": 1}, {"more": 1},
    ],
)  # fmt: skip
def test_anything_else_is_refused(changes: dict[str, object]) -> None:
    manifest = unsigned().signed(KEY)
    fields: dict[str, object] = {
        "type": "primedht-model",
        "format": 1,
        "model": cbor2.loads(manifest.encode())["model"],
        "metadata": dict(manifest.metadata),
        "root": manifest.root,
        "files": [[file.path, file.size_bytes, file.cid] for file in FILES],
        "tensors": manifest.tensors,
        "base": bytes(Cid.of(b"base", DAG_CBOR)),
        "codec": "raw",
        "owner": bytes(manifest.owner),
        "signature": manifest.signature,
    }
    assert parse_manifest(encode(fields)) == manifest
    with pytest.raises(InvalidManifest):
        parse_manifest(encode(fields | changes))


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(data)


@given(st.integers(0, 1000), st.integers(0, 255))
def test_a_manifest_with_any_byte_changed_is_refused(at: int, to: int) -> None:
    data = bytearray(unsigned().signed(KEY).encode())
    at %= len(data)
    if data[at] != to:
        data[at] = to
        with pytest.raises(InvalidManifest):
            parse_manifest(bytes(data))


@pytest.mark.parametrize(
    "config",
    [{"a": float("nan")}, {"a": object()}, {1: 2}, {"a": 1 << 70}, {"a": "x" * 70_000}, {"a": "\ud800"}],
)
def test_a_training_configuration_that_no_manifest_can_hold_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        replace(unsigned(), model=replace(unsigned().model, training_config=config)).signed(KEY)


def span(**changes: object) -> PlacedTensor:
    whole: dict[str, object] = {
        "name": "w",
        "dtype": DTYPES["F32"],
        "shape": (5, 10),
        "start": 100,
        "end": 300,
    }
    return PlacedTensor(TensorSpan(**{**whole, **changes}), 1)  # type: ignore[arg-type]


def test_a_tensor_table_comes_back() -> None:
    table = [span(), span(name="scalar", shape=(), start=0, end=4)]
    assert parse_table(encode_table(table), FILES) == table


@pytest.mark.parametrize(
    "wrong",
    [
        span(end=301),
        span(start=900, end=1100),
        span(shape=(1 << 40,), end=100 + (1 << 42)),
        span(name="x" * 2000),
    ],
)
def test_a_table_that_lies_is_refused(wrong: PlacedTensor) -> None:
    with pytest.raises(InvalidManifest):
        parse_table(encode_table([wrong]), FILES)
    with pytest.raises(InvalidManifest, match="beyond"):
        parse_table(encode_table([span()]), ())


def test_a_table_of_too_much_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TENSORS_MAX", 1000)
    assert len(parse_table(encode_table([span()] * 1000), FILES)) == 1000
    for data in (encode_table([span()] * 1001), encode({"tensors": [[]] * 1_000_000})):
        tracemalloc.start()
        try:
            with pytest.raises(InvalidManifest, match="too many"):
                parse_table(data, FILES)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_a_table_of_something_else_is_refused() -> None:
    for rows in ([[1]], [{}], ["w"], [["w", "F4", [1], 0, 0, 4]], {}):
        with pytest.raises(InvalidManifest):
            parse_table(encode({"tensors": rows}), FILES)
