"""Tensors of torch and jax are stored and come back as they were; numpy's path needs neither."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from primedht.errors import InvalidArgument, InvalidTensor, PickleRefused
from primedht.tensors.arrays import load_tensors, save_tensors
from primedht.tensors.frameworks import convert, framework_of, to_torch
from primedht.tensors.state_files import load_state, open_state_file, read_state

DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("bfloat16", "float8_e4m3fn", "float8_e5m2"),
)


def stored(state: object, *, as_numpy: bool = False) -> Any:
    with open_state_file(state) as file:
        return read_state(bytearray(file.read()), as_numpy=as_numpy)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed: pip install primedht[torch]")


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax", reason="jax is not installed: pip install primedht[jax]")


# --- without either -------------------------------------------------------------------------------


def test_a_state_of_numpy_needs_no_framework(tmp_path: Path) -> None:
    weight = np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3).T
    state = {
        "w": weight,
        3: [np.float32(1), np.zeros((0, 2)), np.array(5, np.uint8)],
        "__state__": np.ones(1),
    }
    restored = stored(state)
    np.testing.assert_array_equal(restored["w"], weight)
    assert restored[3][1].shape == (0, 2)
    assert restored[3][2].shape == ()
    assert restored["__state__"] == 1
    with open_state_file(state) as file:
        (tmp_path / "x").write_bytes(file.read())
    mapped = load_state(tmp_path / "x")
    assert mapped["w"].dtype == ml_dtypes.bfloat16
    mapped["w"][0, 0] = 7  # it is the caller's own


def test_the_header_stays_while_scalars_change() -> None:
    def header(step: int) -> bytes:
        with open_state_file({"w": np.ones(4), "step": step}) as file:
            return file.read(8 + int.from_bytes(file.read(8), "little"))

    assert header(1) == header(9)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_framework_that_is_missing_is_named(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(InvalidArgument, match=rf"primedht\[{framework}\].*as_numpy=True"):
        convert(np.ones(1), framework)


@pytest.mark.parametrize(
    "start", [b"PK\x03\x04\0\0\0\0\0\0", b"\x80\x02}q\0.", b"\x80\x04\x95\x10" + bytes(30)]
)
def test_what_torch_save_writes_is_refused_with_the_reason(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(start)
    for load in (load_tensors, load_state):
        with pytest.raises(PickleRefused, match="runs what its writer chose"):
            load(tmp_path / "x.pt")


def test_a_long_header_is_no_pickle(tmp_path: Path) -> None:
    name = "x" * 600
    for count in range(1, 40):  # a header of 0x280 to 0x6000 bytes: some begin as a pickle does
        save_tensors(tmp_path / "x", {f"{name}{i}": np.ones(1) for i in range(count)})
        assert len(load_tensors(tmp_path / "x")) == count


def test_a_file_of_tensors_is_no_state(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x", {"w": np.ones(1)})
    with pytest.raises(InvalidTensor, match="read it as tensors"):
        load_state(tmp_path / "x")


# --- torch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors_of_every_type_come_back(torch: Any, dtype: str) -> None:
    kind = getattr(torch, dtype)
    values = torch.arange(12).reshape(3, 4).to(kind)
    state = {"plain": values, "scalar": values[1, 2], "empty": values[:0], "across": values.t()}
    state["part"] = values[:, 1:3]

    def bits(tensor: Any) -> list[int]:
        return tensor.contiguous().flatten().view(torch.uint8).tolist()  # type: ignore[no-any-return]

    restored = stored(state)
    for name, value in state.items():
        assert restored[name].dtype == kind
        assert restored[name].shape == value.shape
        assert bits(restored[name]) == bits(value)
    as_numpy = stored(state, as_numpy=True)
    assert {framework_of(value) for value in as_numpy.values()} == {None}
    assert as_numpy["plain"].dtype.name == dtype


def test_a_torch_trainer_s_state_comes_back_and_goes_on(torch: Any) -> None:
    torch.manual_seed(1)

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(8, 4)
            self.norm = torch.nn.BatchNorm1d(4)
            self.head = torch.nn.Linear(4, 8, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x: Any) -> Any:
            return self.head(self.norm(self.embedding(x)))

    def train(net: Any, optimizer: Any, scheduler: Any) -> None:
        loss = net(torch.randint(0, 8, (6,))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()

    def trainer() -> tuple[Any, Any, Any]:
        net = Net()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        return net, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)

    first = trainer()
    for _ in range(3):
        train(*first)
    state = {
        "parts": [part.state_dict() for part in first],
        "rng": torch.get_rng_state(),
    }
    restored = stored(state)
    weights = restored["parts"][0]
    assert type(weights) is type(state["parts"][0])  # an OrderedDict
    assert weights["embedding.weight"] is weights["head.weight"]
    second = trainer()
    for part, kept in zip(second, restored["parts"], strict=True):
        part.load_state_dict(kept)
    assert second[0].head.weight is second[0].embedding.weight
    for part in (first, second):
        torch.set_rng_state(restored["rng"])
        train(*part)
    for one, other in zip(first[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_tied_torch_tensors_take_their_room_once(torch: Any) -> None:
    weight = torch.nn.Parameter(torch.zeros(1000))
    with open_state_file({"a": weight, "b": weight.detach(), "c": weight.data}) as file:
        data = bytearray(file.read())
    assert len(data) < 4000 + 1000
    restored = read_state(data)
    assert restored["a"] is restored["b"] is restored["c"]
    assert type(restored["a"]) is torch.Tensor


def test_torch_tensors_are_written_and_mapped(torch: Any, tmp_path: Path) -> None:
    weights = {"w": torch.ones(3, dtype=torch.bfloat16), "x": torch.arange(4.0)}
    save_tensors(tmp_path / "x", weights)
    mapped = {name: to_torch(array) for name, array in load_tensors(tmp_path / "x").items()}
    assert all(torch.equal(mapped[name], value) for name, value in weights.items())
    frozen = np.ones(2)
    frozen.flags.writeable = False
    to_torch(frozen)[0] = 5
    assert frozen[0] == 1


def test_torch_tensors_without_plain_numbers_are_refused(torch: Any) -> None:
    for tensor in (
        torch.eye(2).to_sparse(),
        torch.ones(1, dtype=torch.complex64),
        torch.ones(1, device="meta"),
    ):
        with pytest.raises(InvalidTensor, match=r"cannot be stored|can$"):
            stored({"t": tensor})


# --- jax ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name not in ("int64", "float64")])
def test_jax_arrays_of_every_type_come_back(jax: Any, dtype: str) -> None:
    values = jax.numpy.arange(12).reshape(3, 4).astype(dtype)
    state = {"plain": values, "scalar": values[1, 2], "empty": values[:0], "tied": values}
    restored = stored(state)
    assert restored["plain"] is restored["tied"]
    for name, value in state.items():
        assert framework_of(restored[name]) == "jax"
        assert restored[name].dtype == value.dtype
        assert np.asarray(restored[name]).tobytes() == np.asarray(value).tobytes()
    assert framework_of(stored(state, as_numpy=True)["plain"]) is None


def test_jax_does_not_narrow_and_keys_are_refused(jax: Any) -> None:
    with pytest.raises(InvalidTensor, match="jax_enable_x64"):
        convert(np.ones(1), "jax")
    with pytest.raises(InvalidTensor, match="key_data"):
        stored({"key": jax.random.key(1)})
    with pytest.raises(InvalidTensor, match="cannot be stored"):
        jax.jit(lambda x: stored({"x": x}))(1.0)
