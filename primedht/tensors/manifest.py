"""A model's manifest: what it is, which files it has, and its owner's signature. One dag-cbor block.

    type, format       "primedht-model", 1
    model              the seed's ModelMetadata, below
    metadata           what else its owner says: texts by name
    root               link: the directory
    files              [[path, bytes, link], ...] by path
    tensors            link to the tensor table, or null
    base               bytes: the CID of a manifest that it shares blocks with, or null
    codec              "raw": the files are as they were
    owner, signature   bytes

Its links lead to all that the model consists of, so pinning the manifest keeps the model; the base is no
link, since one version must not keep or fetch all that were before it. The signature
covers "primedht-manifest:" and the manifest without its signature. The tensor table is a file of its own,
since it may be larger than a block: dag-cbor {"tensors": [[name, dtype, shape, file, start, end], ...]}.

Source of ModelMetadata: daa-prime-dht, `ModelMetadata` and `TrainingConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from primedht import limits
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidManifest, InvalidRecord, InvalidTensor, MalformedKey
from primedht.ids import PeerId
from primedht.keys import PrivateKey, public_key_of
from primedht.records import dagcbor
from primedht.tensors.dtypes import dtype_named
from primedht.tensors.schema import TensorSpan, tensor_bytes
from primedht.units import format_count, format_size

_TYPE = "primedht-model"
_FORMAT = 1
_DOMAIN = b"primedht-manifest:"
RAW_CODEC = "raw"
_ROW_ITEMS = 16  # of a tensor in the table, on average: a list of six, and nine dimensions


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """id: the name without its owner. created_at, updated_at: unix seconds; of the name and this version.

    parameters_count: elements of all tensors. training_config: any map that dag-cbor can hold.
    """

    id: str
    version: int
    architecture: str = ""
    parameters_count: int = 0
    created_at: int = 0
    updated_at: int = 0
    training_config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """path: below the root, with slashes."""

    path: str
    size_bytes: int
    cid: Cid


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor and the index of its file in `Manifest.files`."""

    span: TensorSpan
    file: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """See the module. Made by `signed` or `parse_manifest`."""

    model: ModelMetadata
    owner: PeerId
    root: Cid
    files: tuple[ModelFile, ...]
    tensors: Cid | None = None
    base: Cid | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    codec: str = RAW_CODEC
    signature: bytes = b""

    def __str__(self) -> str:
        return f"{format_size(self.size_bytes)} in {format_count(len(self.files), 'file')}"

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def encode(self) -> bytes:
        """Return the block's bytes. Raises `InvalidArgument` for what has no such form, or is too large."""
        return self._encode({"signature": self.signature})

    def signed(self, key: PrivateKey) -> Manifest:
        """Return the manifest with its owner's signature. Raises as `encode`."""
        return replace(self, signature=key.sign(_DOMAIN + self._encode({})))

    def verify(self) -> None:
        """Raise `InvalidManifest` unless the owner signed it."""
        try:
            public_key = public_key_of(self.owner)
        except MalformedKey as error:
            raise InvalidManifest(f"the manifest's owner: {error}") from None
        if public_key is None or not public_key.verify(_DOMAIN + self._encode({}), self.signature):
            raise InvalidManifest(f"the manifest's signature is not that of {self.owner}")

    def _encode(self, more: Mapping[str, object]) -> bytes:
        model = self.model
        said = {
            "id": model.id,
            "version": model.version,
            "architecture": model.architecture,
            "parameters_count": model.parameters_count,
            "created_at": model.created_at,
            "updated_at": model.updated_at,
            "training_config": dict(model.training_config),
        }
        told = dict(self.metadata)
        if len(dagcbor.encode([said, told])) > limits.MODEL_METADATA_BYTES_MAX:
            most = limits.MODEL_METADATA_BYTES_MAX
            raise InvalidArgument(
                f"metadata and training configuration take over {most} bytes; add them as a file"
            )
        if len(self.files) > limits.MODEL_FILES_MAX:
            raise InvalidArgument(f"a model of {len(self.files)} files; at most {limits.MODEL_FILES_MAX} go")
        fields = {
            "type": _TYPE,
            "format": _FORMAT,
            "model": said,
            "metadata": told,
            "root": self.root,
            "files": [[file.path, file.size_bytes, file.cid] for file in self.files],
            "tensors": self.tensors,
            "base": None if self.base is None else bytes(self.base),
            "codec": self.codec,
            "owner": bytes(self.owner),
        }
        encoded = dagcbor.encode(fields | dict(more))
        if len(encoded) > limits.BLOCK_BYTES_MAX:
            raise InvalidArgument("the model has too many files for one manifest; pack them")
        return encoded


def parse_manifest(data: bytes) -> Manifest:
    """Parse a manifest and check its signature. Raises `InvalidManifest`."""
    try:
        fields = dagcbor.decode_map(data)
        if fields["type"] != _TYPE or fields["format"] != _FORMAT or fields["codec"] != RAW_CODEC:
            raise ValueError("it is of a type, format or codec that is not known here")
        manifest = Manifest(
            model=_model(_map(fields["model"])),
            owner=PeerId(_bytes(fields["owner"])),
            root=_link(fields["root"]),
            files=tuple(_file(entry) for entry in _list(fields["files"])),
            tensors=_link_or_none(fields["tensors"]),
            base=None if fields["base"] is None else Cid.from_bytes(_bytes(fields["base"])),
            metadata={name: _str(text) for name, text in _map(fields["metadata"]).items()},
            signature=_bytes(fields["signature"]),
        )
        if manifest.encode() != data:
            raise ValueError("it is not in its one form")
    except (InvalidRecord, InvalidArgument, KeyError, ValueError) as error:
        raise InvalidManifest(f"not the manifest of a model: {error}") from None
    paths = [file.path for file in manifest.files]
    if paths != sorted(set(paths)) or not paths:
        raise InvalidManifest("the manifest's files are not in order, or there are none")
    manifest.verify()
    return manifest


def encode_table(tensors: Sequence[PlacedTensor]) -> bytes:
    """Return the tensor table's bytes."""
    rows = []
    for placed in tensors:
        span = placed.span
        rows.append([span.name, span.dtype.name, list(span.shape), placed.file, span.start, span.end])
    return dagcbor.encode({"tensors": rows})


def parse_table(data: bytes, files: Sequence[ModelFile]) -> list[PlacedTensor]:
    """Parse a table of tensors in `files`. Raises `InvalidManifest`."""
    try:
        fields = dagcbor.decode_map(data, items_max=_ROW_ITEMS * limits.TENSORS_MAX)
        rows = _list(fields["tensors"])
        if len(rows) > limits.TENSORS_MAX:
            raise ValueError("it has too many tensors")
        return [_placed(row, files) for row in rows]
    except (InvalidRecord, InvalidTensor, KeyError, ValueError) as error:
        raise InvalidManifest(f"the model's tensor table is not one: {error}") from None


def _placed(row: object, files: Sequence[ModelFile]) -> PlacedTensor:
    name, dtype, shape, file, start, end = _list(row)
    known = dtype_named(_str(dtype))
    sizes = tuple(_int(size) for size in _list(shape))
    first, last, index = _int(start), _int(end), _int(file)
    if index >= len(files) or last > files[index].size_bytes:
        raise ValueError(f"{_str(name)[:100]!r} is beyond the model's files")
    if last - first != tensor_bytes(_str(name), known, sizes):
        raise ValueError(f"{_str(name)[:100]!r} has another size than its type and shape")
    return PlacedTensor(TensorSpan(_str(name), known, sizes, first, last), index)


def _model(fields: Mapping[str, object]) -> ModelMetadata:
    return ModelMetadata(
        id=_str(fields["id"]),
        version=_int(fields["version"]),
        architecture=_str(fields["architecture"]),
        parameters_count=_int(fields["parameters_count"]),
        created_at=_int(fields["created_at"]),
        updated_at=_int(fields["updated_at"]),
        training_config=_map(fields["training_config"]),
    )


def _file(entry: object) -> ModelFile:
    path, size, cid = _list(entry)
    return ModelFile(_str(path), _int(size), _link(cid))


def _link(value: object) -> Cid:
    raw = _bytes(value)
    return Cid.from_bytes(raw[1:])  # behind the multibase prefix of binary


def _link_or_none(value: object) -> Cid | None:
    return None if value is None else _link(value)


def _map(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("something else where a map should be")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("something else where a list should be")
    return value


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("something else where text should be")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("something else where bytes should be")
    return value


def _int(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("something else where a number should be")
    return value
