"""A training program's state comes back exactly, or is refused with the reason."""

from __future__ import annotations

import json
import math
import random
import struct
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from tensor_lab import filled, same_bits, states

from primedht import limits
from primedht.errors import InvalidArgument, InvalidTensor, PickleRefused
from primedht.tensors.state import flatten, unflatten


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type at every level; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return same_bits(np.asarray(one), np.asarray(other))
    if isinstance(one, float):
        return math.isnan(one) == math.isnan(other) and (
            math.isnan(one) or struct.pack("d", one) == struct.pack("d", other)
        )
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=False)
        return len(one) == len(other) and all(same(a, c) and same(b, d) for (a, b), (c, d) in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(states)
def test_any_nest_comes_back_exactly(state: object) -> None:
    tree, tensors = flatten(state)
    assert same(unflatten(tree, tensors), state)


def test_a_trainer_s_whole_state_comes_back() -> None:
    weight = filled("F32", (4, 3))
    state = {
        "model": OrderedDict({"layers.0.weight": weight, "lm_head": weight}),
        "optimizer": {
            "state": {0: {"step": np.float32(7), "exp_avg": filled("BF16", (4, 3))}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0], "foreach": None}],
        },
        "scheduler": {"last_epoch": 3, "_last_lr": [math.inf]},
        "rng": {"python": random.Random(3).getstate(), "numpy": np.random.PCG64(3).state},
    }
    tree, tensors = flatten(state)
    assert {"model.layers.0.weight", "optimizer.state.0.exp_avg"} <= set(tensors)
    restored = unflatten(tree, tensors)
    assert restored["model"]["layers.0.weight"] is restored["model"]["lm_head"]
    assert restored["rng"] == state["rng"]
    random.Random().setstate(restored["rng"]["python"])
    assert set(restored["optimizer"]["state"]) == {0}


def test_names_that_would_be_alike_are_told_apart() -> None:
    state = {"a": {"b": np.ones(1)}, "a.b": np.zeros(1), "1": np.ones(2), 1: np.zeros(2)}
    tree, tensors = flatten(state)
    assert len(tensors) == 4
    assert same(unflatten(tree, tensors), state)


class Unknown:
    pass


class Pair(NamedTuple):
    x: int


@pytest.mark.parametrize(
    "value",
    [Unknown(), {1, 2}, object, print, 1j, Pair(1), {(1, 2): 3}, np.array([Unknown()])],
)
def test_what_only_pickle_could_store_is_refused_and_says_where(value: object) -> None:
    with pytest.raises(PickleRefused, match=r"pickle|key of type"):
        flatten({"model": [value]})
    with pytest.raises(PickleRefused, match=r"^model\.0" if not isinstance(value, np.ndarray) else "objects"):
        flatten({"model": [value]})


def test_a_nest_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidArgument, match="deep"):
        flatten(endless)


def test_integers_of_any_usual_size_and_no_larger_ones() -> None:
    tree, _ = flatten(10**1000)
    assert unflatten(tree, {}) == 10**1000
    with pytest.raises(InvalidArgument):
        flatten(10**5000)


@pytest.mark.parametrize(
    "tree",
    [
        b"", b"{", b"{}", b'{"x":"nowhere"}', b'{"x":1,"t":[]}', b'{"q":1}', b'{"d":[[1]]}',
        b'{"d":[[{"t":[[1]]},1]]}',
        b'{"d":[[[],1]]}', b'{"f":"1"}', b'{"b":"?"}', b'{"b":1}', b'{"t":1}', b'{"x":[]}', b"[" * 100_000,
        json.dumps([[]]).encode() * 2, (b"[" * 80) + (b"]" * 80), b'{"s":{}}', b"9" * 5000,
    ],
)  # fmt: skip
def test_damaged_trees_are_refused(tree: bytes) -> None:
    with pytest.raises(InvalidTensor):
        unflatten(tree, {})


def test_a_tree_over_the_limit_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STATE_TREE_BYTES_MAX", 8)
    with pytest.raises(InvalidTensor, match="go"):
        unflatten(b"[1,2,3,4,5]", {})
    with pytest.raises(InvalidArgument, match="arrays"):
        flatten([1, 2, 3, 4, 5])
