"""What is said about tensors without their bytes: name, type, shape and where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from primedht import limits
from primedht.errors import InvalidManifest, InvalidTensor
from primedht.tensors.dtypes import DType

_BYTES_MAX = 2**62  # more cannot be addressed; numpy multiplies the sizes even where one is 0


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """A tensor in a file. start, end: in bytes from the file's beginning; row-major, little-endian."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def tensor_bytes(name: str, dtype: DType, shape: Sequence[int]) -> int:
    """Return the size of such a tensor. Raises `InvalidTensor` if there can be none."""
    if len(name.encode("utf-8", "surrogatepass")) > limits.TENSOR_NAME_BYTES_MAX:
        raise InvalidTensor(
            f"a tensor's name has at most {limits.TENSOR_NAME_BYTES_MAX} bytes: {name[:60]!r}"
        )
    if len(shape) > limits.TENSOR_DIMENSIONS_MAX:
        raise InvalidTensor(f"{name[:100]!r} has over {limits.TENSOR_DIMENSIONS_MAX} dimensions")
    if any(type(size) is not int or size < 0 for size in shape):
        raise InvalidTensor(f"{name[:100]!r} has a dimension that is no size")
    if math.prod(max(size, 1) for size in shape) * dtype.item_bytes > _BYTES_MAX:
        raise InvalidTensor(f"{name[:100]!r} has more elements than there can be")
    return math.prod(shape) * dtype.item_bytes


def check_whole(tensor: TensorSpan, data: bytes) -> None:
    """Raise `InvalidManifest` if the model's files end before the tensor does that is said to be in them."""
    size = tensor.end - tensor.start
    if len(data) != size:
        raise InvalidManifest(
            f"the model's files have of {tensor.name[:100]!r} {len(data)} of its {size} bytes"
        )
