"""Arrays in safetensors files: writing them without copies of the whole, and reading them memory-mapped.

What is written may be numpy's, torch's or jax's; what is read is numpy's, and `frameworks.convert` makes it
theirs. Names that share one array (tied weights) are stored once; the file's metadata says which, and
reading gives one array under all of them.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from primedht import limits
from primedht.errors import InvalidTensor, PickleRefused
from primedht.tensors import frameworks, safetensors
from primedht.tensors.dtypes import DType, dtype_of
from primedht.tensors.schema import TensorSpan
from primedht.whole_file import WholeFile

Array = NDArray[Any]

_TIED = "primedht.tied"


class Writable(Protocol):
    """An open file that takes all bytes it is given."""

    def write(self, data: bytes | memoryview, /) -> object: ...


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """Return numpy's type of the elements."""
    return np.dtype(getattr(ml_dtypes, dtype.numpy_name) if dtype.extension else dtype.numpy_name)


def as_array(value: object) -> Array:
    """Return `value`, an array of numpy, torch, jax or what numpy can look into, without a copy if possible.

    Raises `PickleRefused` for arrays of Python objects, `InvalidTensor` for types that cannot be stored.
    """
    array = np.asarray(value) if frameworks.framework_of(value) is None else frameworks.to_numpy(value)
    if array.dtype.hasobject:
        raise PickleRefused(
            "an array of Python objects can be stored as pickle only, which runs its writer's code when it "
            "is read; give it a numeric dtype"
        )
    dtype_of(array.dtype.name)
    return array


def write_tensors(
    file: Writable, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> int:
    """Write a safetensors file; return its bytes. The same tensors give the same bytes in any order.

    Memory: for 16 MiB of a tensor that is not contiguous, none for others. Raises as `as_array`.
    """
    given = dict(tensors)  # a mapping that makes its values as it is read makes them once
    made: dict[object, Array] = {}  # those that are tied on a device have one copy here
    for value in given.values():
        if (identity := frameworks.identity(value)) not in made:
            made[identity] = as_array(value)
    arrays = {name: made[frameworks.identity(value)] for name, value in given.items()}
    stored, tied = _find_tied(arrays)
    told = dict(metadata or {})
    if tied:
        told[_TIED] = json.dumps(tied, sort_keys=True)
    entries = [(name, dtype_of(array.dtype.name), array.shape) for name, array in stored.items()]
    head, header = safetensors.make_header(entries, told)
    file.write(head)
    for span in header.tensors:
        for piece in _pieces(stored[span.name]):
            file.write(piece)
    return header.file_bytes


def save_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> int:
    """Write a safetensors file that appears whole or not at all, as `write_tensors`.

    Raises `DiskFull`, `InvalidArgument` for a path that cannot be written, and as `as_array`.
    """
    whole = WholeFile(path)
    try:
        written = write_tensors(whole, tensors, metadata)
        whole.commit()
    finally:
        whole.close()
    return written


def read_header(file: BinaryIO, file_bytes: int) -> safetensors.Header:
    """Read the header of an open file. Raises `InvalidTensor`, `PickleRefused` for what torch.save wrote."""
    start = file.read(safetensors.LENGTH_BYTES)
    safetensors.check_no_pickle(start, "it")
    length = safetensors.header_bytes(start, file_bytes)
    return safetensors.parse_header(file.read(length), file_bytes)


def load_tensors(path: Path) -> dict[str, Array]:
    """Return the tensors of a safetensors file by name, tied ones being one array.

    They are memory-mapped: bytes are read when they are used, and changing them leaves the file as it is.
    Raises `InvalidTensor`, `OSError`.
    """
    with path.open("rb") as file:
        return map_tensors(file)


def map_tensors(file: BinaryIO) -> dict[str, Array]:
    """Return the tensors of an open file, which stands at its beginning and may be closed then.

    As `load_tensors`.
    """
    file_bytes = file.seek(0, SEEK_END)
    file.seek(0)
    header = read_header(file, file_bytes)
    mapped = mmap.mmap(file.fileno(), file_bytes, access=mmap.ACCESS_COPY)
    tensors = {span.name: view(mapped, span, at=span.start) for span in header.tensors}
    return tensors | {alias: tensors[name] for alias, name in _tied(header).items()}


def read_tensors(data: bytes | bytearray) -> tuple[dict[str, str], dict[str, Array]]:
    """Return the metadata and the tensors of a safetensors file's bytes, which the tensors share.

    Those of `bytes` cannot be changed. Raises `InvalidTensor`.
    """
    header = read_header(BytesIO(data), len(data))
    tensors = {span.name: view(data, span, at=span.start) for span in header.tensors}
    metadata = {name: text for name, text in header.metadata.items() if name != _TIED}
    return metadata, tensors | {alias: tensors[name] for alias, name in _tied(header).items()}


def view(data: bytes | bytearray | mmap.mmap, span: TensorSpan, *, at: int = 0) -> Array:
    """Return the tensor whose bytes are in `data` from `at` on, without a copy."""
    return np.ndarray(span.shape, numpy_dtype(span.dtype), data, at)


def _find_tied(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays to store, and for each other name the stored one it shares all its bytes with."""
    stored: dict[str, Array] = {}
    tied: dict[str, str] = {}
    known: dict[object, str] = {}
    for name in sorted(arrays):
        array = arrays[name]
        place = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype)
        if array.size and (first := known.setdefault(place, name)) != name:
            tied[name] = first
        else:
            stored[name] = array
    return stored, tied


def _tied(header: safetensors.Header) -> dict[str, str]:
    if _TIED not in header.metadata:
        return {}
    names = {span.name for span in header.tensors}
    try:
        tied = json.loads(header.metadata[_TIED])
        aliases = dict(tied.items())
        if not names.isdisjoint(aliases) or not names.issuperset(aliases.values()):
            raise ValueError("it ties what is not there")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidTensor(f"the file says wrongly which of its tensors are tied: {error}") from None
    return aliases


def _pieces(array: Array) -> Iterator[memoryview]:
    """Yield the array's bytes, row-major and little-endian."""
    little = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == little:
        if array.size:
            yield array.reshape(-1).view(np.uint8).data
        return
    flat = array.flat
    count = max(1, limits.TENSOR_COPY_BYTES // array.itemsize)
    for at in range(0, array.size, count):
        yield flat[at : at + count].astype(little, copy=False).view(np.uint8).data
