"""The records of runs: lists of steps and parts, in their one form or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.blocks.block import make_block
from primedht.cids import DAG_CBOR, Cid
from primedht.errors import InvalidArgument, InvalidManifest, StaleRecord, ValueNotFound
from primedht.keys import PrivateKey
from primedht.ml.runs import Part, Step, Steps, parse_part, parse_steps
from primedht.records import dagcbor
from primedht.tensors.checkpoint import CheckpointManifest, CheckpointPart, parse_checkpoint

CID = make_block(b"x", DAG_CBOR).cid
KEY = PrivateKey.generate()


def rows(*numbers: int, pinned: tuple[int, ...] = ()) -> Steps:
    return Steps(tuple(Step(number, CID, 1, 2, number in pinned) for number in numbers))


@given(st.sets(st.integers(0, limits.CHECKPOINT_STEP_MAX), min_size=1, max_size=64), st.data())
def test_lists_of_steps_come_back(numbers: set[int], data: st.DataObject) -> None:
    pinned = tuple(data.draw(st.sets(st.sampled_from(sorted(numbers)))))
    steps = rows(*sorted(numbers), pinned=pinned)
    encoded = steps.encode()
    assert parse_steps(encoded) == steps
    assert len(encoded) <= 8 << 10, "it fits one inline record"


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=30), st.integers(1, 5))
def test_the_last_and_the_pinned_stay_whatever_the_order(added: list[tuple[int, bool]], keep: int) -> None:
    steps = Steps()
    for number, pinned in added:
        before = steps
        try:
            steps = steps.with_step(Step(number, CID, 0, 0, pinned), keep=keep)
        except StaleRecord:
            assert len([each for each in before.listed if each.step > number]) >= keep
            continue
        listed = [each.step for each in steps.listed]
        assert listed == sorted(set(listed))
        assert number in listed
        assert len([each for each in steps.listed if not each.pinned]) <= keep
        assert {each.step for each in before.listed if each.pinned} <= set(listed)
        highest = sorted({number, *(each.step for each in before.listed)})[-keep:]
        assert set(highest) <= set(listed)


def test_steps_are_picked_pinned_and_removed() -> None:
    steps = rows(1, 5, pinned=(1,))
    assert steps.pick(None).step == 5
    with pytest.raises(ValueNotFound, match="1, 5"):
        steps.pick(2)
    with pytest.raises(ValueNotFound, match="none"):
        Steps().pick(None)
    assert steps.with_pinned(5, True) == rows(1, 5, pinned=(1, 5))
    assert steps.without(1) == rows(5)
    assert steps.without(None) == Steps()
    again = steps.with_step(Step(1, CID, 9, 9), keep=3)
    assert again.pick(1).pinned, "what was pinned stays so when it is published again"
    full = rows(*range(64), pinned=tuple(range(64)))
    with pytest.raises(InvalidArgument, match="unpin"):
        full.with_step(Step(64, CID, 0, 0), keep=1)


@pytest.mark.parametrize(
    "value",
    [
        {}, {"steps": []}, {"steps": [[1, CID, 0, 0, True], [1, CID, 0, 0, True]]}, {"steps": 3},
        {"steps": [[2, CID, 0, 0, True], [1, CID, 0, 0, True]]}, {"steps": [[1, CID, 0, 0]]},
        {"steps": [[1, CID, 0, 0, 1]]}, {"steps": [[-1, CID, 0, 0, True]]}, {"steps": [[1, 5, 0, 0, True]]},
        {"steps": [[n, CID, 0, 0, True] for n in range(65)]}, {"steps": [[1, CID, 0, 0, True]], "more": 1},
        {"steps": [[1, b"\0\1", 0, 0, True]]}, {"steps": [7]},
    ],
)  # fmt: skip
def test_other_lists_are_refused(value: object) -> None:
    with pytest.raises(InvalidManifest):
        parse_steps(dagcbor.encode(value))


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parsers_fail_otherwise(data: bytes) -> None:
    for parse in (parse_steps, parse_part, parse_checkpoint):
        with pytest.raises(InvalidManifest):
            parse(data)


def test_parts_come_back_or_are_refused() -> None:
    part = Part(CID, 5, 7, {"loss": "0.1"})
    assert parse_part(part.encode()) == part
    with pytest.raises(InvalidArgument, match="put it in the state"):
        Part(CID, 5, 7, {"x": "y" * limits.CHECKPOINT_METADATA_BYTES_MAX}).encode()
    fields = {"file": CID, "bytes": 5, "time": 7, "metadata": {}}
    for wrong in ({"bytes": -1}, {"file": 1}, {"metadata": {"a": 1}}, {"time": "7"}, {"more": 1}):
        with pytest.raises(InvalidManifest):
            parse_part(dagcbor.encode({**fields, **wrong}))


def manifest(**changed: object) -> CheckpointManifest:
    fields = {
        "run": "r", "step": 3, "attempt": 0, "created_at": 9, "parts": (CheckpointPart(4, CID),),
        "owner": KEY.peer_id, "metadata": {"a": "b"},
    }  # fmt: skip
    return CheckpointManifest(**fields | changed)  # type: ignore[arg-type]


def test_a_manifest_comes_back_and_only_its_owner_makes_it() -> None:
    signed = manifest().signed(KEY)
    assert parse_checkpoint(signed.encode()) == signed
    assert signed.size_bytes == 4
    with pytest.raises(InvalidManifest, match="signature"):
        parse_checkpoint(manifest().signed(PrivateKey.generate()).encode())
    with pytest.raises(InvalidManifest, match="signature"):
        parse_checkpoint(manifest(step=4, signature=signed.signature).encode())
    for wrong in (
        {"parts": ()}, {"parts": (CheckpointPart(1, CID),) * 1025}, {"metadata": {"a": 1}}, {"step": -1},
        {"run": 5}, {"attempt": 1.5},
    ):  # fmt: skip
        with pytest.raises(InvalidManifest):
            parse_checkpoint(manifest(**wrong).signed(KEY).encode())
    raw = dagcbor.decode_map(signed.encode())
    for name, value in (("type", "primedht-model"), ("format", 2), ("owner", b"x"), ("more", 1)):
        with pytest.raises(InvalidManifest):
            parse_checkpoint(dagcbor.encode({**links(raw), name: value}))


def links(fields: dict[str, object]) -> dict[str, object]:
    parts = fields["parts"]
    assert isinstance(parts, list)
    return fields | {"parts": [[size, Cid.from_bytes(link[1:])] for size, link in parts]}
