"""DAG-CBOR: the one form of a nest of maps, lists, scalars and CIDs.

A general CBOR library builds dates, regular expressions, big numbers and shared references from
what a stranger sent; DAG-CBOR has none of these, so this reader knows none of them.

Source: IPLD specs, DAG-CBOR ("Strictness"); RFC 8949.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from primedht import limits
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidRecord

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SIMPLE_VALUES: dict[int, bool | None] = {20: False, 21: True, 22: None}
_SIMPLE_CODES = {value: code for code, value in _SIMPLE_VALUES.items()}
_FLOAT64 = 27
_TAG_CID = 42


def encode(value: object) -> bytes:
    """Return `value` in its one DAG-CBOR form.

    It is made of dict (text keys), list, tuple, str, bytes, int (64 bits), float (finite), bool, None and
    `Cid`. Raises `InvalidArgument` for anything else.
    """
    return _encode(value, limits.CBOR_DEPTH_MAX)


def encode_map(fields: Mapping[str, object]) -> bytes:
    """Return `fields` as a map in DAG-CBOR's order: by length, then bytes. Raises as `encode`."""
    return encode(dict(fields))


def decode_map(data: bytes, *, items_max: int | None = None) -> dict[str, object]:
    """Parse one map and nothing after it. CIDs come as their bytes. Raises `InvalidRecord`.

    items_max: of maps, lists and scalars in it, each of which may take 64 times its bytes as an object; None
    where the data is small.
    """
    reader = _Reader(data, len(data) if items_max is None else items_max)
    value = reader.value(limits.CBOR_DEPTH_MAX)
    if not isinstance(value, dict) or not reader.at_end():
        raise InvalidRecord("the data is not one DAG-CBOR map")
    return value


def _encode(value: object, depth_left: int) -> bytes:
    if depth_left == 0:
        raise InvalidArgument(f"nested over {limits.CBOR_DEPTH_MAX} levels deep")
    match value:
        case None | bool():
            return bytes((_SIMPLE << 5 | _SIMPLE_CODES[value],))
        case int() if -(1 << 64) <= value < 1 << 64:
            return _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case float() if math.isfinite(value):
            return bytes((_SIMPLE << 5 | _FLOAT64,)) + struct.pack(">d", value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            return _text(value)
        case Cid():
            raw = b"\x00" + bytes(value)  # the multibase prefix of binary
            return _head(_TAG, _TAG_CID) + _head(_BYTES, len(raw)) + raw
        case list() | tuple():
            return _head(_ARRAY, len(value)) + b"".join(_encode(each, depth_left - 1) for each in value)
        case dict():
            return _map(value, depth_left)
        case int() | float():
            raise InvalidArgument(f"{value!r} has no DAG-CBOR form: integers of 64 bits and finite floats do")
        case _:
            raise InvalidArgument(f"a {type(value).__name__} has no DAG-CBOR form")


def _map(fields: Mapping[object, object], depth_left: int) -> bytes:
    entries = []
    for name, value in fields.items():
        if not isinstance(name, str):
            raise InvalidArgument(f"a map's keys are texts, not {type(name).__name__}")
        entries.append((_text(name), _encode(value, depth_left - 1)))
    entries.sort()  # heads of lengths sort as the lengths do
    return _head(_MAP, len(entries)) + b"".join(name + value for name, value in entries)


def _text(text: str) -> bytes:
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgument("text that is not Unicode: half a UTF-16 pair") from None
    return _head(_TEXT, len(raw)) + raw


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes((major << 5 | code,)) + argument.to_bytes(size, "big")
    raise ValueError(argument)


class _Reader:
    def __init__(self, data: bytes, items_max: int) -> None:
        self._data = data
        self._at = 0
        self._items_left = items_max

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def value(self, depth_left: int) -> object:
        if depth_left == 0:
            raise InvalidRecord("the DAG-CBOR data is nested too deep")
        initial = self._take(1)[0]
        self._items_left -= 1
        if self._items_left < 0:
            raise InvalidRecord("the DAG-CBOR data has too many items")
        major, info = initial >> 5, initial & 31
        if major == _SIMPLE:
            if info == _FLOAT64:
                return struct.unpack(">d", self._take(8))[0]
            if info in _SIMPLE_VALUES:
                return _SIMPLE_VALUES[info]
            raise InvalidRecord("the data is not DAG-CBOR: a simple value that it does not have")
        argument = self._argument(info)
        if major == _UINT:
            return argument
        if major == _NEGATIVE:
            return -1 - argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            return self._text(argument)
        if major == _ARRAY:
            return [self.value(depth_left - 1) for _ in range(argument)]
        if major == _MAP:
            return self._map(argument, depth_left)
        if argument != _TAG_CID:
            raise InvalidRecord(f"the data is not DAG-CBOR: tag {argument}")
        return self.value(depth_left - 1)

    def _map(self, count: int, depth_left: int) -> dict[str, object]:
        out: dict[str, object] = {}
        for _ in range(count):
            name = self.value(depth_left - 1)
            if not isinstance(name, str) or name in out:
                raise InvalidRecord("the data is not DAG-CBOR: a map's keys are distinct texts")
            out[name] = self.value(depth_left - 1)
        return out

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRecord("the data is not DAG-CBOR: text that is not UTF-8") from None

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise InvalidRecord("the data is not DAG-CBOR: an indefinite length")
        size = 1 << (info - 24)
        argument = int.from_bytes(self._take(size), "big")
        if argument < (24 if size == 1 else 1 << (4 * size)):
            raise InvalidRecord("the data is not DAG-CBOR: a number in a longer form than it needs")
        return argument

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise InvalidRecord("the DAG-CBOR data is cut short")
        self._at += size
        return taken
