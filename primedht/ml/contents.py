"""What a file or a directory of blocks is as a model: its files, and the tensors in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

import trio

from primedht import limits
from primedht.blocks.blocks import Blocks
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidTensor
from primedht.tensors import safetensors
from primedht.tensors.manifest import ModelFile, PlacedTensor

_PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
_INDEX_SUFFIX = ".safetensors.index.json"
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Contents:
    """tensors: of all safetensors files, in order. architecture: as a Hugging Face configuration says."""

    files: tuple[ModelFile, ...]
    tensors: tuple[PlacedTensor, ...]
    architecture: str

    @property
    def parameters_count(self) -> int:
        return sum(placed.span.elements for placed in self.tensors)


async def list_files(blocks: Blocks, root: Cid) -> tuple[ModelFile, ...]:
    """Return all files of a model. Raises `InvalidArgument` for links and for no files, `InvalidDag`."""
    files = []
    async for path, item in blocks.walk_tree(root):
        if item.kind == "symlink":
            raise InvalidArgument(
                f"{path} is a symbolic link; a model consists of files: copy it with `cp -rL` first"
            )
        if item.kind == "file":
            files.append(ModelFile(path, item.size_bytes, item.cid))
        if len(files) > limits.MODEL_FILES_MAX:
            raise InvalidArgument(f"over {limits.MODEL_FILES_MAX} files; pack some of them")
    if not files:
        raise InvalidArgument("there is no file in it, so it is no model")
    return tuple(sorted(files, key=lambda file: file.path))


async def examine(blocks: Blocks, root: Cid) -> Contents:
    """Read what a model consists of: directories, and headers of safetensors files.

    Raises `PickleRefused`, `InvalidTensor` for a file or an index that is not what its name says, and as
    `list_files`.
    """
    files = await list_files(blocks, root)
    tensors: list[PlacedTensor] = []
    places: set[tuple[str, str]] = set()
    architecture = ""
    for index, file in enumerate(files):
        suffix = PurePosixPath(file.path).suffix
        if suffix in _PICKLES:
            start = await read(blocks, file.cid, 0, safetensors.LENGTH_BYTES)
            safetensors.check_no_pickle(start, file.path)
        if suffix == ".safetensors":
            spans = (await _header(blocks, file)).tensors
            tensors += [PlacedTensor(span, index) for span in spans]
            places |= {(span.name, file.path) for span in spans}
        if len(tensors) > limits.TENSORS_MAX:
            raise InvalidTensor(f"a model of over {limits.TENSORS_MAX} tensors")
        if file.path == _CONFIG and file.size_bytes <= limits.MODEL_METADATA_BYTES_MAX:
            architecture = _architecture(await read(blocks, file.cid))
    for file in files:
        if file.path.endswith(_INDEX_SUFFIX):
            await _check_index(blocks, file, places)
    return Contents(files, tuple(tensors), architecture)


async def read(blocks: Blocks, cid: Cid, start: int = 0, end: int | None = None) -> bytes:
    """Return a part of a file that is known to be small."""
    return b"".join([piece async for piece in blocks.read_file(cid, start=start, end=end)])


async def _header(blocks: Blocks, file: ModelFile) -> safetensors.Header:
    try:
        start = await read(blocks, file.cid, 0, safetensors.LENGTH_BYTES)
        length = safetensors.header_bytes(start, file.size_bytes)
        text = await read(blocks, file.cid, len(start), len(start) + length)
        return await trio.to_thread.run_sync(safetensors.parse_header, text, file.size_bytes)
    except InvalidTensor as error:
        raise InvalidTensor(f"{file.path}: {error}") from None


async def _check_index(blocks: Blocks, file: ModelFile, places: set[tuple[str, str]]) -> None:
    """Check that the tensors are in the files where the index of a sharded model has them."""
    if file.size_bytes > limits.TENSOR_TABLE_BYTES_MAX:
        raise InvalidTensor(f"{file.path}: an index of {file.size_bytes} bytes")
    folder = str(PurePosixPath(file.path).parent)
    try:
        weight_map = json.loads(await read(blocks, file.cid))["weight_map"]
        claims = [(name, str(PurePosixPath(folder, shard))) for name, shard in weight_map.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidTensor(f"{file.path} is no index of safetensors files") from None
    for name, shard in claims:
        if (name, shard) not in places:
            raise InvalidTensor(f"{file.path} has {name[:100]!r} in {shard[:100]!r}, where it is not")


def _architecture(config: bytes) -> str:
    """Return the first architecture of a Hugging Face config.json, if it is one."""
    try:
        first = json.loads(config)["architectures"][0]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    return first if isinstance(first, str) else ""
