"""Element types: safetensors' names for them, their size, and numpy's names.

Source: safetensors, `Dtype` (safetensors/src/tensor.rs); ml_dtypes for those that numpy lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

from primedht.errors import InvalidTensor


@dataclass(frozen=True, slots=True)
class DType:
    """name: as in a safetensors header. numpy_name: as `numpy.dtype` or `ml_dtypes` call it.

    extension: numpy itself does not know it.
    """

    name: str
    item_bytes: int
    numpy_name: str
    extension: bool = False


DTYPES = {
    dtype.name: dtype
    for dtype in (
        DType("BOOL", 1, "bool"),
        DType("U8", 1, "uint8"),
        DType("I8", 1, "int8"),
        DType("F8_E5M2", 1, "float8_e5m2", extension=True),
        DType("F8_E4M3", 1, "float8_e4m3fn", extension=True),
        DType("I16", 2, "int16"),
        DType("U16", 2, "uint16"),
        DType("F16", 2, "float16"),
        DType("BF16", 2, "bfloat16", extension=True),
        DType("I32", 4, "int32"),
        DType("U32", 4, "uint32"),
        DType("F32", 4, "float32"),
        DType("F64", 8, "float64"),
        DType("I64", 8, "int64"),
        DType("U64", 8, "uint64"),
    )
}
_BY_NUMPY_NAME = {dtype.numpy_name: dtype for dtype in DTYPES.values()}


def dtype_named(name: str) -> DType:
    """Return the type that a header calls `name`. Raises `InvalidTensor`."""
    found = DTYPES.get(name)
    if found is None:
        raise InvalidTensor(f"tensors of type {name[:40]!r} are not known; {', '.join(DTYPES)} are")
    return found


def dtype_of(numpy_name: str) -> DType:
    """Return the type that numpy or ml_dtypes call `numpy_name`. Raises `InvalidTensor`."""
    found = _BY_NUMPY_NAME.get(numpy_name)
    if found is None:
        known = ", ".join(_BY_NUMPY_NAME)
        raise InvalidTensor(f"arrays of type {numpy_name[:40]!r} cannot be stored; {known} can")
    return found
