"""A training program's state as one safetensors file: its tensors, and its tree as one more of bytes.

The tree changes with every step, and is a tensor so that the header does not: two files of the same
tensors differ in few blocks.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from primedht.errors import DiskFull, InvalidTensor, StoreUnavailable
from primedht.tensors.arrays import load_tensors, map_tensors, read_tensors, write_tensors
from primedht.tensors.state import TREE_NAME, flatten, unflatten

_FORMAT = {"primedht.format": "state 1"}


@contextmanager
def open_state_file(state: object) -> Iterator[BinaryIO]:
    """Write a state to a temporary file without a name, which others can be given as a descriptor.

    The file stands at its beginning, and is gone when the block is left. Raises as `flatten`, and `DiskFull`
    or `StoreUnavailable` if the folder for temporary files (TMPDIR) has no room or cannot be used.
    """
    tree, tensors = flatten(state)
    with _temporary_file() as file:
        with _failing():
            write_tensors(_Whole(file), tensors | {TREE_NAME: np.frombuffer(tree, np.uint8)}, _FORMAT)
            file.seek(0)
        yield file


class ReceivedState:
    """A state file that comes in pieces. Made by `receive_state`; its methods may block."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._whole = _Whole(file)

    def write(self, piece: bytes) -> None:
        """Take the next piece. Raises `DiskFull`, `StoreUnavailable`."""
        with _failing():
            self._whole.write(piece)

    def read(self, *, as_numpy: bool = False) -> Any:
        """Return the state, as `load_state`, once all has been written. It outlives the temporary file."""
        self._file.seek(0)
        return _unflattened(map_tensors(self._file), as_numpy)


@contextmanager
def receive_state() -> Iterator[ReceivedState]:
    """Yield a place for a state file's bytes, a temporary file as that of `open_state_file`.

    So a state's memory is that file's, and is taken as it is used. Raises as `open_state_file`.
    """
    with _temporary_file() as file:
        yield ReceivedState(file)


def read_state(data: bytes | bytearray, *, as_numpy: bool = False) -> Any:
    """Return the state in a file's bytes, whose memory its tensors share.

    as_numpy: tensors of torch and jax come as numpy's. Raises `InvalidTensor`, `PickleRefused`, and
    `InvalidArgument` if a tensor's framework is not installed.
    """
    _, tensors = read_tensors(data)
    return _unflattened(tensors, as_numpy)


def load_state(path: Path, *, as_numpy: bool = False) -> Any:
    """Return the state in a file, memory-mapped: bytes are read when they are used, and changing them leaves
    the file as it is. Raises as `read_state`, and `OSError`."""
    return _unflattened(load_tensors(path), as_numpy)


def _unflattened(tensors: dict[str, Any], as_numpy: bool) -> Any:
    tree = tensors.pop(TREE_NAME, None)
    if tree is None or tree.dtype != np.uint8 or tree.ndim != 1:
        raise InvalidTensor("the file has tensors, but not the state that they are of; read it as tensors")
    return unflatten(tree.tobytes(), tensors, as_numpy=as_numpy)


@contextmanager
def _temporary_file() -> Iterator[BinaryIO]:
    with _failing():
        file = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed below
    with file:
        yield file


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(error) from None


def _unusable(error: OSError) -> DiskFull | StoreUnavailable:
    folder = tempfile.gettempdir()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{folder} has no room for the state; make room, or set TMPDIR")
    return StoreUnavailable(f"{folder}: {error.strerror}; set TMPDIR to a folder that can be written")


class _Whole:
    """A raw file that takes all it is given."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes | memoryview, /) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
