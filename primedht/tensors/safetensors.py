"""The header of a safetensors file: what is where in it, and making one.

A file is 8 bytes (little-endian) with the length of a JSON header, that header, and the tensors' bytes,
which must cover the rest exactly. A header comes from a stranger: nothing is allocated by what it says
before that agrees with the size of the file.

Source: safetensors README, "Format"; validation as in safetensors/src/tensor.rs, `Metadata::validate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from primedht import limits
from primedht.errors import InvalidTensor, PickleRefused
from primedht.tensors.dtypes import DType, dtype_named
from primedht.tensors.schema import TensorSpan, tensor_bytes

LENGTH_BYTES = 8
_ALIGNMENT = 8
_METADATA = "__metadata__"
_ZIP = b"PK\x03\x04"  # of torch.save since 1.6: a zip archive with a pickle inside
_PICKLE_PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class Header:
    """tensors: in the order of their bytes. file_bytes: header and tensors together."""

    metadata: dict[str, str]
    tensors: tuple[TensorSpan, ...]
    file_bytes: int


def check_no_pickle(start: bytes, what: str) -> None:
    """Raise `PickleRefused` if `what`, a file that begins with `start`, is a pickle, as torch.save writes."""
    is_header = len(start) >= LENGTH_BYTES and int.from_bytes(start[:LENGTH_BYTES], "little") <= (
        limits.SAFETENSORS_HEADER_BYTES_MAX
    )
    is_pickle = start[:1] == b"\x80" and start[1:2] in _PICKLE_PROTOCOLS
    if start.startswith(_ZIP) or (is_pickle and not is_header):
        raise PickleRefused(
            f"{what} is a pickle: whoever loads it runs what its writer chose; write the tensors with "
            "safetensors (`safetensors.torch.save_file`) instead"
        )


def header_bytes(start: bytes, file_bytes: int) -> int:
    """Return the length of the header whose file begins with `start`. Raises `InvalidTensor`."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or LENGTH_BYTES + length > file_bytes:
        raise InvalidTensor("not a safetensors file: its header does not fit into it")
    if not 0 < length <= limits.SAFETENSORS_HEADER_BYTES_MAX:
        most = limits.SAFETENSORS_HEADER_BYTES_MAX
        raise InvalidTensor(f"a safetensors header of {length} bytes; 1 to {most} go")
    return length


def parse_header(header: bytes, file_bytes: int) -> Header:
    """Parse the JSON of a file of `file_bytes` bytes. Raises `InvalidTensor`."""
    data_at = LENGTH_BYTES + len(header)
    try:
        if not header.startswith(b"{"):
            raise ValueError("it is no object")
        table = json.loads(header, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise InvalidTensor(f"the safetensors header is not what it should be: {error}") from None
    metadata = table.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise InvalidTensor("the safetensors header's metadata is no map of texts")
    if len(table) > limits.TENSORS_MAX:
        raise InvalidTensor(f"a safetensors file of {len(table)} tensors; at most {limits.TENSORS_MAX} go")
    spans = [_span(name, entry, data_at) for name, entry in table.items()]
    spans.sort(key=lambda span: (span.start, span.end))
    at = data_at
    for span in spans:
        if span.start != at:
            wrong = "overlap" if span.start < at else "leave a hole"
            raise InvalidTensor(f"the tensors of a safetensors file {wrong} at {span.name[:100]!r}")
        at = span.end
    if at != file_bytes:
        raise InvalidTensor(f"a safetensors file of {file_bytes} bytes whose tensors end at {at}")
    return Header(metadata, tuple(spans), file_bytes)


def make_header(
    tensors: Iterable[tuple[str, DType, tuple[int, ...]]], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, Header]:
    """Return the bytes before the first tensor's, and what they say.

    The tensors come in one order, whatever the given one is: the most aligned first, then by name.
    Raises `InvalidTensor`.
    """
    table: dict[str, object] = {}
    if metadata:
        table[_METADATA] = dict(sorted(metadata.items()))
    at = 0
    placed = []
    for name, dtype, shape in sorted(tensors, key=lambda each: (-each[1].item_bytes, each[0])):
        if name in table or name == _METADATA:
            raise InvalidTensor(f"a safetensors file cannot have {name[:100]!r} twice")
        end = at + tensor_bytes(name, dtype, shape)
        table[name] = {"dtype": dtype.name, "shape": list(shape), "data_offsets": [at, end]}
        placed.append((name, dtype, shape, at, end))
        at = end
    try:
        text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidTensor("a tensor's name that is not Unicode: half a UTF-16 pair") from None
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > limits.SAFETENSORS_HEADER_BYTES_MAX or len(placed) > limits.TENSORS_MAX:
        raise InvalidTensor(f"{len(placed)} tensors are too many for one safetensors file; use several")
    data_at = LENGTH_BYTES + len(text)
    spans = tuple(
        TensorSpan(name, dtype, shape, data_at + s, data_at + e) for name, dtype, shape, s, e in placed
    )
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, Header(
        dict(metadata or {}), spans, data_at + at
    )


def _span(name: str, entry: object, data_at: int) -> TensorSpan:
    if not isinstance(entry, dict) or set(entry) != _FIELDS:
        raise InvalidTensor(f"the safetensors header says of {name[:100]!r} something else than it should")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(dtype, str) and isinstance(shape, list) and _is_range(offsets)):
        raise InvalidTensor(f"the safetensors header says of {name[:100]!r} something else than it should")
    known = dtype_named(dtype)
    size = tensor_bytes(name, known, shape)
    start, end = offsets
    if end - start != size:
        raise InvalidTensor(f"{name[:100]!r} takes {size} bytes, and the header gives it {end - start}")
    return TensorSpan(name, known, tuple(shape), data_at + start, data_at + end)


def _is_range(offsets: object) -> bool:
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(edge) is int for edge in offsets)
        and 0 <= offsets[0] <= offsets[1]
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name that is there twice")
    return fields
