"""Arrays in safetensors files, against the safetensors library as well."""

from __future__ import annotations

import io
import resource
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from tensor_lab import filled, same_bits

from primedht.errors import InvalidArgument, InvalidTensor, PickleRefused
from primedht.tensors.arrays import as_array, load_tensors, read_tensors, save_tensors, write_tensors
from primedht.tensors.dtypes import DTYPES

SHAPES = [(), (0,), (3, 0, 2), (1,), (5,), (2, 3, 4)]


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_type_and_shape_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    tensors = {str(shape): filled(name, shape) for shape in SHAPES}
    path = tmp_path / "x.safetensors"
    written = save_tensors(path, tensors)
    assert written == path.stat().st_size
    loaded = load_tensors(path)
    assert set(loaded) == set(tensors)
    assert all(same_bits(loaded[shape], tensors[shape]) for shape in tensors)


@pytest.mark.parametrize("name", sorted(set(DTYPES) - {"F8_E4M3", "F8_E5M2", "BF16"}))
def test_the_library_reads_what_we_write(name: str, tmp_path: Path) -> None:
    tensors = {str(shape): filled(name, shape) for shape in SHAPES}
    path = tmp_path / "x.safetensors"
    save_tensors(path, tensors, {"format": "np"})
    loaded = safetensors.numpy.load_file(path)
    assert all(same_bits(loaded[shape], tensors[shape]) for shape in tensors)
    with safetensors.safe_open(path, "numpy") as opened:
        assert opened.metadata() == {"format": "np"}


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_we_write_the_bytes_that_the_library_writes(name: str, tmp_path: Path) -> None:
    tensors = {f"layer.{i}": filled(name, shape) for i, shape in enumerate(SHAPES)}
    tensors["of another type"] = filled("F64", (2,))
    specs = {
        key: safetensors.TensorSpec(
            dtype=array.dtype.name, shape=list(array.shape), data_ptr=array.ctypes.data, data_len=array.nbytes
        )
        for key, array in tensors.items()
    }
    path = tmp_path / "x.safetensors"
    save_tensors(path, tensors)
    assert path.read_bytes() == safetensors.serialize(specs)


def test_we_read_what_the_library_writes(tmp_path: Path) -> None:
    tensors = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones((), np.int64)}
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(tensors, path, {"note": "é"})
    loaded = load_tensors(path)
    assert all(same_bits(loaded[name], tensors[name]) for name in tensors)


def test_arrays_in_any_layout_are_written_row_by_row(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.int32).reshape(4, 6)
    tensors = {
        "transposed": base.T,
        "strided": base[::2, 1::2],
        "backwards": base[::-1],
        "fortran": np.asfortranarray(base),
        "big-endian": base.astype(">i4"),
        "repeated": np.broadcast_to(base[0], (3, 6)),
        "bfloat16": base.astype(ml_dtypes.bfloat16).T,
    }
    path = tmp_path / "x.safetensors"
    save_tensors(path, tensors)
    loaded = load_tensors(path)
    for name, array in tensors.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].flags.c_contiguous


def test_tied_weights_are_stored_once_and_come_back_tied(tmp_path: Path) -> None:
    shared = np.arange(1000, dtype=np.float32)
    path, untied = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    save_tensors(path, {"lm_head": shared, "embed": shared.view(), "other": np.ones(2)})
    save_tensors(untied, {"lm_head": shared, "embed": shared.copy(), "other": np.ones(2)})
    assert path.stat().st_size < untied.stat().st_size - 3900
    loaded = load_tensors(path)
    assert loaded["lm_head"] is loaded["embed"]
    np.testing.assert_array_equal(loaded["embed"], shared)
    assert load_tensors(untied)["lm_head"] is not load_tensors(untied)["embed"]


def test_views_of_one_buffer_that_differ_are_not_tied(tmp_path: Path) -> None:
    square = np.arange(9.0).reshape(3, 3)
    path = tmp_path / "x.safetensors"
    save_tensors(
        path, {"w": square, "wt": square.T, "row": square[0], "none": square[:0], "none2": square[:0]}
    )
    loaded = load_tensors(path)
    np.testing.assert_array_equal(loaded["wt"], square.T)
    np.testing.assert_array_equal(loaded["row"], square[0])


@pytest.mark.parametrize("tied", ["[]", "{", '{"a": "nowhere"}', '{"w": "w"}', '{"a": 1}', '{"a": []}'])
def test_ties_to_what_is_not_there_are_refused(tied: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"w": np.ones(1)}, {"primedht.tied": tied})
    with pytest.raises(InvalidTensor):
        load_tensors(path)


def test_a_file_in_memory_is_read_without_a_copy() -> None:
    shared = np.arange(4, dtype=np.float32)
    file = io.BytesIO()
    write_tensors(file, {"a": shared, "b": shared, "c": np.ones((), np.int8)}, {"note": "x"})
    metadata, tensors = read_tensors(file.getvalue())
    assert metadata == {"note": "x"}
    assert tensors["a"] is tensors["b"]
    np.testing.assert_array_equal(tensors["a"], shared)
    assert not tensors["c"].flags.writeable
    with pytest.raises(InvalidTensor):
        read_tensors(file.getvalue()[:-1])


def test_changing_what_was_loaded_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"w": np.zeros(4)})
    load_tensors(path)["w"][:] = 1
    assert load_tensors(path)["w"].sum() == 0


def test_loading_maps_the_file_and_copies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:  # a sparse gigabyte
        header = b'{"w":{"dtype":"U8","shape":[1073741824],"data_offsets":[0,1073741824]}}'
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (1 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert load_tensors(path)["w"][-1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_the_order_of_the_tensors_does_not_change_the_file(tmp_path: Path) -> None:
    tensors = {"b": np.ones(2), "a": np.ones(2, np.int8), "c": np.ones(3)}
    save_tensors(tmp_path / "1", tensors)
    save_tensors(tmp_path / "2", dict(reversed(tensors.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_arrays_of_python_objects_are_refused_as_pickle() -> None:
    with pytest.raises(PickleRefused, match="pickle"):
        as_array(np.array([{}, None]))


@pytest.mark.parametrize(
    "value", [np.array(["text"]), np.array(1 + 2j), np.zeros(1, "M8[s]"), np.zeros(1, "i4,f4")]
)
def test_types_that_no_file_has_are_refused(value: object) -> None:
    with pytest.raises(InvalidTensor, match="bfloat16"):
        as_array(value)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidTensor):
        save_tensors(tmp_path / "x", {"a": np.ones(1), "b": np.zeros(1, complex)})
    with pytest.raises(InvalidArgument):
        save_tensors(tmp_path / "no" / "x", {"a": np.ones(1)})
    assert not list(tmp_path.iterdir())
