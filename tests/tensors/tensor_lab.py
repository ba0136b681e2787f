"""Arrays of every element type, as strategies and as a table."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from primedht.tensors.arrays import numpy_dtype
from primedht.tensors.dtypes import DTYPES

BF16 = np.dtype(ml_dtypes.bfloat16)


def filled(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    """Return an array of safetensors type `name` whose bits are any that the type has."""
    dtype = numpy_dtype(DTYPES[name])
    count = int(np.prod(shape, dtype=np.int64))
    if name == "BOOL":
        return np.random.default_rng(seed).integers(0, 2, count).astype(bool).reshape(shape)
    return np.frombuffer(np.random.default_rng(seed).bytes(count * dtype.itemsize), dtype).reshape(shape)


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays are equal with NaNs and zeros told apart."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
)
arrays = st.builds(
    filled,
    st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(0, 9),
)
numpy_scalars = st.builds(lambda name: filled(name, ())[()], st.sampled_from(sorted(DTYPES)))
keys = st.text(max_size=4) | st.integers() | st.booleans() | st.none()
states = st.recursive(
    scalars | arrays | numpy_scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3) | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
