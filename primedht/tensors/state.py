"""A training program's state, any nest of containers, scalars and tensors, as tensors and a JSON tree.

In the tree, None, bool, int, str, finite float and list stand for themselves; all else is an object of one
field: `d` a dict's pairs in order (its keys keep their types), `o` an OrderedDict's, `t` a tuple, `x` the
name of a numpy array, `torch` and `jax` those of such tensors, `s` a numpy scalar's, `f` a float that JSON
lacks, `b` bytes in base64. So what comes back is what was given, exactly.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from primedht import limits
from primedht.errors import InvalidArgument, InvalidTensor, PickleRefused
from primedht.tensors import frameworks
from primedht.tensors.arrays import Array, as_array

TREE_NAME = "__state__"  # no tensor is called so: the tree is stored beside them under it
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_KEYS = (str, int, float, bool, type(None))


def flatten(state: object) -> tuple[bytes, dict[str, Array]]:
    """Return a state's tree and its tensors, each named after its place, such as `model.layers.0.weight`.

    Raises `PickleRefused` for objects that nothing else could store, `InvalidTensor`, `InvalidArgument`.
    """
    flattening = _Flattening()
    tree = flattening.node(state, (), limits.STATE_DEPTH_MAX)
    try:
        encoded = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:  # integers of thousands of digits
        raise InvalidArgument(f"the state cannot be stored: {error}") from None
    if len(encoded) > limits.STATE_TREE_BYTES_MAX:
        raise InvalidArgument(
            f"the state without its tensors takes {len(encoded)} bytes; {limits.STATE_TREE_BYTES_MAX} fit: "
            "give long lists of numbers as arrays"
        )
    return encoded, flattening.tensors


def unflatten(tree: bytes, tensors: Mapping[str, Any], *, as_numpy: bool = False) -> Any:
    """Return the state; tensors of torch and of jax come back as such, or with `as_numpy` as numpy's.

    Tensors that were tied are one object. Raises `InvalidTensor` for a tree that is not one, or whose tensors
    are missing, and `InvalidArgument` if a tensor's framework is not installed.
    """
    if len(tree) > limits.STATE_TREE_BYTES_MAX:
        raise InvalidTensor(f"a state's tree of {len(tree)} bytes; {limits.STATE_TREE_BYTES_MAX} go")
    try:
        return _Restoring(tensors, as_numpy).node(json.loads(tree), limits.STATE_DEPTH_MAX)
    except (
        *(ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(RecursionError, binascii.Error),
    ) as error:
        raise InvalidTensor(f"the state's tree is damaged: {error}") from None


class _Flattening:
    def __init__(self) -> None:
        self.tensors: dict[str, Array] = {}
        self._names: dict[object, str] = {}  # by what the state keeps alive

    def node(self, value: object, path: tuple[str, ...], depth_left: int) -> object:
        if depth_left == 0:
            raise InvalidArgument(f"{_name(path)}: nested over {limits.STATE_DEPTH_MAX} levels deep")
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if isinstance(value, float) and kind is float:
            return value if math.isfinite(value) else {"f": str(value)}
        if isinstance(value, np.generic):
            return {"s": self._tensor(value, path)}
        if isinstance(value, bytes):
            return {"b": base64.b64encode(value).decode("ascii")}
        if isinstance(value, dict):
            tag = "o" if isinstance(value, OrderedDict) else "d"
            return {tag: [self._pair(key, each, path, depth_left) for key, each in value.items()]}
        if kind in (list, tuple):
            assert isinstance(value, list | tuple)
            nodes = [self.node(each, (*path, str(i)), depth_left - 1) for i, each in enumerate(value)]
            return nodes if kind is list else {"t": nodes}
        if (framework := frameworks.framework_of(value)) is not None:
            return {framework: self._tensor(value, path)}
        if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
            return {"x": self._tensor(value, path)}
        raise PickleRefused(
            f"{_name(path)} is a {kind.__name__}, which pickle alone could store, and reading that runs its "
            "writer's code; store its numbers as arrays, dicts and lists"
        )

    def _pair(self, key: object, value: object, path: tuple[str, ...], depth_left: int) -> list[object]:
        if type(key) not in _KEYS:
            raise PickleRefused(
                f"{_name(path)} has a key of type {type(key).__name__}; str, int, float, bool and None go"
            )
        return [self.node(key, path, depth_left), self.node(value, (*path, str(key)), depth_left - 1)]

    def _tensor(self, value: object, path: tuple[str, ...]) -> str:
        """Return the name under which `value` is stored: one for each that has memory of its own."""
        identity = frameworks.identity(value)
        known = self._names.get(identity)
        if known is not None:
            return known
        wanted = name = _name(path)
        count = 1
        while name in self.tensors or name == TREE_NAME:
            count += 1
            name = f"{wanted}#{count}"
        self.tensors[name] = as_array(value)
        self._names[identity] = name
        return name


class _Restoring:
    def __init__(self, tensors: Mapping[str, Any], as_numpy: bool) -> None:
        self._tensors = tensors
        self._as_numpy = as_numpy
        self._made: dict[tuple[str, int], object] = {}  # by framework and the array's identity
        self._leaves: dict[str, Callable[[Any], Any]] = {
            "x": lambda name: tensors[name],
            "s": lambda name: np.asarray(tensors[name])[()],
            "f": lambda text: _NOT_FINITE[text],
            "b": lambda text: base64.b64decode(text, validate=True),
        } | {framework: partial(self._tensor, framework) for framework in frameworks.NAMES}

    def node(self, node: Any, depth_left: int) -> Any:
        if depth_left == 0:
            raise ValueError("it is nested too deep")
        if isinstance(node, list):
            return [self.node(each, depth_left - 1) for each in node]
        if not isinstance(node, dict):
            return node
        if len(node) != 1:
            raise ValueError("a node that is none")
        ((tag, content),) = node.items()
        if tag in ("d", "o"):
            pairs = [(self.node(k, 2), self.node(v, depth_left - 1)) for k, v in content]
            return dict(pairs) if tag == "d" else OrderedDict(pairs)
        if tag == "t":
            return tuple(self.node(each, depth_left - 1) for each in content)
        return self._leaves[tag](content)

    def _tensor(self, framework: str, name: str) -> object:
        array = self._tensors[name]
        if self._as_numpy:
            return array
        key = (framework, id(array))
        if key not in self._made:
            self._made[key] = frameworks.convert(array, framework)
        return self._made[key]


def _name(path: tuple[str, ...]) -> str:
    return ".".join(path) or "state"
