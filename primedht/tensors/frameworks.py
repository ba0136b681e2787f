"""Tensors of torch and of jax as numpy arrays, and back. Neither is imported unless a program has it or asks.

    torch.Tensor   shares its memory with the array, both ways, if it is on the CPU
    jax.Array      is copied, unless jax itself can avoid it

numpy has no bfloat16 and no float8: such arrays have the types of `ml_dtypes`.
"""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from primedht.errors import InvalidArgument, InvalidTensor

Array = NDArray[Any]

NAMES = ("torch", "jax")
# What torch and numpy can hand to each other only as integers of the same size.
_AS_INTEGERS = {
    "bfloat16": (np.int16, ml_dtypes.bfloat16),
    "float8_e4m3fn": (np.uint8, ml_dtypes.float8_e4m3fn),
    "float8_e5m2": (np.uint8, ml_dtypes.float8_e5m2),
}


def framework_of(value: object) -> str | None:
    """Return whose tensor `value` is, `torch` or `jax`; None for all else."""
    for framework, kind in (("torch", "Tensor"), ("jax", "Array")):
        tensor = getattr(sys.modules.get(framework), kind, None)
        if tensor is not None and isinstance(value, tensor):
            return framework
    return None


def identity(value: Any) -> object:
    """Return what is equal for two tensors that are all of one memory, seen alike, as tied weights are."""
    if framework_of(value) != "torch" or value.layout != sys.modules["torch"].strided or not value.numel():
        return id(value)
    return (value.device, value.data_ptr(), value.dtype, tuple(value.shape), value.stride())


def to_numpy(value: Any) -> Array:
    """Return a tensor of torch or jax as numpy's array.

    It is detached from its graph, and copied if it is on a device. Raises `InvalidTensor` for what has no
    plain numbers, such as sparse and quantized tensors, random keys of jax, and values that are being traced.
    """
    try:
        return _from_torch(value) if framework_of(value) == "torch" else np.asarray(value)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InvalidTensor(
            f"a tensor of type {value.dtype} cannot be stored ({reason}); make it a dense one, or for a "
            "random key of jax give jax.random.key_data"
        ) from None


def convert(array: Array, framework: str) -> Any:
    """Return an array as a tensor of `framework`, on its default device.

    Raises `InvalidArgument` if it is not installed, `InvalidTensor` if it lacks the type.
    """
    try:
        return to_torch(array) if framework == "torch" else to_jax(array)
    except ImportError:
        raise InvalidArgument(
            f"the state has tensors of {framework}, which is not installed: install primedht[{framework}], "
            "or load it with as_numpy=True"
        ) from None


def to_torch(array: Array) -> Any:
    """Return a tensor that shares the array's memory, if that may be written to."""
    import torch

    writable = array if array.flags.writeable else array.copy()
    viewed = _AS_INTEGERS.get(array.dtype.name)
    try:
        if viewed is None:
            return torch.from_numpy(writable)
        return torch.from_numpy(writable.view(viewed[0])).view(getattr(torch, array.dtype.name))
    except (TypeError, AttributeError) as error:
        raise InvalidTensor(f"this torch has no tensors of type {array.dtype.name}: {error}") from None


def to_jax(array: Array) -> Any:
    """Return a jax array. Raises `InvalidTensor` for 64-bit types unless jax has them enabled."""
    import jax

    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise InvalidTensor(
            f"jax would narrow {array.dtype.name}; set jax_enable_x64, or load it with as_numpy=True"
        )
    return jax.numpy.asarray(array)


def _from_torch(tensor: Any) -> Array:
    plain = tensor.detach()
    if plain.device.type == "meta":
        raise TypeError("it is on the meta device and has no numbers")
    plain = plain.cpu().resolve_neg()
    viewed = _AS_INTEGERS.get(str(plain.dtype).removeprefix("torch."))
    if viewed is None:
        array: Array = plain.numpy()
        return array
    integers, dtype = viewed
    torch = sys.modules["torch"]
    array = plain.view(getattr(torch, np.dtype(integers).name)).numpy()
    return array.view(dtype)
