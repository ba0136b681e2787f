"""What the daemon can be asked about models. Sans-IO; bytes go and come as blocks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from primedht.cids import Cid
from primedht.client import _decode
from primedht.client._call import Call, Duration, peer_id, prime_call
from primedht.errors import InvalidArgument
from primedht.ids import PeerId
from primedht.limits import CONTROL_TIMEOUT_S
from primedht.pb import p2pd_pb2 as pb
from primedht.results import PeerShare

if TYPE_CHECKING:
    from primedht.tensors.arrays import Array
    from primedht.tensors.manifest import Manifest

UPLOAD_TTL_S = 3600.0  # of a pin that only a crash leaves behind


class FoundModel(NamedTuple):
    """A version of a model. name: with its version. cid: of its manifest.

    peers: who sent how much of it, for `fetch` and `pull` with `want_trace`.
    """

    name: str
    cid: Cid
    manifest: Manifest
    peers: tuple[PeerShare, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}  {self.cid}  {self.manifest}"


class ModelVersion(NamedTuple):
    """cid: of its manifest. size_bytes: of its files."""

    version: int
    cid: Cid
    published_unix_s: int
    size_bytes: int


class KeptModel(NamedTuple):
    """A version that the daemon keeps. partial: not all of it is there yet."""

    name: str
    cid: Cid
    partial: bool


class TensorPlace(NamedTuple):
    """Where a tensor is. dtype: as safetensors calls it. start, end: in bytes, in the file."""

    name: str
    file: Cid
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def publish(
    root: Cid,
    name: str,
    *,
    version: int | None,
    file_name: str | None,
    architecture: str | None,
    training_config: Mapping[str, object] | None,
    metadata: Mapping[str, str] | None,
    key: str | None,
    timeout: Duration,
) -> Call[FoundModel]:
    """Publish blocks that the daemon has; see `Models.push`."""
    try:
        config = json.dumps(dict(training_config or {}), allow_nan=False)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"the training configuration is not JSON: {error}") from None
    request = pb.PublishModelRequest(
        root=bytes(root), name=name, version=version, file_name=file_name, architecture=architecture,
        training_config=config, metadata=dict(metadata or {}), key=key,
    )  # fmt: skip
    return prime_call("publish_model", request, _models, timeout)


def fetch(name: str, *, timeout: Duration = 3600, want_trace: bool = False) -> Call[FoundModel]:
    """Get all of a version and keep it, without writing its files anywhere."""
    request = pb.FetchModelRequest(name=name)
    return prime_call("fetch_model", request, _models, timeout, want_trace=want_trace)


def pull(name: str, to: str | os.PathLike[str], *, timeout: Duration, want_trace: bool) -> Call[FoundModel]:
    """Let the daemon write a version's files. Raises `NotPermitted` where it cannot or may not."""
    request = pb.PullModelRequest(name=name, **target_fields(to))
    return prime_call("pull_model", request, _models, timeout, want_trace=want_trace)


def verify(name: str, *, timeout: Duration = 3600) -> Call[FoundModel]:
    """Read all of a version, fetched where it is missing, and compare it with its manifest."""
    return prime_call("verify_model", pb.VerifyModelRequest(name=name), _models, timeout)


def info(name: str, *, timeout: Duration = 60) -> Call[FoundModel]:
    """Return a version and its manifest. Raises `ValueNotFound`, `UnknownOwner`, `InvalidManifest`."""
    return prime_call("describe_model", pb.DescribeModelRequest(name=name), _models, timeout)


def versions(name: str, *, timeout: Duration = 60) -> Call[ModelVersion]:
    """Return the versions that are listed, ascending. Raises `ValueNotFound`, `UnknownOwner`."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[ModelVersion]:
        for each in prime.versions.versions:
            cid = Cid.from_bytes(each.cid)
            yield ModelVersion(each.version, cid, each.published_unix_s, each.size_bytes)

    return prime_call("list_versions", pb.ListVersionsRequest(name=name), on_prime, timeout)


def kept() -> Call[KeptModel]:
    """Return the versions that the daemon keeps, its own and pulled ones."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[KeptModel]:
        for each in prime.kept_models.models:
            yield KeptModel(each.name, Cid.from_bytes(each.cid), each.partial)

    return prime_call("list_models", pb.ListModelsRequest(), on_prime, CONTROL_TIMEOUT_S)


def remove(name: str, *, timeout: Duration = 60) -> Call[int]:
    """Keep a model, or one version of it, no longer; returns how many versions were kept.

    If it is our own, its record lists it no more either.
    """
    request = pb.RemoveModelRequest(name=name)
    return prime_call("remove_model", request, lambda prime: (prime.removed_models.versions,), timeout)


def find_tensor(name: str, tensor: str, *, timeout: Duration = 60) -> Call[TensorPlace]:
    """Return where a tensor of a model is. Raises `ValueNotFound`."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[TensorPlace]:
        if prime.HasField("tensor"):
            found = prime.tensor
            shape = tuple(found.shape)
            yield TensorPlace(tensor, Cid.from_bytes(found.file), found.dtype, shape, found.start, found.end)

    request = pb.FindTensorRequest(name=name, tensor=tensor)
    return prime_call("find_tensor", request, on_prime, timeout)


def set_alias(alias: str, owner: PeerId | str) -> Call[None]:
    """Let `alias` stand for `owner` on this machine from now on."""
    request = pb.SetAliasRequest(alias=alias, owner=bytes(peer_id(owner)))
    return prime_call("set_alias", request, lambda _: (), CONTROL_TIMEOUT_S)


def remove_alias(alias: str) -> Call[bool]:
    """Forget an alias; False if it was not set."""
    request = pb.RemoveAliasRequest(alias=alias)
    return prime_call(
        "remove_alias", request, lambda prime: (prime.removed_alias.was_set,), CONTROL_TIMEOUT_S
    )


def aliases() -> Call[tuple[str, PeerId]]:
    """Return all aliases, each with its owner."""

    def on_prime(prime: pb.PrimeResponse) -> Iterator[tuple[str, PeerId]]:
        for each in prime.aliases.aliases:
            yield each.alias, PeerId(each.owner)

    return prime_call("list_aliases", pb.ListAliasesRequest(), on_prime, CONTROL_TIMEOUT_S)


# --- parts of pushing, pulling and reading -----------------------------------------------------------------


def target_fields(to: str | os.PathLike[str]) -> dict[str, Any]:
    """Return where the daemon is to write, and what shows that it sees the same place.

    Raises `InvalidArgument`.
    """
    target = Path(os.path.abspath(to))
    try:
        parent = target.parent.stat()
    except OSError as error:
        raise InvalidArgument(f"{target.parent}: {error.strerror}; choose another path") from None
    return {
        "target": os.fsencode(target), "parent_device": parent.st_dev, "parent_inode": parent.st_ino,
    }  # fmt: skip


def upload_pin() -> str:
    """Return a name for the pin of what is pushed: a push takes away its own, not that of another."""
    return f"model upload {os.urandom(8).hex()}"


def file_name_of(path: str | os.PathLike[str]) -> str | None:
    """Return what a single file is called in its model, or None for a directory."""
    source = Path(path)
    return None if source.is_dir() else source.name


def array_of(place: TensorPlace, data: bytes) -> Array:
    """Return a tensor as numpy's array, one that can be changed. Raises as `check_whole`."""
    from primedht.tensors.arrays import view
    from primedht.tensors.dtypes import dtype_named
    from primedht.tensors.schema import TensorSpan, check_whole

    span = TensorSpan(place.name, dtype_named(place.dtype), place.shape, 0, place.end - place.start)
    check_whole(span, data)
    return view(bytearray(data), span)


def reading(place: TensorPlace) -> dict[str, Any]:
    """Return which part of its file a tensor is, as `cat` takes it."""
    return {"offset": place.start, "length": place.end - place.start}


def _models(prime: pb.PrimeResponse) -> Iterator[FoundModel]:
    from primedht.tensors.manifest import parse_manifest

    if prime.HasField("model"):
        model = prime.model
        yield FoundModel(
            model.name,
            Cid.from_bytes(model.cid),
            parse_manifest(model.manifest),
            tuple(map(_decode.peer_share, model.peers)),
        )
